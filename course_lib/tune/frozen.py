"""What the methods with few parameters share: the model is frozen, and what is trained is small."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from course_lib.models.hf.family import ModelError


def freeze(model: nn.Module, method: str, **settings: Any) -> None:
    """Freeze all weights and note in `model.tuning` by what method the model is about to be tuned.

    The note is part of what a run is known by, so that one with other settings is not gone on with by mistake.
    Raises ValueError for a model that is tuned by a method already.
    """
    refuse_tuned(model)
    model.requires_grad_(False)
    noted: Any = model
    noted.__dict__.pop("unmerged", None)  # what was merged before stays so for good
    noted.tuning = {"method": method, **settings}


def refuse_tuned(model: nn.Module) -> None:
    """Raise ValueError for a model that is tuned by a method already."""
    if (before := tuning(model)) is not None:
        raise ValueError(f"the model is tuned by {before['method']} already; start from the model as it was before")


def tuning(model: nn.Module) -> dict[str, Any] | None:
    """The method by which a model is tuned, and its settings; None for a model as it was trained."""
    return getattr(model, "tuning", None)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name; how many numbers: sum(p.numel() for p in trainable(model).values())."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def fill(parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
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
