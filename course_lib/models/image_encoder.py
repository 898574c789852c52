"""An image encoder with one output vector: a small convolutional network or any timm model, and a linear layer."""

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.models.vision_tower import VisionTower
from course_lib.models.vit import check_images
from course_lib.settings import check_counts

LAST_SIDE = 4  # positions per side of the feature map that the linear layer reads


@dataclass(frozen=True)
class ImageEncoderConfig:
    """The configuration of an image encoder.

    Attributes:
        image_size: Pixels per side. The course's own tower halves the side until 4 positions are left, so it takes 8,
            16, 32, 64 and so on.
        width: The number of channels of that tower's first layer; each further layer doubles it.
        d_model: The width of the output vector.
        tower: "conv" for the course's own tower, otherwise the name of a timm model, which starts from random weights.

    Raises:
        ValueError: If a setting is invalid, or settings do not fit together; the message says which.
    """

    image_size: int = 32
    width: int = 32
    d_model: int = 256
    tower: str = "conv"

    def __post_init__(self) -> None:
        check_counts(self, "image_size", "width", "d_model")
        halvings = math.log2(self.image_size / LAST_SIDE)
        if self.tower == "conv" and (halvings < 1 or halvings % 1):
            raise ValueError(f'image_size={self.image_size} is not 8, 16, 32, ..., as tower="conv" needs it')


class ImageEncoder(nn.Module):
    """An image encoder: a tower, and a linear layer to the output vector.

    The course's own tower is a stack of convolutions with stride 2, and the linear layer reads all positions of its
    feature map. With a timm model as the tower, the linear layer reads the mean of its tokens.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.config = config
        if config.tower == "conv":
            halvings = int(math.log2(config.image_size / LAST_SIDE))
            channels = [3] + [config.width << i for i in range(halvings)]
            layers: list[nn.Module] = []
            for before, after in itertools.pairwise(channels):
                # Kernel size 4 with stride 2: neighbouring windows overlap by half.
                layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            self.tower: nn.Module = nn.Sequential(*layers)
            self.head = nn.Linear(channels[-1] * LAST_SIDE**2, config.d_model)
        else:
            tower = VisionTower(config.tower, config.image_size)
            self.tower = tower
            self.head = nn.Linear(tower.d_model, config.d_model)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch d_model"]:
        """Compute a vector for each image; its length is not normalised.

        Args:
            images: The images, as floats from 0 to 1.

        Raises:
            ValueError: As in ViT.forward.
        """
        check_images(images, 3, self.config.image_size)
        x = self.tower(images.contiguous(memory_format=torch.channels_last))  # so convolutions take 0.8 of the time
        x = x.flatten(1) if self.config.tower == "conv" else x.mean(dim=1)  # batch channels*places, or batch d_tower
        return self.head(x)  # batch d_model
