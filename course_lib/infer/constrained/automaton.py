"""From a regular expression to an automaton over bytes, made as far as it is walked.

A state is what may still come: the set of expressions of which one has to match the rest of the text. Reading a byte
turns each of them into what may come after it, its partial derivatives. No state has to be searched for its way to an
end: expressions that match nothing are never made, so every state but DEAD can still be finished.
Source: Antimirov 1996, "Partial derivatives of regular expressions and finite automaton constructions", with the
deterministic automaton of Brzozowski 1964.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import numpy as np

from course_lib.infer.constrained.regex import Chars, Concat, Either, Ranges, Tree, intersection

DEAD, START = 0, 1  # states; nothing that begins with the text so far can match in the first
MOST_STATES = 50_000  # of 1 KB each: a pattern that needs more is one gone wrong
NOTHING, EMPTY = 0, 1  # expressions: one that matches no text, and one that matches the empty text only


class Automaton:
    """The deterministic automaton of a tree over bytes; `table[state, byte]` is the state after a byte, once filled.

    alphabet: the bytes that there are; what needs any other can never be finished, and is left out.
    """

    def __init__(self, tree: Tree, alphabet: Ranges = ((0, 255),)) -> None:
        self.alphabet = alphabet
        # Expressions are numbers. Equal ones are the same number, so that equal sets are one state.
        self._numbers: dict[tuple[Any, ...], int] = {("nothing",): NOTHING, ("empty",): EMPTY}
        self._parts: list[tuple[Any, ...]] = [("nothing",), ("empty",)]
        self._nullable = [False, True]
        self._after: dict[int, tuple[tuple[Ranges, int], ...]] = {NOTHING: (), EMPTY: ()}
        self._states: dict[frozenset[int], int] = {frozenset(): DEAD}
        self._sets: list[frozenset[int]] = [frozenset()]
        self.table = np.zeros((64, 256), dtype=np.int32)
        self.filled = np.zeros(64, dtype=bool)
        self.filled[DEAD] = True
        self._lock = threading.RLock()  # two requests may share a constraint
        self.start = self._state(frozenset({self._expression(tree)} - {NOTHING}))

    def accepts(self, state: int) -> bool:
        """Whether the text so far matches."""
        return any(self._nullable[expression] for expression in self._sets[state])

    def step(self, state: int, text: bytes) -> int:
        """The state after some bytes."""
        for byte in text:
            if not self.filled[state]:
                self.fill(state)
            state = int(self.table[state, byte])
        return state

    def fill(self, state: int) -> None:
        """Work out what each of the 256 bytes leads to. Raises ValueError for a pattern with too many states."""
        with self._lock:
            if self.filled[state]:
                return
            steps = [step for expression in self._sets[state] for step in self._derivatives(expression)]
            edges = sorted({edge for ranges, _ in steps for low, high in ranges for edge in (low, high + 1)})
            then: dict[int, set[int]] = {edge: set() for edge in edges}
            places = {edge: place for place, edge in enumerate(edges)}
            for ranges, expression in steps:
                for low, high in ranges:
                    for edge in edges[places[low] : places[high + 1]]:
                        then[edge].add(expression)
            row = np.zeros(256, dtype=np.int32)
            for low, high in pairwise(edges):
                row[low:high] = self._state(frozenset(then[low]))
            self.table[state] = row
            self.filled[state] = True

    def _state(self, expressions: frozenset[int]) -> int:
        if expressions not in self._states:
            number = len(self._sets)
            if number == MOST_STATES:
                raise ValueError(f"the pattern needs more than {MOST_STATES} states; make it simpler or shorter")
            if number == len(self.table):
                self.table = np.concatenate((self.table, np.zeros_like(self.table)))
                self.filled = np.concatenate((self.filled, np.zeros_like(self.filled)))
            self._sets.append(expressions)
            self._states[expressions] = number
        return self._states[expressions]

    def _derivatives(self, expression: int) -> tuple[tuple[Ranges, int], ...]:
        """What may come after a first byte: pairs of bytes and an expression, the linear form of Antimirov 1996."""
        if expression not in self._after:
            kind, *parts = self._parts[expression]
            found: list[tuple[Ranges, int]] = []
            match kind:
                case "chars":
                    found = [(parts[0], EMPTY)]
                case "concat":
                    first, then = parts
                    found = [(ranges, self._concat(rest, then)) for ranges, rest in self._derivatives(first)]
                    while self._nullable[first] and self._parts[then][0] == "concat":  # a loop: chains can be long
                        _, first, then = self._parts[then]
                        found += [(ranges, self._concat(rest, then)) for ranges, rest in self._derivatives(first)]
                    if self._nullable[first]:
                        found += self._derivatives(then)
                case "either":
                    found = [step for option in parts[0] for step in self._derivatives(option)]
                case "repeat":
                    part, least, most = parts
                    again = self._repeat(part, max(least - 1, 0), None if most is None else most - 1)
                    found = [(ranges, self._concat(rest, again)) for ranges, rest in self._derivatives(part)]
            self._after[expression] = tuple(dict.fromkeys(found))
        return self._after[expression]

    def _expression(self, tree: Tree) -> int:
        match tree:
            case Chars(ranges):
                ranges = intersection(ranges, self.alphabet, 255)
                return self._number(("chars", ranges), False) if ranges else NOTHING
            case Concat(parts):
                expression = EMPTY
                for part in reversed(parts):
                    expression = self._concat(self._expression(part), expression)
                return expression
            case Either(options):
                return self._either([self._expression(option) for option in options])
        return self._repeat(self._expression(tree.part), tree.least, tree.most)

    def _number(self, parts: tuple[Any, ...], nullable: bool) -> int:
        if parts not in self._numbers:
            self._numbers[parts] = len(self._parts)
            self._parts.append(parts)
            self._nullable.append(nullable)
        return self._numbers[parts]

    def _concat(self, first: int, then: int) -> int:
        if NOTHING in (first, then):
            return NOTHING
        if EMPTY in (first, then):
            return first if then == EMPTY else then
        return self._number(("concat", first, then), self._nullable[first] and self._nullable[then])

    def _either(self, options: list[int]) -> int:
        distinct = frozenset(options) - {NOTHING}
        if len(distinct) < 2:
            return next(iter(distinct), NOTHING)
        return self._number(("either", distinct), any(self._nullable[option] for option in distinct))

    def _repeat(self, part: int, least: int, most: int | None) -> int:
        if most == 0 or part == EMPTY:
            return EMPTY
        if part == NOTHING:
            return EMPTY if least == 0 else NOTHING
        if self._nullable[part]:
            least = 0  # what is left of the number can be empty texts
        if (least, most) == (1, 1):
            return part
        return self._number(("repeat", part, least, most), least == 0)
