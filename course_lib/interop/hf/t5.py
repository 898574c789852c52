"""T5 and T5 v1.1 in the format of transformers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from course_lib.errors import ModelError
from course_lib.interop.hf.family import Family, Names, Setting
from course_lib.models.t5 import T5 as Model
from course_lib.models.t5 import T5Config

# Configs repeat the parts of feed_forward_proj.
IMPLIED = {
    "relu": {"dense_act_fn": "relu", "is_gated_act": False},
    "gated-gelu": {"dense_act_fn": "gelu_new", "is_gated_act": True},
}


def _each_said_once(hf: dict[str, Any]) -> dict[str, Any]:
    """Drop settings that are said twice, and add one that is implied.

    Until transformers 5, tie_word_embeddings=False also meant that the output layer reads its input unscaled.
    """
    for name, value in IMPLIED.get(hf.get("feed_forward_proj") or "relu", {}).items():
        if (found := hf.pop(name, None)) not in (value, None):
            raise ModelError(f"{name}={found!r} is not supported beside feed_forward_proj")
    return {"scale_decoder_outputs": hf.get("tie_word_embeddings") is not False} | hf


def _own_head(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Find out from the tensors if the output layer is tied: transformers 5 always writes tie_word_embeddings=True."""
    head, shared = tensors.get("lm_head.weight"), tensors.get("shared.weight")
    return {} if head is None or shared is None or torch.equal(head, shared) else {"tie_embeddings": False}


def _names(config: T5Config) -> Names:
    names: Names = {"token_embedding": "shared", "lm_head": "lm_head"}
    up = "wi" if config.activation == "relu" else "wi_1"
    for side, last in (("encoder", 1), ("decoder", 2)):  # the last layer of a block is the feed-forward one
        blocks, layer = f"{side}.blocks.*", f"{side}.block.*.layer"
        names |= {
            f"{side}.token_embedding": f"{side}.embed_tokens",
            f"{side}.position.bias": f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias",
            f"{blocks}.norm1": f"{layer}.0.layer_norm",
            f"{blocks}.attention.qkv": tuple(f"{layer}.0.SelfAttention.{part}" for part in "qkv"),
            f"{blocks}.attention.out": f"{layer}.0.SelfAttention.o",
            f"{blocks}.cross_norm": f"{layer}.1.layer_norm",
            f"{blocks}.cross_attention.qkv": tuple(f"{layer}.1.EncDecAttention.{part}" for part in "qkv"),
            f"{blocks}.cross_attention.out": f"{layer}.1.EncDecAttention.o",
            f"{blocks}.norm2": f"{layer}.{last}.layer_norm",
            f"{blocks}.feed_forward.gate": f"{layer}.{last}.DenseReluDense.wi_0",
            f"{blocks}.feed_forward.up": f"{layer}.{last}.DenseReluDense.{up}",
            f"{blocks}.feed_forward.down": f"{layer}.{last}.DenseReluDense.wo",
            f"{side}.norm": f"{side}.final_layer_norm",
        }
    return names


T5 = Family(
    model_type="t5",
    architecture="T5ForConditionalGeneration",
    config=T5Config,
    model=Model,
    settings={
        "vocab_size": Setting("vocab_size"),
        "d_model": Setting("d_model"),
        "n_layers": Setting("num_layers"),
        "n_decoder_layers": Setting("num_decoder_layers", None),
        "n_heads": Setting("num_heads"),
        "head_dim": Setting("d_kv"),
        "d_ff": Setting("d_ff"),
        "activation": Setting("feed_forward_proj", "relu", {"relu": "relu", "gated-gelu": "geglu"}),
        "n_buckets": Setting("relative_attention_num_buckets", 32),
        "max_distance": Setting("relative_attention_max_distance", 128),
        "tie_embeddings": Setting("tie_word_embeddings", True),
        "scale_logits": Setting("scale_decoder_outputs", True),
        "norm_eps": Setting("layer_norm_epsilon", 1e-6),
    },
    expected={"is_encoder_decoder": True},
    harmless={"n_positions", "output_past"},  # in old files; nothing reads them
    names=_names,
    # A mistake in some published files; cross-attention does not use it.
    ignored_tensors=("EncDecAttention.relative_attention_bias.weight",),
    flatten=_each_said_once,
    finish=lambda hf: hf | {"decoder_start_token_id": 0, "pad_token_id": 0},  # as in all published files
    detect=_own_head,
)
