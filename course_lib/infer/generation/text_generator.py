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
from course_lib.nn.storage import device_of

Prompt = str | Sequence[int] | Sequence[chat.Message]


class ContextLengthExceeded(GenerationError):
    """Raised when the prompt leaves no room in the model's context."""


@dataclass(frozen=True)
class TextGenerator:
    """A decoder with its tokenizer: from text to text.

    Attributes:
        end_tokens: Ids of the tokens that end a text.
        chat_template: How a conversation is written for the model; None for a model that only continues texts.
        special_tokens: What a template calls bos_token and so on.
        sampling: How to sample if nothing else is asked for.
        name: The model's name, for people and for the server.

    Raises:
        GenerationError: If the tokenizer does not fit the model.
    """

    model: GPT
    tokenizer: Tokenizer
    end_tokens: Collection[int] = ()
    chat_template: str | None = None
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    sampling: Sampling = Sampling()  # frozen  # noqa: RUF009
    name: str = "model"

    def __post_init__(self) -> None:
        try:  # now, so that opening a model that cannot be used fails at once
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
        """Encode a text, or a conversation up to the beginning of the answer; token ids are returned as they are.

        In a text the names of special tokens become those tokens; in a conversation only the template writes them.

        Raises:
            GenerationError: If the prompt is empty, or a conversation has no template or is refused by it.
        """
        try:
            ids = self._encode(prompt, tools) if prompt else []
        except TypeError:  # the tokenizer's, for half a surrogate pair
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
        """Bind a grammar from `course_lib.infer.constrained.grammar` to the tokens of this model.

        Raises:
            GenerationError: If no text can match it, or the model has no end token.
        """
        from course_lib.infer.constrained import grammar  # here, since llguidance is an extra

        return grammar.TokenGrammar(source, self.token_bytes, self.end_tokens)

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
        """Continue a text or its tokens, or answer a conversation; each piece comes as soon as it is generated.

        Args:
            prompt: A text, its token ids, or the messages of a conversation.
            max_new_tokens: The largest number of new tokens; None for as many as the context has room for.
            sampling: How the next token is sampled; None for the model's own settings.
            stop: Strings before which the text ends.
            grammar: The texts that may be written, from `constrain`.
            seed: The same seed gives the same text; None for a different text each time.
            tools: Functions that the chat template describes to the model.

        Raises:
            GenerationError: Before the first token, if `encode` refuses the prompt, a stop string is empty, or stop
                strings come with a grammar; later, if a grammar grows too large.
            ContextLengthExceeded: If the prompt fills the context.
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
        generator = torch.Generator(device_of(self.model))
        generator.manual_seed(secrets.randbits(63) if seed is None else seed)
        steps = generate(
            self.model,
            [ids],
            room if max_new_tokens is None else min(room, max_new_tokens),
            sampling or self.sampling,
            stop_token_ids=self.end_tokens,
            grammar=grammar,
            generator=generator,
        )
        return TextStream(steps, self.token_bytes, self.end_tokens, stop, len(ids))
