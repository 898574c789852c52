"""Messages of one or two sentences about a failure, or about a wrong answer that is not a known mistake."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from course_lib.exercises import lab_of, of_lab
from course_lib.exercises.spec import Case, Exercise
from course_lib.grader.compare import Difference, Kind
from course_lib.grader.inside.calls import leaves
from course_lib.grader.inside.outcomes import Failure, Lost, Raised

DETACHED = (
    "No gradient flows from the result back to {where}. `.detach()`, `.item()`, `.numpy()`, the functions of `math`, "
    "`torch.no_grad()` and `torch.tensor(...)` around existing numbers cut the graph; training would learn nothing "
    "through it."
)
CUT = (
    " All values are right. Is a part of the computation cut off, as by `.detach()`, `.data`, `.numpy()` or "
    "`torch.tensor(...)`?"
)
NO_PART = (
    " All values are right. The right result does not depend on this entry, and yours does: does something take part "
    "in the computation that should not, multiplied by 0 perhaps?"
)
SURPLUS_GRADIENT = "There is a gradient with respect to {where}, and there should be none."
NAN = (
    " `nan`, not a number, comes of 0 / 0, of infinity less infinity, and of the logarithm or the root of a negative "
    "number."
)
NEARLY = "nearly right, but further off than its type rounds. "
_KINDS = {
    "Tensor": "a tensor",
    "ndarray": "a NumPy array",
    "int": "an integer",
    "float": "a number",
    "complex": "a complex number",
    "bool": "True or False",
    "str": "a string",
    "list": "a list or tuple",  # a tuple arrives as a list
    "NoneType": "None",
}
_COPY = " `x.clone()` makes a copy of a tensor that may be changed, and gradients flow through it."
_OF_A_LIST = (
    " `torch.tensor(...)` makes a tensor of a list of numbers, and `torch.stack(...)` one of a list of tensors, "
    "through which gradients flow."
)
_ADVICE = {  # by a part of the error as Python prints it, its type first
    "leaf Variable that requires grad": (
        ". While torch records, a tensor with `requires_grad_()` must not be changed in place: a step of training "
        f"stands inside `with torch.no_grad():`. Elsewhere:{_COPY}"
    ),
    "before Module.__init__() call": ". Begin `__init__` with `super().__init__()`.",
    "deepcopy protocol": _COPY,
    "does not have a grad_fn": (
        ". Nothing was recorded that `backward` could follow. Is `requires_grad_()` missing? Inside "
        "`torch.no_grad()`, `x -= y` changes a tensor that has it, but `x = x - y` makes a new one without."
    ),
    "Tensor with more than one value is ambiguous": (
        ". `if`, `and`, `max` and `min` need one yes or no, and this tensor holds many. `x is not None` asks whether "
        "there is a tensor, `(a == b).all()` whether two agree; `torch.where` and `clamp` choose number by number."
    ),
    "must match the size of tensor": (
        ". Print both shapes. `keepdim=True` keeps an axis that was averaged or summed, with size 1; `x[..., None]` "
        "adds one at the end, and `x.squeeze(-1)` takes one of size 1 away, as `gather` leaves it."
    ),
    "with a bool tensor is not supported": (
        ". A comparison holds True and False, and cannot be subtracted: `(a == b).float()` makes them 1 and 0."
    ),
    "shapes cannot be multiplied": (
        ". Print both shapes. `a @ b` needs as many columns in `a` as there are rows in `b`: is a transpose missing, "
        "`b.T` or `b.transpose(-2, -1)`, or is one too many?"
    ),
    "list index out of range": (
        ". A list of n has the numbers 0 to n - 1. With `x[i + 1]`, the last i has no neighbour: ask first whether "
        "`i + 1 < len(x)`."
    ),
    "is out of bounds for dimension": (
        ". Along an axis of size n, places have the numbers 0 to n - 1. With `x[:, i + 1]`, the last i has no next "
        "one: treat it apart."
    ),
    "KeyError: ": (". A dict has no such key. `d.get(key, 0)` gives 0 in its place, and `key in d` asks first."),
    "division by zero": (
        ". Which of the arguments makes this 0? What is asked for in that case? It may need an `if` of its own."
    ),
    "doesn't match the broadcast shape": (
        ". Print both shapes. `x += y` cannot make x larger than it is. (`nonzero()` of a column has the shape (n, 1); "
        "`nonzero()[:, 0]` is the list of its places.)"
    ),
    "torch.return_types.": (
        ". With `dim`, `x.max` and `x.min` return the numbers together with their places; `x.amax` and `x.amin` return "
        "the numbers alone."
    ),
}
_WHY_LOST = {
    Lost.TIMED_OUT: (
        "it computed for more than {limit:g} s and was stopped. Is there a loop that never ends, or a much quicker way?"
    ),
    Lost.NO_ANSWER: "it gave no answer within {limit:g} s and was stopped",
    Lost.SUBMISSION_TIMED_OUT: "the whole submission took longer than {limit:g} s",
    Lost.CHECKS_TIMED_OUT: (
        "the checks took longer than {limit:g} s together and were stopped. Is there a loop that never ends, or does "
        "your code wait for something?"
    ),
    Lost.NOT_RUN: "it was not run",
    Lost.OUT_OF_MEMORY: "it used more than {megabytes:.0f} MB of memory",
    Lost.CRASHED: "it ended the Python process: by an exit, a crash, or for want of memory",
    Lost.BAD_REPLY: "it sent something that is no answer",
    Lost.NO_MORE_WORKERS: "the submission kept killing the process that runs it",
}


def explain(exercise: Exercise, case: Case, wrong: Difference | Failure, hide_values: bool) -> str:
    """Explain what is wrong with the answer to a case.

    Args:
        exercise: The exercise.
        case: The case.
        wrong: The difference from the right answer, or why there is no answer.
        hide_values: Whether to leave out the numbers of the case, as for the report of a grade.
    """
    where = f'In the check "{case.name}"'
    if isinstance(wrong, Failure):
        sentence = failure_sentence(wrong, exercise, hide_values)
        unended = isinstance(wrong.outcome, Lost) and not sentence.endswith("?")
        return f"{where}: {sentence}{'.' if unended else ''}"
    if wrong.kind is Kind.UNSTEADY:
        return (
            f"{where}: asked twice, it gave two different answers. A result may depend on the arguments only, not on "
            "chance, and not on what an earlier call has left in a global name or in a default such as `seen=[]`."
        )
    names = _tensor_names(exercise, case)
    if wrong.kind is Kind.GRADIENT:
        sentence = DETACHED if wrong.got is None else SURPLUS_GRADIENT
        return f"{where}: {sentence.format(where=_gradient_of(names, wrong.path))}"
    why = ""
    if wrong.is_derivative and wrong.kind is Kind.VALUE:  # a wrong value would have been told before
        why = NO_PART if torch.as_tensor(wrong.expected)[wrong.index] == 0 else CUT
    return f"{where}{_place(names, wrong.path)}: {_difference(wrong, hide_values)}{why}"


def argument_changed(exercise: Exercise, case: Case, key: int | str | None, given: Any) -> str:
    """Explain that an argument was changed in place, and how to keep it as it was.

    Args:
        exercise: The exercise.
        case: The case.
        key: The position or name of the argument.
        given: What was passed.
    """
    changed = f"{_argument(exercise, key)} was changed in place, and the caller still needs it"
    return f'In the check "{case.name}": {changed}. {_how_to_copy(given)}'


def nothing_returned(expected: Sequence[Any], answers: Sequence[Any]) -> str:
    """Return a question about an answer that is None, where something else is expected.

    Args:
        expected: The right answer to each case.
        answers: What came back.
    """
    if any(answer is None for answer in expected):
        return ""  # somebody who writes `return None` has forgotten nothing
    in_place = " `x.sort()` and `x.append(y)` change a list, and return None." if isinstance(expected[0], list) else ""
    if all(answer is None for answer in answers):
        return f" Is a `return` missing?{in_place}"
    return f" Is there a way through your code without a `return`?{in_place}"


def failure_sentence(failure: Failure, exercise: Exercise | None = None, hide_values: bool = False) -> str:
    """Explain why there is no answer, with the learner's own line if it is known.

    Args:
        failure: What went wrong.
        exercise: The exercise whose function failed.
        hide_values: Whether to leave out fractions in the message: they may be numbers of a case.
    """
    if isinstance(failure.outcome, Lost):
        limit = failure.limit or 0
        return _WHY_LOST[failure.outcome].format(limit=limit, megabytes=limit / 2**20)
    message = failure.message.strip().split("\n")[0]
    if hide_values:
        message = re.sub(r" \([^()]*\d\.\d[^()]*\)", "", message)  # in brackets: the sentence is whole without
        message = re.sub(r"-?\d*\.\d+(e[-+]?\d+)?", "...", message)
    if failure.outcome in (Raised.WRONG_ANSWER, Raised.NO_DATA):
        return message
    if failure.outcome is Raised.NOT_DEFINED:
        return f"the cell of this exercise does not define `{message}`; is the name misspelled?"
    if failure.outcome is Raised.NO_FORWARD:
        return (
            "your class has no method called `forward`, which is what `layer(x)` calls. Is its name misspelled, or its "
            "`def` indented too little or too much?"
        )
    if failure.outcome is Raised.NOT_STARTED and exercise and failure.message not in ("", exercise.name):
        slug = lab_of(exercise.id)
        ours = slug and failure.message in {other.name for other in of_lab(slug)}
        lends = ours and not exercise.stored  # a student version has no reference
        instead = ", or run the cell with its `use`, which puts the reference in its place" if lends else ""
        return f"it calls `{failure.message}`, which is not written yet. Write that one first{instead}."
    if failure.outcome is Raised.STUB_LEFT:
        return f"`raise NotImplementedError` still stands in line {failure.line}; take it out."
    if failure.line is None:
        return _without_line(failure, message, exercise)
    code = f", `{failure.text}`" if failure.text else ""
    stopped = f"your code stopped at line {failure.line}{code}: "
    if failure.outcome is Raised.NUMPY_OF_GRADIENTS:
        return (
            f"{stopped}NumPy cannot record gradients, and gradients have to flow through your "
            "function. Stay in torch: its functions mostly have the same names."
        )
    error = f"{failure.type}{': ' if message else ''}{message}"
    advice = _advice(failure)
    if advice.startswith("."):
        error = error.removesuffix(".")
    return f"{stopped}{error}{advice or ('' if error.endswith(('.', '?', '!')) else '.')}"


def _advice(failure: Failure) -> str:
    """Return what to do about an error whose message, by torch, tells a newcomer little."""
    if failure.outcome is Raised.MODIFIED_IN_PLACE and "leaf Variable" not in failure.message:
        return _COPY
    if "'NoneType'" in failure.message and ".grad" in (failure.text or ""):
        return (
            ". `.grad` is None until `backward` has filled it, and once more after `x.grad = None`. `backward` fills "
            "it only of a tensor with `requires_grad_()`; `x = x - y` makes a new one without."
        )
    error = f"{failure.type}: {failure.message}"
    return next((advice for words, advice in _ADVICE.items() if words in error), "")


def _without_line(failure: Failure, message: str, exercise: Exercise | None) -> str:
    """Explain a failure that is in no line of the learner's, such as in the call itself."""
    if failure.outcome is Raised.WRONG_ARGUMENTS and exercise:
        method = re.search(r"\.(\w+)\(\)", message)
        if isinstance(exercise.reference, type) and method and hasattr(exercise.reference, method[1]):
            written = f"{method[1]}{inspect.signature(getattr(exercise.reference, method[1]))}"
            return f"the arguments do not fit ({message}). Write `def {written}`: `self` comes first, then these."
        signature = inspect.signature(exercise.reference)
        return f"the arguments do not fit ({message}). It must be callable as `{exercise.name}{signature}`."
    if failure.outcome is Raised.WRONG_PARAMETERS:
        return f"{message}."
    if failure.outcome is Raised.MODIFIED_IN_PLACE:
        return (
            "a tensor is changed in place, and its gradients need it as it was. Of a tensor's operations, use those "
            "without a trailing underscore, `x = x + y` rather than `x += y`, and no `x[i] = y`; or change a copy, as "
            "`x.clone()` makes it."
        )
    if failure.outcome is Raised.ELLIPSIS:
        return "`...` came back: there is something left to write in its place."
    return f"the check could not go on with what came back ({failure.type}: {message})."


