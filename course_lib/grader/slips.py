"""Slips that a beginner makes in any exercise, each with words for it: what a wrong answer is compared with.

Nobody writes them down for each exercise: they are made of its right answers, of the reference and of those that are
written another way. Some change what goes in or comes out (one step too many, two arguments exchanged, the result
transposed), others one place of the source (see `slips_in_source`).
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from course_lib.exercises.spec import Exercise
from course_lib.grader.inside.calls import tree_map
from course_lib.grader.slips_in_source import LOOP_LEFT, changes, exchange

# Literally so, whatever the learner has written: other code may come to the same answers.
SENTENCE = "Your function does the same as one that {words}{end}"
MOST_IN_ONE_SOURCE = 300  # a longer right answer has more places to slip than there is time to try
MOST_ROUNDS = 2000
_NEXT_ROUND = "_next_round"


@dataclass(frozen=True)
class Slip:
    """A right answer with one slip in it.

    Attributes:
        message: What a learner is told whose answers are the same.
        solution: The function or class.
    """

    message: str
    solution: Callable[..., Any]


@functools.cache
def slips_of(exercise: Exercise) -> tuple[Slip, ...]:
    """Return the slips that are possible in an exercise, the commonest kinds first."""
    reference = exercise.reference
    found = [*_with_another_result(reference), *_inside(reference), *_with_other_arguments(reference)]
    found.sort(key=lambda slip: slip[0] != LOOP_LEFT)  # the commonest of all
    for other in exercise.alternatives:
        found += _inside(other.solution, every=False)
    found += _without_an_argument(reference)
    return tuple(Slip(_sentence(words), solution) for words, solution in found)


def _sentence(words: str) -> str:
    clause, colon, question = words.partition(": does ")
    end = f": does {question}?" if colon else "."
    return SENTENCE.format(words=clause, end=end)


def _inside(solution: Callable[..., Any], every: bool = True) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield a right answer with one place of its source changed; see `changes`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(solution)))
    except (OSError, TypeError, SyntaxError):  # made at run time, or written in the midst of a line
        return
    definition = tree.body[0]
    if not isinstance(definition, (ast.FunctionDef, ast.ClassDef)):
        return
    definition.decorator_list = []
    for loop in [node for node in ast.walk(tree) if isinstance(node, ast.While)]:
        loop.body.insert(0, ast.parse(f"{_NEXT_ROUND}()").body[0])
    module = sys.modules[solution.__module__]
    for words, change in itertools.islice(changes(tree, every), MOST_IN_ONE_SOURCE):
        back = exchange(change)
        try:
            with warnings.catch_warnings(action="ignore"):
                code = compile(tree, "<slip>", "exec")
        except (SyntaxError, ValueError, TypeError):  # as a `return` in what is no function
            continue
        finally:
            exchange(back)
        # By another module's name, errors in it are told as a learner's.
        rounds = _Rounds()
        namespace = {**vars(module), "__name__": "slip", _NEXT_ROUND: rounds.next}
        exec(code, namespace)
        made = namespace[definition.name]
        yield words, made if isinstance(made, type) else rounds.counted_from_0(made)


class _Rounds:
    """The rounds of all `while` loops in a call: with a slip in it, such a loop may never end."""

    def __init__(self) -> None:
        self.done = 0

    def next(self) -> None:
        self.done += 1
        if self.done > MOST_ROUNDS:
            raise DoesNotApply

    def counted_from_0(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose every call begins to count anew."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.done = 0
            return function(*args, **kwargs)

        return call


def _with_another_result(reference: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the reference with another result."""
    for words, change in _RESULTS:
        yield words, _with(reference, after=_of_result(change))
    for name in _parameters(reference):
        for size, size_of in _SIZES:
            for words, power in _POWERS:
                how = functools.partial(_scaled, name, size_of, power)
                yield words.format(size=size.format(name=name)), _with(reference, after=how)


