"""Our mixture of experts gives the logits, routing and losses of Mixtral and Qwen2-MoE in transformers."""

import tempfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import assert_parity, both_ways, lengths, made, quick, seeds
from transformers import MixtralConfig, MixtralForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from course_lib.models import from_pretrained
from course_lib.nn import load_balancing_loss, routings

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


def as_read(theirs):
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return from_pretrained(folder)


def assert_same_routing(ours, theirs, lengths, side):
    """Router logits, and the balancing loss over all layers with and without padding."""
    n, top_k = max(lengths), theirs.config.num_experts_per_tok
    ids, place = torch.randint(theirs.config.vocab_size, (len(lengths), n)), torch.arange(n)
    real = torch.stack([place < k if side == "right" else place >= n - k for k in lengths])
    result = theirs(ids, attention_mask=real.long(), output_router_logits=True)
    ours(ids, mask=real[:, None, None])
    found, keep = routings(ours), real.flatten()
    assert len(found) == len(result.router_logits) == theirs.config.num_hidden_layers
    for routing, expected in zip(found, result.router_logits, strict=True):
        scale = expected[keep].abs().max().clamp(min=1)
        assert (routing.logits[keep] - expected[keep]).abs().max() <= 1e-5 * scale
    together = torch.cat([routing.logits for routing in found])
    # Shares and mean probabilities, each right to the 1e-5 of the logits.
    loss = load_balancing_loss(together, top_k, keep.repeat(len(found)))
    assert loss.item() == pytest.approx(result.aux_loss.item(), rel=1e-4)
    theirs_unmasked = load_balancing_loss_func(tuple(routing.logits for routing in found), theirs.num_experts, top_k)
    assert load_balancing_loss(together, top_k).item() == pytest.approx(theirs_unmasked.item(), rel=1e-5)


def assert_all(kind, settings, seed, lengths, side):
    theirs = of(kind, settings, seed)
    ours, back = both_ways(theirs)
    back.set_experts_implementation("eager")
    assert_parity(ours, theirs, lengths, side)
    assert_parity(ours, back, lengths, side)  # the settings came back too, not only the tensors
    assert_same_routing(ours, theirs, lengths, side)
    assert (ours.head.weight is ours.tokens.weight) == settings["tie_word_embeddings"]


@quick
@given(mixtral, seeds, lengths, st.sampled_from(["left", "right"]))
def test_mixtral(settings, seed, lengths, side):
    assert_all("mixtral", settings, seed, lengths, side)


@quick
@given(qwen2_moe, seeds, lengths, st.sampled_from(["left", "right"]))
def test_qwen2_moe(settings, seed, lengths, side):
    assert_all("qwen2_moe", settings, seed, lengths, side)
