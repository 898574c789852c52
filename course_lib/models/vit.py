"""ViT: a transformer over the patches of a picture (Dosovitskiy et al. 2021), and the vision tower of CLIP."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block, init_weights
from course_lib.nn.feed_forward import ACTIVATIONS, FeedForward
from course_lib.nn.positions import LearnedPositions
from course_lib.settings import check_choices, check_counts, check_numbers, set_defaults

CHOICES = {"activation": ACTIVATIONS, "pool": ("token", "mean")}


@dataclass(frozen=True)
class ViTConfig:
    """All that shapes a ViT; the defaults are those of the paper, at a size for experiments.

    Attributes:
        image_size: pixels a side.
        patch_size: pixels a side; a rest of the picture at its right and lower edge that fills no patch is left out.
        channels: of a pixel.
        d_model: the width of the residual stream.
        n_layers: blocks.
        n_heads: attention heads.
        d_ff: the width of a feed-forward network; None for 4 d_model.
        n_classes: 0 for none, when the model gives features.
        activation: of the feed-forward networks.
        qkv_bias: a bias in the layers of queries, keys and values.
        class_token: put a trained token before the patches.
        pool: what stands for the whole picture: "token", the class token, or "mean", the mean of the patches.
        norm_pooled: the final norm comes after pooling, not before.
        pre_norm: one more norm, before the first block.
        patch_bias: a bias in the layer that reads patches; None for one where there is no pre_norm, as CLIP has it.
        norm_eps: of LayerNorm.
        image_width: None for square pictures; otherwise image_size is their height.

    Raises:
        ValueError: with a sentence, for anything that cannot be built.
    """

    image_size: int = 32
    patch_size: int = 4
    channels: int = 3
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    d_ff: int | None = None
    n_classes: int = 0
    activation: str = "gelu"
    qkv_bias: bool = True
    class_token: bool = True
    pool: str = "token"
    norm_pooled: bool = False
    pre_norm: bool = False
    patch_bias: bool | None = None
    norm_eps: float = 1e-6
    image_width: int | None = None

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        set_defaults(self, d_ff=4 * self.d_model, patch_bias=not self.pre_norm)
        if self.image_width == self.image_size:
            object.__setattr__(self, "image_width", None)
        check_counts(self, "image_size", "patch_size", "channels", "d_model", "n_layers", "n_heads", "d_ff")
        check_counts(self, "n_classes", least=0)
        check_numbers(self, "norm_eps", above=0)
        height, width = self.size
        if self.patch_size > min(height, width):
            raise ValueError(f"patches of {self.patch_size} pixels do not fit in pictures of {height} by {width}")
        if self.pool == "token" and not self.class_token:
            raise ValueError('pool="token" needs the class token; use pool="mean" without it')

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture, in pixels."""
        return self.image_size, self.image_size if self.image_width is None else self.image_width

    @property
    def n_patches(self) -> int:
        """How many patches a picture has."""
        height, width = self.size
        return (height // self.patch_size) * (width // self.patch_size)


class ViT(nn.Module):
    """Patches and class token, positions, blocks, final norm, output layer."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        # A convolution that steps by its own width is one linear layer over each patch (section 3.1, equation 1).
        self.patches = nn.Conv2d(
            config.channels, config.d_model, config.patch_size, config.patch_size, bias=bool(config.patch_bias)
        )
        self.class_token = nn.Parameter(torch.empty(config.d_model)) if config.class_token else None
        self.position = LearnedPositions(config.n_patches + config.class_token, config.d_model)
        self.pre_norm = _norm(config) if config.pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_layers))
        self.norm = _norm(config)
        self.head = nn.Linear(config.d_model, config.n_classes) if config.n_classes else nn.Identity()
        if self.class_token is not None:
            nn.init.normal_(self.class_token, std=0.02)  # as the positions
        init_weights(self, 2 * config.n_layers)
        if isinstance(self.head, nn.Linear):
            self.head.weight.data *= 0.5  # small logits

    def forward(
        self, pictures: Float[Tensor, "batch channels height width"], return_weights: bool = False
    ) -> Float[Tensor, "batch classes"] | tuple[Float[Tensor, "batch classes"], list[Tensor]]:
        """Compute the logits of the classes or, without classes, the features of the whole picture: "batch d_model".

        Args:
            pictures: floats on the scale that the model was trained with, usually less a mean and divided by a
                deviation.
            return_weights: return the pair of logits and each layer's attention weights, "batch heads tokens tokens"; a
                class token is the first.

        Raises:
            ValueError: for whole numbers, another shape, another size or other channels than the config's.
        """
        x = self._tokens(pictures)  # batch tokens d_model
        weights: list[Tensor] | None = [] if return_weights else None
        for block in self.blocks:
            x = block(x, weights=weights)
        logits = self.head(self.pooled(x))  # batch classes
        return logits if weights is None else (logits, weights)

    def features(
        self, pictures: Float[Tensor, "batch channels height width"], layer: int = -1
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Compute the tokens after a layer, a class token before the patches, row by row; without the final norm.

        Args:
            pictures: as in `forward`.
            layer: 0 is what the first block reads, k the output of the k-th block, -1 that of the last; LLaVA takes -2
                and the patches alone (Liu et al. 2023, section 4.1).

        Raises:
            ValueError: as `forward`, and for no such layer.
        """
        n = self.config.n_layers
        if not -n - 1 <= layer <= n:
            raise ValueError(
                f"there is no layer {layer}; the model has 0 to {n}, or counted from the end -1 to {-n - 1}"
            )
        x = self._tokens(pictures)
        for block in self.blocks[: layer % (n + 1)]:
            x = block(x)
        return x

    def pooled(self, x: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch d_model"]:
        """Make one vector of the last layer's tokens, which stands for the whole picture."""
        if not self.config.norm_pooled:
            x = self.norm(x)
        match self.config.pool:
            case "token":
                x = x[:, 0]
            case "mean":
                x = x[:, int(self.config.class_token) :].mean(dim=1)
            case other:
                raise AssertionError(f'pool="{other}" is not applied in ViT.pooled')
        return self.norm(x) if self.config.norm_pooled else x  # batch d_model

    def _tokens(self, pictures: Tensor) -> Tensor:
        check_pictures(pictures, self.config.channels, *self.config.size)
        x = self.patches(pictures).flatten(2).transpose(1, 2)  # batch patches d_model
        if self.class_token is not None:
            x = torch.cat((self.class_token.expand(len(x), 1, -1), x), dim=1)  # batch 1+patches d_model
        return self.pre_norm(x + self.position(x.shape[1]))


def check_pictures(pictures: Tensor, channels: int, size: int, width: int | None = None) -> None:
    """Check that pictures are floats of the shape (batch, channels, size, width).

    Args:
        pictures: any tensor.
        channels: of a pixel.
        size: pixels in height.
        width: None for size.

    Raises:
        ValueError: saying what to do.
    """
    width = width or size
    if not pictures.is_floating_point():
        raise ValueError(f"the pictures are {pictures.dtype}; make them floats from 0 to 1: pictures.float() / 255")
    if pictures.dim() != 4:
        raise ValueError(
            f"pictures must have the shape (batch, {channels}, {size}, {width}), not {tuple(pictures.shape)}; "
            "for one picture: picture[None]"
        )
    if pictures.shape[1] != channels:
        last = "; channels come before height and width: pictures.movedim(-1, 1)" * (pictures.shape[-1] == channels)
        raise ValueError(f"the pictures have {pictures.shape[1]} channels, but the model reads {channels}{last}")
    if pictures.shape[2:] != (size, width):
        its_size = " by ".join(map(str, pictures.shape[2:]))
        raise ValueError(
            f"the pictures are {its_size} pixels, but the model reads {size} by {width}; resize them first: "
            f"torchvision.transforms.v2.functional.resize(pictures, [{size}, {width}])"
        )


def _norm(config: ViTConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.d_model, config.norm_eps)


def _block(config: ViTConfig) -> Block:
    assert config.d_ff  # None was replaced when the config was made
    attention = MultiHeadAttention(config.d_model, config.n_heads, bias=config.qkv_bias, out_bias=True)
    feed_forward = FeedForward(config.d_model, config.d_ff, config.activation)
    return Block(attention, feed_forward, _norm(config), _norm(config))
