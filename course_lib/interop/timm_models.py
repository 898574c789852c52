"""Weights of the timm library: its ViT as ours, and weight files for a vision tower."""

from pathlib import Path
from typing import Any

from torch import nn

from course_lib.errors import ModelError
from course_lib.interop.hf.family import Family
from course_lib.interop.loading import load_tensors
from course_lib.interop.model_files import read_tensors
from course_lib.models.vision_tower import VisionTower
from course_lib.models.vit import ViT, ViTConfig

# The modules that a ViT of timm may consist of; any other is refused.
PARTS = {
    "Attention", "Block", "Conv2d", "DropPath", "Dropout", "Identity", "LayerNorm", "Linear", "Mlp", "PatchDropout",
    "PatchEmbed", "Sequential", "VisionTransformer",
}  # fmt: skip
ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "ReLU": "relu", "SiLU": "silu"}
POOLS = {"token": "token", "avg": "mean"}
TIMM = Family(
    model_type="timm",
    architecture="VisionTransformer",
    config=ViTConfig,
    model=ViT,
    settings={},
    names={
        "patches": "patch_embed.proj",
        "class_token": "cls_token",
        "position.weight": "pos_embed",
        "pre_norm": "norm_pre",
        "blocks.*.norm1": "blocks.*.norm1",
        "blocks.*.attention.qkv": "blocks.*.attn.qkv",
        "blocks.*.attention.out": "blocks.*.attn.proj",
        "blocks.*.norm2": "blocks.*.norm2",
        "blocks.*.feed_forward.up": "blocks.*.mlp.fc1",
        "blocks.*.feed_forward.down": "blocks.*.mlp.fc2",
        "norm": "norm",
        "head": "head",
    },
    unsqueezed={"class_token": 2, "position.weight": 1},
)


def from_timm(model: Any) -> ViT:
    """Build our ViT with a copy of the weights of timm's VisionTransformer, in eval mode.

    Raises:
        ModelError: If this is another model, or has a part or setting that ours does not have; the message names it.
    """
    activation = type(model.blocks[0].mlp.act).__name__ if type(model).__name__ == "VisionTransformer" else ""
    strange = {type(part).__name__ for part in model.modules()} - PARTS - ({activation} & ACTIVATIONS.keys())
    if strange:
        raise ModelError(f"a model with {', '.join(sorted(strange))} is not supported; VisionTower takes it as it is")
    embed, first = model.patch_embed, model.blocks[0]
    refused = {
        "global_pool": model.global_pool not in POOLS and model.global_pool,
        "pool_include_prefix": model.pool_include_prefix,
        "no_embed_class": model.no_embed_class and model.has_class_token,
        "reg_tokens": model.num_reg_tokens,
        "dynamic_img_pad": embed.dynamic_img_pad,
        "final_norm": isinstance(model.norm, nn.Identity) and isinstance(model.fc_norm, nn.Identity) and "False",
        "approximate": getattr(first.mlp.act, "approximate", "none") != "none" and first.mlp.act.approximate,
    }
    for name, value in refused.items():
        if value:
            raise ModelError(f"{name}={value} is not supported")
    for name in ("img_size", "patch_size"):
        if len(set(getattr(embed, name))) != 1:
            raise ModelError(f"{name}={getattr(embed, name)} is not supported; it must be square")
    norm_pooled = isinstance(model.norm, nn.Identity)
    config = ViTConfig(
        image_size=embed.img_size[0],
        patch_size=embed.patch_size[0],
        channels=embed.proj.in_channels,
        d_model=model.embed_dim,
        n_layers=len(model.blocks),
        n_heads=first.attn.num_heads,
        d_ff=first.mlp.fc1.out_features,
        n_classes=model.num_classes,
        activation=ACTIVATIONS[activation],
        qkv_bias=first.attn.qkv.bias is not None,
        class_token=model.has_class_token,
        pool=POOLS[model.global_pool],
        norm_pooled=norm_pooled,
        pre_norm=not isinstance(model.norm_pre, nn.Identity),
        patch_bias=embed.proj.bias is not None,
        norm_eps=first.norm1.eps,
    )
    ours = ViT(config)
    load_tensors(ours, {name.replace("fc_norm.", "norm."): t.clone() for name, t in model.state_dict().items()}, TIMM)
    return ours.eval()


def load_timm_weights(tower: VisionTower, file: str | Path) -> None:
    """Load a timm model's trained weights into a vision tower, all but its output layer.

    Args:
        tower: The vision tower, made for the same image size.
        file: A safetensors file whose tensors are named as in timm.

    Raises:
        ModelError: If the file is missing or damaged, or if tensors are missing, left over or of another shape, such as
            positions for another image size; the message lists them.
    """
    settings: Any = tower.model.pretrained_cfg
    classifier = settings["classifier"]
    heads = classifier if isinstance(classifier, tuple) else (classifier or (),)
    state = read_tensors(Path(file))
    output_layers = tuple(f"{head}." for head in heads)
    load_tensors(tower.model, {name: t for name, t in state.items() if not name.startswith(output_layers)})
