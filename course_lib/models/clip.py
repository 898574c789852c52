"""CLIP: images and texts as unit vectors in one space, close if they belong together (Radford et al. 2021)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.vit import ViT, ViTConfig
from course_lib.nn.embed import embed_tokens
from course_lib.settings import check_counts

LARGEST_SCALE = 100.0  # section 2.5: a larger one made training unstable


@dataclass(frozen=True)
class CLIPConfig:
    """The configuration of a CLIP: a ViT for images, a GPT for texts, and the space that they share.

    The published models have ViTConfig(activation="quick_gelu", pre_norm=True, norm_eps=1e-5) and
    GPTConfig(activation="quick_gelu").

    Attributes:
        vision: The config of the image encoder.
        text: The config of the text encoder.
        projection_dim: The width of the shared space.
        end_token: The token that ends a text; the text's vector is read at its first occurrence. None for the token
            with the highest id in the text, as the end token has in the published vocabulary.

    Raises:
        ValueError: If a setting is invalid, or settings do not fit together; the message says which.
    """

    vision: ViTConfig
    text: GPTConfig
    projection_dim: int = 128
    end_token: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, "projection_dim")
        if self.vision.n_classes:
            raise ValueError(f"the ViT of a CLIP has no classes; leave n_classes={self.vision.n_classes} out")
        if not self.text.tie_embeddings:
            raise ValueError(
                "the GPT of a CLIP predicts no tokens, so an output layer would go unused; use tie_embeddings=True"
            )
        if self.end_token is not None and not 0 <= self.end_token < self.text.vocab_size:
            raise ValueError(f"end_token={self.end_token} is not in the vocabulary of {self.text.vocab_size} tokens")


class CLIP(nn.Module):
    """CLIP: an image encoder, a text encoder, a linear layer on top of each, and a trained temperature."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = ViT(config.vision)
        self.text = GPT(config.text)
        self.vision_projection = nn.Linear(config.vision.d_model, config.projection_dim, bias=False)
        self.text_projection = nn.Linear(config.text.d_model, config.projection_dim, bias=False)
        for projection in (self.vision_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # a temperature of 0.07, as in section 2.5

    def forward(
        self,
        images: Float[Tensor, "images channels height width"],
        ids: Int[Tensor, "texts tokens"],
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "images texts"]:
        """Score how well each text fits each image: cosine similarity times exp(logit_scale), in training at most 100.

        Arguments and errors are those of `image_features` and `text_features`.

        Source: Radford et al. 2021, figure 3.
        """
        scale = self.logit_scale.exp().clamp(max=LARGEST_SCALE if self.training else math.inf)
        return scale * self.image_features(images) @ self.text_features(ids, mask).T  # images texts

    def image_features(
        self, images: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images projection_dim"]:
        """Compute a unit vector for each image.

        Raises:
            ValueError: As in ViT.forward.
        """
        pooled = self.vision(images)  # images d_model
        return F.normalize(self.vision_projection(pooled), dim=-1)  # images projection_dim

    def text_features(
        self, ids: Int[Tensor, "texts tokens"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "texts projection_dim"]:
        """Compute a unit vector for each text, read at its end.

        Args:
            ids: The token ids of the texts.
            mask: True where the query may attend to the key; broadcastable to "batch heads query key". Padding on the
                right needs no mask: attention is causal, so the end token attends to nothing after it.

        Raises:
            ValueError: As in GPT.forward, and if a text has no end token.
        """
        hidden = self.text.hidden_states(embed_tokens(self.text.token_embedding, ids), mask)  # texts tokens d_model
        rows = torch.arange(len(ids), device=ids.device)
        at_end = hidden[rows, self._ends(ids)]  # texts d_model
        return F.normalize(self.text_projection(at_end), dim=-1)  # texts projection_dim

    def _ends(self, ids: Tensor) -> Tensor:
        """Return the position at which each text ends."""
        if self.config.end_token is None:
            return ids.argmax(dim=1)
        is_end = ids == self.config.end_token
        if not (found := is_end.any(dim=1)).all():
            raise ValueError(
                f"text {int(found.int().argmin())} has no end token ({self.config.end_token}), where its vector is "
                "read; put it after every text, and cut long ones before it"
            )
        return is_end.int().argmax(dim=1)
