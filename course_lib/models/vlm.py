"""A language model that sees: a vision tower, a projector, and a decoder that reads both (Liu et al. 2023, LLaVA)."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.image_encoder import ImageEncoder, ImageEncoderConfig
from course_lib.models.vit import ViT, ViTConfig
from course_lib.nn.cache import KVCache
from course_lib.nn.embed import embed_tokens
from course_lib.nn.feed_forward import ACTIVATIONS, FeedForward
from course_lib.settings import check_choices

CHOICES = {"features": ("patches", "all", "pooled"), "projector_activation": ACTIVATIONS}


@dataclass(frozen=True)
class VLMConfig:
    """A ViT, a GPT, and what stands between them; the defaults are those of LLaVA 1.5.

    The published models have ViTConfig(activation="quick_gelu", pre_norm=True, norm_eps=1e-5) and
    GPTConfig(position="rope", norm="rms", activation="swiglu", bias=False, tie_embeddings=False).

    Attributes:
        vision: an ImageEncoderConfig for an encoder that gives one vector a picture; None for a tower of another kind,
            which VLM is then given.
        decoder: reads texts and pictures.
        image_token: in a text it stands for one vector of a picture.
        features: which vectors of a ViT: those of its "patches", "all" with that of the class token, or "pooled", one
            for the whole picture.
        layer: after which layer of the ViT.
        d_vision: the width of the tower's vectors; None for that of its config.
        projector_activation: between the two layers of the projector.
        projector_bias: of both layers.
        projector_norm: the course's own projector, with a LayerNorm before it and vectors of length one after it.

    Raises:
        ValueError: with a sentence, for anything that cannot be built.
    """

    vision: ViTConfig | ImageEncoderConfig | None
    decoder: GPTConfig
    image_token: int
    features: str = "patches"
    layer: int = -2
    d_vision: int | None = None
    projector_activation: str = "gelu"
    projector_bias: bool = True
    projector_norm: bool = False

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        if not 0 <= self.image_token < self.decoder.vocab_size:
            raise ValueError(
                f"image_token={self.image_token} is not in the vocabulary of {self.decoder.vocab_size} tokens; "
                "make room for one more"
            )
        if self.vision is None:
            if not self.d_vision or self.d_vision < 1:
                raise ValueError("without a ViT, d_vision must say how wide the vectors of the tower are")
            return
        if self.d_vision not in (None, self.vision.d_model):
            raise ValueError(
                f"d_vision={self.d_vision} is not the d_model={self.vision.d_model} of the tower; leave it out"
            )
        object.__setattr__(self, "d_vision", self.vision.d_model)
        if isinstance(self.vision, ImageEncoderConfig):
            return
        if self.vision.n_classes:
            raise ValueError(f"the ViT of a VLM has no classes; leave n_classes={self.vision.n_classes} out")
        if not -self.vision.n_layers - 1 <= self.layer <= self.vision.n_layers:
            raise ValueError(f"the ViT has {self.vision.n_layers} layers, so there is no layer={self.layer}")


class VLM(nn.Module):
    """Pictures become vectors that the decoder reads in place of image tokens.

    To freeze a part: model.vision.requires_grad_(False), and likewise `projector` and `decoder`.

    Args:
        config: of all parts.
        vision: a tower of your own, where the config has none: any module that gives "pictures tokens d_vision" for
            pictures, or "pictures d_vision", which counts as one token. A picture can be anything that the tower reads:
            a spectrogram too.

    Raises:
        ValueError: when there are two towers, or none.
    """

    def __init__(self, config: VLMConfig, vision: nn.Module | None = None) -> None:
        super().__init__()
        if (config.vision is None) == (vision is None):
            towers = "two vision towers, one of them in the config" if vision else "no vision tower"
            raise ValueError(f"the model has {towers}; pass it either as config.vision or as vision=")
        assert config.d_vision  # None was replaced when the config was made
        self.config = config
        if isinstance(config.vision, ViTConfig):
            vision = ViT(config.vision)
        elif isinstance(config.vision, ImageEncoderConfig):
            vision = ImageEncoder(config.vision)
        assert vision is not None  # as checked above
        self.vision = vision
        self.projector_norm = nn.LayerNorm(config.d_vision) if config.projector_norm else nn.Identity()
        self.projector = FeedForward(
            config.d_vision,
            config.decoder.d_model,
            config.projector_activation,
            config.projector_bias,
            d_out=config.decoder.d_model,
        )
        self.decoder = GPT(config.decoder)
        # Variance kept by the first layer; after the second, vectors about as long as those of tokens.
        nn.init.normal_(self.projector.up.weight, std=config.d_vision**-0.5)
        nn.init.normal_(self.projector.down.weight, std=0.5 / config.decoder.d_model)
        for layer in (self.projector.up, self.projector.down):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        pictures: Float[Tensor, "pictures channels height width"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        return_weights: bool = False,
        *,
        picture_vectors: Float[Tensor, "pictures image_tokens d_model"] | None = None,
        causal: bool = True,
        positions: Int[Tensor, "batch tokens"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch tokens vocab"] | tuple[Float[Tensor, "batch tokens vocab"], list[Tensor]]:
        """Compute the logits of the next token at every position, those of image tokens included.

        The other arguments are those of GPT.forward.

        Args:
            ids: the tokens.
            pictures: those of the first text, in the order of their image tokens, then those of the second, and so on;
                a text may have several, or none.
            picture_vectors: what image tokens become, from `project`, in place of pictures.

        Raises:
            ValueError: as GPT.forward and ViT.forward, and where pictures and image tokens do not match.
        """
        if pictures is not None and picture_vectors is not None:
            raise ValueError("pictures and picture_vectors both say what the image tokens become; pass one of them")
        if pictures is not None:
            picture_vectors = self.project(self.encode_pictures(pictures))
        x = self.insert_pictures(ids, picture_vectors)  # batch tokens d_model
        weights: list[Tensor] | None = [] if return_weights else None
        x = self.decoder.hidden_states(x, mask, None, weights, causal=causal, positions=positions, cache=cache)
        logits = self.decoder.head(x)  # batch tokens vocab
        return logits if weights is None else (logits, weights)

    def train(self, mode: bool = True) -> "VLM":
        """Switch to training, but keep a frozen vision tower in evaluation mode, so that its batch statistics stay."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.vision.parameters()):
            self.vision.eval()
        return self

    def encode_pictures(
        self, pictures: Float[Tensor, "pictures channels height width"]
    ) -> Float[Tensor, "pictures image_tokens d_vision"]:
        """Compute the vision tower's vectors of each picture.

        Raises:
            ValueError: as ViT.forward.
        """
        config = self.config
        if isinstance(self.vision, ViT) and config.features != "pooled":
            x = self.vision.features(pictures, config.layer)  # pictures tokens d_vision
            match config.features:
                case "patches":
                    x = x[:, int(self.vision.config.class_token) :]
                case "all":
                    pass
                case other:
                    raise AssertionError(f'features="{other}" is not applied in VLM.encode_pictures')
        else:
            x = self.vision(pictures)
            x = x[:, None] if x.dim() == 2 else x  # pictures 1 d_vision
        if x.dim() != 3 or x.shape[-1] != config.d_vision:
            raise ValueError(f"the vision tower gives {tuple(x.shape)}, not (pictures, tokens, {config.d_vision})")
        return x

    def project(
        self, features: Float[Tensor, "pictures image_tokens d_vision"]
    ) -> Float[Tensor, "pictures image_tokens d_model"]:
        """Map the tower's vectors into the space of the decoder's tokens."""
        vectors = self.projector(self.projector_norm(features))
        return F.normalize(vectors, dim=-1) if self.config.projector_norm else vectors

    def insert_pictures(
        self, ids: Int[Tensor, "batch tokens"], vectors: Float[Tensor, "pictures image_tokens d_model"] | None
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Embed the tokens of texts, and put the vectors of pictures in place of image tokens."""
        x = embed_tokens(self.decoder.tokens, ids)
        is_image = ids == self.config.image_token
        counts = is_image.sum(dim=1).tolist()
        if vectors is None:
            if any(counts):
                raise ValueError(f"the texts have {sum(counts)} image tokens, but no picture came with them")
            return x
        n_pictures, each = vectors.shape[:2]
        if sum(counts) != n_pictures * each:
            raise ValueError(
                f"{n_pictures} pictures of {each} image tokens each make {n_pictures * each}, but the texts have "
                f"{sum(counts)} ({self.config.image_token}); put {each} for every picture"
            )
        split = next((i for i, count in enumerate(counts) if count % each), None)
        if split is not None:
            raise ValueError(f"text {split} has {counts[split]} image tokens, no multiple of the {each} of a picture")
        return x.masked_scatter(is_image[..., None], vectors.to(x.dtype))


def split_into_tiles(
    pictures: Float[Tensor, "pictures channels height width"], size: int
) -> Float[Tensor, "tiles channels {size} {size}"]:
    """Cut pictures into squares, row by row: the tiles of the first picture, then those of the second, and so on.

    Args:
        pictures: to cut.
        size: of a tile, in pixels a side.

    Raises:
        ValueError: when pictures are not whole tiles.
    """
    height, width = pictures.shape[2:]
    if size < 1 or height % size or width % size:
        raise ValueError(f"pictures of {height} by {width} pixels cannot be cut into tiles of {size} by {size}")
    grid = pictures.unflatten(3, (-1, size)).unflatten(2, (-1, size))
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
