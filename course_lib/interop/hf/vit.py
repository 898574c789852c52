"""ViT in the format of transformers."""

from typing import Any

from course_lib.errors import ModelError
from course_lib.interop.hf.family import ACTIVATIONS, Family, Setting
from course_lib.models.vit import ViT, ViTConfig


def square(hf: dict[str, Any]) -> dict[str, Any]:
    """Replace sizes given for both sides by one number."""
    for name in ("image_size", "patch_size"):
        sides = hf.get(name)
        if isinstance(sides, list | tuple):
            if len(set(sides)) != 1:
                raise ModelError(f"{name}={sides!r} is not supported; it must be square")
            hf = hf | {name: sides[0]}
    return hf


def _number_of_labels(hf: dict[str, Any]) -> dict[str, Any]:
    """Read the number of classes, for which transformers writes the names of the classes."""
    labels = hf.get("id2label")
    return square(hf if labels is None else hf | {"num_labels": len(labels)})


VIT_SETTINGS = {
    "image_size": Setting("image_size", 224),
    "patch_size": Setting("patch_size", 16),
    "channels": Setting("num_channels", 3),
    "d_model": Setting("hidden_size", 768),
    "n_layers": Setting("num_hidden_layers", 12),
    "n_heads": Setting("num_attention_heads", 12),
    "d_ff": Setting("intermediate_size", 3072),
    "activation": Setting("hidden_act", "gelu", ACTIVATIONS),
    "norm_eps": Setting("layer_norm_eps", 1e-12),
}
LAYER = "vit.encoder.layer.*."
VIT = Family(
    model_type="vit",
    architecture="ViTForImageClassification",
    config=ViTConfig,
    model=ViT,
    settings={
        **VIT_SETTINGS,
        "n_classes": Setting("num_labels", 2),
        "qkv_bias": Setting("qkv_bias", True),
    },
    harmless={"encoder_stride", "pooler_act", "pooler_output_size"},  # for models without classes
    names={
        "patches": "vit.embeddings.patch_embeddings.projection",
        "class_token": "vit.embeddings.cls_token",
        "position.weight": "vit.embeddings.position_embeddings",
        "blocks.*.norm1": LAYER + "layernorm_before",
        "blocks.*.attention.qkv": tuple(f"{LAYER}attention.attention.{part}" for part in ("query", "key", "value")),
        "blocks.*.attention.out": LAYER + "attention.output.dense",
        "blocks.*.norm2": LAYER + "layernorm_after",
        "blocks.*.feed_forward.up": LAYER + "intermediate.dense",
        "blocks.*.feed_forward.down": LAYER + "output.dense",
        "norm": "vit.layernorm",
        "head": "classifier",
    },
    unsqueezed={"class_token": 2, "position.weight": 1},
    prefix="vit.",
    flatten=_number_of_labels,
)
