"""Speculative decoding: a small model drafts, a large one checks all of the draft at once, and writes as if alone."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.infer.generation.generate import room_for
from course_lib.infer.generation.reader import Reader
from course_lib.infer.generation.sampling import Sampling, probabilities
from course_lib.models.gpt import GPT
from course_lib.nn.embed import embed_tokens


class Round(NamedTuple):
    """What one call of the target brought: new tokens; how many tokens were drafted for it, and how many it accepted.

    The sum of `accepted` over that of `drafted` is the accepted share of a text.
    """

    tokens: list[int]
    drafted: int
    accepted: int


class Dice:
    """All chance that there is in speculative decoding."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def draw(self, shares: Float[Tensor, " vocab"]) -> int:
        """A token, with probabilities proportional to the shares."""
        return int(torch.multinomial(shares, 1, generator=self.generator))

    def happens(self, share: float) -> bool:
        """True with this probability."""
        device = self.generator.device if self.generator else None
        return bool(torch.rand((), generator=self.generator, device=device, dtype=torch.float64) < share)


def speculate(
    target: GPT,
    draft: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008  # frozen
    *,
    ahead: int = 4,
    stop: Collection[int] = (),
    generator: torch.Generator | None = None,
) -> Iterator[Round]:
    """Continue a prompt by rounds of up to `ahead` drafted tokens and one more.

    The text has the distribution that `generate` gives it with the target alone; with a temperature of 0 it is the same
    text. Both models sample in the same way. It ends like a row of `generate`, a token of `stop` included.
    Raises ValueError, before the first round, as `generate`, and for models of different vocabularies.
    Source: Leviathan et al. 2023, algorithm 1.
    """
    if target.config.vocab_size != draft.config.vocab_size:
        raise ValueError(
            f"the draft has {draft.config.vocab_size} tokens and the target {target.config.vocab_size}; "
            "both need one vocabulary"
        )
    if ahead < 1:
        raise ValueError(f"ahead={ahead} drafts nothing; it must be at least 1")
    (room,) = room_for(target, [prompt], max_new_tokens)
    return _rounds(target, draft, list(prompt), room, sampling, ahead, frozenset(stop), Dice(generator))


def check(
    drafted: Sequence[int],
    guessed: Sequence[Float[Tensor, " vocab"]],
    wanted: Float[Tensor, "_ vocab"],
    dice: Dice,
) -> list[int]:
    """The drafted tokens that may stay, and one more token: together they are distributed as the target's own.

    guessed: the draft's distribution of each; wanted: the target's, and that of the token after them. A token x stays
    with probability min(1, wanted(x) / guessed(x)); the first that does not is replaced by a draw from what the target
    wanted and the draft had too little of, max(0, wanted - guessed), and ends the text.
    Source: Leviathan et al. 2023, section 2.3 and appendix A.1.
    """
    for i, token in enumerate(drafted):
        if not dice.happens(float(wanted[i, token] / guessed[i][token])):
            missing = (wanted[i] - guessed[i]).clamp(min=0)
            return [*drafted[:i], dice.draw(missing if missing.any() else wanted[i])]  # none: equal but for rounding
    return [*drafted, dice.draw(wanted[len(drafted)])]


@torch.inference_mode()
def _rounds(
    target: GPT,
    draft: GPT,
    text: list[int],
    room: int,
    sampling: Sampling,
    ahead: int,
    stop: frozenset[int],
    dice: Dice,
) -> Iterator[Round]:
    end = len(text) + room
    # What the draft can read. Its learned positions may be fewer; after them the target goes on alone.
    sight = min(end, draft.config.context) if draft.config.position == "learned" else end
    drafter, checker = _Reading(draft, sight, sampling), _Reading(target, end, sampling)
    while len(text) < end:
        drafted: list[int] = []
        guessed: list[Tensor] = []
        for _ in range(min(ahead, end - len(text) - 1, sight - len(text) + 1)):
            guessed.append(drafter.shares(text + drafted, 1)[0])
            drafted.append(dice.draw(guessed[-1]))
        tokens = check(drafted, guessed, checker.shares(text + drafted, len(drafted) + 1), dice)
        accepted = len(tokens) - 1
        ends = next((i + 1 for i, token in enumerate(tokens) if token in stop), None)
        text += tokens
        for reading in (drafter, checker):
            reading.forget(len(text) - 1)  # what was drafted in vain, and the last token, which came after it
        yield Round(tokens[:ends], len(drafted), accepted)
        if ends:
            return


class _Reading:
    """A model, and what it has read of a text."""

    def __init__(self, model: GPT, room: int, sampling: Sampling) -> None:
        self.tokens = model.tokens
        self.device = next(model.parameters()).device
        self.reader = Reader(model, torch.arange(room, device=self.device)[None])
        self.sampling = sampling

    def shares(self, text: list[int], last: int) -> Float[Tensor, "{last} vocab"]:
        """The distribution of what follows each of the `last` tokens, all that was not read before being read now."""
        ids = torch.tensor([text[self.reader.cache.length :]], device=self.device)
        return probabilities(self.reader.read(embed_tokens(self.tokens, ids), last)[0], self.sampling)

    def forget(self, n: int) -> None:
        """Keep the first n tokens at most."""
        self.reader.cache.rewind(min(n, self.reader.cache.length))
