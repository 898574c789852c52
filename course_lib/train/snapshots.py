"""Training with a measurement of the model now and then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn

from course_lib.train.config import TrainConfig
from course_lib.train.loop import Batches, LossFn, train

T = TypeVar("T")


def train_with_snapshots(
    model: nn.Module,
    batches: Batches,
    loss_fn: LossFn,
    config: TrainConfig,
    measure: Callable[[], T],
    times: int,
    label: str = "training",
) -> list[T]:
    """Train as `train` does, and return what `measure` gives before the first step and `times` times after it.

    Args:
        model: The model to train in place.
        batches: As in `train`.
        loss_fn: As in `train`.
        config: As in `train`.
        measure: Measures the model as it is; it may not draw from the generator of the batches.
        times: The number of measurements after the first, at equal distances, the last one at the end.
        label: The name of the run in the progress bar.

    Raises:
        ValueError: If `times` does not divide the steps.
    """
    if config.steps % times:
        raise ValueError(f"{config.steps} steps cannot be cut into {times} equal parts")
    snapshots, every = [measure()], config.steps // times

    def after_step(step: int, metrics: Mapping[str, float]) -> None:
        if step % every == 0:
            snapshots.append(measure())

    train(model, batches, loss_fn, config, label=label, after_step=after_step)
    return snapshots
