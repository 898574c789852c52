"""Generation: several prompts are continued at once, one token a step."""

from collections.abc import Collection, Generator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.errors import GenerationError
from course_lib.infer.generation.cached_decoder import CachedDecoder, left_pad
from course_lib.infer.generation.sampling import Sampling, sample
from course_lib.models.gpt import GPT
from course_lib.models.vlm import VLM
from course_lib.nn.embed import embed_tokens

Steps = Generator[list[int | None], None, None]  # of each step a token for each row, None for rows that have ended


@runtime_checkable
class Matcher(Protocol):
    """Follows one text and says which tokens may come next."""

    def allowed(self) -> Bool[Tensor, " vocab"]:
        """True for the tokens that may come next."""

    def accept(self, token: int) -> None:
        """Go on by one of them."""


@runtime_checkable
class Grammar(Protocol):
    """What may be written; course_lib.infer.constrained.grammar makes one."""

    def matcher(self) -> Matcher:
        """A matcher at the beginning of a text."""


def generate(
    model: GPT | VLM,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008  # frozen
    *,
    stop: Collection[int] = (),
    grammar: Grammar | None = None,
    generator: torch.Generator | None = None,
    pictures: Float[Tensor, "pictures channels height width"] | None = None,
) -> Steps:
    """Continue each prompt, one decode step at a time.

    A row ends with a token of `stop`, after max_new_tokens, or where the model has learned positions and the text fills
    them; only the last token, which need not be read, may then be one more. The iteration ends with the last row.
    With a temperature of 0 a row is what it would be alone; otherwise the rows draw from one generator in turn.

    Args:
        model: a decoder, or a model that also reads pictures.
        prompts: token ids; the prompts may differ in length.
        max_new_tokens: for each row.
        sampling: how the next token is chosen.
        stop: tokens that end a row.
        grammar: what may be written; the tokens with which it lets a text end belong into `stop`.
        generator: of random numbers, on the model's device.
        pictures: those that the prompts of a VLM speak of, as for VLM.forward.

    Yields:
        A token for each row; None for rows that have ended.

    Raises:
        GenerationError: before the first step for no prompts, an empty one, or one that is longer than the context;
            later where a grammar allows nothing.
    """
    budgets = token_budgets(model, prompts, max_new_tokens)
    if pictures is not None and not isinstance(model, VLM):
        raise GenerationError(f"a {type(model).__name__} reads no pictures; leave them out, or take a VLM")
    return _steps(model, prompts, budgets, sampling, frozenset(stop), grammar, generator, pictures)


def complete(
    model: GPT | VLM,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008  # frozen
    *,
    stop: Collection[int] = (),
    **options: Any,
) -> list[list[int]]:
    """Continue each prompt to its end; arguments and errors as for `generate`.

    Returns:
        What was written for each prompt, without the tokens of `stop`.
    """
    texts: list[list[int]] = [[] for _ in prompts]
    for step in generate(model, prompts, max_new_tokens, sampling, stop=stop, **options):
        for text, token in zip(texts, step, strict=True):
            if token is not None and token not in stop:
                text.append(token)
    return texts


def token_budgets(model: GPT | VLM, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[int]:
    """Count how many tokens can follow each prompt.

    Raises:
        GenerationError: for what `generate` refuses before its first step.
    """
    try:
        lengths = [] if isinstance(prompts, str) else [len(prompt) for prompt in prompts]
    except TypeError:  # of a token, which has no length
        lengths = []
    if not lengths:
        raise GenerationError("pass a list of prompts, each a list of token ids; for one prompt: [ids]")
    if max_new_tokens < 1:
        raise GenerationError(f"max_new_tokens={max_new_tokens} must be at least 1")
    config = (model.decoder if isinstance(model, VLM) else model).config
    budgets = []
    for i, n in enumerate(lengths):
        if not n:
            raise GenerationError(f"prompt {i} is empty; begin it with a token, such as one for the start of a text")
        if config.position != "learned":
            budgets.append(max_new_tokens)
        elif n <= config.context:
            budgets.append(min(max_new_tokens, config.context - n + 1))
        else:
            raise GenerationError(f"prompt {i} has {n} tokens, but the model's context is {config.context}; shorten it")
    return budgets


@torch.inference_mode()
def _steps(
    model: GPT | VLM,
    prompts: Sequence[Sequence[int]],
    budgets: list[int],
    sampling: Sampling,
    stop: frozenset[int],
    grammar: Grammar | None,
    generator: torch.Generator | None,
    pictures: Tensor | None,
) -> Steps:
    decoder = model.decoder if isinstance(model, VLM) else model
    padding = 1 if isinstance(model, VLM) and model.config.image_token == 0 else 0  # any token but that
    ids, positions, mask = left_pad(prompts, max(budgets) - 1, padding, next(decoder.parameters()).device)
    if decoder.config.position == "learned":  # a row that has ended stays at its last position
        positions = positions.clamp(max=decoder.config.context - 1)
    decoder_with_cache = CachedDecoder(decoder, positions, mask)
    if isinstance(model, VLM):
        x = model.insert_pictures(ids, None if pictures is None else model.project(model.encode_pictures(pictures)))
    else:
        x = embed_tokens(model.tokens, ids)

    unfinished = [True] * len(budgets)
    matchers = [] if grammar is None else [grammar.matcher() for _ in budgets]
    for n_written in range(1, max(budgets) + 1):
        logits = decoder_with_cache.next_logits(x)[:, 0]
        if matchers:
            logits = logits.masked_fill(~_allowed(matchers, unfinished, logits), -torch.inf)
        tokens = sample(logits, sampling, generator)
        step = [token if more else None for token, more in zip(tokens.tolist(), unfinished, strict=True)]
        yield step
        for row, token in enumerate(step):
            unfinished[row] = token is not None and token not in stop and n_written < budgets[row]
            if matchers and token is not None and unfinished[row]:
                matchers[row].accept(token)
        if not any(unfinished):
            return
        x = embed_tokens(decoder.tokens, tokens[:, None])


def _allowed(
    matchers: list[Matcher], unfinished: list[bool], logits: Float[Tensor, "batch vocab"]
) -> Bool[Tensor, "batch vocab"]:
    """What each row may write next; rows that have ended may write anything."""
    allowed = torch.ones_like(logits, dtype=torch.bool)
    for row, matcher in enumerate(matchers):
        if not unfinished[row]:
            continue
        tokens = matcher.allowed()
        if len(tokens) != logits.shape[-1]:
            raise GenerationError(f"the grammar speaks of {len(tokens)} tokens, but the model has {logits.shape[-1]}")
        if not tokens.any():
            raise GenerationError(f"the grammar allows no token to follow in row {row}; it leads to a dead end")
        allowed[row] = tokens
    return allowed
