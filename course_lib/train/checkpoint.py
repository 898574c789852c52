"""Checkpoints: all that a run needs to resume as if it had never stopped.

A checkpoint is a folder that is either complete or absent. It holds the model, each optimizer's state, the states of
torch's random generators (the CPU's, CUDA's if the model is there, and the one that draws batches), the step, the
number of samples read, and the state of the batches if they have one. The learning rate follows from the step.
Generators of Python and NumPy are not saved: a `Loader` makes its own from its seed, and nothing else draws from them
during training.

The tensors are in torch's distributed format (torch.distributed.checkpoint). Beside them are state.json and, if the
batches have a state, batches.safetensors.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Sequence
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

KEPT = 2  # the newest, and the one before it in case the newest is damaged


class CheckpointError(CourseError):
    """Raised when a run cannot be saved or resumed; the message says what to do."""


def save_checkpoint(
    folder: Path,
    step: int,
    samples_read: int,
    batches: dict[str, Tensor],
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    generator: torch.Generator,
) -> None:
    """Write a checkpoint to folder/step-STEP and remove all but the newest two.

    Args:
        folder: The folder of all checkpoints of the run.
        step: The number of steps done.
        samples_read: The number of samples read in these steps.
        batches: The state of the source of batches; empty if it has none.
        model, optimizers, generator: The objects whose state is written, besides that of torch's own generators.

    Raises:
        CheckpointError: If the checkpoint cannot be written, as when the disk is full; older ones are kept.
    """
    checkpoint = folder / f"step-{step:08d}"
    partial = folder / f".{checkpoint.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # we save from one process on purpose
            dcp.save(_state(model, optimizers, generator), checkpoint_id=partial, no_dist=True)
        if batches:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in batches.items()}
            write_bytes(partial / "batches.safetensors", safetensors.torch.save(tensors), synced=True)
        write_text(partial / "state.json", json.dumps({"step": step, "samples_read": samples_read}), synced=True)
        shutil.rmtree(checkpoint, ignore_errors=True)
        os.replace(partial, checkpoint)
    except (OSError, dcp.CheckpointException) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(_cause(error), KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise CheckpointError(
            f"step {step} could not be saved to {folder} ({_reason(error)}). Earlier checkpoints are whole: make room, "
            "and go on from the last (resume)"
        ) from error
    for old in checkpoint_steps(folder)[:-KEPT]:
        shutil.rmtree(folder / f"step-{old:08d}", ignore_errors=True)


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, oldest first."""
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-" + "[0-9]" * 8))


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    generator: torch.Generator,
) -> tuple[int, int, dict[str, Tensor]]:
    """Load the newest checkpoint of `folder` into these objects and into torch's own generators.

    Returns:
        (step, samples_read, batches), as they were passed to `save_checkpoint`.

    Raises:
        CheckpointError: If there is no checkpoint, or it is damaged or belongs to another model; nothing is removed.
    """
    if not (steps := checkpoint_steps(folder)):
        raise CheckpointError(f"there is no checkpoint in {folder}")
    *earlier, step = steps
    checkpoint = folder / f"step-{step:08d}"
    try:
        samples_read = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["samples_read"]
        file = checkpoint / "batches.safetensors"
        batches = safetensors.torch.load_file(file) if file.exists() else {}
        state = _state(model, optimizers, generator)
        _match_what_was_saved(state, checkpoint)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            dcp.load(state, checkpoint_id=checkpoint, no_dist=True)
    except (Exception, dcp.CheckpointException) as error:  # a damaged file can raise anything
        way = f"remove that folder to go on from step {earlier[-1]}" if earlier else "begin again in another folder"
        raise CheckpointError(f"the checkpoint {checkpoint} cannot be read ({_reason(error)}); {way}") from error
    set_model_state_dict(model, state["model"])
    for number, optimizer in enumerate(optimizers):
        optimizer_state = state[f"optimizer{number}"]
        set_optimizer_state_dict(model, optimizer, optimizer_state, options=StateDictOptions(strict=False))
        for name, parameter in model.named_parameters():
            if name not in optimizer_state["state"]:
                optimizer.state.pop(parameter, None)  # no gradient so far; its steps count from the first one
    generator.set_state(state["generator"])
    torch.set_rng_state(state["rng"])
    if "rng_cuda" in state:
        torch.cuda.set_rng_state(state["rng_cuda"])
    return step, samples_read, batches


def _state(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], generator: torch.Generator) -> dict[str, Any]:
    """Collect all tensors of a checkpoint by name, in the form that torch.distributed.checkpoint takes."""
    state: dict[str, Any] = {"generator": generator.get_state(), "rng": torch.get_rng_state()}
    if next(model.parameters()).is_cuda:
        state["rng_cuda"] = torch.cuda.get_rng_state()
    for number, optimizer in enumerate(optimizers):
        # get_state_dict names the optimizer's state by parameter, and creates it where no step has been taken yet.
        state["model"], state[f"optimizer{number}"] = get_state_dict(model, optimizer)
    return state


def _match_what_was_saved(state: dict[str, Any], checkpoint: Path) -> None:
    """Remove the optimizer state of parameters that had no gradient before this checkpoint, which holds none.

    Raises:
        ValueError: If the checkpoint holds parameters that the model lacks.
    """
    saved = dcp.FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    if unknown := {name for name in saved if name.startswith("model.")} - {f"model.{name}" for name in state["model"]}:
        raise ValueError(f"it is of another model, with {min(unknown).removeprefix('model.')}")
    for key in [key for key in state if key.startswith("optimizer")]:
        numbers = state[key]["state"]
        for name in list(numbers):
            if not any(other.startswith(f"{key}.state.{name}.") for other in saved):
                del numbers[name]


def _cause(error: BaseException) -> BaseException:
    """Return the first error of those that torch wraps into one exception."""
    if isinstance(error, dcp.CheckpointException) and error.failures:
        return next(iter(error.failures.values()))[0]
    return error


def _reason(error: BaseException) -> str:
    lines = str(_cause(error)).strip().splitlines()
    return lines[0] if lines else type(_cause(error)).__name__
