"""Shapes and types that stand in signatures, checked whenever a test calls the function.

jaxtyping's import hook writes `@jaxtyping.jaxtyped(typechecker=...)` above each function and class. That checks shapes
at each call, also where a signature has none, and it compiles the checks of a function inside a function anew whenever
the outer one is called, as `Block.forward` is: the forward pass of a small model took three times as long. So `check`
takes its place here.
"""

import functools
import inspect
import typing

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook, jaxtyped

LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR  # functions whose results come later


def check(obj=None, *, typechecker=None):
    """Check the arguments and results of a function: by beartype alone where its signature has no shapes.

    A function inside a function is left to mypy; none of ours has a shape.
    """
    if obj is None:
        return functools.partial(check, typechecker=typechecker)
    if not inspect.isfunction(obj) or obj.__code__.co_flags & LATER:
        return jaxtyped(obj, typechecker=typechecker)
    if "<locals>" in obj.__qualname__:
        return obj
    try:
        hints = typing.get_type_hints(obj, include_extras=True)
    except NameError:  # a name that is imported for mypy alone, which jaxtyping takes for Any
        return jaxtyped(obj, typechecker=typechecker)
    if any(map(has_shapes, hints.values())):
        return jaxtyped(obj, typechecker=typechecker)
    obj.__annotations__ = hints
    return beartype(obj)


def has_shapes(hint):
    """Whether there is an array with a shape somewhere in a type."""
    is_array = isinstance(hint, type) and issubclass(hint, AbstractArray)
    return is_array or any(map(has_shapes, typing.get_args(hint)))


def check_modules(names):
    """Check these modules of course_lib from now on; those that are imported already stay as they are."""
    jaxtyping.jaxtyped = check
    install_import_hook([f"course_lib.{name}" for name in names], "beartype.beartype")
