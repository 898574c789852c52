"""Speculative decoding: a small model drafts tokens, and the large one checks all of them in one forward pass."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import GenerationError
from course_lib.infer.generation.cached_decoder import CachedDecoder
from course_lib.infer.generation.generate import token_budgets
from course_lib.infer.generation.sampling import Sampling, probabilities
from course_lib.models.gpt import GPT
from course_lib.nn.embed import embed_tokens
from course_lib.nn.storage import device_of


class Round(NamedTuple):
    """The result of one forward pass of the target: the new tokens, the number drafted, and the number accepted.

    The acceptance rate of a text is the sum of `accepted` divided by the sum of `drafted`.
    """

    tokens: list[int]
    drafted: int
    accepted: int


class Sampler:
    """The source of all randomness in speculative decoding."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def sample(self, weights: Float[Tensor, " vocab"]) -> int:
        """Sample a token, with probabilities proportional to the weights."""
        return int(torch.multinomial(weights, 1, generator=self.generator))

    def bernoulli(self, probability: float) -> bool:
        """Return True with this probability."""
        device = self.generator.device if self.generator else None
        return bool(torch.rand((), generator=self.generator, device=device, dtype=torch.float64) < probability)


def speculate(
    target: GPT,
    draft: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008  # frozen
    *,
    draft_tokens: int = 4,
    stop_token_ids: Collection[int] = (),
    generator: torch.Generator | None = None,
) -> Iterator[Round]:
    """Continue a prompt in rounds: the draft model proposes tokens, and the target checks all of them at once.

    The text has the same distribution as with `generate` and the target alone; at temperature 0 it is the same text.
    Both models use the same sampling. The text ends like a row of `generate`, a token of `stop_token_ids` included.

    Args:
        target: The model whose text is wanted.
        draft: A smaller model with the same vocabulary.
        prompt: Token ids.
        max_new_tokens: The largest number of new tokens.
        sampling: How both models sample the next token.
        draft_tokens: The largest number of tokens that the draft proposes in a round.
        stop_token_ids: Ids of the tokens that end the text.
        generator: The random number generator, on the models' device.

    Yields:
        The result of each round.

    Raises:
        GenerationError: Before the first round, if `generate` would refuse the prompt, or the vocabularies differ.

    Source: Leviathan et al. 2023, algorithm 1.
    """
    if target.config.vocab_size != draft.config.vocab_size:
        raise GenerationError(
            f"the draft has {draft.config.vocab_size} tokens and the target {target.config.vocab_size}; "
            "both need one vocabulary"
        )
    if draft_tokens < 1:
        raise GenerationError(f"draft_tokens={draft_tokens} drafts nothing; it must be at least 1")
    (room,) = token_budgets(target, [prompt], max_new_tokens)
    stop, sampler = frozenset(stop_token_ids), Sampler(generator)
    return _rounds(target, draft, list(prompt), room, sampling, draft_tokens, stop, sampler)


def rejection_sample(
    drafted: Sequence[int],
    draft_probs: Sequence[Float[Tensor, " vocab"]],
    target_probs: Float[Tensor, "_ vocab"],
    sampler: Sampler,
) -> list[int]:
    """Accept a prefix of the drafted tokens and add one token, so that all follow the target's distribution.

    A drafted token x is accepted with probability min(1, target(x) / draft(x)). The first rejected token ends the
    prefix; it is replaced by a sample from max(0, target - draft), the tokens that the draft proposes too rarely.

    Args:
        drafted: The tokens that the draft model proposed.
        draft_probs: The draft model's distribution for each of them.
        target_probs: The target's distribution for each of them and for the token after them.
        sampler: Samples tokens, and decides which are accepted.

    Source: Leviathan et al. 2023, section 2.3 and appendix A.1.
    """
    for i, token in enumerate(drafted):
        if not sampler.bernoulli(float(target_probs[i, token] / draft_probs[i][token])):
            missing = (target_probs[i] - draft_probs[i]).clamp(min=0)
            if not missing.any():  # the two are equal, up to rounding
                missing = target_probs[i]
            return [*drafted[:i], sampler.sample(missing)]
    return [*drafted, sampler.sample(target_probs[len(drafted)])]


@torch.inference_mode()
def _rounds(
    target: GPT,
    draft: GPT,
    text: list[int],
    budget: int,
    sampling: Sampling,
    draft_tokens: int,
    stop: frozenset[int],
    sampler: Sampler,
) -> Iterator[Round]:
    end = len(text) + budget
    # The end of what the draft can read. It may have fewer learned positions; after them the target continues alone.
    draft_end = min(end, draft.config.context) if draft.config.ends_at_context else end
    positions = torch.arange(end, device=device_of(target))[None]
    target_decoder, draft_decoder = CachedDecoder(target, positions), CachedDecoder(draft, positions[:, :draft_end])
    while len(text) < end:
        drafted: list[int] = []
        draft_probs: list[Tensor] = []
        for _ in range(min(draft_tokens, end - len(text) - 1, draft_end - len(text) + 1)):
            draft_probs.append(_next_probabilities(draft_decoder, text + drafted, 1, sampling)[0])
            drafted.append(sampler.sample(draft_probs[-1]))
        target_probs = _next_probabilities(target_decoder, text + drafted, len(drafted) + 1, sampling)
        tokens = rejection_sample(drafted, draft_probs, target_probs, sampler)
        accepted = len(tokens) - 1
        ends = next((i + 1 for i, token in enumerate(tokens) if token in stop), None)
        text += tokens
        for cache in (draft_decoder.cache, target_decoder.cache):
            cache.rewind(min(cache.length, len(text) - 1))  # without the tokens that were rejected
        yield Round(tokens[:ends], len(drafted), accepted)
        if ends:
            return


def _next_probabilities(
    decoder: CachedDecoder, text: list[int], last: int, sampling: Sampling
) -> Float[Tensor, "{last} vocab"]:
    """Compute the distribution after each of the `last` tokens; reads all tokens not read before."""
    ids = torch.tensor([text[decoder.cache.length :]], device=decoder.positions.device)
    return probabilities(decoder.next_logits(embed_tokens(decoder.decoder.token_embedding, ids), last)[0], sampling)
