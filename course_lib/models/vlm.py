"""A vision-language model: a vision tower, a projector, and a decoder of images and text (Liu et al. 2023, LLaVA)."""

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
from course_lib.settings import DERIVED, check_choices

CHOICES = {"features": ("patches", "all", "pooled"), "projector_activation": ACTIVATIONS}


@dataclass(frozen=True)
class VLMConfig:
    """The configuration of a VLM: a ViT, a GPT, and the projector between them; the defaults are those of LLaVA 1.5.

    The published models have ViTConfig(activation="quick_gelu", pre_norm=True, norm_eps=1e-5) and
    GPTConfig(position="rope", norm="rms", activation="swiglu", bias=False, tie_embeddings=False).

    Attributes:
        vision: The config of the vision tower: a ViTConfig, or an ImageEncoderConfig for an encoder that gives one
            vector per image. None for a tower of another kind, which is then passed to VLM.
        decoder: The config of the decoder, which reads texts and images.
        image_token: The token id that stands in a text for one vector of an image.
        features: Which vectors of a ViT the decoder reads: "patches", "all" for the class token too, or "pooled" for
            one vector of the whole image.
        layer: The layer of the ViT after which its vectors are taken.
        d_vision: The width of the tower's vectors; that of its config if not given.
        projector_activation: The activation between the two layers of the projector.
        projector_bias: Whether both layers of the projector have a bias.
        projector_norm: Use the course's own projector, with a LayerNorm before it and vectors of length one after it.

    Raises:
        ValueError: If a setting is invalid, or settings do not fit together; the message says which.
    """

    vision: ViTConfig | ImageEncoderConfig | None
    decoder: GPTConfig
    image_token: int
    features: str = "patches"
    layer: int = -2
    d_vision: int = DERIVED
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
        if self.d_vision not in (DERIVED, self.vision.d_model):
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
    """A vision-language model, whose decoder reads the vectors of images in place of image tokens.

    To freeze a part: model.vision.requires_grad_(False), and likewise `projector` and `decoder`.

    Args:
        config: The config of all parts.
        vision: Your own tower, if the config has none: any module that maps images to "images tokens d_vision", or to
            "images d_vision", which counts as one token. An image can be anything that the tower reads, for example a
            spectrogram.

    Raises:
        ValueError: If there are two towers, or none.
    """

    def __init__(self, config: VLMConfig, vision: nn.Module | None = None) -> None:
        super().__init__()
        if (config.vision is None) == (vision is None):
            towers = "two vision towers, one of them in the config" if vision else "no vision tower"
            raise ValueError(f"the model has {towers}; pass it either as config.vision or as vision=")
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
        # The first layer keeps the variance; the second gives vectors about as long as those of tokens.
        nn.init.normal_(self.projector.up.weight, std=config.d_vision**-0.5)
        nn.init.normal_(self.projector.down.weight, std=0.5 / config.decoder.d_model)
        for layer in (self.projector.up, self.projector.down):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        images: Float[Tensor, "images channels height width"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        return_weights: bool = False,
        *,
        image_vectors: Float[Tensor, "images image_tokens d_model"] | None = None,
        causal: bool = True,
        positions: Int[Tensor, "batch tokens"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch tokens vocab"] | tuple[Float[Tensor, "batch tokens vocab"], list[Tensor]]:
        """Compute the logits of the next token at every position, including those of image tokens.

        Args:
            ids: The token ids.
            images: The images of the first text, in the order of their image tokens, then those of the second, and so
                on; a text may have several, or none.
            mask: True where the query may attend to the key, on top of the causal mask; as in GPT.forward.
            return_weights: Return a pair: the logits, and each layer's attention weights, "batch heads tokens keys".
            image_vectors: The vectors that replace image tokens, from `project`; pass them instead of `images`.
            causal: Hide later positions.
            positions: The position of each token in its own text; as in GPT.forward.
            cache: The cache of earlier tokens; as in GPT.forward.

        Raises:
            ValueError: As in GPT.forward and ViT.forward, and if images and image tokens do not match.
        """
        if images is not None and image_vectors is not None:
            raise ValueError("images and image_vectors both say what the image tokens become; pass one of them")
        if images is not None:
            image_vectors = self.project(self.encode_images(images))  # images image_tokens d_model
        x = self.insert_images(ids, image_vectors)  # batch tokens d_model
        attention_weights: list[Tensor] | None = [] if return_weights else None
        x = self.decoder.hidden_states(
            x, mask, None, attention_weights, causal=causal, positions=positions, cache=cache
        )
        logits = self.decoder.lm_head(x)  # batch tokens vocab
        return logits if attention_weights is None else (logits, attention_weights)

    def train(self, mode: bool = True) -> "VLM":
        """Set training mode; a frozen vision tower stays in evaluation mode, to keep its batch statistics fixed."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.vision.parameters()):
            self.vision.eval()
        return self

    def encode_images(
        self, images: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images image_tokens d_vision"]:
        """Compute the vision tower's vectors of each image.

        Raises:
            ValueError: As in ViT.forward, and if the tower's vectors do not have the width d_vision.
        """
        config = self.config
        if isinstance(self.vision, ViT) and config.features != "pooled":
            x = self.vision.features(images, config.layer)  # images tokens d_vision
            match config.features:
                case "patches":
                    x = x[:, int(self.vision.config.class_token) :]  # images patches d_vision
                case "all":
                    pass
                case other:
                    raise AssertionError(f'features="{other}" is not applied in VLM.encode_images')
        else:
            x = self.vision(images)  # images (tokens) d_vision
            x = x[:, None] if x.dim() == 2 else x  # images tokens d_vision
        if x.dim() != 3 or x.shape[-1] != config.d_vision:
            raise ValueError(f"the vision tower gives {tuple(x.shape)}, not (images, tokens, {config.d_vision})")
        return x

    def project(
        self, features: Float[Tensor, "images image_tokens d_vision"]
    ) -> Float[Tensor, "images image_tokens d_model"]:
        """Map the tower's vectors into the embedding space of the decoder."""
        vectors = self.projector(self.projector_norm(features))  # images image_tokens d_model
        return F.normalize(vectors, dim=-1) if self.config.projector_norm else vectors

    def insert_images(
        self, ids: Int[Tensor, "batch tokens"], vectors: Float[Tensor, "images image_tokens d_model"] | None
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Embed the tokens of texts, with the vectors of images in place of image tokens."""
        x = embed_tokens(self.decoder.token_embedding, ids)  # batch tokens d_model
        is_image = ids == self.config.image_token  # batch tokens
        counts = is_image.sum(dim=1).tolist()
        if vectors is None:
            if any(counts):
                raise ValueError(f"the texts have {sum(counts)} image tokens, but no image came with them")
            return x
        n_images, each = vectors.shape[:2]
        if sum(counts) != n_images * each:
            raise ValueError(
                f"{n_images} images of {each} image tokens each make {n_images * each}, but the texts have "
                f"{sum(counts)} ({self.config.image_token}); put {each} for every image"
            )
        split = next((i for i, count in enumerate(counts) if count % each), None)
        if split is not None:
            raise ValueError(f"text {split} has {counts[split]} image tokens, no multiple of the {each} of an image")
        return x.masked_scatter(is_image[..., None], vectors.to(x.dtype))


def split_into_tiles(
    images: Float[Tensor, "images channels height width"], size: int
) -> Float[Tensor, "tiles channels {size} {size}"]:
    """Cut images into square tiles, row by row: those of the first image, then those of the second, and so on.

    Args:
        images: The images to cut.
        size: Pixels per side of a tile.

    Raises:
        ValueError: If the images cannot be cut into whole tiles.
    """
    height, width = images.shape[2:]
    if size < 1 or height % size or width % size:
        raise ValueError(f"images of {height} by {width} pixels cannot be cut into tiles of {size} by {size}")
    grid = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
