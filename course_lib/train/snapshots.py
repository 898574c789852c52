"""Training with a look at the model now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from course_lib.train import TrainConfig, train
from course_lib.train.loop import Batches, LossFn

T = TypeVar("T")


def train_and_look(
    model: nn.Module,
    batches: Batches,
    loss_fn: LossFn,
    config: TrainConfig,
    look: Callable[[], T],
    times: int,
    label: str = "training",
) -> list[T]:
    """Train as `train` does, and return what `look` gives before the first step and `times` times on the way.

    Args:
        model: The model to train in place.
        batches: As in `train`.
        loss_fn: As in `train`.
        config: As in `train`.
        look: Measures the model as it is; it may not draw from the generator of the batches.
        times: The number of looks, at equal distances; the last one is at the end if it divides the steps.
        label: The name of the run in the progress bar.
    """
    seen, steps, every = [look()], 0, config.steps // times

    def after_step() -> None:
        nonlocal steps
        steps += 1
        if steps % every == 0:
            seen.append(look())

    train(model, batches, loss_fn, config, label=label, after_step=after_step)
    return seen
