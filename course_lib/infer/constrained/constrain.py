"""Constrained decoding: only tokens after which the text can still become one that matches a regular expression."""

import functools
from collections.abc import Collection, Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from course_lib.infer.constrained.automaton import DEAD, Automaton
from course_lib.infer.constrained.regex import Ranges, parse, replace_chars, union
from course_lib.infer.constrained.utf8 import utf8
from course_lib.infer.constrained.vocabulary import vocabulary

KEPT = 512  # masks of as many states, 50 KB each with 50,000 tokens


class Constraint:
    """What a text may be, token by token; made by `regular`, and never changed by being used.

    A state is a number; `start` is that of the empty text. Which tokens a state allows is worked out when first asked
    for, and kept. Source: Willard and Louf 2023, "Efficient Guided Generation for Large Language Models", section 3,
    whose index of all states is filled here as it is needed.
    """

    def __init__(self, automaton: Automaton, tokens: tuple[bytes, ...], end: Collection[int]) -> None:
        self.start = automaton.start
        self.end = frozenset(end)
        self.tokens = tokens
        self._automaton = automaton
        self._vocabulary = vocabulary(tokens)
        self._allowed = functools.lru_cache(KEPT)(self._work_out)
        # A state that bytes can finish, tokens can too, as long as each of those bytes is a token. Otherwise, as where
        # tokens are words or characters, it has to be tried out.
        single = {token[0] for token in tokens if len(token) == 1}
        self._living = None if single == set().union(*tokens) else self._search()
        if not (self.start if self._living is None else self._living[self.start]):
            raise ValueError("no text of these tokens matches the pattern; is it the tokenizer of the model?")

    def allowed(self, state: int) -> Bool[Tensor, " vocab"]:
        """True for the tokens that may come next: end tokens exactly where the text so far matches."""
        return self._allowed(state)

    def next(self, state: int, token: int) -> int:
        """The state after one more token. Raises ValueError for one that is not allowed."""
        if token in self.end and self.complete(state):
            return state
        text = b"" if token in self.end else self.tokens[token]
        after = self._automaton.step(state, text) if text else DEAD
        if not (after if self._living is None else self._living[after]):
            raise ValueError(f"token {token}, {self.tokens[token]!r}, is not allowed here; draw from allowed(state)")
        return after

    def complete(self, state: int) -> bool:
        """Whether the text so far matches."""
        return self._automaton.accepts(state)

    def _work_out(self, state: int) -> Bool[Tensor, " vocab"]:
        after = self._vocabulary.states(self._automaton, state)
        allowed = torch.from_numpy(after != DEAD if self._living is None else self._living[after])
        ends = torch.tensor(sorted(self.end))
        allowed[ends] = self.complete(state)
        return allowed

    def _search(self) -> np.ndarray:
        """For every state, whether some tokens lead from it to a match: all states are walked, then back."""
        before: dict[int, set[int]] = {self.start: set()}
        found = [self.start]
        for state in found:  # it grows as we go
            for after in np.unique(self._vocabulary.states(self._automaton, state)).tolist():
                if after != DEAD and after not in before:
                    found.append(after)
                before.setdefault(after, set()).add(state)
        back = [state for state in found if self.complete(state)]
        living = np.zeros(len(self._automaton.table), dtype=bool)
        while back:
            state = back.pop()
            if not living[state]:
                living[state] = True
                back += before[state]
        return living


def regular(pattern: str, tokens: Sequence[bytes], end: Collection[int]) -> Constraint:
    """The texts that `re.fullmatch(pattern, text)` accepts, written in tokens and closed by one of `end`.

    tokens: the bytes of every token, from tokenizers.token_bytes. end: ids of those that end a text. Every way to
    cut a matching text into tokens is allowed. Raises ValueError for a pattern that is not supported (see
    course_lib.infer.constrained.regex.parse), one that no text matches, or no end token.
    """
    strange = [i for i in end if not 0 <= i < len(tokens)]
    if strange or not end:
        there = f"which has {len(tokens)} tokens"
        raise ValueError(f"end={list(end)} must name at least one token of the vocabulary, {there}")
    closing = set(end)
    text = tuple(b"" if i in closing else token for i, token in enumerate(tokens))
    return Constraint(_automaton(pattern, union((byte, byte) for byte in set().union(*text))), text, end)


@functools.lru_cache(maxsize=8)
def _automaton(pattern: str, alphabet: Ranges) -> Automaton:
    return Automaton(replace_chars(parse(pattern), utf8), alphabet)
