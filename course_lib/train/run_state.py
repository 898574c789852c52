"""What a checkpoint is of, apart from how it is written: importing `checkpoint` takes half a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from course_lib.errors import CourseError


class CheckpointError(CourseError):
    """Raised when a run cannot be saved or resumed; the message says what to do."""


@dataclass
class RunState:
    """The objects of a run whose state a checkpoint holds, besides torch's own generators.

    Attributes:
        model: The model that is trained.
        optimizers: Its optimizers.
        generator: The generator that draws batches.
        batches: The source of batches; if it has `state_dict` and `load_state_dict`, its state is saved too.
    """

    model: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    generator: torch.Generator
    batches: object


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, oldest first."""
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-" + "[0-9]" * 8))
