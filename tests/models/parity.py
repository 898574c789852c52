"""Random small models of transformers, and what it means to equal one."""

import tempfile

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from transformers import GPT2Config, LlamaConfig

from course_lib.interop import from_pretrained, to_hf

GPT2 = GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=9, n_positions=4)
LLAMA = LlamaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=9, intermediate_size=4)

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**31)
lengths = st.lists(st.integers(1, 16), min_size=1, max_size=3)

gpt2 = st.builds(
    lambda head_dim, n_head, **rest: {"n_embd": head_dim * n_head, "n_head": n_head, **rest},
    head_dim=st.integers(1, 8),
    n_head=st.integers(1, 4),
    n_layer=st.integers(1, 3),
    vocab_size=st.integers(2, 50),
    n_positions=st.just(16),
    n_inner=st.sampled_from([None, 7, 24]),
    activation_function=st.sampled_from(["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "quick_gelu"]),
    layer_norm_epsilon=st.sampled_from([1e-5, 1e-3]),
    tie_word_embeddings=st.booleans(),
)
llama = st.builds(
    lambda half, more, kv, groups, bias, theta, **rest: {
        "hidden_size": 2 * half * kv * groups,
        "head_dim": 2 * (half + more),
        "num_attention_heads": kv * groups,
        "num_key_value_heads": kv,
        "attention_bias": bias,
        "mlp_bias": bias,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        **rest,
    },
    half=st.integers(1, 4),
    more=st.sampled_from([0, 0, 1]),  # heads wider than d_model / n_heads
    kv=st.integers(1, 3),
    groups=st.integers(1, 3),
    bias=st.booleans(),
    theta=st.sampled_from([100.0, 10000.0, 100000.0]),
    num_hidden_layers=st.integers(1, 3),
    vocab_size=st.integers(2, 50),
    intermediate_size=st.integers(1, 24),
    rms_norm_eps=st.sampled_from([1e-6, 1e-3]),
    tie_word_embeddings=st.booleans(),
)


def made(kind, config, seed):
    """A model of transformers with weights large enough that attention is sharp and gains differ from one."""
    torch.manual_seed(seed)
    model = kind(config).eval()
    for name, parameter in model.named_parameters():
        gain = 1.0 if "ln_" in name or "norm" in name.lower() else 0.0
        parameter.data.normal_(gain, 0.4)
    return model


def both_ways(theirs):
    """Our model as read from theirs, and theirs as read from ours, after asserting that nothing was lost."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = from_pretrained(folder)
    with tempfile.TemporaryDirectory() as folder:
        to_hf(ours, folder)
        back, report = type(theirs).from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    assert back.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    return ours, back.eval()


@torch.no_grad()
def assert_parity(ours, theirs, lengths, side):
    """Assert equal logits for a padded batch, wherever there is a real token."""
    n = max(lengths)
    ids = torch.randint(theirs.config.vocab_size, (len(lengths), n))
    place = torch.arange(n)
    real = torch.stack([place < k if side == "right" else place >= n - k for k in lengths])
    expected = theirs(ids, attention_mask=real.long()).logits[real]
    for logits in (ours(ids, mask=real[:, None, None]), ours(ids, mask=real[:, None, None], return_weights=True)[0]):
        # Relative to the largest logit: sums of up to 200 float32 products in another order stay well below 1e-5.
        assert (logits[real] - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)
