"""Generation: several prompts are continued in one batch, one token per step."""

from collections.abc import Collection, Generator, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.errors import GenerationError
from course_lib.infer.generation.cached_decoder import CachedDecoder, left_pad
from course_lib.infer.generation.sampling import Sampling, sample
from course_lib.models.gpt import GPT
from course_lib.models.vlm import VLM
from course_lib.nn.embed import embed_tokens
from course_lib.nn.storage import device_of

Steps = Generator[list[int | None], None, None]  # each step yields a token for each row, None for rows that have ended


@runtime_checkable
class Matcher(Protocol):
    """An object that follows one text and says which tokens may come next."""

    def allowed(self) -> Bool[Tensor, " vocab"]:
        """Return a mask that is True for the tokens that may come next."""

    def accept(self, token: int) -> None:
        """Advance by one of the allowed tokens."""


@runtime_checkable
class Grammar(Protocol):
    """The texts that may be written; see `course_lib.infer.constrained.grammar`."""

    def matcher(self) -> Matcher:
        """Return a matcher at the beginning of a text."""


def generate(
    model: GPT | VLM,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008  # frozen
    *,
    stop_token_ids: Collection[int] = (),
    grammar: Grammar | None = None,
    generator: torch.Generator | None = None,
    images: Float[Tensor, "images channels height width"] | None = None,
) -> Steps:
    """Continue each prompt, one decode step at a time.

    A row ends with a token of `stop_token_ids`, after `max_new_tokens`, or, with learned positions, when it fills the
    context; since the last token need not be read, the text may then be one token longer. The iteration ends with the
    last row. At temperature 0 a row does not depend on the other rows; otherwise the rows draw from one generator in
    turn.

    Args:
        model: A decoder, or a model that also reads images.
        prompts: Lists of token ids; the prompts may differ in length.
        max_new_tokens: The largest number of new tokens for each row.
        sampling: How the next token is sampled.
        stop_token_ids: Ids of the tokens that end a row.
        grammar: The texts that may be written; the tokens that end a text in it have to be in `stop_token_ids`.
        generator: The random number generator, on the model's device.
        images: The images that the prompts of a VLM refer to, as in `VLM.forward`.

    Yields:
        A token for each row; None for rows that have ended.

    Raises:
        GenerationError: Before the first step, if there are no prompts or one is empty or longer than the context;
            later, if a grammar allows no token.
    """
    budgets = token_budgets(model, prompts, max_new_tokens)
    if images is not None and not isinstance(model, VLM):
        raise GenerationError(f"a {type(model).__name__} reads no images; leave them out, or take a VLM")
    return _steps(model, prompts, budgets, sampling, frozenset(stop_token_ids), grammar, generator, images)


def complete(
    model: GPT | VLM,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008  # frozen
    *,
    stop_token_ids: Collection[int] = (),
    grammar: Grammar | None = None,
    generator: torch.Generator | None = None,
    images: Float[Tensor, "images channels height width"] | None = None,
) -> list[list[int]]:
    """Continue each prompt to its end; arguments and errors are those of `generate`.

    Returns:
        The completion of each prompt, without the tokens of `stop_token_ids`.
    """
    texts: list[list[int]] = [[] for _ in prompts]
    steps = generate(
        model,
        prompts,
        max_new_tokens,
        sampling,
        stop_token_ids=stop_token_ids,
        grammar=grammar,
        generator=generator,
        images=images,
    )
    for step in steps:
        for text, token in zip(texts, step, strict=True):
            if token is not None and token not in stop_token_ids:
                text.append(token)
    return texts


def token_budgets(model: GPT | VLM, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[int]:
    """Compute how many tokens can follow each prompt.

    Raises:
        GenerationError: If `generate` would refuse the prompts before its first step.
    """
    try:
        lengths = [] if isinstance(prompts, str) else [len(prompt) for prompt in prompts]
    except TypeError:  # `len` of a token id
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
        if not config.ends_at_context:
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
    stop_token_ids: frozenset[int],
    grammar: Grammar | None,
    generator: torch.Generator | None,
    images: Tensor | None,
) -> Steps:
    decoder = model.decoder if isinstance(model, VLM) else model
    padding = 1 if isinstance(model, VLM) and model.config.image_token == 0 else 0  # any token but the image token
    ids, positions, mask = left_pad(prompts, max(budgets) - 1, padding, device_of(decoder))
    if decoder.config.ends_at_context:  # a row that has ended stays at its last position
        positions = positions.clamp(max=decoder.config.context - 1)
    decoder_with_cache = CachedDecoder(decoder, positions, mask)
    if isinstance(model, VLM):
        x = model.insert_images(ids, None if images is None else model.project(model.encode_images(images)))
    else:
        x = embed_tokens(model.token_embedding, ids)

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
            unfinished[row] = token is not None and token not in stop_token_ids and n_written < budgets[row]
            if matchers and token is not None and unfinished[row]:
                matchers[row].accept(token)
        if not any(unfinished):
            return
        x = embed_tokens(decoder.token_embedding, tokens[:, None])


def _allowed(
    matchers: list[Matcher], unfinished: list[bool], logits: Float[Tensor, "batch vocab"]
) -> Bool[Tensor, "batch vocab"]:
    """Return the tokens that each row may write next; rows that have ended may write any."""
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
