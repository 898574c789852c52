"""What a run will cost, before it starts: the parameters, FLOPs, memory and time of each of its stages.

FLOPs and activations are counted in one real forward and backward pass; the time on this machine is that of a few real
steps. For other devices the time follows from the FLOPs and the device's published peak.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from course_lib.data.loading.loader import Loader
from course_lib.tables import Table
from course_lib.train import TrainConfig, train
from course_lib.train.loop import Batches, LossFn
from course_lib.train.losses import Loss
from course_lib.train.optim import build_optimizers

STATE_BYTES = {"AdamW": 8, "Muon": 4, "CPUMuon": 4}  # of an optimizer, for each number that it trains: running means
SECONDS = 4.0  # how long the steps that are timed take, at least


@dataclass(frozen=True)
class Accelerator:
    """The published figures of a GPU.

    Attributes:
        tflops: Peak rate of dense matrix products in TFLOP/s, by precision.
        memory: In bytes.
    """

    name: str
    tflops: dict[str, float]
    memory: float


# NVIDIA's data sheets: H100 SXM, whose 1,979 TFLOP/s in bfloat16 are for sparse matrices; T4, which has no bfloat16.
ACCELERATORS = (
    Accelerator("H100 SXM", {"bf16": 989.4, "fp32": 66.9}, 80e9),
    Accelerator("T4", {"fp32": 8.1}, 16e9),
)
# The share of an H100's peak that Llama 3 405B was trained at (Llama Team 2024, table 4: 38 to 43%). A small model
# gets less, since its steps are too short to fill the device.
UTILIZATION = 0.4


def _grouped_flops(rows: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Count the products of experts, given shapes: each row meets the matrix of one expert."""
    return 2 * rows[0] * rows[1] * weight[-1]


def _attention_flops(*shapes: Any, **_: Any) -> int:
    return sdpa_flop_count(*shapes[:3])


def _attention_backward_flops(*shapes: Any, **_: Any) -> int:
    return sdpa_backward_flop_count(*shapes[:4])


# What torch's counter leaves out. Fused attention computes its scores again in the backward pass, which counts.
UNCOUNTED = {
    torch.ops.aten._grouped_mm: _grouped_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}


@dataclass(frozen=True)
class StageCost:
    """The cost of one training stage.

    Attributes:
        parameters: The number of parameters of the model.
        trained: The number of those that the stage trains.
        flops: Floating-point operations of a step: two for each multiplication with its addition, forward and backward.
        state: Bytes of weights, gradients and optimizer state.
        activations: Bytes that the forward pass keeps for the backward pass, in float32 and without `torch.compile`.
        bf16: Whether the stage computes in bfloat16 where that is faster.
        seconds: The time of a step on this machine; None if the stage would not run here.
    """

    name: str
    parameters: int
    trained: int
    steps: int
    flops: float
    state: int
    activations: float
    bf16: bool
    seconds: float | None


def stage_cost(
    model: nn.Module, batches: Batches, loss_fn: LossFn, config: TrainConfig, name: str, *, here: bool
) -> StageCost:
    """Count the cost of a stage. Timing changes the model's weights.

    Args:
        model: The model, as the stage would train it.
        batches: The stage's batches, of a multiple of 32 rows; see `course_lib.train.train` for these arguments.
        loss_fn: The stage's loss.
        config: The stage's settings.
        name: The name of the stage.
        here: Whether the stage would run on this device. Then some steps are timed. Otherwise the batch may be too
            large for it, and the counts are extrapolated from a 32nd and a 16th of the batch.
    """
    batch = next(batches.read(0))[1] if isinstance(batches, Loader) else batches(torch.Generator().manual_seed(0))
    model.train()
    if here:
        flops, activations = _count(model, batch, loss_fn)
    else:
        ones, twos = (_count(model, _part_of(batch, n), loss_fn) for n in (32, 16))
        flops, activations = (one + 31 * (two - one) for one, two in zip(ones, twos, strict=True))
    trained = [p for p in model.parameters() if p.requires_grad]
    state = sum(p.numel() * p.element_size() for p in [*model.parameters(), *trained])
    for optimizer in build_optimizers(model, config):
        numbers = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
        state += numbers * STATE_BYTES[type(optimizer).__name__]
    return StageCost(
        name,
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in trained),
        config.steps,
        flops * config.gradient_accumulation_steps,
        state,
        activations,
        config.precision != "fp32",
        _seconds_of_a_step(model, batches, loss_fn, config, name) if here else None,
    )


