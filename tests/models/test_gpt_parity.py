"""Our GPT gives the logits of transformers, on random small models through padding and at several lengths."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import GPT2, LLAMA, assert_parity, both_ways, gpt2, lengths, llama, made, quick, seeds
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from course_lib.errors import ModelError
from course_lib.interop import from_hf
from course_lib.interop.hf import LLAMA as LLAMA_FAMILY

KINDS = {GPT2Config: GPT2LMHeadModel, LlamaConfig: LlamaForCausalLM}


@quick
@given(gpt2, seeds, lengths, st.sampled_from(["left", "right"]))
def test_gpt2(settings, seed, lengths, side):
    theirs = made(GPT2LMHeadModel, GPT2Config(**settings), seed)
    ours, back = both_ways(theirs)
    assert_parity(ours, theirs, lengths, side)
    assert_parity(ours, back, lengths, side)  # the settings came back too, not only the tensors
    assert not ours.training
    assert (ours.lm_head.weight is ours.token_embedding.weight) == settings["tie_word_embeddings"]


@quick
@given(llama, seeds, lengths, st.sampled_from(["left", "right"]))
def test_llama(settings, seed, lengths, side):
    theirs = made(LlamaForCausalLM, LlamaConfig(**settings), seed)
    ours, back = both_ways(theirs)
    assert_parity(ours, theirs, lengths, side)
    assert_parity(ours, back, lengths, side)


@pytest.mark.parametrize(
    ("base", "change", "name"),
    [
        (GPT2, {"model_type": "mistral"}, "mistral"),
        (GPT2, {"activation_function": "mish"}, "activation_function"),
        (GPT2, {"scale_attn_weights": False}, "scale_attn_weights"),
        (GPT2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        (GPT2, {"add_cross_attention": True}, "add_cross_attention"),
        (GPT2, {"a_setting_of_next_year": 3}, "a_setting_of_next_year"),
        (GPT2, {"vocab_size": None}, "no vocab_size"),
        (GPT2, {"is_causal": False}, "is_causal=False"),
        (LLAMA, {"is_causal": False}, "is_causal=False"),
        (LLAMA, {"rope_parameters": [1]}, "rope_parameters="),
        (LLAMA, {"hidden_act": "gelu"}, "hidden_act"),
        (LLAMA, {"attention_bias": True}, "mlp_bias"),
        (LLAMA, {"mlp_bias": True}, "mlp_bias"),
        (LLAMA, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
        (LLAMA, {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_parameters.rope_type='yarn'"),
        (LLAMA, {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        (LLAMA, {"sliding_window": 128}, "sliding_window"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(base, change, name):
    state = made(KINDS[type(base)], base, 0).state_dict()
    assert from_hf(base.to_dict(), state)
    with pytest.raises(ModelError, match=name):
        from_hf(base.to_dict() | change, state)


def test_old_files_carry_masks_and_frequencies_along():
    for config, kind, extra in (
        (
            GPT2,
            GPT2LMHeadModel,
            {"transformer.h.0.attn.bias": torch.ones(4, 4), "transformer.h.0.attn.masked_bias": -1e4},
        ),
        (LLAMA, LlamaForCausalLM, {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}),
    ):
        theirs = made(kind, config, 0)
        assert_parity(from_hf(config.to_dict(), theirs.state_dict() | extra), theirs, [3], "right")


def test_gpt2_files_without_prefix_and_head():
    theirs = made(GPT2LMHeadModel, GPT2, 0)
    assert_parity(from_hf(GPT2.to_dict(), theirs.transformer.state_dict()), theirs, [3], "right")


def test_older_configs_write_theta_by_itself():
    settings = LLAMA.to_dict() | {"rope_parameters": None, "rope_theta": 500.0}
    assert LLAMA_FAMILY.read(settings).rope_theta == 500.0


def test_missing_and_odd_tensors_are_listed():
    model = LlamaForCausalLM(LLAMA)
    state = model.state_dict()
    state["model.layers.0.self_attn.rotary.weight"] = torch.ones(1)
    del state["model.norm.weight"]
    state["model.embed_tokens.weight"] = torch.ones(3, 8)
    with pytest.raises(ModelError) as refusal:
        from_hf(LLAMA.to_dict(), state)
    for problem in (
        "model.norm.weight is missing",
        "model.layers.0.self_attn.rotary.weight is left over",
        "model.embed_tokens.weight has the shape (3, 8), not (9, 8)",
    ):
        assert problem in str(refusal.value)
    del state["model.layers.0.self_attn.q_proj.weight"]
    with pytest.raises(ModelError, match=r"layers\.0\.self_attn\.q_proj\.weight is missing"):
        from_hf(LLAMA.to_dict(), state)
