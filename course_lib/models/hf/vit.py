"""ViT and the vision tower of CLIP, as transformers writes them."""

from collections.abc import Set
from typing import Any

from course_lib.models.hf.family import ACTIVATIONS, Family, ModelError, Setting
from course_lib.models.vit import ViT, ViTConfig


def _number_of_labels(hf: dict[str, Any]) -> dict[str, Any]:
    """Transformers writes the names of the classes in place of their number, unless there are two without names."""
    labels = hf.get("id2label")
    hf = hf if labels is None else hf | {"num_labels": len(labels)}
    of_models_without_classes = {"encoder_stride", "pooler_act", "pooler_output_size"}
    return _without(of_models_without_classes, _square(hf))


def _names_of_labels(hf: dict[str, Any]) -> dict[str, Any]:
    names = [f"LABEL_{i}" for i in range(hf["num_labels"])]  # as transformers makes them up
    id2label = {str(i): name for i, name in enumerate(names)}
    return _without({"num_labels"}, hf | {"id2label": id2label, "label2id": {name: i for i, name in enumerate(names)}})


def _square(hf: dict[str, Any]) -> dict[str, Any]:
    """Sizes by one side, where a file names two."""
    for name in ("image_size", "patch_size"):
        sides = hf.get(name)
        if isinstance(sides, list | tuple):
            if len(set(sides)) != 1:
                raise ModelError(f"{name}={sides!r} is not supported; it must be square")
            hf = hf | {name: sides[0]}
    return hf


def _without(unread: Set[str], hf: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hf.items() if name not in unread}


VIT = Family(
    model_type="vit",
    architecture="ViTForImageClassification",
    config=ViTConfig,
    model=ViT,
    settings={
        "image_size": Setting("image_size", 224),
        "patch_size": Setting("patch_size", 16),
        "channels": Setting("num_channels", 3),
        "d_model": Setting("hidden_size", 768),
        "n_layers": Setting("num_hidden_layers", 12),
        "n_heads": Setting("num_attention_heads", 12),
        "d_ff": Setting("intermediate_size", 3072),
        "n_classes": Setting("num_labels", 2),
        "activation": Setting("hidden_act", "gelu", ACTIVATIONS),
        "qkv_bias": Setting("qkv_bias", True),
        "norm_eps": Setting("layer_norm_eps", 1e-12),
    },
    names={
        "patches": "vit.embeddings.patch_embeddings.projection",
        "class_token": "vit.embeddings.cls_token",
        "position.weight": "vit.embeddings.position_embeddings",
        "blocks.*.norm1": "vit.encoder.layer.*.layernorm_before",
        "blocks.*.attention.qkv": tuple(
            f"vit.encoder.layer.*.attention.attention.{part}" for part in ("query", "key", "value")
        ),
        "blocks.*.attention.out": "vit.encoder.layer.*.attention.output.dense",
        "blocks.*.norm2": "vit.encoder.layer.*.layernorm_after",
        "blocks.*.feed_forward.up": "vit.encoder.layer.*.intermediate.dense",
        "blocks.*.feed_forward.down": "vit.encoder.layer.*.output.dense",
        "norm": "vit.layernorm",
        "head": "classifier",
    },
    unsqueezed={"class_token": 2, "position.weight": 1},
    prefix="vit.",
    arrange=_number_of_labels,
    complete=_names_of_labels,
)
VISION_NAMES: dict[str, str | tuple[str, ...]] = {
    "patches": "vision_model.embeddings.patch_embedding",
    "class_token": "vision_model.embeddings.class_embedding",
    "position": "vision_model.embeddings.position_embedding",
    "pre_norm": "vision_model.pre_layrnorm",
    "blocks.*.norm1": "vision_model.encoder.layers.*.layer_norm1",
    "blocks.*.attention.qkv": tuple(f"vision_model.encoder.layers.*.self_attn.{part}_proj" for part in "qkv"),
    "blocks.*.attention.out": "vision_model.encoder.layers.*.self_attn.out_proj",
    "blocks.*.norm2": "vision_model.encoder.layers.*.layer_norm2",
    "blocks.*.feed_forward.up": "vision_model.encoder.layers.*.mlp.fc1",
    "blocks.*.feed_forward.down": "vision_model.encoder.layers.*.mlp.fc2",
    "norm": "vision_model.post_layernorm",
}
CLIP_VISION = Family(
    model_type="clip_vision_model",
    architecture="CLIPVisionModel",
    config=ViTConfig,
    model=ViT,
    settings={
        "image_size": Setting("image_size", 224),
        "patch_size": Setting("patch_size", 32),
        "channels": Setting("num_channels", 3),
        "d_model": Setting("hidden_size", 768),
        "n_layers": Setting("num_hidden_layers", 12),
        "n_heads": Setting("num_attention_heads", 12),
        "d_ff": Setting("intermediate_size", 3072),
        "activation": Setting("hidden_act", "quick_gelu", ACTIVATIONS),
        "norm_eps": Setting("layer_norm_eps", 1e-5),
    },
    ours={"pre_norm": True},
    names=VISION_NAMES,
    prefix="vision_model.",
    ignored=("embeddings.position_ids",),  # 0, 1, 2, ..., which old files carry along
    # projection_dim: of the layer that CLIP has on top. vocab_size: of nothing; LLaVA's files have it all the same.
    arrange=lambda hf: _without({"projection_dim", "vocab_size"}, _square(hf)),
)
