"""Our mixture of experts gives the logits, routing and losses of Mixtral and Qwen2-MoE in transformers."""

import json
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from parity import assert_parity, both_ways, lengths, made, quick, seeds
from safetensors.torch import load_file
from transformers import MixtralConfig, MixtralForCausalLM, PretrainedConfig, Qwen2MoeConfig, Qwen2MoeForCausalLM
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from course_lib.errors import ModelError
from course_lib.interop import from_pretrained, save_pretrained, to_hf
from course_lib.models import GPT, GPTConfig
from course_lib.nn.moe import load_balancing_loss, routings

KINDS = {
    "mixtral": (MixtralConfig, MixtralForCausalLM),
    "qwen2_moe": (Qwen2MoeConfig, Qwen2MoeForCausalLM),
}
SMALL = {
    "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2, "vocab_size": 9,
    "intermediate_size": 5, "num_experts_per_tok": 2,
}  # fmt: skip
MIXTRAL = {**SMALL, "num_local_experts": 4}
QWEN2_MOE = {**SMALL, "num_experts": 4, "moe_intermediate_size": 5, "shared_expert_intermediate_size": 3}

decoder = {
    "half": st.integers(1, 4),
    "kv": st.integers(1, 3),
    "groups": st.integers(1, 3),
    "theta": st.sampled_from([100.0, 10000.0, 1e6]),
    "experts": st.lists(st.integers(1, 6), min_size=2, max_size=2),  # the smaller one is top_k
    "num_hidden_layers": st.integers(1, 3),
    "vocab_size": st.integers(2, 50),
    "intermediate_size": st.integers(1, 24),
    "rms_norm_eps": st.sampled_from([1e-6, 1e-3]),
    "tie_word_embeddings": st.booleans(),
}


def decoder_settings(half, kv, groups, theta, experts, **rest):
    return {
        "hidden_size": 2 * half * kv * groups,
        "num_attention_heads": kv * groups,
        "num_key_value_heads": kv,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "num_experts_per_tok": min(experts),
        **rest,
    }


mixtral = st.builds(
    lambda more, **rest: {
        **decoder_settings(**rest),
        "head_dim": 2 * (rest["half"] + more),
        "num_local_experts": max(rest["experts"]),
    },
    more=st.sampled_from([0, 0, 1]),  # heads wider than d_model / n_heads
    **decoder,
)
qwen2_moe = st.builds(
    lambda **rest: {**decoder_settings(**rest), "num_experts": max(rest["experts"])},
    moe_intermediate_size=st.integers(1, 24),
    shared_expert_intermediate_size=st.integers(1, 24),
    norm_topk_prob=st.booleans(),
    qkv_bias=st.booleans(),
    **decoder,
)


def of(kind, settings, seed=0):
    """Their model; its default product over all experts refuses rows that are no multiple of 16 bytes."""
    config, model = KINDS[kind]
    theirs = made(model, config(**settings), seed)
    theirs.set_experts_implementation("eager")
    return theirs


