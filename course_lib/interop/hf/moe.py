"""Mixtral and Qwen2-MoE in the format of transformers: in files, each expert's matrices are separate tensors."""

from dataclasses import replace
from typing import Any

from course_lib.interop.hf.family import Setting
from course_lib.interop.hf.gpt import LLAMA, LLAMA_NAMES, LLAMA_SETTINGS, flat_rope

# The weight of the load-balancing loss in training, and whether the router's logits are returned: not the model's.
OF_THE_LOSS = {"output_router_logits", "router_aux_loss_coef"}
PARTS = ("gate", "up", "down")
FIXED = {**LLAMA.fixed, "bias": False}

MIXTRAL = replace(
    LLAMA,
    model_type="mixtral",
    architecture="MixtralForCausalLM",
    settings={
        **LLAMA_SETTINGS,
        "n_kv_heads": Setting("num_key_value_heads", 8),
        "norm_eps": Setting("rms_norm_eps", 1e-5),
        "rope_theta": Setting("rope_theta", 1e6),
        "n_experts": Setting("num_local_experts"),
        "top_k": Setting("num_experts_per_tok"),
    },
    fixed=FIXED,
    harmless=OF_THE_LOSS,
    names={
        **LLAMA_NAMES,
        "blocks.*.feed_forward.router": "model.layers.*.block_sparse_moe.gate",
        "blocks.*.feed_forward.gate": "model.layers.*.block_sparse_moe.experts.*.w1.weight",
        "blocks.*.feed_forward.up": "model.layers.*.block_sparse_moe.experts.*.w3.weight",
        "blocks.*.feed_forward.down": "model.layers.*.block_sparse_moe.experts.*.w2.weight",
    },
)


def _flatten(hf: dict[str, Any]) -> dict[str, Any]:
    """Drop the list of layer types if there is only one: full attention."""
    full = set(hf.get("layer_types") or ()) == {"full_attention"}
    return flat_rope(hf | {"layer_types": None} if full else hf)


QWEN2_MOE = replace(
    LLAMA,
    model_type="qwen2_moe",
    architecture="Qwen2MoeForCausalLM",
    settings={
        **LLAMA_SETTINGS,
        "n_kv_heads": Setting("num_key_value_heads", 16),
        "d_ff": Setting("moe_intermediate_size"),
        "qkv_bias": Setting("qkv_bias", True),
        "n_experts": Setting("num_experts"),
        "top_k": Setting("num_experts_per_tok"),
        "norm_topk_prob": Setting("norm_topk_prob", False),
        "d_shared": Setting("shared_expert_intermediate_size"),
    },
    fixed={**FIXED, "shared_gate": True},
    expected={**LLAMA.expected, "decoder_sparse_step": 1},
    # The width of layers without experts, which do not occur, and a window that only use_sliding_window turns on.
    harmless=OF_THE_LOSS | {"intermediate_size", "max_window_layers", "sliding_window"},
    names={
        **LLAMA_NAMES,
        "blocks.*.feed_forward.router": "model.layers.*.mlp.gate",
        **{f"blocks.*.feed_forward.{part}": f"model.layers.*.mlp.experts.*.{part}_proj.weight" for part in PARTS},
        **{f"blocks.*.feed_forward.shared.{part}": f"model.layers.*.mlp.shared_expert.{part}_proj" for part in PARTS},
        "blocks.*.feed_forward.shared_gate": "model.layers.*.mlp.shared_expert_gate",
    },
    flatten=_flatten,
)