def _difference(d: Difference, hide_values: bool) -> str:
    e, g = d.expected, d.got
    if g is None and d.path in ((), ("output",)):
        return f"it returned None where {_kind_of(e)} is expected."
    if d.kind is Kind.TYPE or g is None:
        wrapped = isinstance(g, list) and len(g) == 1 and type(g[0]) is type(e)
        too_many = " with one inside. Is there a comma behind it, or a pair of brackets too many?" if wrapped else "."
        listed = "" if wrapped else _about_list(e, g)
        return f"{_kind_of(e)} is expected, and {_kind_of(g)} came back{too_many}{listed}"
    if d.kind is Kind.LENGTH:
        number = "1 entry is" if len(e) == 1 else f"{len(e)} entries are"
        shown = "" if hide_values or len(repr(e)) + len(repr(g)) > 160 else f" Expected {e}, got {g}."
        return f"{number} expected, and {len(g)} came back.{shown}"
    if d.kind is Kind.KEYS:
        wanted = f"the names {_names(e)} are" if e else "an empty dict is"
        return f"{wanted} expected, and {_names(g)} came back."
    if d.kind is Kind.DTYPE:
        if isinstance(e, torch.Tensor):
            advice = f" `x.to({e.dtype})` converts them."
        else:
            advice = "" if hide_values else _made_whole(e, g)
        return f"numbers of type {_dtype(e)} are expected, and {_dtype(g)} came back.{advice}"
    if d.kind is Kind.SHAPE:
        return f"the shape {_shape(e)} is expected, and {_shape(g)} came back.{_about_shapes(e, g)}"
    assert d.kind in (Kind.VALUE, Kind.FINITE), f"{d.kind} has no sentence of its own"
    if type(g) is int and g.bit_length() > 63 and isinstance(e, (torch.Tensor, np.ndarray)):
        e = e.item()  # torch has no such integer
    if not isinstance(e, (torch.Tensor, np.ndarray)) and not isinstance(g, (torch.Tensor, np.ndarray)):
        nan = NAN if d.kind is Kind.FINITE and g != g else ""
        return ("the value differs from the expected one." if hide_values else _single(e, g)) + nan
    return _values(torch.as_tensor(e), torch.as_tensor(g), d, hide_values)