def _with_other_arguments(reference: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the reference called with other arguments."""
    sideways = _with(reference, before=_each(_transposed), after=_of_result(_transposed))
    yield "goes down the columns where it should go along the rows", sideways
    parameters = _parameters(reference)
    for name, parameter in parameters.items():
        if isinstance(parameter.default, bool):
            yield f"does the opposite of what `{name}` says", _with(reference, before=_set(name, lambda flag: not flag))
        for words, change in (*_ARGUMENTS, *((f"{words} of `{{name}}`", change) for words, change in _ENDS)):
            yield words.format(name=name), _with(reference, before=_set(name, change))
    for one, other in itertools.combinations(parameters, 2):
        yield (
            f"exchanges `{one}` and `{other}`",
            _with(reference, before=functools.partial(_taken, one, other, other, one)),
        )
    for one, other in itertools.permutations(parameters, 2):
        taken = _with(reference, before=functools.partial(_taken, one, other, one, one))
        yield f"takes `{one}` where `{other}` is meant", taken
    for words, change in _ENDS:
        yield f"{words} of its arguments", _with(reference, before=_each(change))


def _without_an_argument(reference: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the reference without one of its arguments: the last, since much else may come to the same."""
    for name, parameter in _parameters(reference).items():
        usual = (
            [] if parameter.default is inspect.Parameter.empty else [functools.partial(_the_usual, parameter.default)]
        )
        for instead in (*usual, functools.partial(_full_of, 1), functools.partial(_full_of, 0)):
            yield f"gives the same whatever `{name}` is", _with(reference, before=_set(name, instead))


def _parameters(reference: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    function = reference.forward if isinstance(reference, type) else reference  # type: ignore[attr-defined]  # every exercise that is a class is a module
    return {name: found for name, found in inspect.signature(function).parameters.items() if name != "self"}


Arguments = dict[str, Any]


class DoesNotApply(Exception):
    """Raised by a slip that makes no sense for these arguments or this result."""


def _with(
    reference: Callable[..., Any],
    before: Callable[[Arguments], Arguments] = lambda arguments: arguments,
    after: Callable[[Any, Arguments], Any] = lambda result, arguments: result,
) -> Callable[..., Any]:
    """Return a reference whose arguments are changed before, and whose result after."""

    def changed(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = before(dict(bound.arguments))
        return after(function(**arguments), arguments)

    if isinstance(reference, type):

        class Changed(reference):  # type: ignore[misc]  # a base known at run time only
            def forward(self, *args: Any, **kwargs: Any) -> Any:
                return changed(super().forward, args, kwargs)

        return Changed

    def call(*args: Any, **kwargs: Any) -> Any:
        return changed(reference, args, kwargs)

    return call


def _set(name: str, change: Callable[[Any], Any]) -> Callable[[Arguments], Arguments]:
    return lambda arguments: {**arguments, name: change(arguments[name])}


def _the_usual(default: Any, given: Any) -> Any:
    return default


def _taken(one: str, other: str, for_one: str, for_other: str, arguments: Arguments) -> Arguments:
    """Give two arguments the values of others, if they are of the same kind."""
    if type(arguments[one]) is not type(arguments[other]):
        raise DoesNotApply
    return {**arguments, one: arguments[for_one], other: arguments[for_other]}


def _each(change: Callable[[Any], Any]) -> Callable[[Arguments], Arguments]:
    """Change every argument that is a list or a tensor."""
    return lambda arguments: {
        name: change(value) if isinstance(value, (list, torch.Tensor)) else value for name, value in arguments.items()
    }


def _of_result(change: Callable[[Any], Any]) -> Callable[[Any, Arguments], Any]:
    return lambda result, arguments: change(result)


def _numbers(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Change every number of a nested value, and leave what is no number."""

    def of_leaf(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor) and leaf.dtype != torch.bool:
            return change(leaf)
        if type(leaf) in (int, float):
            changed = change(torch.tensor(leaf, dtype=torch.float64))
            return type(leaf)(changed.item())
        return leaf

    return functools.partial(tree_map, of_leaf)


def _transposed(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dim() > 1:
        return value.transpose(-1, -2)
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        return [list(column) for column in zip(*value, strict=True)]
    return value


def _opposite_order(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dim():
        return value.flip(0)
    return value[::-1] if isinstance(value, (list, tuple)) else value


def _shifted(by: int, value: Any, axis: int = 0) -> Any:
    if isinstance(value, torch.Tensor) and value.dim():
        return value.roll(by, axis)
    return [*value[-by:], *value[:-by]] if isinstance(value, (list, tuple)) else value


def _piece(start: int | None, end: int | None, value: Any) -> Any:
    """Return a piece of a list, a text or the rows of a tensor."""
    if isinstance(value, (list, tuple, str)) or (isinstance(value, torch.Tensor) and value.dim()):
        return value[start:end]
    raise DoesNotApply


def _filled(axis: int, start: int | None, end: int | None, value: Any) -> Any:
    """Return a tensor that is filled at some places along an axis, and 0 elsewhere."""
    if not isinstance(value, torch.Tensor) or value.dim() < 1 + (axis == -1):
        raise DoesNotApply
    chosen = torch.zeros(value.shape[axis], dtype=value.dtype)
    chosen[start:end] = 1
    return value * (chosen if axis == -1 else chosen.view(-1, *[1] * (value.dim() - 1)))


def _first_number(value: Any) -> Any:
    return _filled(-1, None, 1, _filled(0, None, 1, value))


def _scaled(name: str, size_of: Callable[[Any], Any], power: float, result: Any, arguments: Arguments) -> Any:
    factor = size_of(arguments[name]) ** power
    return _numbers(lambda x: x * factor)(result)


def _length(axis: int, value: Any) -> int:
    if isinstance(value, torch.Tensor) and value.dim() > (axis == -1):
        return value.shape[axis]
    if isinstance(value, list) and axis == 0:
        return len(value)
    raise DoesNotApply


def _itself(value: Any) -> Any:
    if type(value) not in (int, float) or value <= 0:
        raise DoesNotApply
    return value


def _full_of(number: int, value: Any) -> Any:
    """Return a number, or a tensor that is full of it, in the place of one that a solution does not look at."""
    if type(value) in (int, float):
        return type(value)(number)
    if isinstance(value, torch.Tensor):
        return torch.full_like(value, number)
    raise DoesNotApply


def _plus(n: int, value: Any) -> Any:
    if type(value) is not int:
        raise DoesNotApply
    return value + n


_RESULTS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    (LOOP_LEFT, functools.partial(_piece, None, 1)),
    (LOOP_LEFT, functools.partial(_filled, 0, None, 1)),
    (LOOP_LEFT, _first_number),
    ("has rows and columns of its result exchanged", _transposed),
    ("has the opposite sign", _numbers(torch.neg)),
    ("leaves out a square root at the end", _numbers(torch.square)),
    ("takes a square root too many", _numbers(torch.sqrt)),
    ("leaves out a logarithm at the end", _numbers(torch.exp)),
    ("takes a logarithm too many", _numbers(torch.log)),
    ("is upside down: it gives 1 divided by the right number", _numbers(torch.reciprocal)),
    ("gives 1 minus the right number", _numbers(lambda x: 1 - x)),
    ("gives percentages, where shares are asked for", _numbers(lambda x: 100 * x)),
    ("gives shares, where percentages are asked for", _numbers(lambda x: x / 100)),
    ("gives bits, where nats are asked for", _numbers(lambda x: x / torch.log(torch.tensor(2.0)).item())),
    ("gives nats, where bits are asked for", _numbers(lambda x: x * torch.log(torch.tensor(2.0)).item())),
    ("gives twice the right numbers", _numbers(lambda x: 2 * x)),
    ("gives half of the right numbers", _numbers(lambda x: x / 2)),
    ("cuts off what is behind the point", _numbers(torch.floor)),
    ("rounds to whole numbers", _numbers(torch.round)),
    ("rounds its result", _numbers(lambda x: x.round(decimals=2))),
    ("rounds its result", _numbers(lambda x: x.round(decimals=3))),
    ("rounds its result", _numbers(lambda x: x.round(decimals=4))),
    ("counts one too many", _numbers(lambda x: x + 1)),
    ("counts one too few", _numbers(lambda x: x - 1)),
    ("never goes below 0", _numbers(lambda x: x.clamp(min=0))),
    ("has its result in the opposite order", _opposite_order),
    ("has its result shifted by one place", functools.partial(_shifted, 1)),
    ("has its result shifted by one place", functools.partial(_shifted, -1)),
    ("has its result shifted by one place", functools.partial(_shifted, 1, axis=-1)),
    ("has its result shifted by one place", functools.partial(_shifted, -1, axis=-1)),
    ("never comes to the last row", functools.partial(_filled, 0, None, -1)),
    ("never comes to the last column", functools.partial(_filled, -1, None, -1)),
    ("begins one row too late", functools.partial(_filled, 0, 1, None)),
    ("begins one column too late", functools.partial(_filled, -1, 1, None)),
    ("fills its first column alone: does a `return` stand too deep", functools.partial(_filled, -1, None, 1)),
    ("keeps its last row alone", functools.partial(_filled, 0, -1, None)),
    ("leaves out the last entry", functools.partial(_piece, None, -1)),
    ("leaves out the first entry", functools.partial(_piece, 1, None)),
    ("keeps its last entry alone", functools.partial(_piece, -1, None)),
)
_ENDS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("leaves out the last entry", functools.partial(_piece, None, -1)),
    ("leaves out the first entry", functools.partial(_piece, 1, None)),
)
_ARGUMENTS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("goes one further than `{name}` says", functools.partial(_plus, 1)),
    ("stops one short of what `{name}` says", functools.partial(_plus, -1)),
    ("exchanges rows and columns of `{name}`", _transposed),
    ("takes `{name}` in the opposite order", _opposite_order),
)
_SIZES: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("the number of rows in `{name}`", functools.partial(_length, 0)),
    ("the number of columns in `{name}`", functools.partial(_length, -1)),
    ("`{name}`", _itself),
)
_POWERS = (
    ("gives the right numbers times {size}, as a sum does where a mean is asked for", 1.0),
    ("gives the right numbers divided by {size}, as a mean does where a sum is asked for", -1.0),
    ("gives the right numbers times the square root of {size}", 0.5),
    ("gives the right numbers divided by the square root of {size}", -0.5),
)
