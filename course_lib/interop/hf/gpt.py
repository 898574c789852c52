"""GPT-2 and Llama in the format of transformers."""

from typing import Any

from course_lib.errors import ModelError
from course_lib.interop.hf.family import ACTIVATIONS, Family, Names, Setting
from course_lib.models.gpt import GPT, GPTConfig

GPT2 = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    config=GPTConfig,
    model=GPT,
    settings={
        "vocab_size": Setting("vocab_size"),
        "context": Setting("n_positions"),
        "d_model": Setting("n_embd"),
        "n_layers": Setting("n_layer"),
        "n_heads": Setting("n_head"),
        "d_ff": Setting("n_inner", None),
        "activation": Setting("activation_function", "gelu_new", ACTIVATIONS),
        "tie_embeddings": Setting("tie_word_embeddings", True),
        "norm_eps": Setting("layer_norm_epsilon", 1e-5),
    },
    expected={"scale_attn_weights": True, "is_causal": True},
    names={
        "token_embedding": "transformer.wte",
        "position": "transformer.wpe",
        "blocks.*.norm1": "transformer.h.*.ln_1",
        "blocks.*.attention.qkv": "transformer.h.*.attn.c_attn",
        "blocks.*.attention.out": "transformer.h.*.attn.c_proj",
        "blocks.*.norm2": "transformer.h.*.ln_2",
        "blocks.*.feed_forward.up": "transformer.h.*.mlp.c_fc",
        "blocks.*.feed_forward.down": "transformer.h.*.mlp.c_proj",
        "norm": "transformer.ln_f",
        "lm_head": "lm_head",
    },
    transposed=True,  # GPT-2 was written with convolutions of width 1
    prefix="transformer.",
    ignored_tensors=(".attn.bias", ".attn.masked_bias"),  # the causal mask, which old files contain
)


def flat_rope(hf: dict[str, Any]) -> dict[str, Any]:
    """Put RoPE's settings beside the others, as before transformers 5."""
    rope = hf.pop("rope_parameters", None) or {}
    if not isinstance(rope, dict):
        raise ModelError(f"rope_parameters={rope!r} is not supported")
    if rope.get("rope_type") == "default":
        rope = {name: value for name, value in rope.items() if name != "rope_type"}
    # Unknown settings are refused by the names that they have here.
    return hf | {name if name == "rope_theta" else f"rope_parameters.{name}": value for name, value in rope.items()}


def nested_rope(hf: dict[str, Any]) -> dict[str, Any]:
    """Put RoPE's settings also where transformers 5 reads them."""
    return hf | {"rope_parameters": {"rope_type": "default", "rope_theta": hf["rope_theta"]}}


LLAMA_SETTINGS = {
    "vocab_size": Setting("vocab_size"),
    "context": Setting("max_position_embeddings", 2048),
    "d_model": Setting("hidden_size"),
    "n_layers": Setting("num_hidden_layers"),
    "n_heads": Setting("num_attention_heads"),
    "n_kv_heads": Setting("num_key_value_heads", None),
    "head_dim": Setting("head_dim", None),
    "d_ff": Setting("intermediate_size"),
    "tie_embeddings": Setting("tie_word_embeddings", False),
    "norm_eps": Setting("rms_norm_eps", 1e-6),
    "rope_theta": Setting("rope_theta", 10000.0),
}
LLAMA_NAMES: Names = {
    "token_embedding": "model.embed_tokens",
    "blocks.*.norm1": "model.layers.*.input_layernorm",
    "blocks.*.attention.qkv": tuple(f"model.layers.*.self_attn.{part}_proj" for part in "qkv"),
    "blocks.*.attention.out": "model.layers.*.self_attn.o_proj",
    "blocks.*.norm2": "model.layers.*.post_attention_layernorm",
    "norm": "model.norm",
    "lm_head": "lm_head",
}
LLAMA_MLP_NAMES: Names = {
    f"blocks.*.feed_forward.{part}": f"model.layers.*.mlp.{part}_proj" for part in ("gate", "up", "down")
}
LLAMA = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    config=GPTConfig,
    model=GPT,
    settings={**LLAMA_SETTINGS, "bias": Setting(("attention_bias", "mlp_bias"), False)},
    fixed={"position": "rope", "norm": "rms", "activation": "swiglu"},
    expected={"hidden_act": "silu", "is_causal": True},
    names=LLAMA_NAMES | LLAMA_MLP_NAMES,
    prefix="model.",
    ignored_tensors=("rotary_emb.inv_freq",),  # in old files
    flatten=flat_rope,
    finish=nested_rope,
)
