"""timm's models: any of them as the eyes of a vision-text model, and its ViT as ours."""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.interop.folder import load, read_tensors
from course_lib.interop.hf.family import Family, ModelError
from course_lib.models.vit import ViT, ViTConfig, check_pictures

# What a ViT of timm may be made of, so that nothing else is passed over.
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
    """Our ViT with the weights of timm's VisionTransformer, in eval mode; they are copied.

    Raises ModelError for any other model, and for a part or setting that ours does not have, by its name.
    """
    activation = type(model.blocks[0].mlp.act).__name__ if type(model).__name__ == "VisionTransformer" else ""
    strange = {type(part).__name__ for part in model.modules()} - PARTS - ({activation} & ACTIVATIONS.keys())
    if strange:
        raise ModelError(f"a model with {', '.join(sorted(strange))} is not supported; vision_tower takes it as it is")
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
    load(ours, {name.replace("fc_norm.", "norm."): t.clone() for name, t in model.state_dict().items()}, TIMM)
    return ours.eval()


def vision_tower(
    model: str | nn.Module, image_size: int | None = None, weights: str | Path | None = None
) -> "VisionTower":
    """A model of timm, by its name or ready-made, as the eyes of a vision-text model; nothing is downloaded.

    image_size: pixels a side; None for the size that the model was trained with.
    weights: a safetensors file of a model given by name, its tensors named as timm does; None for random weights. The
    output layer is left out.
    Raises ModelError for a name or file that is none, tensors that do not fit (positions for another image_size, for
    one), a size that the model cannot take, and the few models without features for each place.
    """
    if isinstance(model, str):
        model = _create(model, image_size, weights)
    elif weights is not None:
        raise ModelError("weights are read for a model that is given by its name; load them into the model yourself")
    trained: Any = getattr(model, "pretrained_cfg", None)
    if not trained or not hasattr(model, "forward_features"):
        raise ModelError(f"{type(model).__name__} is no model of timm.create_model; make it there, or give its name")
    return VisionTower(model, image_size or trained["input_size"][-1])


def _create(name: str, image_size: int | None, weights: str | Path | None) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ModelError("vision towers need timm; install it: pip install timm") from None
    if not timm.is_model(name):
        raise ModelError(f'timm has no model "{name}"; timm.list_models("*vit*") lists those with vit in their names')
    options: dict[str, Any] = {"num_classes": 0}
    trained: Any = timm.get_pretrained_cfg(name)
    if image_size and trained.fixed_input_size:  # the others take any size and no such option
        options["img_size"] = image_size
    try:
        model = timm.create_model(name, **options)
    except Exception as error:  # of many kinds, by architecture
        raise ModelError(f"timm cannot make {name} with {options}: {error}") from None
    if weights is not None:  # here and not by timm, which would pass over tensors that are missing
        heads = trained.classifier if isinstance(trained.classifier, tuple) else (trained.classifier or (),)
        state = read_tensors(Path(weights))
        load(model, {n: tensor for n, tensor in state.items() if not n.startswith(tuple(f"{h}." for h in heads))})
    return model


class VisionTower(nn.Module):
    """A model of timm that makes tokens of a picture, one for each place; see `vision_tower`.

    image_size: pixels a side; d_model: numbers in a token; n_tokens: tokens of a picture.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: nn.Module, image_size: int) -> None:
        super().__init__()
        self.model = model
        self.image_size = image_size
        trained: Any = model.pretrained_cfg
        self.channels = trained["input_size"][0]
        for name, key in (("mean", "mean"), ("deviation", "std")):
            self.register_buffer(name, torch.tensor(trained[key])[:, None, None], persistent=False)
        self.n_tokens, self.d_model = self._try()

    def forward(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens d_model"]:
        """The features of each place, row by row, without class and register tokens.

        pictures: floats from 0 to 1; the mean and deviation that the model was trained with are seen to here.
        Raises ValueError for whole numbers, another shape, size or number of channels, or (on the CPU) another scale.
        """
        check_pictures(pictures, self.channels, self.image_size)
        if not pictures.is_cuda and pictures.numel():
            low, high = pictures.aminmax()
            if low < -0.5 or high > 1.5:  # with room for what resizing does at edges
                raise ValueError(
                    f"the pictures run from {low:.3g} to {high:.3g}, not from 0 to 1; divide bytes by 255, and leave "
                    "mean and deviation to the tower"
                )
        return self._tokens((pictures - self.mean) / self.deviation)

    def _tokens(self, x: Tensor) -> Tensor:
        model: Any = self.model
        features = model.forward_features(x)
        if not isinstance(features, Tensor):
            raise ModelError(f"{type(model).__name__} gives features of several kinds; take another model")
        if features.dim() == 4:
            nhwc = getattr(model, "output_fmt", "NCHW") == "NHWC"
            return features.flatten(1, 2) if nhwc else features.flatten(2).transpose(1, 2)
        n = features.shape[1]
        if n == 1:
            raise ModelError(f"{type(model).__name__} gives one token for the whole picture; take another model")
        # VOLO has a class token and does not say so; places fill a square.
        return features[:, getattr(model, "num_prefix_tokens", n - math.isqrt(n) ** 2) :]

    @torch.no_grad()
    def _try(self) -> tuple[int, int]:
        """How many tokens of what width an empty picture gives."""
        weight = next(self.model.parameters())
        empty = weight.new_zeros(1, self.channels, self.image_size, self.image_size)
        was_training = self.model.training
        self.model.eval()
        try:
            n, width = self._tokens(empty).shape[1:]
        except ModelError:
            raise
        except Exception as error:  # of many kinds, by architecture
            raise ModelError(
                f"{type(self.model).__name__} cannot read pictures of {self.image_size} by {self.image_size} pixels "
                f"({error}); name another image_size"
            ) from None
        finally:
            self.model.train(was_training)
        return n, width
