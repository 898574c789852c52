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
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from course_lib.files import write_bytes, write_text
from course_lib.nn.storage import device_of
from course_lib.train.run_state import CheckpointError, RunState, checkpoint_steps

KEPT = 2  # the newest, and the one before it in case the newest is damaged


def save_checkpoint(folder: Path, step: int, samples_read: int, run: RunState) -> None:
    """Write a checkpoint to folder/step-STEP and remove all but the newest two.

    Args:
        folder: The folder of all checkpoints of the run.
        step: The number of steps done.
        samples_read: The number of samples read in these steps.
        run: The objects whose state is written.

    Raises:
        CheckpointError: If the checkpoint cannot be written, as when the disk is full; older ones are kept.
    """
    checkpoint = folder / f"step-{step:08d}"
    partial = folder / f".{checkpoint.name}.partial"
    batch_state: dict[str, Tensor] = run.batches.state_dict() if hasattr(run.batches, "state_dict") else {}
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # we save from one process on purpose
            dcp.save(_state(run), checkpoint_id=partial, no_dist=True)
        if batch_state:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in batch_state.items()}
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


def load_checkpoint(folder: Path, run: RunState) -> tuple[int, int]:
    """Load the newest checkpoint of `folder` into the objects of the run and into torch's own generators.

    Returns:
        (step, samples_read), as they were passed to `save_checkpoint`.

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
        batch_state = safetensors.torch.load_file(file) if file.exists() else {}
        state = _state(run)
        _match_what_was_saved(state, checkpoint)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            dcp.load(state, checkpoint_id=checkpoint, no_dist=True)
    except (Exception, dcp.CheckpointException) as error:  # a damaged file can raise anything
        way = f"remove that folder to go on from step {earlier[-1]}" if earlier else "begin again in another folder"
        raise CheckpointError(f"the checkpoint {checkpoint} cannot be read ({_reason(error)}); {way}") from error
    _restore(run, state)
    if hasattr(run.batches, "load_state_dict"):
        run.batches.load_state_dict(batch_state)
    return step, samples_read


def _state(run: RunState) -> dict[str, Any]:
    """Collect all tensors of a checkpoint by name, in the form that torch.distributed.checkpoint takes.

    Those of the batches are not among them: that form would need their shapes before it reads them.
    """
    state: dict[str, Any] = {"generator": run.generator.get_state(), "rng": torch.get_rng_state()}
    if device_of(run.model).type == "cuda":
        state["rng_cuda"] = torch.cuda.get_rng_state()
    for number, optimizer in enumerate(run.optimizers):
        # get_state_dict names the optimizer's state by parameter, and creates it where no step has been taken yet. It
        # returns the model's state with it, which is the same for each optimizer.
        state["model"], state[f"optimizer{number}"] = get_state_dict(run.model, optimizer)
    return state


def _restore(run: RunState, state: dict[str, Any]) -> None:
    """Put the tensors that `_state` collects back into the objects of the run and torch's own generators."""
    set_model_state_dict(run.model, state["model"])
    for number, optimizer in enumerate(run.optimizers):
        saved_state = state[f"optimizer{number}"]
        set_optimizer_state_dict(run.model, optimizer, saved_state, options=StateDictOptions(strict=False))
        for name, parameter in run.model.named_parameters():
            if name not in saved_state["state"]:
                optimizer.state.pop(parameter, None)  # no gradient so far; its steps count from the first one
    run.generator.set_state(state["generator"])
    torch.set_rng_state(state["rng"])
    if "rng_cuda" in state:
        torch.cuda.set_rng_state(state["rng_cuda"])


def _match_what_was_saved(state: dict[str, Any], checkpoint: Path) -> None:
    """Remove from `state` what the checkpoint lacks: optimizer state of parameters that had had no gradient by then.

    Raises:
        ValueError: If the checkpoint holds parameters that the model lacks.
    """
    saved = dcp.FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    if unknown := {name for name in saved if name.startswith("model.")} - {f"model.{name}" for name in state["model"]}:
        raise ValueError(f"it is of another model, with {min(unknown).removeprefix('model.')}")
    for key in [key for key in state if key.startswith("optimizer")]:
        by_parameter = state[key]["state"]
        for name in list(by_parameter):
            if not any(other.startswith(f"{key}.state.{name}.") for other in saved):
                del by_parameter[name]


def _cause(error: BaseException) -> BaseException:
    """Return the first error of those that torch wraps into one exception."""
    if isinstance(error, dcp.CheckpointException) and error.failures:
        return next(iter(error.failures.values()))[0]
    return error


def _reason(error: BaseException) -> str:
    lines = str(_cause(error)).strip().splitlines()
    return lines[0] if lines else type(_cause(error)).__name__
