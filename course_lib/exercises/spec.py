"""What an exercise is: the one source from which the stub's check, the grade, the solution and the page come.

An exercise module (one a lab) holds plain functions and classes, `EXERCISES = [Exercise(...), ...]`, and nothing else.
It imports only what its notebook imports (torch, math, numpy) and this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch


class Handle(Protocol):
    """An object that lives where the submitted code runs; only arrays and plain data cross."""

    def call(self, *args: Any, method: str = "forward", **kwargs: Any) -> Any: ...
    def gradients(self, *args: Any, method: str = "forward", **kwargs: Any) -> dict[str, Any]: ...
    def get_state(self) -> dict[str, Any]: ...
    def set_state(self, state: dict[str, Any]) -> None: ...


class Subject(Protocol):
    """The code under test, in this process or behind a sandbox: the same three verbs either way."""

    changed: int | str | None  # position or name of the first argument that a call has changed in place

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function. Arguments and results are tensors, arrays, numbers, strings, lists, dicts or None."""

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Call with gradients required of every floating tensor argument; differentiate a weighted sum of the result.

        Returns {"output": result, "gradients": [one tensor or None for each tensor argument, in order]}.
        The weights are `cotangent(output.shape)` below, so that both sides differentiate the same number.
        """

    def new(self, *args: Any, **kwargs: Any) -> Handle:
        """Make an object of the class under test."""


def cotangent(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The fixed weights of the sum that `gradients` differentiates: no symmetry, no zeros, so no error cancels out."""
    size = 1
    for n in shape:
        size *= n
    return torch.cos(torch.arange(size, dtype=torch.float64) + 0.5).to(dtype).reshape(tuple(shape))


def call(subject: Subject, *args: Any, **kwargs: Any) -> Any:
    """The default way to drive a subject: its value only."""
    return subject(*args, **kwargs)


def call_and_differentiate(subject: Subject, *args: Any, **kwargs: Any) -> Any:
    """Value and gradients: a detached or wrong gradient fails although every value is right."""
    return subject.gradients(*args, **kwargs)


def differentiate_in(*places: int) -> Callable[..., Any]:
    """A drive that asks for the value, and for the gradients of the tensor arguments at these places alone.

    places: among the tensors that are passed, from 0. What flows to the others is free: a learner may detach them.
    """

    def drive(subject: Subject, *args: Any, **kwargs: Any) -> Any:
        answer = subject.gradients(*args, **kwargs)
        found = [gradient if i in places else None for i, gradient in enumerate(answer["gradients"])]
        return {**answer, "gradients": found}

    return drive


class Told(Exception):
    """Raised by a way to drive a subject: the answer is wrong for a reason that this sentence tells the learner."""


def measure(subject: Subject, size: int, n_samples: int) -> Any:
    """A random measurement on n_samples samples; Told when fewer samples give the very same number, as a formula does.

    Random generators start alike at every call, so the same question twice would get the same number honestly. Three
    sample sizes, since two honest measurements in float32 may agree by chance, about once in 100,000 times.
    """
    values = [subject(size, n) for n in (n_samples, n_samples // 2, n_samples // 3)]
    if all(isinstance(value, (int, float, torch.Tensor)) for value in values):
        first, *others = (torch.as_tensor(value).double() for value in values)
        if all(torch.equal(first, other) for other in others):
            raise Told(
                "it gives the very same number for any `n_samples`, and chance would change it a little. "
                "Draw `n_samples` random pairs in the function and measure them, rather than return what theory says."
            )
    return values[0]


@dataclass(frozen=True)
class Case:
    """One question to the code under test.

    name: said to the learner ("a batch of rows, along the last axis").
    args, kwargs: plain data; a fresh copy is handed over at every call.
    expected: the right answer where a closed form is known; otherwise the reference is asked.
    rtol, atol: only where this case needs other tolerances than its exercise.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    expected: Any = None
    rtol: float | None = None
    atol: float | None = None


@dataclass(frozen=True)
class Mistake:
    """A wrong version that learners write, and what they are told when their answers equal its answers."""

    solution: Callable[..., Any]
    message: str


def told(wrong: type | Mapping[Callable[..., Any], str]) -> tuple[Mistake, ...]:
    """Known mistakes from {solution: message}, or from a class of functions whose docstrings are the messages."""
    if isinstance(wrong, type):
        wrong = {solution: solution.__doc__ or "" for name, solution in vars(wrong).items() if name[:2] != "__"}
    return tuple(Mistake(solution, " ".join(message.split())) for solution, message in wrong.items())


@dataclass(frozen=True)
class Exercise:
    """One exercise. `reference.__name__` is the name that the learner defines."""

    id: str  # unique over the course; the mark in the notebook is `# EXERCISE: <id>`
    title: str
    points: int
    minutes: int
    difficulty: int  # 1 (direct) to 3 (think first)
    hints: tuple[str, str]  # staged: a nudge, then nearly the line
    reference: Callable[..., Any]
    cases: Callable[[torch.Generator], list[Case]]  # visible checks use seed 0, grading a secret seed
    mistakes: tuple[Mistake, ...]
    see: str  # where to read: "Chapter 1, From scores to weights"
    drive: Callable[..., Any] = call
    needs: tuple[str, ...] = ()  # ids of earlier exercises that the learner's function calls
    avoid: tuple[str, ...] = ()  # names that make the exercise pointless ("torch.softmax"): a flag, points unchanged
    # The expected value comes from the reference in float64 where its arguments allow, so the tolerance has to cover
    # float32 rounding only: about 100 roundings of 6e-8 on values near 1.
    rtol: float = 1e-5
    atol: float = 1e-5

    @property
    def name(self) -> str:
        """The name of the function or class that the learner defines."""
        return self.reference.__name__
