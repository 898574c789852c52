"""What a lab takes from its preset: sizes and the device."""

from __future__ import annotations

from typing import TypeVar

import torch

from course_lib.errors import CourseError
from course_lib.preset import Preset, preset

T = TypeVar("T")


def pick(*, cpu: T, gpu: T) -> T:
    """The value for the chosen preset: `steps = pick(cpu=600, gpu=6000)`."""
    return cpu if preset() == "cpu" else gpu


def device(size: Preset | None = None) -> torch.device:
    """The device to compute on: the CPU in the preset `cpu` even beside an accelerator, otherwise the accelerator.

    Args:
        size: The preset; by default the chosen one.

    Raises:
        CourseError: The preset is `gpu` and torch sees no accelerator.
    """
    if (size or preset()) == "cpu":
        return torch.device("cpu")
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        raise CourseError(
            "the preset gpu needs an accelerator, and torch sees none; use --preset cpu, or unset COURSE_PRESET"
        )
    return accelerator


def device_name(size: Preset | None = None) -> str:
    """The device of a preset by the name people know: "cpu", or "NVIDIA H100 80GB HBM3".

    Args:
        size: The preset; by default the chosen one.
    """
    where = device(size)
    return torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