def as_read(theirs, **changes):
    """Their model as we read it from its folder, with other settings in config.json."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        return from_pretrained(folder)


def batch(theirs, lengths, side, seed):
    """The ids that assert_parity draws after torch.manual_seed(seed), and where they are no padding."""
    torch.manual_seed(seed)
    ids = torch.randint(theirs.config.vocab_size, (len(lengths), max(lengths)))
    place = torch.arange(max(lengths))
    real = torch.stack([place < k if side == "right" else place >= max(lengths) - k for k in lengths])
    return ids, real, theirs(ids, attention_mask=real.long(), output_router_logits=True)


def no_tie(result, real, top_k):
    """Whether the last expert chosen leads by more than two orders of summation can differ by, for every token."""
    best = [logits[real.flatten()].sort(descending=True).values for logits in result.router_logits]
    return all((logits[:, top_k - 1 : top_k] - logits[:, top_k : top_k + 1] > 1e-5).all() for logits in best)


def assert_same_routing(ours, theirs, ids, real, result):
    """Router logits, and the balancing loss over all layers with and without padding."""
    top_k = theirs.config.num_experts_per_tok
    ours(ids, mask=real[:, None, None])
    found, keep = routings(ours), real.flatten()
    assert len(found) == len(result.router_logits) == theirs.config.num_hidden_layers
    for routing, expected in zip(found, result.router_logits, strict=True):
        scale = expected[keep].abs().max().clamp(min=1)
        assert (routing.logits[keep] - expected[keep]).abs().max() <= 1e-5 * scale
    together = torch.cat([routing.logits for routing in found])
    # Shares and mean probabilities, each right to the 1e-5 of the logits.
    loss = load_balancing_loss(together[keep.repeat(len(found))], top_k)
    assert loss.item() == pytest.approx(result.aux_loss.item(), rel=1e-4)
    theirs_unmasked = load_balancing_loss_func(tuple(routing.logits for routing in found), theirs.num_experts, top_k)
    assert load_balancing_loss(together, top_k).item() == pytest.approx(theirs_unmasked.item(), rel=1e-5)


def assert_all(kind, settings, seed, lengths, side):
    theirs = of(kind, settings, seed)
    ours, back = both_ways(theirs)
    back.set_experts_implementation("eager")
    ids, real, result = batch(theirs, lengths, side, seed)
    assume(no_tie(result, real, settings["num_experts_per_tok"]))
    for model in (theirs, back):  # the settings came back too, not only the tensors
        torch.manual_seed(seed)
        assert_parity(ours, model, lengths, side)
    assert_same_routing(ours, theirs, ids, real, result)
    assert (ours.lm_head.weight is ours.token_embedding.weight) == settings["tie_word_embeddings"]


@quick
@given(mixtral, seeds, lengths, st.sampled_from(["left", "right"]))
def test_mixtral(settings, seed, lengths, side):
    assert_all("mixtral", settings, seed, lengths, side)


@quick
@given(qwen2_moe, seeds, lengths, st.sampled_from(["left", "right"]))
def test_qwen2_moe(settings, seed, lengths, side):
    assert_all("qwen2_moe", settings, seed, lengths, side)


# Every setting that these families have of their own, with another value: either the logits follow or it is refused.
BOTH = {
    "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 32, "rms_norm_eps": 0.1, "tie_word_embeddings": True, "use_cache": False,
    "initializer_range": 0.5, "attention_dropout": 0.5, "num_experts_per_tok": 3, "pad_token_id": 1, "bos_token_id": 3,
    "eos_token_id": 4, "output_router_logits": True, "router_aux_loss_coef": 0.5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 50.0},
}  # fmt: skip
FOLLOWED = {
    "mixtral": {**BOTH, "intermediate_size": 7, "num_local_experts": 3, "head_dim": 6},
    "qwen2_moe": {
        **BOTH, "intermediate_size": 7, "num_experts": 3, "moe_intermediate_size": 7, "qkv_bias": False,
        "shared_expert_intermediate_size": 7, "norm_topk_prob": True, "max_window_layers": 1, "sliding_window": 2,
        "head_dim": 6,
    },
}  # fmt: skip
REFUSED = {
    "mixtral": {"hidden_act": "gelu", "sliding_window": 2, "router_jitter_noise": 0.1},
    "qwen2_moe": {
        "hidden_act": "gelu", "decoder_sparse_step": 2, "mlp_only_layers": [0], "use_sliding_window": True,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}  # fmt: skip
SMALLEST = {"mixtral": MIXTRAL, "qwen2_moe": QWEN2_MOE}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_known(kind):
    own = KINDS[kind][0]().to_dict().keys() - PretrainedConfig().to_dict().keys()
    assert own - FOLLOWED[kind].keys() - REFUSED[kind].keys() == set()


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in FOLLOWED[kind]])
def test_what_is_set_otherwise_is_followed(kind, name):
    theirs = of(kind, SMALLEST[kind] | {name: FOLLOWED[kind][name]})
    assert_parity(as_read(theirs), theirs, [3, 7], "right")


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in REFUSED[kind]])
def test_what_we_do_not_have_is_refused_by_name(kind, name):
    with pytest.raises(ModelError, match=name):
        as_read(of(kind, SMALLEST[kind]), **{name: REFUSED[kind][name]})


def test_older_files_carry_the_window_that_they_do_not_use():
    theirs = of("qwen2_moe", QWEN2_MOE)
    off = {"use_sliding_window": False, "sliding_window": 4, "max_window_layers": 1, "layer_types": None}
    assert_parity(as_read(theirs, **off), theirs, [3, 7], "right")


def test_a_silent_file_means_the_defaults_of_transformers():
    for kind, needed in (("mixtral", {"num_key_value_heads": 8}), ("qwen2_moe", {"num_key_value_heads": 16})):
        theirs = of(kind, SMALLEST[kind] | needed | {"hidden_size": 64, "num_attention_heads": 16})
        silent = dict.fromkeys(
            ("num_key_value_heads", "rms_norm_eps", "rope_parameters", "head_dim", "norm_topk_prob", "qkv_bias")
        )
        assert_parity(as_read(theirs, **silent), theirs, [3, 7], "right")


def test_files_hold_a_tensor_for_each_matrix_of_each_expert(tmp_path):
    """The names of Mixtral's and Qwen's own files, which every version of transformers reads."""
    for kind, where, parts in (
        ("mixtral", "model.layers.1.block_sparse_moe", ("w1", "w3", "w2")),
        ("qwen2_moe", "model.layers.1.mlp", ("gate_proj", "up_proj", "down_proj")),
    ):
        ours = as_read(of(kind, SMALLEST[kind]))
        to_hf(ours, tmp_path / kind)
        file = load_file(tmp_path / kind / "model.safetensors")
        layer = ours.blocks[1].feed_forward
        for part, stack in zip(parts, layer.expert_weights, strict=True):
            for expert in range(4):
                assert torch.equal(file.pop(f"{where}.experts.{expert}.{part}.weight"), stack[expert])
        assert torch.equal(file.pop(f"{where}.gate.weight"), layer.router.weight)


def test_a_missing_expert_is_named():
    theirs = of("mixtral", MIXTRAL)
    with pytest.raises(ModelError, match=r"experts\.4\.w1\.weight is missing"):
        as_read(theirs, num_local_experts=5)
    with pytest.raises(ModelError, match=r"experts\.3\.w2\.weight is left over"):
        as_read(theirs, num_local_experts=3)


def test_models_that_only_we_have_are_kept_in_our_words(tmp_path):
    settings = {"d_model": 8, "n_layers": 1, "n_heads": 2, "d_ff": 5, "position": "rope", "norm": "rms"}
    settings |= {"activation": "swiglu", "bias": False, "n_experts": 4}
    for i, (change, why) in enumerate(
        (
            ({"capacity_factor": 1.5}, "it has no capacity_factor=1.5"),
            ({"balanced_by_bias": True}, "it has no balanced_by_bias=True"),
            ({"d_shared": 3}, "mixtral cannot hold this model: it has no d_shared=3.*it has no shared_gate=False"),
        )
    ):
        torch.manual_seed(0)
        model = GPT(GPTConfig(9, **settings | change)).eval()
        if model.config.balanced_by_bias:
            model.blocks[0].feed_forward.selection_bias.normal_()
        with pytest.raises(ModelError, match=why):
            to_hf(model, tmp_path / "theirs")
        save_pretrained(model, tmp_path / str(i))
        again = from_pretrained(tmp_path / str(i))
        assert again.config == model.config
        ids = torch.arange(9)[None]
        assert torch.equal(again(ids), model(ids))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_loss_with_its_balancing(kind):
    theirs = of(kind, SMALLEST[kind])
    ours, ids = as_read(theirs), torch.randint(9, (3, 8))
    theirs(ids, labels=ids, output_router_logits=True).loss.backward()
    logits = ours(ids)
    balancing = load_balancing_loss(torch.cat([routing.logits for routing in routings(ours)]), 2)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    (loss + theirs.config.router_aux_loss_coef * balancing).backward()
    for block, layer in zip(ours.blocks, theirs.model.layers, strict=True):
        gate_up = torch.cat((block.feed_forward.gate.grad, block.feed_forward.up.grad), dim=1)
        for mine, expected in (
            (gate_up, layer.mlp.experts.gate_up_proj.grad),
            (block.feed_forward.down.grad, layer.mlp.experts.down_proj.grad),
            (block.feed_forward.router.weight.grad, layer.mlp.gate.weight.grad),
            (block.norm1.weight.grad, layer.input_layernorm.weight.grad),
        ):
            assert (mine - expected).abs().max() <= 1e-4 * expected.abs().max()
