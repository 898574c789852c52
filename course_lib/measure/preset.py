"""The settings of a lab that its environment chooses: sizes, the device, and the seed."""

from __future__ import annotations

from typing import TypeVar

import torch

from course_lib.errors import CourseError
from course_lib.preset import Preset, course_seed, preset

T = TypeVar("T")


def pick(*, cpu: T, gpu: T) -> T:
    """Return the value for the current preset, as in `steps = pick(cpu=600, gpu=6000)`."""
    return cpu if preset() == "cpu" else gpu


def seed() -> int:
    """Return the first of the ten seeds that this replication of a lab may use, as in `SEED = seed()`.

    It is 10 * COURSE_SEED, so 0 by default. A lab that trains several times takes SEED, SEED + 1, ... SEED + 9, and no
    two replications share a run.

    Raises:
        CourseError: If COURSE_SEED is not a whole number from 0 to 99999999, or the preset is `gpu` and torch sees no
            accelerator: every lab calls this first, so nobody hears of it in the middle.
    """
    device()
    return 10 * course_seed()


def device(size: Preset | None = None) -> torch.device:
    """Return the device to compute on.

    In the preset `cpu` it is the CPU, even if there is an accelerator; otherwise it is the accelerator.

    Args:
        size: The preset; by default the current one.

    Raises:
        CourseError: If the preset is `gpu` and torch sees no accelerator.
    """
    if (size or preset()) == "cpu":
        return torch.device("cpu")
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        raise CourseError(
            "the preset gpu needs an accelerator, and torch sees none; use --preset cpu, or unset COURSE_PRESET"
        )
    return accelerator


def device_name(where: torch.device | None = None) -> str:
    """Return the product name of a device: "cpu", or for example "NVIDIA H100 80GB HBM3".

    Args:
        where: The device; None for that of the current preset.
    """
    where = device() if where is None else where
    return torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
