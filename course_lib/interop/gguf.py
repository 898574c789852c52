"""Llama-style weights from a GGUF file, as read and dequantized by `course_lib.data.packages.pretrained`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from course_lib.errors import ModelError
from course_lib.interop.model_folder import from_hf
from course_lib.models.gpt import GPT

SETTINGS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
    "rope.dimension_count": "head_dim",
}
PARTS = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def from_gguf(fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> GPT:
    """Build a GPT, in eval mode, from the contents of a GGUF file of the llama family.

    Args:
        fields: The metadata of the file.
        tensors: The tensors of the file, in float32.

    Raises:
        ValueError: If the file is of another family, or has a setting that is not supported.
        ModelError: If tensors are missing or do not fit.
    """
    family = fields.get("general.architecture")
    if family != "llama":
        raise ValueError(f'a GGUF file of architecture "{family}" is not supported; pass one of "llama"')
    hf: dict[str, Any] = {"model_type": "llama", "tie_word_embeddings": "output.weight" not in tensors}
    if "token_embd.weight" not in tensors:
        raise ModelError("token_embd.weight is missing; is the file complete?")
    hf["vocab_size"] = tensors["token_embd.weight"].shape[0]
    for key, value in fields.items():
        if key.startswith("llama."):
            name = key.removeprefix("llama.")
            hf[SETTINGS.get(name, name)] = value  # `from_hf` refuses an unknown name
    heads = {"attn_q": hf["num_attention_heads"], "attn_k": hf.get("num_key_value_heads", hf["num_attention_heads"])}

    state = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".", 2)
            if part in heads:
                tensor = _half_split(tensor, heads[part])
            state[f"model.layers.{layer}.{PARTS.get(part, part)}.{kind}"] = tensor
        else:
            state[f"{WHOLE.get(stem, stem)}.{kind}"] = tensor
    model = from_hf(hf, state)
    assert isinstance(model, GPT)
    return model


def _half_split(rows: Tensor, n_heads: int) -> Tensor:
    """Reorder rows for RoPE: GGUF keeps the two rows of a pair side by side, we keep them in two halves of a head."""
    return rows.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)