def _about_list(e: Any, g: Any) -> str:
    """Say how a list becomes a tensor, if one is expected; or that only the result is wanted, if the list has one."""
    if not (isinstance(e, torch.Tensor) and isinstance(g, list)):
        return ""
    if any(isinstance(one, torch.Tensor) and one.shape == e.shape for one in g):
        return " Return the result alone."
    return _OF_A_LIST


def _made_whole(e: Any, g: Any) -> str:
    """Say how floats that have the right values become whole numbers, which indices and sizes have to be."""
    e, g = torch.as_tensor(e), torch.as_tensor(g)
    if e.is_floating_point() or not g.is_floating_point() or not torch.equal(e.double(), g.double()):
        return ""
    return " The values are right. `//` in place of `/` keeps them whole numbers, and so does `int(x)`."


def _about_shapes(e: Any, g: Any) -> str:
    """Return what two shapes tell beside themselves, or an empty string."""
    if sorted(_shape(e)) == sorted(_shape(g)):
        return " It looks transposed."
    if not all(isinstance(x, (torch.Tensor, np.ndarray)) for x in (e, g)):
        return ""
    right, given = torch.as_tensor(e).flatten(), torch.as_tensor(g).flatten()
    if right.numel() == given.numel() and torch.allclose(right.double(), given.double(), rtol=1e-4, atol=1e-5):
        return " The numbers are right, and in this order: `reshape`, `flatten` or `squeeze` changes the shape alone."
    if not _shape(e):
        return " One number is asked for. Is a mean, a sum or the like left out, or has it a `dim` too many?"
    return ""


