"""Functions shared by the methods with few parameters: freeze a model, find its layers, check its tensors."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.infer.quantization.linear import Int4Linear, Int8Linear
from course_lib.interop.loading import misfits, tied_parameters


def begin_tuning(model: nn.Module, method: str, **settings: Any) -> None:
    """Freeze all weights and record in `model.tuning` the method and settings by which the model will be tuned.

    The record is part of what identifies a run, so that a run with other settings is not resumed by mistake. A method
    calls `check_tunable` first.
    """
    model.requires_grad_(False)
    # These are plain attributes, in no state_dict. By vars(), as torch declares a module's attributes to be tensors or
    # modules, and as a module without one would raise an error where `.get` gives None.
    vars(model).pop("kept_loras", None)  # LoRAs merged before can no longer be unmerged
    vars(model)["tuning"] = {"method": method, **settings}


def check_tunable(model: nn.Module) -> None:
    """Check that a model can be tuned: a method calls it before it looks for layers, which may have been replaced.

    Raises:
        ValueError: If any part of the model is tuned already, or quantized.
    """
    refuse_tuned(model)
    if any(isinstance(part, Int4Linear | Int8Linear) for part in model.modules()):
        raise ValueError("the model is quantized; tune it as it was before, and quantize it then")


def refuse_tuned(model: nn.Module) -> None:
    """Check that no part of a model is tuned.

    Raises:
        ValueError: If a part is tuned already.
    """
    for tuning in tuned_parts(model).values():
        raise ValueError(f"the model is tuned by {tuning['method']} already; start from the model as it was before")


def tuned_parts(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the parts of a model that are tuned, by name ("" for the whole), with the method and its settings."""
    return {name: vars(part)["tuning"] for name, part in model.named_modules() if vars(part).get("tuning")}


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable parameters by name; to count them, sum p.numel() over the values."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers of a model by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def find_target(target: str, names: Collection[str]) -> list[str]:
    """Return the names that end in `target`, such as all "blocks.N.attention.out" for "attention.out".

    Raises:
        ValueError: If there is none.
    """
    found = [name for name in names if f".{name}".endswith(f".{target}")]
    if not found:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
        raise ValueError(f'there is no linear layer "{target}" in the model; there are {known}')
    return found


def refuse_tied(model: nn.Module, layers: Iterable[str]) -> None:
    """Check that none of the layers shares its weights, as an output layer tied to the embedding does.

    Raises:
        ModelError: If a layer shares its weights.
    """
    tied = {name.rpartition(".")[0] for pair in tied_parameters(model).items() for name in pair}
    for layer in layers:
        if layer in tied:
            raise ModelError(f"{layer} is the embedding of the tokens too, and cannot change alone; leave it out")


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that tensors have the expected names and shapes.

    Raises:
        ModelError: If tensors are missing, left over or of another shape; the message lists them all.
    """
    problems = misfits(expected, tensors)
    problems += [f"{name} is left over" for name in tensors.keys() - expected.keys()]
    if problems:
        raise ModelError(f"the tensors do not fit the model: {'; '.join(sorted(problems))}")
