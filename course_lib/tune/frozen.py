"""What the methods with few parameters share: the model is frozen, and what is trained is small."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.infer.quantization.linear import Int4Linear, Int8Linear

NOTES = ("tuning", "kept_loras")  # the attributes that a tuned or merged model has beside its parts


def freeze(model: nn.Module, method: str, **settings: Any) -> None:
    """Freeze all weights and note in `model.tuning` by what method the model is about to be tuned.

    The note is part of what identifies a run, so that one with other settings is not resumed by mistake.

    Raises:
        ValueError: for a model of which any part is tuned already, or quantized.
    """
    refuse_tuned(model)
    if any(isinstance(part, Int4Linear | Int8Linear) for part in model.modules()):
        raise ValueError("the model is quantized; tune it as it was before, and quantize it then")
    model.requires_grad_(False)
    noted: Any = model
    noted.__dict__.pop("kept_loras", None)  # what was merged before stays so for good
    noted.tuning = {"method": method, **settings}


def refuse_tuned(model: nn.Module) -> None:
    """Raise ValueError for a model of which any part is tuned by a method already."""
    for before in tuned_parts(model).values():
        raise ValueError(f"the model is tuned by {before['method']} already; start from the model as it was before")


@contextmanager
def restored_on_error(model: nn.Module) -> Iterator[None]:
    """If tuning a model fails inside this context, restore its parts, and which of its weights are trained."""
    parts = [(module, dict(module._modules)) for module in model.modules()]
    trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    notes: dict[str, Any] = {name: model.__dict__[name] for name in NOTES if name in model.__dict__}
    try:
        yield
    except BaseException:
        for module, children in parts:
            module._modules.clear()
            module._modules.update(children)
        for parameter, before in trained:
            parameter.requires_grad_(before)
        for name in NOTES:
            model.__dict__.pop(name, None)
        model.__dict__.update(notes)
        raise


def tuning_of(model: nn.Module) -> dict[str, Any] | None:
    """The method by which a model is tuned, and its settings; None for a model that is not."""
    return getattr(model, "tuning", None)


def tuned_parts(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The parts of a model that are tuned, by name ("" for the whole), and how."""
    return {name: noted for name, part in model.named_modules() if (noted := tuning_of(part)) is not None}


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name. To count them: sum p.numel() over the values."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def copy_tensors(parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
    """Copy each tensor into the parameter of its name.

    Raises ModelError that lists those that are missing, left over or of another shape.
    """
    problems = [f"{name} is missing" for name in parameters.keys() - tensors.keys()]
    problems += [f"{name} is left over" for name in tensors.keys() - parameters.keys()]
    problems += [
        f"{name} has the shape {tuple(tensors[name].shape)}, not {tuple(parameter.shape)}"
        for name, parameter in parameters.items()
        if name in tensors and tensors[name].shape != parameter.shape
    ]
    if problems:
        raise ModelError(f"the tensors do not fit the model: {'; '.join(sorted(problems))}")
    for name, parameter in parameters.items():
        parameter.data.copy_(tensors[name])