def _single(e: Any, g: Any) -> str:
    """Show two values that differ; of long strings, the part around the first difference."""
    if not (isinstance(e, str) and isinstance(g, str)) or max(len(repr(e)), len(repr(g))) <= 80:
        return "expected {}, got {}.".format(*_two(e, g))
    if not g:
        return f"an empty string came back, where one that begins with {e[:40]!r} is expected."
    same = next((i for i, (a, b) in enumerate(zip(e, g, strict=False)) if a != b), min(len(e), len(g)))
    shown = slice(max(0, same - 20), same + 40)
    right = f"the first {same} characters are right; around there, " if same else ""
    return f"{right}expected {e[shown]!r}, got {g[shown]!r}."


def _names(d: dict) -> str:
    return ", ".join(f"`{name}`" for name in sorted(map(str, d))) or "none"


def _values(e: torch.Tensor, g: torch.Tensor, d: Difference, hide_values: bool) -> str:
    at = f" at index {list(d.index)}" if d.index else ""
    e1, g1 = _two(e[d.index].item(), g[d.index].item())
    if d.kind is Kind.FINITE:
        return f"the result is {g1}{at}, where a finite number is expected.{NAN if g1 == 'nan' else ''}"
    if d.index:
        first = f"first wrong{at}" + ("." if hide_values else f": expected {e1}, got {g1}.")
    else:
        first = "the number differs from the expected one." if hide_values else f"expected {e1}, got {g1}."
    pattern = _pattern(e, g)
    return f"{pattern}{first[0].upper()}{first[1:]}" if pattern else first


