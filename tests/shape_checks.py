"""Shapes and types that stand in signatures, checked whenever a test calls the function.

jaxtyping's import hook writes `@jaxtyping.jaxtyped(typechecker=...)` above each function and class. That checks shapes
at each call, also where a signature has none, and it compiles the checks of a function inside a function anew whenever
the outer one is called, as `Block.forward` is: the forward pass of a small model took three times as long. So `check`
takes its place here.
"""

import functools
import inspect
import typing
from pathlib import Path

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, install_import_hook, jaxtyped

import course_lib

LIBRARY = Path(course_lib.__file__).parent


def modules(room):
    """The modules of a room that hold its code, as `infer.choices`."""
    files = [file.relative_to(LIBRARY).with_suffix("") for file in sorted((LIBRARY / room).rglob("[a-z]*.py"))]
    return [".".join(file.parts) for file in files]


# The modules whose functions are checked whenever a test calls them. Of `infer` not generate and speculative, whose
# generators run under torch.inference_mode, which a checked generator would leave, and not sampling: their tests pass
# what is no list of prompts and no number, to see the sentences that follow. Of `train` not the settings, which refuse
# wrong types themselves. Of `tune` not LoRA, which a test compiles, and a function that checks would break the graph.
# Of `measure` not the two whose tests pass what is no number, to see the sentences that follow. Of `recipes` not the
# results, which are read from files that may hold anything.
UNCHECKED = {
    *(f"infer.generation.{name}" for name in ("generate", "sampling", "speculative")),
    *("train.config", "tune.lora", "measure.record", "measure.predict", "recipes.results"),
}
WHOLE_ROOMS = ("nn", "models", "interop", "data", "show")
CHECKED = (
    *WHOLE_ROOMS,
    *(
        name
        for room in ("train", "infer", "tune", "measure", "recipes")
        for name in modules(room)
        if name not in UNCHECKED
    ),
)

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # a whole number passes for a float, as for mypy
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
    return typechecked(obj)


def has_shapes(hint):
    """Whether there is an array with a shape somewhere in a type."""
    is_array = isinstance(hint, type) and issubclass(hint, AbstractArray)
    return is_array or any(map(has_shapes, typing.get_args(hint)))


def check_modules(names):
    """Check these modules of course_lib from now on; those that are imported already stay as they are."""
    jaxtyping.jaxtyped = check
    install_import_hook([f"course_lib.{name}" for name in names], "shape_checks.typechecked")
