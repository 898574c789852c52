"""The parts of an exercise: a reference, cases, known mistakes, and right answers written another way.

The file of an exercise defines one `EXERCISE = Exercise(...)` and its parts. It imports what its notebook imports
(torch, math, numpy), this file, and earlier exercises of its lab whose references it calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class Case:
    """One test case for the code under test.

    Attributes:
        name: The name shown to the learner ("a batch of rows, along the last axis").
        args: The positional arguments, as plain data; each call gets a fresh copy.
        kwargs: The keyword arguments, likewise.
        expected: The right answer, if a closed form is known; None for the reference's answer.
        rtol: The relative tolerance, if this case needs another one than its exercise.
        atol: The absolute tolerance, if this case needs another one than its exercise.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    expected: Any = None
    rtol: float | None = None
    atol: float | None = None


# How a case is run: the `run_case` of an exercise is one of these, or a function of its own file. Its `subject` is the
# code under test; `grader.inside.calls.Subject` says what may be asked of it.


def call(subject: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the subject, to compare the value; the default."""
    return subject(*args, **kwargs)


def call_and_differentiate(subject: Any, *args: Any, **kwargs: Any) -> Any:
    """Call and differentiate the subject, to compare value and gradients.

    A detached or wrong gradient then fails even if every value is right.
    """
    return subject.gradients(*args, **kwargs)


def call_and_differentiate_only(*positions: int) -> Callable[..., Any]:
    """Return a `run_case` that compares the value, and the gradients with respect to some of the tensor arguments.

    The gradients of the others are not compared: a learner may detach them.

    Args:
        *positions: The positions of those arguments among all tensor arguments, from 0.

    Returns:
        A function for the `run_case` of an exercise.
    """

    def run_case(subject: Any, *args: Any, **kwargs: Any) -> Any:
        answer = subject.gradients(*args, **kwargs)
        compared = [gradient if i in positions else None for i, gradient in enumerate(answer["gradients"])]
        return {**answer, "gradients": compared}

    return run_case


class WrongAnswer(Exception):
    """Raised by a `run_case` if the answer is wrong for a known reason; the message is shown to the learner.

    Numbers stand in brackets. The report of a grade leaves such brackets out, so the sentence is whole without them.
    """


def in_words(answer: Any, right: Any) -> str | None:
    """Tell both descriptions: a `remark` for a `run_case` that describes an answer by a string.

    Such words give no number of a case away. With them as a remark, the report of a grade shows them, too.

    Args:
        answer: The description of the answer.
        right: That of a right one.

    Returns:
        What to say, or None if there are no two descriptions.
    """
    return f"wanted: {right}; found: {answer}." if isinstance(answer, str) and isinstance(right, str) else None


# Wrong and right versions, marked in the file of their exercise.


@dataclass(frozen=True)
class Mistake:
    """A known mistake: a wrong solution, and the message to learners whose answers equal its answers.

    Attributes:
        solution: The wrong solution.
        message: What the learner is told.
        given: Whether it is the fault of the code that the lab gives to be mended.
    """

    solution: Callable[..., Any]
    message: str
    given: bool = False


def mistake(message: str, given: bool = False) -> Callable[[Callable[..., Any]], Mistake]:
    """Mark a function or class as a known mistake.

    Args:
        message: The message to the learner: what the answer looks like, and what to do.
        given: Whether it is the fault of the code that the lab gives; hints speak of this one alone.

    Returns:
        A decorator that turns the function into a `Mistake`.
    """

    def mark(solution: Callable[..., Any]) -> Mistake:
        return Mistake(solution, message, given)

    return mark


def mistakes_in(module: str) -> tuple[Mistake, ...]:
    """Return the known mistakes of a file, from top to bottom; the first one that matches an answer is reported.

    Args:
        module: The file's `__name__`.
    """
    return tuple(_defined_in(module, Mistake))


@dataclass(frozen=True)
class Alternative:
    """A right answer written another way than the reference: checks have to test the result, not the style."""

    solution: Callable[..., Any]


def alternative(solution: Callable[..., Any]) -> Alternative:
    """Mark a function or class as a right answer that is written another way than the reference."""
    return Alternative(solution)


def alternatives_in(module: str) -> tuple[Alternative, ...]:
    """Return the right answers of a file that are written another way than the reference, from top to bottom.

    Args:
        module: The file's `__name__`.
    """
    return tuple(_defined_in(module, Alternative))


def _defined_in(module: str, kind: type[Any]) -> list[Any]:
    """Return the solutions of one kind that a module itself defines, in order."""
    values = vars(sys.modules[module]).values()
    return [value for value in values if isinstance(value, kind) and value.solution.__module__ == module]


@dataclass(frozen=True)
class Exercise:
    """One exercise. The learner defines a function or class with the name of the reference.

    Attributes:
        id: An id that is unique in the course; the mark in the notebook is `# EXERCISE: <id>`, the file is `<id>.py`.
        title: A title of a few words.
        points: The points for a right answer.
        minutes: The approximate time that it takes.
        difficulty: From 1 (direct) to 3 (needs thought first).
        kind: What is asked of the learner. "code": write what is described. "derive": find a formula that the text
            does not give, checked by numbers. "debug": given code has one fault; mend it. "design": choose a control,
            a setting or a metric; checked by what comes of it.
        hints: Two hints: the first points in the right direction, the second says what it is made of, and
            writes no line of the solution.
        reference: The solution, a plain function or class.
        cases: Makes the cases from a generator: visible checks use seed 0, grading uses a secret seed.
        mistakes: The known mistakes, `mistakes_in(__name__)`.
        see: Where to read more, such as "Chapter 1, From scores to weights".
        alternatives: Other right answers, `alternatives_in(__name__)`.
        run_case: How a case is run on the code under test.
        remark: Returns what to say of a wrong answer that is best explained beside the right one ("nearly right"), or
            None; called with the answer and the right answer.
        needs: The ids of earlier exercises that the learner's function calls.
        avoid: Names that make the exercise pointless ("torch.softmax"); they are flagged in the report, but cost no
            points.
        rtol: Relative tolerance. The reference's answer is computed in float64 if its arguments allow, so the tolerance
            has to cover float32 rounding only: about 100 roundings of 6e-8 on values near 1.
        atol: Absolute tolerance, likewise.
        private: Makes more cases for grading; an instructor's own, for an exercise of the course.
        stored: In a student version, the file of the visible cases and the right answers. There the reference is the
            stub, no known mistake is in the code, and there are no hidden cases.
    """

    id: str
    title: str
    points: int
    minutes: int
    difficulty: int
    kind: Literal["code", "derive", "debug", "design"]
    hints: tuple[str, str]
    reference: Callable[..., Any]
    see: str
    cases: Callable[[torch.Generator], list[Case]] = lambda rng: []
    mistakes: tuple[Mistake, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    run_case: Callable[..., Any] = call
    remark: Callable[[Any, Any], str | None] | None = None
    needs: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    rtol: float = 1e-5
    atol: float = 1e-5
    private: Callable[[torch.Generator], list[Case]] | None = None
    stored: Path | None = None

    @property
    def name(self) -> str:
        """The name of the function or class that the learner defines."""
        return self.reference.__name__