def _pattern(e: torch.Tensor, g: torch.Tensor) -> str:
    """Return a sentence if the whole answer is a simple function of the right one, else an empty string."""

    def close(a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5)

    entry = "entry is False. " if g.dtype == torch.bool else "number is zero. "
    e, g = e.double(), g.double()
    finite = e.isfinite() & g.isfinite()
    one = e.numel() == 1  # a single number comes near another by chance
    if e.shape == g.shape and torch.allclose(e, g, rtol=1e-4 if one else 1e-3, atol=1e-6):
        return NEARLY
    if g.numel() > 1 and not g.any():
        return f"every {entry}"
    if e.numel() > 1 and close(g, -e):
        return "every sign is flipped. "
    for i in range(e.dim()):
        for j in range(i):
            if e.shape[i] == e.shape[j] > 1 and close(g, e.transpose(i, j)):
                return f"dimensions {j} and {i} are exchanged: the result is transposed. "
    if e.numel() > 2 and finite.all():
        ratio = (g * e).sum() / (e * e).sum().clamp_min(1e-30)
        if ratio.abs() > 1e-6 and close(g, ratio * e):
            return f"every number is {ratio.item():.4g} times the right one. "
        if close(g, e + (g - e).mean()):
            return "every number is off by the same amount. "
    return NEARLY if not one and e.shape == g.shape and torch.allclose(e, g, rtol=1e-2, atol=1e-6) else ""


def _how_to_copy(value: Any) -> str:
    """Say what changes an argument, and how to keep it as it was."""
    if not isinstance(value, (dict, list, tuple)):
        return (
            "Work on a copy: `x -= y`, `x[i] = y`, and operations with a trailing underscore as `x.sub_(y)` all change "
            "what was passed."
        )
    if isinstance(value, dict):
        advice = (
            "Work on a copy, as `dict(x)` makes it: `x[key] = y`, `update`, `pop` and `del` change what was passed."
        )
    else:
        advice = (
            "`append`, `pop`, `remove`, `sort`, `x += [y]` and `x[i] = y` change the list that was passed. Work on a "
            "copy, as `list(x)` or `sorted(x)` make it; `x + [y]` is a new list, too."
        )
    if any(isinstance(item, (dict, list)) for item in (value.values() if isinstance(value, dict) else value)):
        advice += (
            " `x.copy()` and `list(x)` still hold the same lists or dicts inside: where those are changed, build new "
            "ones, or use `copy.deepcopy`."
        )
    return advice


def also_changed(diagnosis: str, exercise: Exercise, key: int | str) -> str:
    """Add to a diagnosis that an argument was changed in place too, which may explain a wrong value or a failure."""
    end = "" if diagnosis.endswith((".", "?")) else "."
    return f"{diagnosis}{end} Your code also changed {_argument(exercise, key)} in place, which may be why."


def _argument(exercise: Exercise, key: int | str | None) -> str:
    try:
        names = list(inspect.signature(exercise.reference).parameters)
        return f"the argument `{names[key] if isinstance(key, int) else key}`"
    except (ValueError, IndexError):
        return "an argument"


def _tensor_names(exercise: Exercise, case: Case) -> list[str]:
    """Return a name for each tensor argument of a case, in order."""
    names: list[str] = []
    items: list[tuple[int | str, Any]] = [*enumerate(case.args), *case.kwargs.items()]
    for key, value in items:
        names += [_argument(exercise, key) for leaf in leaves(value) if isinstance(leaf, torch.Tensor)]
    return names


def _gradient_of(names: list[str], path: tuple[Any, ...]) -> str:
    if path[0] == "parameters":
        return f"the parameter `{path[1]}`"
    return names[path[1]] if path[1] < len(names) else "an argument"


def _place(names: list[str], path: tuple[Any, ...]) -> str:
    if path and path[0] in ("gradients", "parameters"):
        return "" if len(path) < 2 else f", the gradient with respect to {_gradient_of(names, path)}"
    rest = path[1:] if path and path[0] == "output" else path
    return ", result" + "".join(f"[{key!r}]" for key in rest) if rest else ""


def _kind_of(x: Any) -> str:
    return _KINDS.get(type(x).__name__, f"a {type(x).__name__}")


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", ()))


def _dtype(x: Any) -> str:
    return str(getattr(x, "dtype", type(x).__name__)).removeprefix("torch.")


def _two(e: Any, g: Any) -> tuple[str, str]:
    """Format two numbers with as many digits as it takes to tell them apart."""
    pairs = ((_short(e, digits), _short(g, digits)) for digits in (5, 7, 9, 17))
    return next((pair for pair in pairs if pair[0] != pair[1]), (_short(e), _short(g)))


def _short(x: Any, digits: int = 5) -> str:
    if isinstance(x, float):
        return f"{x + 0.0:.{digits}g}"  # + 0.0: nobody is told to expect "-0"
    text = repr(x)
    return f"{text[:40]}... ({len(text)} digits)" if isinstance(x, int) and len(text) > 80 else text[:80]
