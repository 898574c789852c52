"""Mixtral and Qwen2-MoE, as transformers writes them: in files, each expert's matrices are tensors of their own."""

from collections.abc import Set
from typing import Any

from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.hf.family import Family, Setting
from course_lib.models.hf.gpt import LLAMA_NAMES, LLAMA_SETTINGS, flat_rope, nested_rope

# How strongly their training pulls the routers towards balance, and whether they show it: no part of the model.
OF_THE_LOSS = {"output_router_logits", "router_aux_loss_coef"}
PARTS = ("gate", "up", "down")
OURS = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False}


def _without(hf: dict[str, Any], names: Set[str]) -> dict[str, Any]:
    return {name: value for name, value in hf.items() if name not in names}


MIXTRAL = Family(
    model_type="mixtral",
    architecture="MixtralForCausalLM",
    config=GPTConfig,
    model=GPT,
    settings={
        **LLAMA_SETTINGS,
        "n_kv_heads": Setting("num_key_value_heads", 8),
        "norm_eps": Setting("rms_norm_eps", 1e-5),
        "rope_theta": Setting("rope_theta", 1e6),
        "n_experts": Setting("num_local_experts"),
        "top_k": Setting("num_experts_per_tok"),
    },
    ours=OURS,
    theirs={"hidden_act": "silu", "is_causal": True},
    names={
        **LLAMA_NAMES,
        "blocks.*.feed_forward.router": "model.layers.*.block_sparse_moe.gate",
        "blocks.*.feed_forward.gate": ("model.layers.*.block_sparse_moe.experts.*.w1.weight",),
        "blocks.*.feed_forward.up": ("model.layers.*.block_sparse_moe.experts.*.w3.weight",),
        "blocks.*.feed_forward.down": ("model.layers.*.block_sparse_moe.experts.*.w2.weight",),
    },
    prefix="model.",
    ignored=("rotary_emb.inv_freq",),
    arrange=lambda hf: flat_rope(_without(hf, OF_THE_LOSS)),
    complete=nested_rope,
)


def _used(hf: dict[str, Any]) -> dict[str, Any]:
    """Without the width of layers that have no experts, since all have, and without the window unless it is used."""
    hf = _without(hf, OF_THE_LOSS | {"intermediate_size", "max_window_layers", "sliding_window"})
    full = set(hf.get("layer_types") or ()) == {"full_attention"}
    return flat_rope(_without(hf, {"layer_types"}) if full else hf)


QWEN2_MOE = Family(
    model_type="qwen2_moe",
    architecture="Qwen2MoeForCausalLM",
    config=GPTConfig,
    model=GPT,
    settings={
        **LLAMA_SETTINGS,
        "n_kv_heads": Setting("num_key_value_heads", 16),
        "d_ff": Setting("moe_intermediate_size"),
        "qkv_bias": Setting("qkv_bias", True),
        "n_experts": Setting("num_experts"),
        "top_k": Setting("num_experts_per_tok"),
        "normalised": Setting("norm_topk_prob", False),
        "d_shared": Setting("shared_expert_intermediate_size"),
    },
    ours=OURS | {"shared_gate": True},
    theirs={"hidden_act": "silu", "is_causal": True, "decoder_sparse_step": 1},
    names={
        **LLAMA_NAMES,
        "blocks.*.feed_forward.router": "model.layers.*.mlp.gate",
        **{f"blocks.*.feed_forward.{part}": (f"model.layers.*.mlp.experts.*.{part}_proj.weight",) for part in PARTS},
        **{f"blocks.*.feed_forward.shared.{part}": f"model.layers.*.mlp.shared_expert.{part}_proj" for part in PARTS},
        "blocks.*.feed_forward.shared_gate": "model.layers.*.mlp.shared_expert_gate",
    },
    prefix="model.",
    ignored=("rotary_emb.inv_freq",),
    arrange=_used,
    complete=nested_rope,
)
