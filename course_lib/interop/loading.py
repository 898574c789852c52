"""Loading tensors into a model by name, with a full list of what does not fit, and reading them out of it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.interop.hf.family import Family

LISTED = 20  # the number of problems listed in one message


def load_tensors(model: nn.Module, state: Mapping[str, Tensor], family: Family | None = None) -> None:
    """Load the tensors of `state` into a model. A tensor whose layout is ours already is shared, not copied.

    Args:
        model: The model; it takes the dtype and device of the tensors, and may be on the meta device, without memory.
        state: Tensors by name.
        family: The family whose names the tensors have; None for the model's own names.

    Raises:
        ModelError: If tensors are missing, left over or of another shape; the message lists them.
    """
    if family:
        prefix = "" if any(name.startswith(family.prefix) for name in state) else family.prefix
        state = {prefix + family.current_name(name): tensor for name, tensor in state.items()}
    first = next((tensor for tensor in state.values() if tensor.is_floating_point()), torch.empty(0))
    ties = tied_parameters(model)
    problems: list[str] = []
    left_over = set(state)
    loaded: dict[str, Tensor] = {}
    for name, parameter in model.state_dict().items():
        dtype = first.dtype if parameter.is_floating_point() else None
        target = torch.empty_like(parameter, dtype=dtype, device=first.device)
        views = dict(family.tensor_views(model, name, target)) if family else {name: target}
        left_over -= views.keys()
        if name in ties:  # it is loaded with the tensor that it is tied to; the file may hold a copy of that
            problems += [
                f"{theirs} differs from the embedding that it is tied to"
                for theirs in views.keys() & state.keys()
                if ties[name] in loaded and not torch.equal(state[theirs], loaded[ties[name]])
            ]
            continue
        problems += misfits(views, state)
        if not problems:
            loaded[name] = _filled(target, views, state)
    ignored = family.ignored_tensors if family else ()
    problems += [f"{name} is left over" for name in sorted(left_over) if not name.endswith(ignored)]
    if problems:
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise ModelError(f"the tensors do not fit the config: {'; '.join(problems[:LISTED])}{more}")
    model.load_state_dict(loaded, assign=True, strict=False)
    for name, tied_to in ties.items():  # loading has made two parameters out of one
        module, _, kind = name.rpartition(".")
        setattr(model.get_submodule(module), kind, model.get_parameter(tied_to))


def misfits(views: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Return a sentence for each of `views` that is missing in `state` or has another shape there."""
    problems = []
    for name, view in views.items():
        if name not in state:
            problems.append(f"{name} is missing")
        elif state[name].shape != view.shape:
            problems.append(f"{name} has the shape {tuple(state[name].shape)}, not {tuple(view.shape)}")
    return problems


def _filled(target: Tensor, views: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Tensor:
    """Copy tensors of `state` into the views of `target`, or return the one of `state` itself if the layouts agree."""
    for name, view in views.items():
        if view.shape == target.shape and view.stride() == target.stride():
            target = state[name]
        else:
            view.copy_(state[name])
    return target


def unique_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's tensors by name, each once: without the output layer if it is tied to the embedding."""
    ties = tied_parameters(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in ties}


def tied_parameters(model: nn.Module) -> dict[str, str]:
    """Map each tied parameter, such as the output layer, to the earlier one that it shares, such as the embedding."""
    first: dict[int, str] = {}
    names = {name: first.setdefault(id(p), name) for name, p in model.named_parameters(remove_duplicate=False)}
    return {name: other for name, other in names.items() if name != other}
