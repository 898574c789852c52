"""A model that reads and writes text: a decoder with its tokenizer, the tokens that end a text, and a chat template."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer

from course_lib.data.tokenizers import chat
from course_lib.data.tokenizers.token_bytes import token_bytes
from course_lib.errors import GenerationError
from course_lib.infer.generation.generate import Grammar, generate
from course_lib.infer.generation.sampling import Sampling
from course_lib.infer.generation.stream import TextStream
from course_lib.models import GPT

Prompt = str | Sequence[int] | Sequence[chat.Message]


class ContextLengthExceeded(GenerationError):
    """The prompt leaves no room in the model's context."""


@dataclass(frozen=True)
class TextGenerator:
    """A decoder with its tokenizer: it is given text, and gives text.

    Attributes:
        end_tokens: those that end a text.
        chat_template: how a conversation is written for the model; None for a model that only continues texts.
        special_tokens: what a template calls bos_token and so on.
        sampling: how to sample from it where nothing else is asked for.
        name: for people, and for the server.

    Raises:
        GenerationError: for a tokenizer that does not fit the model.
    """

    model: GPT
    tokenizer: Tokenizer
    end_tokens: Collection[int] = ()
    chat_template: str | None = None
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    sampling: Sampling = Sampling()  # frozen  # noqa: RUF009
    name: str = "model"

    def __post_init__(self) -> None:
        try:  # now, since whoever opens a model should learn at once that it cannot be used
            n_tokens = len(self.token_bytes)
        except ValueError as error:
            raise GenerationError(f"{self.name}: {error}") from None
        if strange := [i for i in self.end_tokens if not 0 <= i < n_tokens]:
            raise GenerationError(f"{self.name}: the end token {strange[0]} is none of the {n_tokens} tokens")

    @functools.cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of every token that the model can write."""
        return tuple(token_bytes(self.tokenizer, self.model.config.vocab_size))

    def encode(self, prompt: Prompt, tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """The tokens of a text, or those of a conversation up to where the reply begins; tokens stay as they are.

        In a text the names of special tokens are those tokens; in a conversation only the template writes them.

        Raises:
            GenerationError: for an empty prompt, a conversation without a template, and one that the template refuses.
        """
        try:
            ids = self._encode(prompt, tools) if prompt else []
        except TypeError:  # of the tokenizer, for half a surrogate pair
            raise GenerationError("the prompt is no valid Unicode; it holds half a surrogate pair") from None
        except ValueError as error:
            raise GenerationError(str(error)) from None
        if not ids:
            raise GenerationError("the prompt is empty; write at least one character")
        if strange := [i for i in ids if not 0 <= i < len(self.token_bytes)]:
            raise GenerationError(
                f"the token {strange[0]} of the prompt is none of the {len(self.token_bytes)} of {self.name}"
            )
        return ids

    def _encode(self, prompt: Any, tools: Sequence[Mapping[str, Any]] | None) -> list[int]:
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt).ids
        if isinstance(prompt[0], int):
            return list(prompt)
        if self.chat_template is None:
            raise GenerationError(f"{self.name} has no chat template: it continues texts; pass a text as the prompt")
        options: dict[str, Any] = {"tools": tools, "add_generation_prompt": True, **self.special_tokens}
        return chat.encode(prompt, self.chat_template, self.tokenizer, **options)

    def constrain(self, source: str) -> Grammar:
        """Bind a grammar, from course_lib.infer.constrained.grammar, to the tokens of this model.

        Raises:
            GenerationError: where no text can match it, and for a model without an end token.
        """
        from course_lib.infer.constrained import grammar  # here, since llguidance comes with an extra

        return grammar.Grammar(source, self.token_bytes, self.end_tokens)

    def stream(
        self,
        prompt: Prompt,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
        *,
        stop: Sequence[str] = (),
        grammar: Grammar | None = None,
        seed: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> TextStream:
        """Continue a text or its tokens, or answer a conversation. The pieces come while they are made.

        Args:
            prompt: a text, its tokens, or the messages of a conversation.
            max_new_tokens: None for as many as the context has room for.
            sampling: None for the model's own.
            stop: strings before which the text ends.
            grammar: what the text has to be, from `constrain`.
            seed: the same gives the same text, None another one each time.
            tools: functions that the chat template tells the model of.

        Raises:
            GenerationError: before the first token for what `encode` refuses, an empty stop string, and stop strings
                beside a grammar; later for a grammar that proves too large.
            ContextLengthExceeded: for a prompt that fills the context.
        """
        ids = self.encode(prompt, tools)
        context = self.model.config.context
        room = context - len(ids)
        if room < 1:
            raise ContextLengthExceeded(
                f"the prompt has {len(ids)} tokens, and the context of {self.name} is {context}, "
                "which has to hold the answer too; shorten the prompt"
            )
        if grammar is not None and stop:
            raise GenerationError("a stop string could cut off what the text has to become; ask for one or the other")
        generator = torch.Generator(next(self.model.parameters()).device)
        generator.manual_seed(secrets.randbits(63) if seed is None else seed)
        steps = generate(
            self.model,
            [ids],
            room if max_new_tokens is None else min(room, max_new_tokens),
            sampling or self.sampling,
            stop=self.end_tokens,
            grammar=grammar,
            generator=generator,
        )
        return TextStream(steps, self.token_bytes, self.end_tokens, stop, len(ids))