def _part_of(batch: Any, n: int) -> Any:
    """Return the first n-th of the rows of each tensor in a batch."""
    return tree_map_only(Tensor, lambda x: x[: -(-len(x) // n)], batch)


def _count(model: nn.Module, batch: Any, loss_fn: LossFn) -> tuple[int, int]:
    """Count the FLOPs of a forward and backward pass, and the bytes of activations between the two."""
    sizes = {p.untyped_storage().data_ptr(): 0 for p in model.parameters()}  # weights are no activations
    kept = []  # so that no address is used twice

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()  # several saved tensors may be views of one
        sizes.setdefault(storage.data_ptr(), storage.nbytes())
        kept.append(storage)
        return x

    counter = FlopCounterMode(display=False, custom_mapping=UNCOUNTED)
    with counter, saved_tensors_hooks(keep, lambda x: x):
        loss = loss_fn(model, batch)
        (loss.mean if isinstance(loss, Loss) else loss).backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops(), sum(sizes.values())


def _seconds_of_a_step(model: nn.Module, batches: Batches, loss_fn: LossFn, config: TrainConfig, name: str) -> float:
    """Time a few real steps, after some that warm up the machine."""

    def seconds(steps: int) -> float:
        began = time.perf_counter()
        train(model, batches, loss_fn, replace(config, steps=steps, warmup_steps=0, lr=1e-6), f"timing {name}")
        return (time.perf_counter() - began) / steps

    seconds(2)
    return seconds(max(5, round(SECONDS / seconds(3))))


def cost_tables(stages: Sequence[StageCost]) -> list[Table]:
    """Make two tables: what each stage costs, and how long all of them take on this machine and on others."""
    rows = [
        [
            stage.name,
            f"{stage.trained:,}" if stage.trained == stage.parameters else f"{stage.trained:,} of {stage.parameters:,}",
            f"{stage.steps:,}",
            amount(stage.flops, "FLOP"),
            amount(stage.flops * stage.steps, "FLOP"),
            amount(stage.state, "B"),
            amount(stage.activations, "B"),
        ]
        for stage in stages
    ]
    head = ["stage", "trained", "steps", "a step", "all steps", "weights and optimizer", "activations"]
    costs = Table(head, rows, ["left", *["right"] * 6], "What the training costs")
    lines = []
    seconds = [stage.seconds * stage.steps for stage in stages if stage.seconds is not None]
    if len(seconds) == len(stages):
        lines.append(["this machine", "timed over a few steps", duration(sum(seconds)), ""])
    flops = sum(stage.flops * stage.steps for stage in stages)
    needed = max(stage.state + stage.activations for stage in stages)
    for gpu in ACCELERATORS:
        precision = "bf16" if all(stage.bf16 for stage in stages) and "bf16" in gpu.tflops else "fp32"
        peak = gpu.tflops[precision]
        took = duration(flops / (UTILIZATION * peak * 1e12))
        share = f"{UTILIZATION:.0%} of {peak:g} TFLOP/s ({precision})"
        lines.append([gpu.name, share, took, f"{amount(needed, 'B')} of {amount(gpu.memory, 'B')}"])
    times = Table(["device", "at", "training time", "memory"], lines, ["left", "left", "right", "right"], "How long")
    return [costs, times]


def amount(number: float, unit: str) -> str:
    """Write a large number with three digits and a prefix: 1.25 GFLOP."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if number < 999.5 or prefix == "P":
            return f"{number:.3g} {prefix}{unit}"
        number /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Write a time for people: 42 seconds, 3.5 minutes, 1.2 hours."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"
