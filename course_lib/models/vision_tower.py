"""Any image model of the timm library as the vision encoder of a vision-text model."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.models.vit import check_pictures


class VisionTower(nn.Module):
    """A timm model that makes tokens of a picture, one for each place; nothing is downloaded.

    Args:
        model: the name of a timm model, which starts from random weights, or a model made by timm.create_model.
            `course_lib.interop.load_timm_weights` reads trained weights from a file.
        image_size: pixels a side; None for the size that the model was trained with.

    Attributes:
        image_size: pixels a side.
        channels: of a pixel.
        d_model: numbers in a token.
        n_tokens: tokens of a picture.

    Raises:
        ModelError: for an unknown name, a size that the model cannot take, and the few models that give no features
            for each place.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: str | nn.Module, image_size: int | None = None) -> None:
        super().__init__()
        self.model = _create(model, image_size) if isinstance(model, str) else model
        trained: Any = getattr(self.model, "pretrained_cfg", None)
        if not trained or not hasattr(self.model, "forward_features"):
            raise ModelError(
                f"{type(model).__name__} is no model of timm.create_model; make it there, or give its name"
            )
        self.image_size = image_size or trained["input_size"][-1]
        self.channels = trained["input_size"][0]
        for name, key in (("mean", "mean"), ("deviation", "std")):
            self.register_buffer(name, torch.tensor(trained[key])[:, None, None], persistent=False)
        self.n_tokens, self.d_model = self._probe()

    def forward(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens d_model"]:
        """Compute the features of each place, row by row, without class and register tokens.

        Args:
            pictures: floats from 0 to 1; the mean and deviation that the model was trained with are applied here.

        Raises:
            ValueError: for whole numbers, another shape, size or number of channels, or (on the CPU) another scale.
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
    def _probe(self) -> tuple[int, int]:
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


def _create(name: str, image_size: int | None) -> nn.Module:
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
        return timm.create_model(name, **options)
    except Exception as error:  # of many kinds, by architecture
        raise ModelError(f"timm cannot make {name} with {options}: {error}") from None
