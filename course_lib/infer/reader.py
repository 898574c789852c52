"""A model that reads: prompts once, padded on the left, and then a token a row at a time."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.infer.one_token import OneToken, as_built
from course_lib.models.gpt import GPT
from course_lib.models.vlm import VLM
from course_lib.nn.cache import Cache
from course_lib.nn.embed import embed


class Reader:
    """Keeps what was read of each prompt, and room for `more` tokens a row; gives the logits of what comes next.

    Padding stands on the left, so that all rows go on in the same column; nobody looks at it.
    """

    def __init__(self, model: GPT | VLM, prompts: Sequence[Sequence[int]], more: int) -> None:
        self.model = model
        self.decoder = decoder = model.decoder if isinstance(model, VLM) else model
        device = next(decoder.parameters()).device
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        longest = int(lengths.max())
        blank = 1 if isinstance(model, VLM) and model.config.image_token == 0 else 0
        self.ids = torch.tensor([[blank] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
        columns = torch.arange(longest + more, device=device)
        padding = longest - lengths[:, None]
        self.mask = (columns >= padding)[:, None, None] if padding.any() else None
        self.positions = (columns - padding).clamp(min=0)
        if decoder.config.position == "learned":  # a row that has ended may be read on, at its last position
            self.positions = self.positions.clamp(max=decoder.config.context - 1)
        self.cache: Cache | None = None
        self.one_token: OneToken | None = None

    def begin(
        self, pictures: Float[Tensor, "pictures channels height width"] | None = None
    ) -> Float[Tensor, "batch vocab"]:
        """Read the prompts."""
        if isinstance(self.model, VLM):
            vectors = self.model.merge(
                self.ids, None if pictures is None else self.model.project(self.model.see(pictures))
            )
        elif pictures is not None:
            raise ValueError("the model has no eyes; pass pictures to a VLM")
        else:
            vectors = embed(self.decoder.tokens, self.ids)
        self.cache = Cache(
            self.decoder.config, *self.positions.shape, dtype=activations(vectors), device=vectors.device
        )
        self.one_token = OneToken(self.decoder, self.cache) if as_built(self.decoder) else None
        return self._read(vectors, self.cache)

    def read(self, tokens: Int[Tensor, "batch"]) -> Float[Tensor, "batch vocab"]:
        """Read one token more in each row."""
        assert self.cache is not None  # begin() comes first
        return self._read(embed(self.decoder.tokens, tokens[:, None]), self.cache)

    def _read(self, vectors: Tensor, cache: Cache) -> Tensor:
        end = cache.length + vectors.shape[1]
        mask = None if self.mask is None else self.mask[..., :end]
        positions = self.positions[:, cache.length : end]
        if self.one_token and vectors.shape[1] == 1:
            x = self.one_token(vectors, mask, positions)
        else:
            x, _ = self.decoder.hidden(vectors, mask, positions=positions, cache=cache)
        return self.decoder.head(x[:, -1])


def activations(vectors: Float[Tensor, "..."]) -> torch.dtype:
    """In which dtype keys and values will be, for such vectors: their own, or that of autocast."""
    device = vectors.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else vectors.dtype
