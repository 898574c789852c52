"""Streaming: text comes piece by piece, in whole characters, and ends before a stop string."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Literal

from course_lib.errors import GenerationError
from course_lib.infer.generation.generate import Steps


class StopStrings:
    """Ends a text that comes in pieces before the stop string that is complete first; of two at once, the longer one.

    Raises:
        GenerationError: for an empty stop string.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        if "" in strings:
            raise GenerationError("a stop string is empty, so the text would end before it begins; leave it out")
        self.strings = strings
        self.held = ""  # what may be the beginning of a stop string

    def add(self, text: str) -> tuple[str, bool]:
        """Take a piece.

        Returns:
            What can be shown now, and whether a stop string came after it.
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
    """The text that answers one prompt: a piece a token, empty while it is held back, and at last what was held back.

    Args:
        steps: of `generate` for one prompt: a token a step.
        tokens: the bytes of every token.
        end: the tokens that end a text.
        stop: strings before which the text ends.
        prompt_tokens: how many tokens the prompt has.

    Attributes:
        prompt_tokens: as given.
        completion_tokens: how many were generated so far, the end token included.
        finish_reason: None on the way; then "stop", for an end token or a stop string, or "length".
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
                assert token is not None  # there is one row, and with it the steps end
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
