"""Any image model of the timm library as the vision encoder of a vision-language model."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.models.vit import check_images


class VisionTower(nn.Module):
    """A timm model that turns an image into tokens, one for each spatial position; nothing is downloaded.

    Args:
        model: The name of a timm model, which starts from random weights, or a model from timm.create_model.
            `course_lib.interop.load_timm_weights` reads trained weights from a file.
        image_size: Pixels per side; None for the size that the model was trained with.

    Attributes:
        image_size: Pixels per side.
        channels: The number of channels of an image.
        d_model: The width of a token.
        n_tokens: The number of tokens per image.

    Raises:
        ModelError: If the name is unknown, if the model cannot take this size, or if it is one of the few models that
            give no features for each position.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: str | nn.Module, image_size: int | None = None) -> None:
        super().__init__()
        if image_size is not None and image_size < 1:
            raise ModelError(f"image_size={image_size} must be at least 1, or None for the size of the training images")
        self.model = _create(model, image_size) if isinstance(model, str) else model
        trained: Any = getattr(self.model, "pretrained_cfg", None)
        if not trained or not hasattr(self.model, "forward_features"):
            raise ModelError(
                f"{type(model).__name__} is no model of timm.create_model; make it there, or give its name"
            )
        self.image_size = trained["input_size"][-1] if image_size is None else image_size
        self.channels = trained["input_size"][0]
        for name, key in (("mean", "mean"), ("deviation", "std")):
            self.register_buffer(name, torch.tensor(trained[key])[:, None, None], persistent=False)
        self.n_tokens, self.d_model = self._probe()

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens d_model"]:
        """Compute the features of each position, row by row, without class and register tokens.

        Args:
            images: The images, as floats from 0 to 1; they are normalised here with the mean and standard deviation
                that the model was trained with.

        Raises:
            ValueError: If the images are integers, if their shape, size or number of channels is wrong, or (on the CPU)
                if their values are on another scale.
        """
        check_images(images, self.channels, self.image_size)
        if not images.is_cuda and images.numel():
            low, high = images.aminmax()
            if low < -0.5 or high > 1.5:  # with a margin, since resizing overshoots at edges
                raise ValueError(
                    f"the images run from {low:.3g} to {high:.3g}, not from 0 to 1; divide bytes by 255, and leave "
                    "mean and deviation to the tower"
                )
        return self._tokens((images - self.mean) / self.deviation)

    def _tokens(self, x: Tensor) -> Tensor:
        model: Any = self.model
        features = model.forward_features(x)
        if not isinstance(features, Tensor):
            raise ModelError(f"{type(model).__name__} gives features of several kinds; take another model")
        if features.dim() == 4:
            nhwc = getattr(model, "output_fmt", "NCHW") == "NHWC"
            return features.flatten(1, 2) if nhwc else features.flatten(2).transpose(1, 2)  # batch height*width d_model
        n = features.shape[1]
        if n == 1:
            raise ModelError(f"{type(model).__name__} gives one token for the whole image; take another model")
        # VOLO has a class token but no attribute that says so; the positions fill a square.
        return features[:, getattr(model, "num_prefix_tokens", n - math.isqrt(n) ** 2) :]

    @torch.no_grad()
    def _probe(self) -> tuple[int, int]:
        """Return the number and the width of the tokens of an empty image."""
        weight = next(self.model.parameters())
        empty = weight.new_zeros(1, self.channels, self.image_size, self.image_size)
        was_training = self.model.training
        self.model.eval()
        try:
            n, width = self._tokens(empty).shape[1:]
        except ModelError:
            raise
        except Exception as error:  # its type depends on the architecture
            raise ModelError(
                f"{type(self.model).__name__} cannot read images of {self.image_size} by {self.image_size} pixels "
                f"({error}); name another image_size"
            ) from None
        finally:
            self.model.train(was_training)
        return n, width


def _create(name: str, image_size: int | None) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ModelError("vision towers need timm; install it: pip install timm") from None
    if not timm.is_model(name):
        raise ModelError(f'timm has no model "{name}"; timm.list_models("*vit*") lists those with vit in their names')
    options: dict[str, Any] = {"num_classes": 0}
    trained: Any = timm.get_pretrained_cfg(name)
    if image_size is not None and trained.fixed_input_size:  # the others take any size and have no such option
        options["img_size"] = image_size
    try:
        return timm.create_model(name, **options)
    except Exception as error:  # its type depends on the architecture
        raise ModelError(f"timm cannot make {name} with {options}: {error}") from None
