"""What an exercise is made of: a reference, cases, known mistakes, and right answers written otherwise.

A file of exercises holds one `EXERCISE = Exercise(...)` and what belongs to it. It imports what its notebook imports
(torch, math, numpy), this file, and earlier exercises of its lab whose references it calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch


class Handle(Protocol):
    """An object that lives where the submitted code runs; only arrays and plain data cross."""

    def call(self, *args: Any, method: str = "forward", **kwargs: Any) -> Any:
        """Call a method of the object."""

    def gradients(self, *args: Any, method: str = "forward", **kwargs: Any) -> dict[str, Any]:
        """Call a method and differentiate the result, as `Subject.gradients` does."""

    def get_state(self) -> dict[str, Any]:
        """The object's parameters and buffers by name."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Set the object's parameters and buffers."""


class Subject(Protocol):
    """The code under test, in this process or behind a sandbox: the same three verbs either way."""

    changed: int | str | None  # position or name of the first argument that a call has changed in place

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function. Arguments and results are tensors, arrays, numbers, strings, lists, dicts or None."""

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Call with gradients required of every floating tensor argument; differentiate a weighted sum of the result.

        The weights are those of `grader.inside.calls.cotangent`, so that both sides differentiate the same number.

        Returns:
            {"output": result, "gradients": [one tensor or None for each tensor argument, in order]}.
        """

    def new(self, *args: Any, **kwargs: Any) -> Handle:
        """Make an object of the class under test."""


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


# How a case is run: the `run_case` of an exercise is one of these, or a function of its own file.


def call(subject: Subject, *args: Any, **kwargs: Any) -> Any:
    """Call the subject and compare the value: the default."""
    return subject(*args, **kwargs)


def call_and_differentiate(subject: Subject, *args: Any, **kwargs: Any) -> Any:
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

    def run_case(subject: Subject, *args: Any, **kwargs: Any) -> Any:
        answer = subject.gradients(*args, **kwargs)
        compared = [gradient if i in positions else None for i, gradient in enumerate(answer["gradients"])]
        return {**answer, "gradients": compared}

    return run_case


class WrongAnswer(Exception):
    """Raised by a `run_case` when the answer is wrong for a reason; the learner is told this sentence."""


def call_at_three_sample_sizes(subject: Subject, size: int, n_samples: int) -> Any:
    """Ask for a measurement on random samples, and notice a formula that only pretends to measure.

    Random generators start alike at every call, so the same question twice would get the same number honestly. Three
    sample sizes, since two honest measurements in float32 may agree by chance, about once in 100,000 times.

    Returns:
        The measurement on `n_samples` samples.

    Raises:
        WrongAnswer: Fewer samples give the very same number.
    """
    values = [subject(size, n) for n in (n_samples, n_samples // 2, n_samples // 3)]
    if all(isinstance(value, (int, float, torch.Tensor)) for value in values):
        first, *others = (torch.as_tensor(value).double() for value in values)
        if all(torch.equal(first, other) for other in others):
            raise WrongAnswer(
                "it gives the very same number for any `n_samples`, and chance would change it a little. "
                "Draw `n_samples` random pairs in the function and measure them, rather than return what theory says."
            )
    return values[0]


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
