"""Calls of the code under test: what an exercise may ask of it, and how an object of this process answers.

Used twice: in the notebook by the instant check, and inside the sandbox by the worker.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from course_lib.grader.inside.outcomes import Failure, Raised

LONGEST_INTEGER = 2**12  # in bits: Python refuses to write out one of more than 4,300 digits
SEED = 20170612  # an arbitrary number: both sides set the same seed before each call
_seed = SEED


def tree_map(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to every leaf of nested lists, tuples and dicts."""
    if isinstance(value, dict):
        return {key: tree_map(function, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [tree_map(function, item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    return function(value)


def leaves(value: Any) -> list[Any]:
    """Return the leaves of nested lists, tuples and dicts, in order."""
    found: list[Any] = []
    tree_map(found.append, value)
    return found


def zip_trees(a: Any, b: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield the leaves of two nested values side by side, with the path to each; a list and a tuple may match.

    Parts that are nested differently are yielded whole: two dicts with different keys, two lists of different lengths,
    or two values of which only one is nested.
    """
    if isinstance(a, dict) and isinstance(b, dict) and set(a) == set(b):
        for key in a:
            yield from zip_trees(a[key], b[key], (*path, key))
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from zip_trees(x, y, (*path, i))
    else:
        yield path, a, b


def plain(value: Any) -> Any:
    """Return a detached copy as plain data: CPU tensors, arrays, numbers, strings, lists, dicts or None.

    Raises:
        Failure: If there is a `...` in it, an integer too long to be shown, or an object of any other type.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().as_subclass(torch.Tensor)
        return (value if value.layout is torch.strided else value.to_dense()).cpu().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return np.array(value)
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return value.item()
    if type(value) is int and value.bit_length() > LONGEST_INTEGER:
        digits = int(value.bit_length() * math.log10(2))
        raise Failure(Raised.NO_DATA, message=f"an integer of about {digits:,} digits came back.")
    if value is None or type(value) in (bool, int, float, complex, str):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain_key(key): plain(item) for key, item in value.items()}
    if value is ...:
        raise Failure(Raised.ELLIPSIS)
    raise Failure(Raised.NO_DATA, message=_what_it_is(value))


def _plain_key(key: Any) -> Any:
    """Return a key as plain data; of a tuple its text, since a tuple becomes a list, which cannot be a key."""
    key = plain(key)
    return repr(tuple(key)) if isinstance(key, list) else key


def _what_it_is(value: Any) -> str:
    if inspect.isgenerator(value):
        return "a generator came back: `yield` makes one. Build the whole result, and hand it over with `return`."
    if inspect.iscoroutine(value):
        value.close()  # or Python would warn that nobody has waited for it
        return "a coroutine came back: `async def` makes one. Write `def` alone."
    if inspect.isroutine(value):
        return "a function came back, and not its result. Are the brackets missing that call it?"
    return (
        f"an object of type {type(value).__name__} was returned; "
        "a result is made of tensors, arrays, numbers, strings, lists, dicts or None."
    )


def fresh(value: Any) -> Any:
    """Return a copy that shares no memory with the value; tensors are contiguous, as after a transfer to a sandbox."""
    return tree_map(_fresh_leaf, value)


def _fresh_leaf(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().clone(memory_format=torch.contiguous_format)
    if isinstance(leaf, str):
        return "".join(list(leaf))  # so that `kind is "encoder"` fails here as well, not in grading alone
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def same(a: Any, b: Any) -> bool:
    """Check that two values are equal to the bit, with NaN equal to NaN, the same nesting and the same dtypes."""
    return all(_same_leaf(x, y) for _, x, y in zip_trees(a, b))


def _same_leaf(a: Any, b: Any) -> bool:
    if type(a) is not type(b) or isinstance(a, (dict, list, tuple)):
        return False
    if isinstance(a, (torch.Tensor, np.ndarray)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if isinstance(a, torch.Tensor) and torch.equal(a, b):  # sooner known than the rest
            return True
        return bool(((a == b) | ((a != a) & (b != b))).all())
    return a == b or (a != a and b != b)


_kept = False  # whether a `generators_kept` is open around what runs now


@contextmanager
def generators_kept() -> Iterator[None]:
    """Restore every global generator, and torch's number of threads, on leaving.

    One inside another does nothing: to keep numpy's generator takes 20 times as long as to seed it, and an exam makes
    hundreds of calls.
    """
    global _kept
    if _kept:
        yield
        return
    python, numpy, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    _kept = True
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        _kept = False
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_num_threads(threads)


@contextmanager
def seeded() -> Iterator[None]:
    """Seed every global generator with SEED and use one thread of torch; see `generators_kept`."""
    with generators_kept():
        random.seed(_seed)
        np.random.seed(_seed)
        torch.default_generator.manual_seed(_seed)  # torch.manual_seed would also seed the learner's accelerator
        torch.set_num_threads(1)  # for tensors of this size, waking other threads takes longer than the work
        yield


@contextmanager
def another_seed() -> Iterator[None]:
    """Let calls in this process begin at another seed: what answers otherwise then draws random numbers."""
    global _seed
    _seed = SEED + 1
    try:
        yield
    finally:
        _seed = SEED


def cotangent(output: torch.Tensor) -> torch.Tensor:
    """Return the fixed weights of the sum that `gradients` differentiates: no symmetry, no zeros: no error cancels."""
    return torch.cos(torch.arange(output.numel(), dtype=torch.float64) + 0.5).to(output.dtype).view(output.shape)


class Subject:
    """The code under test; each call becomes a request, which `send` answers, in this process or in a sandbox.

    Arguments and results are tensors, arrays, numbers, strings, lists, dicts or None.

    Attributes:
        changed: The argument (position or name) that the last requests changed in place, or None.
    """

    changed: int | str | None = None

    def send(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Do something with an object.

        Args:
            action: "call", "gradients", "new" or "set_state".
            number: The number of the object: 0 for the function or class under test, others are returned by "new".
            args: The positional arguments.
            kwargs: The keyword arguments.
        """
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, and return its result as plain data."""
        return self.send("call", 0, args, kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Call with gradients for every floating tensor argument, and differentiate a weighted sum of the result.

        The weights are those of `cotangent`, so that both sides differentiate the same number.

        Returns:
            {"output": result, "gradients": [one tensor or None for each tensor argument, in order]}.
        """
        return self.send("gradients", 0, args, kwargs)

    def new(self, *args: Any, **kwargs: Any) -> Handle:
        """Create an object of the class under test."""
        return Handle(self, self.send("new", 0, args, kwargs))


class Handle:
    """An object that lives where the submitted code runs; only arrays and plain data are passed to and fro."""

    def __init__(self, subject: Subject, number: int):
        self.subject, self.number = subject, number

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object, and return its result as plain data."""
        return self.subject.send("call", self.number, args, kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Differentiate as `Subject.gradients` does; a module adds "parameters", the gradients by parameter name."""
        return self.subject.send("gradients", self.number, args, kwargs)

    def set_state(self, state: dict[str, Any]) -> None:
        """Set the parameters and buffers of a module.

        Raises:
            Failure: If their names or shapes differ.
        """
        self.subject.send("set_state", self.number, (state,), {})


class LocalSubject(Subject):
    """A `Subject` for a function or class of this process.

    Attributes:
        objects: The function or class, then the objects created from it.
    """

    def __init__(self, target: Any):
        self.objects = [target]

    def send(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Do something with an object; see `Subject.send`."""
        target = self.objects[number]
        if action == "new":
            with seeded():
                self.objects.append(target(*fresh(args), **fresh(kwargs)))
            return len(self.objects) - 1
        if action == "set_state":
            return _set_state(target, *fresh(args))
        return self._call(target, args, kwargs) if action == "call" else self._differentiate(target, args, kwargs)

    def _call(self, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        given_args, given_kwargs = fresh((args, kwargs))
        try:
            with seeded():
                return plain(target(*given_args, **given_kwargs))
        finally:
            self._note_changes(args, kwargs, given_args, given_kwargs)

    def _differentiate(self, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the result, and the gradients of a weighted sum of it.

        Returns:
            {"output": result, "gradients": [one tensor or None for each tensor argument, in order]}, and for a module
            {"parameters": {name: tensor or None}}.
        """
        tracked = tree_map(_tracked, fresh((args, kwargs)))
        inputs = [leaf for leaf in leaves(tracked) if isinstance(leaf, torch.Tensor)]
        parameters = dict(target.named_parameters()) if isinstance(target, torch.nn.Module) else {}
        with torch.enable_grad():
            # Clones, not the leaves: autograd has its own error for changing leaves in place, and we want to name it.
            given_args, given_kwargs = tree_map(_clone, tracked)
            try:
                with seeded():
                    output = target(*given_args, **given_kwargs)
                    answer = {"output": plain(output)}
                    gradients = _gradients_of(output, [*inputs, *parameters.values()])
            finally:
                self._note_changes(args, kwargs, given_args, given_kwargs)
        answer["gradients"] = gradients[: len(inputs)]
        if parameters:
            answer["parameters"] = dict(zip(parameters, gradients[len(inputs) :], strict=True))
        return answer

    def _note_changes(
        self, args: Sequence[Any], kwargs: dict[str, Any], given_args: Sequence[Any], given_kwargs: dict[str, Any]
    ) -> None:
        before: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        after: dict[Any, Any] = {**dict(enumerate(given_args)), **given_kwargs}
        for key, value in before.items():
            if self.changed is None and not _unchanged(value, after[key]):
                self.changed = key


def _unchanged(before: Any, after: Any) -> bool:
    """Check that an argument is the same after a call; one that has become longer is not read to its end."""
    for _, a, b in zip_trees(before, after):
        if isinstance(b, (dict, list, tuple)) or not _same_leaf(plain(a), plain(b)):
            return False
    return True


def _tracked(leaf: Any) -> Any:
    return leaf.requires_grad_() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf


def _clone(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf


def _gradients_of(output: Any, tensors: list[torch.Tensor]) -> list[torch.Tensor | None]:
    """Return the gradient of the weighted sum of an output for each tensor; None where no gradient flows."""
    parts = [t for t in leaves(output) if isinstance(t, torch.Tensor) and t.requires_grad]
    wanted = [i for i, t in enumerate(tensors) if t.requires_grad]
    found: list[torch.Tensor | None] = [None] * len(tensors)
    if parts and wanted:
        total = torch.stack([(t * cotangent(t)).sum() for t in parts]).sum()
        gradients = torch.autograd.grad(total, [tensors[i] for i in wanted], allow_unused=True)
        for i, gradient in zip(wanted, gradients, strict=True):
            found[i] = plain(gradient)
    return found


def _set_state(target: Any, state: dict[str, torch.Tensor]) -> None:
    if not isinstance(target, torch.nn.Module):
        message = f"it is no layer of torch. Begin it with `class {type(target).__name__}(nn.Module):`"
        raise Failure(Raised.WRONG_PARAMETERS, message=message)
    own, given = _shapes(target.state_dict()), _shapes(state)
    if own.keys() != given.keys():
        message = f"its parameters must be {_listed(given)}; they are {_listed(own)}"
        if not own:
            message += (
                ". Make each layer in `__init__` and keep it there, as in `self.name = nn.Linear(...)`: torch finds "
                "none that is in a list or in a local name"
            )
        raise Failure(Raised.WRONG_PARAMETERS, message=message)
    if own != given:
        other = [_other_sizes(target, name, given[name], own[name]) for name in sorted(own) if own[name] != given[name]]
        raise Failure(Raised.WRONG_PARAMETERS, message="; ".join(dict.fromkeys(other)))
    target.load_state_dict(state)


def _other_sizes(target: torch.nn.Module, name: str, right: tuple[int, ...], own: tuple[int, ...]) -> str:
    """Say what is wrong with the size of a parameter: of a linear layer, how many numbers it reads and gives."""
    path = name.rpartition(".")[0]
    if isinstance(target.get_submodule(path), torch.nn.Linear):
        (gives, *reads), (own_gives, *own_reads) = right, own
        if reads and reads != own_reads:
            both = f" and gives {gives}" if gives != own_gives else ""
            made = f" (yours reads {own_reads[0]}{f' and gives {own_gives}' if both else ''})"
            return f"`{path}` reads {reads[0]} numbers{both} here{made}"
        return f"`{path}` gives {gives} numbers here (yours gives {own_gives})"
    return f"`{name}` has the shape {right} here (yours has {own})"


def _shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"`{name}` {shape}" for name, shape in sorted(shapes.items())) or "none"
