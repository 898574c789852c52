"""Streaming: text comes piece by piece, in whole characters, and ends before a stop string."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Literal

from course_lib.errors import GenerationError
from course_lib.infer.generation.generate import Steps


class StopStrings:
    """A filter that ends a text, given in pieces, before the first stop string that is complete.

    If two are complete at once, the longer one counts.

    Raises:
        GenerationError: If a stop string is empty.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        if "" in strings:
            raise GenerationError("a stop string is empty, so the text would end before it begins; leave it out")
        self.strings = strings
        self.held = ""  # may be the beginning of a stop string

    def add(self, text: str) -> tuple[str, bool]:
        """Add a piece.

        Returns:
            The text that can be shown now, and whether a stop string came after it.
        """
        text = self.held + text
        found = [(at + len(string), at) for string in self.strings if (at := text.find(string)) >= 0]
        if found:
            return text[: min(found)[1]], True
        sure = len(text) - max(
            (n for string in self.strings for n in range(1, len(string)) if text.endswith(string[:n])), default=0
        )
        self.held = text[sure:]
        return text[:sure], False


class TextStream(Iterator[str]):
    """The completion of one prompt: one piece per token, empty while text is held back, and at the end the rest.

    Args:
        steps: `generate` for one prompt: one token per step.
        tokens: The bytes of every token.
        end: Ids of the tokens that end a text.
        stop: Strings before which the text ends.
        prompt_tokens: The number of tokens of the prompt.

    Attributes:
        prompt_tokens: The number of tokens of the prompt.
        completion_tokens: The number of tokens generated so far, the end token included.
        finish_reason: None until the text ends; then "stop", for an end token or a stop string, or "length".
    """

    def __init__(
        self,
        steps: Steps,
        tokens: Sequence[bytes],
        end: Collection[int],
        stop: Sequence[str],
        prompt_tokens: int,
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.finish_reason: Literal["stop", "length"] | None = None
        self._steps, self._tokens, self._end = steps, tokens, end
        self._stops = StopStrings(stop)
        self._pieces = self._write()

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """End the text early."""
        self._pieces.close()

    def _write(self) -> Generator[str, None, None]:
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        with contextlib.closing(self._steps) as running:
            for (token,) in running:
                assert token is not None  # there is one row, and the steps end with it
                self.completion_tokens += 1
                if token in self._end:
                    self.finish_reason = "stop"
                    break
                text, stopped = self._stops.add(characters.decode(self._tokens[token]))
                if stopped:
                    self.finish_reason = "stop"
                    yield text
                    return
                yield text
        text, stopped = self._stops.add(characters.decode(b"", final=True))
        self.finish_reason = "stop" if stopped or self.finish_reason else "length"
        yield text if stopped else text + self._stops.held
