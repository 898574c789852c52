"""ViT: a transformer over the patches of an image (Dosovitskiy et al. 2021), also the vision tower of CLIP."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block, init_weights
from course_lib.nn.feed_forward import ACTIVATIONS, FeedForward
from course_lib.nn.positions import LearnedPositions
from course_lib.settings import DERIVED, check_choices, check_counts, check_numbers, set_derived

CHOICES = {"activation": ACTIVATIONS, "pool": ("token", "mean")}


@dataclass(frozen=True)
class ViTConfig:
    """The configuration of a ViT; the defaults are those of the paper, at a size for experiments.

    Attributes:
        image_size: Pixels per side of an image.
        patch_size: Pixels per side of a patch. What is left over at the right and lower edge of an image, too small for
            a patch, is ignored.
        channels: The number of channels of an image.
        d_model: The width of the residual stream.
        n_layers: The number of blocks.
        n_heads: The number of attention heads.
        d_ff: The width of a feed-forward network; 4 d_model if not given.
        n_classes: The number of classes; 0 for none: the model then returns features.
        activation: The activation of the feed-forward networks.
        qkv_bias: Whether the layers of queries, keys and values have a bias.
        class_token: Put a trained token before the patches.
        pool: What represents the whole image: "token" for the class token, "mean" for the mean of the patches.
        norm_pooled: Apply the final norm after pooling, not before.
        pre_norm: Apply one more norm before the first block, as CLIP does.
        patch_bias: Whether the layer that embeds patches has a bias; if not given, only without pre_norm, as in CLIP.
        norm_eps: The epsilon of LayerNorm.
        image_width: The width of images in pixels, when image_size is their height; None for square images.

    Raises:
        ValueError: If a setting is invalid, or settings do not fit together; the message says which.
    """

    image_size: int = 32
    patch_size: int = 4
    channels: int = 3
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    d_ff: int = DERIVED
    n_classes: int = 0
    activation: str = "gelu"
    qkv_bias: bool = True
    class_token: bool = True
    pool: str = "token"
    norm_pooled: bool = False
    pre_norm: bool = False
    patch_bias: bool = DERIVED
    norm_eps: float = 1e-6
    image_width: int | None = None

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        set_derived(self, d_ff=4 * self.d_model, patch_bias=not self.pre_norm)
        if self.image_width == self.image_size:
            object.__setattr__(self, "image_width", None)
        check_counts(self, "image_size", "patch_size", "channels", "d_model", "n_layers", "n_heads", "d_ff")
        check_counts(self, "n_classes", least=0)
        check_numbers(self, "norm_eps", above=0)
        height, width = self.size
        if self.patch_size > min(height, width):
            raise ValueError(f"patches of {self.patch_size} pixels do not fit in images of {height} by {width}")
        if self.pool == "token" and not self.class_token:
            raise ValueError('pool="token" needs the class token; use pool="mean" without it')

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of an image, in pixels."""
        return self.image_size, self.image_size if self.image_width is None else self.image_width

    @property
    def n_patches(self) -> int:
        """The number of patches per image."""
        height, width = self.size
        return (height // self.patch_size) * (width // self.patch_size)


class ViT(nn.Module):
    """ViT: patch embedding, class token, learned positions, blocks, final norm and output layer."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        # A convolution whose stride is its width applies one linear layer to each patch (section 3.1, equation 1).
        self.patches = nn.Conv2d(
            config.channels, config.d_model, config.patch_size, config.patch_size, bias=config.patch_bias
        )
        self.class_token = nn.Parameter(torch.empty(config.d_model)) if config.class_token else None
        self.position = LearnedPositions(config.n_patches + config.class_token, config.d_model)
        self.pre_norm = _norm(config) if config.pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_layers))
        self.norm = _norm(config)
        self.head = nn.Linear(config.d_model, config.n_classes) if config.n_classes else nn.Identity()
        if self.class_token is not None:
            nn.init.normal_(self.class_token, std=0.02)  # like the positions
        init_weights(self, 2 * config.n_layers)
        if isinstance(self.head, nn.Linear):
            self.head.weight.data *= 0.5  # small logits

    def forward(
        self, images: Float[Tensor, "batch channels height width"], return_weights: bool = False
    ) -> Float[Tensor, "batch classes"] | tuple[Float[Tensor, "batch classes"], list[Tensor]]:
        """Compute the logits of the classes or, without classes, the features of the whole image: "batch d_model".

        Args:
            images: The images, as floats on the scale that the model was trained with, usually minus a mean and
                divided by a standard deviation.
            return_weights: Return a pair: the logits, and each layer's attention weights, "batch heads tokens tokens".
                A class token is the first token.

        Raises:
            ValueError: If the images are integers, or if their shape, size or channels differ from the config's.
        """
        x = self._tokens(images)  # batch tokens d_model
        attention_weights: list[Tensor] | None = [] if return_weights else None
        for block in self.blocks:
            x = block(x, attention_weights=attention_weights)
        logits = self.head(self.pooled(x))  # batch classes
        return logits if attention_weights is None else (logits, attention_weights)

    def features(
        self, images: Float[Tensor, "batch channels height width"], layer: int = -1
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Compute the token vectors after a layer, without the final norm.

        A class token comes first, then the patches, row by row.

        Args:
            images: The images, as in `forward`.
            layer: 0 for the input of the first block, k for the output of the k-th block, -1 for that of the last.
                LLaVA takes -2, and the patches only (Liu et al. 2023, section 4.1).

        Raises:
            ValueError: As in `forward`, and if there is no such layer.
        """
        n = self.config.n_layers
        if not -n - 1 <= layer <= n:
            raise ValueError(
                f"there is no layer {layer}; the model has 0 to {n}, or counted from the end -1 to {-n - 1}"
            )
        x = self._tokens(images)
        for block in self.blocks[: layer % (n + 1)]:
            x = block(x)
        return x

    def pooled(self, x: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch d_model"]:
        """Pool the last layer's tokens into one vector that represents the whole image."""
        if not self.config.norm_pooled:
            x = self.norm(x)
        match self.config.pool:
            case "token":
                x = x[:, 0]  # batch d_model
            case "mean":
                x = x[:, int(self.config.class_token) :].mean(dim=1)  # batch d_model
            case other:
                raise AssertionError(f'pool="{other}" is not applied in ViT.pooled')
        return self.norm(x) if self.config.norm_pooled else x

    def _tokens(self, images: Tensor) -> Tensor:
        check_images(images, self.config.channels, *self.config.size)
        x = self.patches(images).flatten(2).transpose(1, 2)  # batch patches d_model
        if self.class_token is not None:
            x = torch.cat((self.class_token.expand(len(x), 1, -1), x), dim=1)  # batch 1+patches d_model
        return self.pre_norm(x + self.position(x.shape[1]))


def check_images(images: Tensor, channels: int, size: int, width: int | None = None) -> None:
    """Check that `images` are floats of the shape (batch, channels, size, width).

    Args:
        images: The tensor to check.
        channels: The number of channels that an image must have.
        size: The height that an image must have, in pixels.
        width: The width that an image must have, in pixels; None for the same as `size`.

    Raises:
        ValueError: If they are not; the message says what to do.
    """
    width = size if width is None else width
    if not images.is_floating_point():
        raise ValueError(f"the images are {images.dtype}; make them floats from 0 to 1: images.float() / 255")
    if images.dim() != 4:
        raise ValueError(
            f"images must have the shape (batch, {channels}, {size}, {width}), not {tuple(images.shape)}; "
            "for one image: image[None]"
        )
    if images.shape[1] != channels:
        last = "; channels come before height and width: images.movedim(-1, 1)" * (images.shape[-1] == channels)
        raise ValueError(f"the images have {images.shape[1]} channels, but the model reads {channels}{last}")
    if images.shape[2:] != (size, width):
        its_size = " by ".join(map(str, images.shape[2:]))
        raise ValueError(
            f"the images are {its_size} pixels, but the model reads {size} by {width}; resize them first: "
            f"torchvision.transforms.v2.functional.resize(images, [{size}, {width}])"
        )


def _norm(config: ViTConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.d_model, config.norm_eps)


def _block(config: ViTConfig) -> Block:
    attention = MultiHeadAttention(config.d_model, config.n_heads, bias=config.qkv_bias, out_bias=True)
    feed_forward = FeedForward(config.d_model, config.d_ff, config.activation)
    return Block(attention, feed_forward, _norm(config), _norm(config))
