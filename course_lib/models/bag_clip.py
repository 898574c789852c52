"""CLIP with the simplest text encoder: a bag of words, where the vector of a text is the mean of its words' vectors."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.models.clip import LARGEST_SCALE
from course_lib.models.image_encoder import ImageEncoder, ImageEncoderConfig

PAD = 0  # the padding of short texts


@dataclass(frozen=True)
class BagCLIPConfig:
    """The configuration of a BagCLIP.

    Attributes:
        vision: The config of the image encoder; its d_model is the width of the space that images and texts share.
        vocab_size: The number of words in the vocabulary, the padding included.

    Raises:
        ValueError: If the vocabulary has no word besides the padding.
    """

    vision: ImageEncoderConfig
    vocab_size: int

    def __post_init__(self) -> None:
        if self.vocab_size < 2:
            raise ValueError(f"vocab_size={self.vocab_size} leaves no word besides the padding")


class BagCLIP(nn.Module):
    """BagCLIP: an image encoder, word embeddings with a linear layer after their mean, and a trained temperature."""

    def __init__(self, config: BagCLIPConfig) -> None:
        super().__init__()
        self.config = config
        width = config.vision.d_model
        self.vision = ImageEncoder(config.vision)
        self.words = nn.EmbeddingBag(config.vocab_size, width, mode="mean", padding_idx=PAD)
        nn.init.normal_(self.words.weight, std=0.05)
        self.text_projection = nn.Linear(width, width)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # as CLIP's

    def forward(
        self, images: Float[Tensor, "images 3 height width"], ids: Int[Tensor, "texts tokens"]
    ) -> Float[Tensor, "images texts"]:
        """Score how well each text fits each image: cosine similarity times exp(logit_scale), which training limits."""
        scale = self.logit_scale.exp().clamp(max=LARGEST_SCALE if self.training else math.inf)
        return scale * self.image_features(images) @ self.text_features(ids).T  # images texts

    def image_features(self, images: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images d_model"]:
        """Compute a unit vector for each image.

        Raises:
            ValueError: As in ImageEncoder.forward.
        """
        return F.normalize(self.vision(images), dim=-1)

    def text_features(self, ids: Int[Tensor, "texts tokens"]) -> Float[Tensor, "texts d_model"]:
        """Compute a unit vector for each text; all texts without a known word get the same vector."""
        mean = self.words(ids)  # texts d_model
        return F.normalize(self.text_projection(mean), dim=-1)  # texts d_model
