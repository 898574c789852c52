"""What an exercise is made of: a reference, cases, known mistakes, and right answers written otherwise.

A file of exercises holds one `EXERCISE = Exercise(...)` and what belongs to it. It imports what its notebook imports
(torch, math, numpy), this file, and earlier exercises of its lab whose references it calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Case:
    """One question to the code under test.

    Attributes:
        name: Said to the learner ("a batch of rows, along the last axis").
        args: Plain data; a fresh copy is handed over at every call.
        kwargs: The same, by name.
        expected: The right answer where a closed form is known; otherwise the reference is asked.
        rtol: Only where this case needs another relative tolerance than its exercise.
        atol: Only where this case needs another absolute tolerance than its exercise.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    expected: Any = None
    rtol: float | None = None
    atol: float | None = None


# How a case is run: the `run_case` of an exercise is one of these, or a function of its own file. Its `subject` is the
# code under test; what may be asked of it is said in `grader.inside.calls.Subject`.


def call(subject: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the subject and compare the value: the default."""
    return subject(*args, **kwargs)


def call_and_differentiate(subject: Any, *args: Any, **kwargs: Any) -> Any:
    """Compare value and gradients: a detached or wrong gradient fails although every value is right."""
    return subject.gradients(*args, **kwargs)


def call_and_differentiate_only(*positions: int) -> Callable[..., Any]:
    """Compare the value, and the gradients with respect to some of the tensor arguments.

    What flows to the others is free: a learner may detach them.

    Args:
        *positions: Places among the tensors that are passed, from 0.

    Returns:
        A function for the `run_case` of an exercise.
    """

    def run_case(subject: Any, *args: Any, **kwargs: Any) -> Any:
        answer = subject.gradients(*args, **kwargs)
        compared = [gradient if i in positions else None for i, gradient in enumerate(answer["gradients"])]
        return {**answer, "gradients": compared}

    return run_case


class WrongAnswer(Exception):
    """Raised by a `run_case` when the answer is wrong for a reason; the learner is told this sentence."""


# Wrong and right versions, marked in the file of their exercise.


@dataclass(frozen=True)
class Mistake:
    """A wrong version that learners write, and what they are told when their answers equal its answers."""

    solution: Callable[..., Any]
    message: str


def mistake(message: str) -> Callable[[Callable[..., Any]], Mistake]:
    """Mark a function or class as a known mistake.

    Args:
        message: What the learner is told: what the answer looks like, and what to do.

    Returns:
        A decorator that makes a `Mistake` of the function.
    """

    def mark(solution: Callable[..., Any]) -> Mistake:
        return Mistake(solution, message)

    return mark


def mistakes_in(module: str) -> tuple[Mistake, ...]:
    """The known mistakes of a file, from top to bottom; the first one that fits an answer is named.

    Args:
        module: The file's `__name__`.
    """
    return tuple(_defined_in(module, Mistake))


@dataclass(frozen=True)
class Alternative:
    """A right answer, written another way than the reference: checks have to test the result, not the style."""

    solution: Callable[..., Any]


def alternative(solution: Callable[..., Any]) -> Alternative:
    """Mark a function or class as a right answer that is written another way than the reference."""
    return Alternative(solution)


def alternatives_in(module: str) -> tuple[Alternative, ...]:
    """The right answers of a file that are written another way than the reference, from top to bottom.

    Args:
        module: The file's `__name__`.
    """
    return tuple(_defined_in(module, Alternative))


def _defined_in(module: str, kind: type[Any]) -> list[Any]:
    """The versions of one kind that a module defines itself, in their order."""
    values = vars(sys.modules[module]).values()
    return [value for value in values if isinstance(value, kind) and value.solution.__module__ == module]


@dataclass(frozen=True)
class Exercise:
    """One exercise. `reference.__name__` is the name that the learner defines.

    Attributes:
        id: Unique over the course; the mark in the notebook is `# EXERCISE: <id>`, the file is `<id>.py`.
        title: A few words.
        points: What a right answer earns.
        minutes: About how long it takes.
        difficulty: From 1 (direct) to 3 (think first).
        hints: A nudge, then nearly the line.
        reference: The solution, a plain function or class.
        cases: Makes the cases from a generator: visible checks use seed 0, grading a secret seed.
        mistakes: `mistakes_in(__name__)`.
        see: Where to read: "Chapter 1, From scores to weights".
        alternatives: `alternatives_in(__name__)`.
        run_case: How one case is put to the code under test.
        needs: Ids of earlier exercises that the learner's function calls.
        avoid: Names that make the exercise pointless ("torch.softmax"): a flag in the report, points unchanged.
        rtol: Relative tolerance. The expected value comes from the reference in float64 where its arguments allow, so
            the tolerance has to cover float32 rounding only: about 100 roundings of 6e-8 on values near 1.
        atol: Absolute tolerance, likewise.
    """

    id: str
    title: str
    points: int
    minutes: int
    difficulty: int
    hints: tuple[str, str]
    reference: Callable[..., Any]
    cases: Callable[[torch.Generator], list[Case]]
    mistakes: tuple[Mistake, ...]
    see: str
    alternatives: tuple[Alternative, ...] = ()
    run_case: Callable[..., Any] = call
    needs: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    rtol: float = 1e-5
    atol: float = 1e-5

    @property
    def name(self) -> str:
        """The name of the function or class that the learner defines."""
        return self.reference.__name__
