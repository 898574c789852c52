"""What a case asks of the code under test: kept for the wrong answer, whose arguments a learner has to see."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from course_lib.exercises.spec import Exercise
from course_lib.grader.inside.calls import Subject

LONGEST = 400  # characters of a call, about


@dataclass(frozen=True)
class Heard:
    """One thing that was asked; see `Subject.send`."""

    action: str
    number: int
    args: Sequence[Any]
    kwargs: dict[str, Any]


class Listener(Subject):
    """A subject that passes every request on to another one, and keeps those of the present case.

    Attributes:
        requests: The requests since the list was last emptied.
        given: The argument that a request has changed in place, as it was before, or None.
    """

    def __init__(self, subject: Subject):
        self.subject = subject
        self.requests: list[Heard] = []
        self.given: Any = None

    @property
    def changed(self) -> int | str | None:
        """The argument that the last requests changed in place; see `Subject`."""
        return self.subject.changed

    @changed.setter
    def changed(self, value: int | str | None) -> None:
        """Forget what earlier requests have changed; see `Subject`."""
        self.subject.changed = value

    def send(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Pass a request on; see `Subject.send`."""
        before = self.changed
        self.requests.append(Heard(action, number, args, kwargs))
        try:
            return self.subject.send(action, number, args, kwargs)
        finally:
            if before is None and self.changed is not None:
                self.given = kwargs.get(str(self.changed)) if isinstance(self.changed, str) else args[self.changed]


def call_shown(exercise: Exercise, requests: Sequence[Heard], results: Any, path: tuple[Any, ...] | None) -> str | None:
    """Show the call that a wrong answer belongs to, or as much of it as fits.

    Args:
        exercise: The exercise.
        requests: What the case has asked.
        results: The right answer to the case.
        path: Where the answer differs from it, () if as a whole; None if the last request failed.
    """
    made = [request for request in requests if request.action == "new"]
    asked = [request for request in requests if request.action in ("call", "gradients")]
    one_each = isinstance(results, (list, tuple)) and len(results) == len(asked) > 1
    last = not path and not one_each  # of several, the one that failed, or the one whose answer was compared whole
    of_path = path[0] if one_each and path and isinstance(path[0], int) else 0
    call = asked[-1 if last else of_path] if asked else None
    function: Any = exercise.reference
    first = made[0] if made else call
    if first is None:
        return None
    written = f"`{exercise.name}({_written(function, first)})`"
    return f"{written}, called with `{_written(function.forward, call, None)}`" if made and call else written


def _written(function: Any, request: Heard, *before: Any) -> str:
    """Write the arguments of a call as a learner would."""
    try:
        signature = inspect.signature(function)
        named = signature.bind(*before, *request.args, **request.kwargs).arguments
        parts = [(f"{name}=", value) for name, value in list(named.items())[len(before) :]]
    except TypeError:
        parts = [("", value) for value in request.args]
        parts += [(f"{name}=", value) for name, value in request.kwargs.items()]
    room = LONGEST // max(1, len(parts))
    # What the short ones leave is for the long ones.
    spare = sum(room - len(text) for _, value in parts if len(text := shown(value, room)) < room)
    return ", ".join(f"{name}{shown(value, room + spare)}" for name, value in parts)


def shown(value: Any, room: int) -> str:
    """Write a value in about so many characters at most, with `...` for what does not fit."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        name = type(value).__name__.lower()
        of_shape = f", shape {tuple(value.shape)}"
        whole = shown(value.tolist(), room - len(name) - len(of_shape))
        return f"{name}({whole}{of_shape if '...' in whole or not value.shape or 0 in value.shape else ''})"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, dict):
        return _listed("{", [f"{key!r}: {shown(item, room // 2)}" for key, item in value.items()], "}", room)
    if isinstance(value, (list, tuple)):
        opening, closing = ("(", ",)" if len(value) == 1 else ")") if isinstance(value, tuple) else ("[", "]")
        return _listed(opening, [shown(item, room // 2) for item in value], closing, room)
    text = repr(value)
    return text if len(text) <= room else f"{text[: max(1, room - 4)]}..."


def _listed(opening: str, entries: list[str], closing: str, room: int) -> str:
    room -= len("[... (100 in all)]")
    kept = 0
    while kept < len(entries) and sum(len(entry) + 2 for entry in entries[: kept + 1]) <= room:
        kept += 1
    if kept == len(entries):
        return f"{opening}{', '.join(entries)}{closing}"
    return f"{opening}{''.join(f'{entry}, ' for entry in entries[:kept])}... ({len(entries)} in all){closing}"
