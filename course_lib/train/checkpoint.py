"""Checkpoints: all that a run needs to resume as if it had never stopped, in folders that are whole or not there.

The tensors are in torch's distributed format (torch.distributed.checkpoint); beside them are state.json and, of batches
that have a state, batches.safetensors.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from course_lib.errors import CourseError
from course_lib.files import write_bytes, write_text

KEPT = 2  # the newest, and one before it in case the disk spoils that


class CheckpointError(CourseError):
    """A run cannot be kept or gone on with; the message says what to do."""


def save_checkpoint(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizers: Iterable[torch.optim.Optimizer],
    generator: torch.Generator,
    extra: dict[str, Any],
    batches: dict[str, Tensor] | None = None,
) -> Path:
    """Write the state after `step` steps to folder/step-STEP, and remove all but the newest two checkpoints.

    Args:
        folder: of the checkpoints.
        step: steps done.
        model, optimizers, generator: whose state it is; that of torch's own generators is written too.
        extra: more to keep, of what JSON can hold.
        batches: the state of their source.

    Returns:
        The folder of the checkpoint.

    Raises:
        CheckpointError: when the disk is full; older checkpoints stay.
    """
    place = folder / f"step-{step:08d}"
    partial = folder / f".{place.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process is what we mean
            dcp.save(_tensors(model, optimizers, generator), checkpoint_id=partial, no_dist=True)
        if batches:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in batches.items()}
            write_bytes(partial / "batches.safetensors", safetensors.torch.save(tensors), synced=True)
        write_text(partial / "state.json", json.dumps({"step": step, **extra}), synced=True)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(partial, place)
    except (OSError, dcp.CheckpointException) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, dcp.CheckpointException) and any(
            isinstance(failure, KeyboardInterrupt) for failure, _ in error.failures.values()
        ):
            raise KeyboardInterrupt from None
        raise CheckpointError(
            f"step {step} could not be saved to {folder} ({_reason(error)}). Earlier checkpoints are whole: make room, "
            "and go on from the last (resume)"
        ) from error
    for old in checkpoint_steps(folder)[:-KEPT]:
        shutil.rmtree(folder / f"step-{old:08d}", ignore_errors=True)
    return place


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, oldest first."""
    return sorted(int(place.name.removeprefix("step-")) for place in folder.glob("step-" + "[0-9]" * 8))


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizers: Iterable[torch.optim.Optimizer],
    generator: torch.Generator,
) -> dict[str, Any]:
    """Read the newest checkpoint of `folder` into these objects, and torch's own generators.

    Returns:
        What was passed as `extra`, "step", and as "batches" the state of their source.

    Raises:
        CheckpointError: for one that is damaged or of another model; nothing is removed.
    """
    place = folder / f"step-{checkpoint_steps(folder)[-1]:08d}"
    try:
        extra = json.loads((place / "state.json").read_text(encoding="utf-8"))
        file = place / "batches.safetensors"
        extra["batches"] = safetensors.torch.load_file(file) if file.exists() else {}
        state = _tensors(model, optimizers, generator)
        for number, unused in enumerate(_unused(place, state)):
            for name in unused:
                del state[f"optimizer{number}"]["state"][name]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            dcp.load(state, checkpoint_id=place, no_dist=True)
    except (Exception, dcp.CheckpointException) as error:  # whatever the reader of a damaged file stumbles over
        earlier = checkpoint_steps(folder)[:-1]
        way = f"remove that folder to go on from step {earlier[-1]}" if earlier else "begin anew in another folder"
        raise CheckpointError(f"the checkpoint {place} cannot be read ({_reason(error)}); {way}") from error
    for number, optimizer in enumerate(optimizers):
        of_optimizer = state[f"optimizer{number}"]
        set_model_state_dict(model, state["model"])
        set_optimizer_state_dict(model, optimizer, of_optimizer, options=StateDictOptions(strict=False))
        for name, parameter in model.named_parameters():
            if name not in of_optimizer["state"]:
                optimizer.state.pop(parameter, None)  # it has had no gradient yet, and counts its steps from the first
    generator.set_state(state["generator"])
    torch.set_rng_state(state["rng"])
    if "rng_cuda" in state:
        torch.cuda.set_rng_state(state["rng_cuda"])
    return extra


def _tensors(
    model: nn.Module, optimizers: Iterable[torch.optim.Optimizer], generator: torch.Generator
) -> dict[str, Any]:
    state: dict[str, Any] = {"generator": generator.get_state(), "rng": torch.get_rng_state()}
    if next(model.parameters()).is_cuda:
        state["rng_cuda"] = torch.cuda.get_rng_state()
    for number, optimizer in enumerate(optimizers):
        # get_state_dict names the optimizer's numbers by their parameters, and makes them where no step was taken yet.
        state["model"], state[f"optimizer{number}"] = get_state_dict(model, optimizer)
    return state


def _unused(place: Path, state: dict[str, Any]) -> Iterator[list[str]]:
    """For each optimizer the parameters that had no gradient up to this checkpoint, of which it holds no numbers."""
    kept = dcp.FileSystemReader(place).read_metadata().state_dict_metadata
    for key in sorted(key for key in state if key.startswith("optimizer")):
        names = state[key]["state"]
        yield [name for name in names if not any(other.startswith(f"{key}.state.{name}.") for other in kept)]


def _reason(error: BaseException) -> str:
    if isinstance(error, dcp.CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
