"""Calls of the code under test: what `Subject` and `Handle` promise, for objects of this process.

Used twice: in the notebook by the instant check, and inside the sandbox by the worker.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from course_lib.grader.inside.outcomes import WrongParameters

SEED = 20170612  # any number: both sides seed alike before each call


def tree_map(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to every leaf of nested lists, tuples and dicts."""
    if type(value) is dict:
        return {key: tree_map(function, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(tree_map(function, item) for item in value)
    return function(value)


def leaves(value: Any) -> Iterator[Any]:
    """The leaves of nested lists, tuples and dicts, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def plain(value: Any) -> Any:
    """A detached copy as plain data: CPU tensors, arrays, numbers, strings, lists, dicts, None; otherwise TypeError."""
    if isinstance(value, torch.Tensor):
        value = value.detach().as_subclass(torch.Tensor)
        return (value if value.layout is torch.strided else value.to_dense()).cpu().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return np.array(value)
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return value.item()
    if value is None or type(value) in (bool, int, float, complex, str):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    raise TypeError(
        f"an object of type {type(value).__name__} was returned; "
        "a result is made of tensors, arrays, numbers, strings, lists, dicts or None"
    )


def fresh(value: Any) -> Any:
    """A copy that shares no memory with the original; tensors are contiguous, as they are behind a sandbox's wire."""

    def copy(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf.detach().clone(memory_format=torch.contiguous_format)
        return leaf.copy() if isinstance(leaf, np.ndarray) else leaf

    return tree_map(copy, value)


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, NaN equal to NaN, and of the same structure and dtype."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, (torch.Tensor, np.ndarray)):
        return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())
    return a == b or (a != a and b != b)


@contextmanager
def seeded() -> Iterator[None]:
    """Inside, every global generator starts from SEED and torch uses one thread; outside, all continues as before."""
    python, numpy, torch_state, threads = (
        random.getstate(),
        np.random.get_state(),
        torch.get_rng_state(),
        torch.get_num_threads(),
    )
    try:
        random.seed(SEED)
        np.random.seed(SEED)
        torch.default_generator.manual_seed(SEED)  # torch.manual_seed would reseed the learner's accelerator, too
        torch.set_num_threads(1)  # for tensors of this size, waking other threads takes longer than the work
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_state)
        torch.set_num_threads(threads)


def cotangent(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The fixed weights of the sum that `gradients` differentiates: no symmetry, no zeros, so no error cancels out."""
    size = math.prod(shape)
    return torch.cos(torch.arange(size, dtype=torch.float64) + 0.5).to(dtype).reshape(tuple(shape))


class LocalSubject:
    """A `Subject` for a function or class of this process.

    Attributes:
        target: The function or class.
        changed: The argument (position or name) that the last calls changed in place, or None.
    """

    def __init__(self, target: Any):
        self.target = target
        self.changed: int | str | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result, as plain data."""
        return self.run(self.target, args, kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Result and gradients; see `Subject.gradients`."""
        return self.differentiate(self.target, args, kwargs)

    def new(self, *args: Any, **kwargs: Any) -> LocalHandle:
        """An object of the class."""
        with seeded():
            return LocalHandle(self.target(*fresh(args), **fresh(kwargs)), self)

    def run(self, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """The result of a function or method, as plain data; notes which argument it changed."""
        given_args, given_kwargs = fresh(args), fresh(kwargs)
        try:
            with seeded():
                return plain(function(*given_args, **given_kwargs))
        finally:
            self._note_changes((args, kwargs), (given_args, given_kwargs))

    def differentiate(
        self,
        function: Callable[..., Any],
        args: tuple,
        kwargs: dict,
        parameters: Sequence[tuple[str, torch.Tensor]] = (),
    ) -> dict[str, Any]:
        """The result of a function or method, and the gradients of a weighted sum of it.

        Args:
            function: What is called.
            args: Its arguments; every floating tensor among them gets a gradient.
            kwargs: The same, by name.
            parameters: Names and tensors that get a gradient, too.

        Returns:
            {"output": result, "gradients": [one tensor or None for each tensor argument, in order]}, and with
            parameters {"parameters": {name: tensor or None}}.
        """
        inputs: list[torch.Tensor] = []

        def prepare(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return leaf
            inputs.append(leaf.detach().clone())
            if not leaf.is_floating_point():
                return inputs[-1]
            # Not the leaf itself: to change a leaf in place is an error of autograd's own, and we want to name it.
            with torch.enable_grad():
                return inputs[-1].requires_grad_().clone()

        given_args, given_kwargs = tree_map(prepare, fresh(args)), tree_map(prepare, fresh(kwargs))
        tensors = [*inputs, *(tensor for _, tensor in parameters)]
        try:
            with seeded(), torch.enable_grad():
                output = function(*given_args, **given_kwargs)
                result = plain(output)
                gradients = _gradients_of(output, tensors)
        finally:
            self._note_changes((args, kwargs), (given_args, given_kwargs))
        answer = {"output": result, "gradients": gradients[: len(inputs)]}
        if parameters:
            names = [name for name, _ in parameters]
            answer["parameters"] = dict(zip(names, gradients[len(inputs) :], strict=True))
        return answer

    def _note_changes(self, before: tuple[tuple, dict], after: tuple[tuple, dict]) -> None:
        pairs: list[tuple[int | str, tuple[Any, Any]]] = [*enumerate(zip(before[0], after[0], strict=True))]
        pairs += [(key, (value, after[1][key])) for key, value in before[1].items()]
        for key, (old, new) in pairs:
            if self.changed is None and not same(plain(old), plain(new)):
                self.changed = key


def _gradients_of(output: Any, tensors: list[torch.Tensor]) -> list[torch.Tensor | None]:
    """The gradient of the weighted sum of an output for each tensor; None where nothing flows to it."""
    parts = [t for t in leaves(output) if isinstance(t, torch.Tensor) and t.requires_grad]
    wanted = [i for i, t in enumerate(tensors) if t.requires_grad]
    found: list[torch.Tensor | None] = [None] * len(tensors)
    if parts and wanted:
        total = torch.stack([(t * cotangent(t.shape, t.dtype)).sum() for t in parts]).sum()
        gradients = torch.autograd.grad(total, [tensors[i] for i in wanted], allow_unused=True)
        for i, gradient in zip(wanted, gradients, strict=True):
            found[i] = plain(gradient)
    return found


class LocalHandle:
    """A `Handle` for an object of this process; a method that returns the object itself (`eval`) gives None."""

    def __init__(self, target: Any, subject: LocalSubject):
        self.target, self.subject = target, subject

    def _method(self, name: str) -> Callable[..., Any]:
        if name == "forward" and isinstance(self.target, torch.nn.Module):
            method = self.target  # called as a whole, so that its hooks run
        else:
            method = getattr(self.target, name)

        def bound(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return None if result is self.target else result

        return bound

    def call(self, *args: Any, method: str = "forward", **kwargs: Any) -> Any:
        """The result of a method, as plain data."""
        return self.subject.run(self._method(method), args, kwargs)

    def gradients(self, *args: Any, method: str = "forward", **kwargs: Any) -> dict[str, Any]:
        """As `Subject.gradients`, with one more entry: "parameters", the gradient for each parameter's name."""
        named = list(self.target.named_parameters()) if isinstance(self.target, torch.nn.Module) else []
        return self.subject.differentiate(self._method(method), args, kwargs, named)

    def get_state(self) -> dict[str, Any]:
        """The parameters of a module, the attributes of any other object."""
        return plain(self.target.state_dict() if isinstance(self.target, torch.nn.Module) else vars(self.target))

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Raises:
            WrongParameters: Its names or shapes are not those of the module.
        """
        if not isinstance(self.target, torch.nn.Module):
            vars(self.target).update(fresh(state))
            return
        own, given = _shapes(self.target.state_dict()), _shapes(state)
        if own != given:
            raise WrongParameters(f"its parameters must be {_listed(given)}; they are {_listed(own)}")
        self.target.load_state_dict(fresh(state))


def _shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "none"
