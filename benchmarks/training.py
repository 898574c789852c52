"""Training steps side by side: ours through course_lib.train, the others through the usual plain loop."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from side_by_side import Timings, in_processes, parser, side_by_side
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_lib.recipes.estimate import UNCOUNTED
from course_lib.train import Loss, TrainConfig, train

Batch = Any
LR = 1e-4


class Contestant(NamedTuple):
    """A model to train.

    Attributes:
        model: The model.
        loss: Its loss on a batch.
        norm: The module that reads the residual stream at its end.
        ours: Whether course_lib.train trains it, and not a plain loop.
        same: Its group: those of one group start from the same weights, and so with the same loss.
    """

    model: nn.Module
    loss: Callable[[nn.Module, Batch], Tensor | Loss]
    norm: nn.Module
    ours: bool = False
    same: str = ""


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark of training has."""
    found = parser(doc)
    found.add_argument("--steps", type=int, default=2, help="in a turn")
    found.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    return found


def compare(
    make: Callable[[], Mapping[str, Contestant]],
    batches: Sequence[Batch],
    precision: str,
    compiled: bool,
    rounds: int,
    processes: bool,
) -> Timings:
    """Time a turn of one step on each batch, after checking that all do equal work; what was checked is printed.

    Args:
        make: Gives the contestants, the same every time; a function of a module, or a partial of one.
        batches: What to train on.
        precision: "fp32" or "bf16".
        compiled: Whether to compile the models.
        rounds: How many turns of each.
        processes: Whether each contestant trains in a process of its own.
    """
    contestants = _made(make)
    check(contestants, batches[0], precision)
    if not processes:
        return side_by_side(
            {name: turn(one, batches, precision, compiled) for name, one in contestants.items()}, rounds
        )
    makers = {name: functools.partial(_turn_of, make, name, batches, precision, compiled) for name in contestants}
    return in_processes(makers, rounds)


def _made(make: Callable[[], Mapping[str, Contestant]]) -> Mapping[str, Contestant]:
    torch.manual_seed(0)
    return make()


def _turn_of(
    make: Callable[[], Mapping[str, Contestant]], name: str, batches: Sequence[Batch], precision: str, compiled: bool
) -> Callable[[], object]:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):  # it was said before
        return turn(_made(make)[name], batches, precision, compiled)


def check(contestants: Mapping[str, Contestant], batch: Batch, precision: str) -> None:
    """Print parameters, FLOPs, the starting loss and the residual stream's dtype of each, and compare them.

    FLOPs are those of matrix products, forward and backward; nobody may have 1 % fewer than the first (more, as for
    rows filled up with zeros, is their own loss). Losses of models with the same weights are equal within 1e-5 in
    float32; bfloat16 keeps eight bits, so there within 1e-3.
    """
    starts: dict[str, tuple[int, float]] = {}
    flops: dict[str, int] = {}
    for name, one in contestants.items():
        dtypes: list[torch.dtype] = []
        hook = one.norm.register_forward_pre_hook(lambda _, given, seen=dtypes: seen.append(given[0].dtype))
        with (
            FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter,
            sdpa_kernel(SDPBackend.MATH),
            products(precision),
        ):
            mean_loss(one, batch).backward()
        hook.remove()
        one.model.zero_grad(set_to_none=True)
        with torch.no_grad(), products(precision):
            start = float(mean_loss(one, batch))
        flops[name] = counter.get_total_flops()
        size = sum(p.numel() for p in one.model.parameters())
        print(
            f"{name:28} {size / 1e6:6.2f} M parameters  {flops[name] / 1e9:6.1f} GFLOP  loss {start:.5f}  "
            f"residual stream {dtypes[0]}".replace("torch.", "")
        )
        parameters, expected = starts.setdefault(one.same, (size, start))
        assert size == parameters, f"{name} has {size} parameters, not {parameters}"
        tolerance = 1e-5 if precision == "fp32" else 1e-3
        assert abs(start - expected) < tolerance * expected, f"{name} starts at another loss: {start}, not {expected}"
    first = next(iter(flops.values()))
    assert min(flops.values()) > 0.99 * first, f"the work differs: {flops}"


def turn(one: Contestant, batches: Sequence[Batch], precision: str, compiled: bool) -> Callable[[], object]:
    """What trains for one step on each batch, with a new optimizer: fused AdamW for all."""
    config = TrainConfig(
        len(batches),
        lr=LR,
        warmup_steps=0,
        schedule="constant",
        weight_decay=0.1,
        precision=precision,
        compile=compiled,
    )

    def through_the_course() -> object:
        upcoming = iter(batches)
        with contextlib.redirect_stderr(io.StringIO()):  # bars would cut through the table
            return train(one.model, lambda generator: next(upcoming), one.loss, config)

    def plain_loop() -> object:
        groups = [
            {"params": [p for p in one.model.parameters() if p.dim() >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in one.model.parameters() if p.dim() < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
        one.model.train()
        losses = []
        for batch in batches:
            with products(precision):
                loss = mean_loss(one, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(one.model.parameters(), config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
        return losses

    if compiled and not one.ours:
        one.model.compile()
    return through_the_course if one.ours else plain_loop


def mean_loss(one: Contestant, batch: Batch) -> Tensor:
    """The loss of a contestant on a batch, as one number."""
    value = one.loss(one.model, batch)
    return value.mean if isinstance(value, Loss) else value


def products(precision: str) -> Any:
    """A context in which matrix products run in that precision."""
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
