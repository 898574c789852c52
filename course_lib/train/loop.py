"""The training loop of the course: one for every model and objective, exact when resumed.

`train` is the loop. `_Run` is the state of a run, which takes one step at a time; its methods stand in the order in
which a step calls them. A resumed run gets its state from `RunFolder.open`, which reads the newest checkpoint.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data.loading.loader import Loader
from course_lib.train.checkpoint import RunState
from course_lib.train.config import TrainConfig
from course_lib.train.interrupts import stop_requests
from course_lib.train.losses import Loss
from course_lib.train.memory import keep_freed_memory
from course_lib.train.optim import build_optimizers, lr_factor
from course_lib.train.precision import autocast, choose_precision, try_compile
from course_lib.train.run_folder import RunFolder

STEP_METRICS = {"step", "loss", "lr", "grad_norm", "targets", "seconds"}  # logged at every step
Batches = Callable[[torch.Generator], Any] | Loader
AfterStep = Callable[[int, Mapping[str, float]], object]  # gets the number of steps done, and the metrics of the last
LossFn = Callable[[nn.Module, Any], Tensor | Loss]


@dataclass
class History:
    """The history of a run: one entry per step, the CPU seconds of this call, and whether it was interrupted.

    `grad_norm` is the norm of the gradient before it is clipped. `metrics` holds those of the loss (`Loss.metrics`), by
    name.
    """

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    interrupted: bool = False

    def add(self, numbers: Mapping[str, float]) -> None:
        """Append one step, given as a line of metrics.jsonl."""
        self.step.append(int(numbers["step"]))
        self.loss.append(numbers["loss"])
        self.lr.append(numbers["lr"])
        self.grad_norm.append(numbers["grad_norm"])
        for name, value in numbers.items():
            if name not in STEP_METRICS:
                self.metrics.setdefault(name, []).append(value)


class TrainingDiverged(RuntimeError):
    """Raised when the loss or its gradient is NaN or infinite.

    The model keeps the weights from before that step, and `history` holds the steps so far.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


def train(
    model: nn.Module,
    batches: Batches,
    loss_fn: LossFn,
    config: TrainConfig,
    label: str = "training",
    folder: RunFolder | None = None,
    validate: Callable[[], dict[str, float]] | None = None,
    validate_every: int = 0,
    after_step: AfterStep | None = None,
) -> History:
    """Train `model` in place by gradient descent on the loss of each batch.

    An interrupt (Ctrl-C, or the stop button of a notebook) stops the run with a message. With a folder, `train` saves
    the run and returns; without one it passes the interrupt on, so that whatever would follow is not computed from a
    model that is half trained. From the first call on, this process keeps freed memory: see train/memory.py.

    Args:
        model: The model to train, on the device of the batches.
        batches: A Loader, or a function that draws a batch with the generator it is given. The generator is seeded by
            `config.seed` and used for batches alone, so that every model gets the same ones. If `batches` is an object
            with `state_dict` and `load_state_dict` (a flat dict of tensors), its state is part of each checkpoint.
        loss_fn: Called with the model and a batch; returns a mean, or a `Loss`, whose totals over all batches of a step
            are divided by the number of targets in all of them. The metrics of a `Loss` are logged at every step.
        config: Settings such as the number of steps, the learning rate, the optimizer and the precision.
        label: The name of the run in the progress bar and in messages.
        folder: The folder to save the run in, so that it resumes after an interrupt or a kill as if nothing had
            happened; None to save nothing.
        validate: Returns metrics to log in the folder, computed in eval mode; not called without a folder.
        validate_every: Steps between two calls of `validate`, which is also called at the end; 0 for the end only.
        after_step: Called after every step with the number of steps done, those before a resume included, and with the
            metrics of this step: loss, lr, grad_norm, targets, seconds, and those of the loss.

    Returns:
        The loss, the learning rate, the norm of the gradient and the loss's metrics of every step, including those
        before a resume.

    Raises:
        TrainingDiverged: If the loss or its gradient is NaN or infinite; raised before the weights change.
        CheckpointError: If the folder is in use, full, damaged, or holds another run, or if another process trains in
            it.
    """
    keep_freed_memory()
    if config.warmup_steps > config.steps:
        print(
            f"{label}: the warm-up takes {config.warmup_steps} steps and the run ends after {config.steps}, so the "
            f"rate never reaches lr={config.lr:g}; lower warmup_steps.",
            flush=True,
        )
    run = _Run(model, batches, loss_fn, config, label, folder)
    history = run.history
    start = time.process_time()
    bar = tqdm(initial=run.step, total=config.steps, desc=label, delay=1.0, mininterval=0.5)  # no bar for short runs
    try:
        with stop_requests(caught=folder is not None) as stop_requested, bar:
            while run.step < config.steps and not stop_requested.is_set():
                metrics = run.take_step()
                if after_step:
                    after_step(run.step, metrics)
                bar.update()
                bar.set_postfix_str(f"loss {metrics['loss']:.3f}", refresh=False)
                is_last = run.step == config.steps
                if folder:
                    folder.metrics.write(run.step - 1, **metrics)
                    if validate and (is_last or (validate_every and run.step % validate_every == 0)):
                        run.run_validation(validate, folder)
                    if is_last or run.step % folder.save_every == 0:
                        folder.save(run.step, run.samples_read)
            if stop_requested.is_set() and folder:  # between two steps, where the state is consistent
                folder.save(run.step, run.samples_read)
                history.interrupted = True  # after the last step too: the user wants whatever follows to stop as well
    except KeyboardInterrupt:
        history.interrupted = True
        if folder is None:
            print(
                f"{label}: stopped after {run.step} of {config.steps} steps; run it again from the start.", flush=True
            )
            raise
    finally:
        if folder:
            folder.close()
    if history.interrupted and folder:
        print(f"{label}: stopped after {run.step} of {config.steps} steps; to go on, {folder.resume_hint}.", flush=True)
    history.cpu_seconds = time.process_time() - start
    return history


class _Run:
    """The state of a run: model, optimizers, position in the data, steps done; `take_step` makes one update."""

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        loss_fn: LossFn,
        config: TrainConfig,
        label: str,
        folder: RunFolder | None,
    ) -> None:
        """Begin the run, or resume it from its folder."""
        self.model, self.loss_fn, self.config, self.label = model, loss_fn, config, label
        self.to_compile = config.compile
        self.optimizers = build_optimizers(model, config)
        self.device = next(model.parameters()).device
        self.precision = choose_precision(config.precision, self.device)
        self.history = History()
        self.step, self.samples_read = 0, 0
        generator = torch.Generator().manual_seed(config.seed)
        if folder:
            self.step, self.samples_read = folder.open(
                RunState(model, self.optimizers, generator, batches), config, label
            )
            for line in folder.earlier_steps():
                self.history.add(line)
        # Only now that the folder is open, since loading a checkpoint creates new groups.
        self.groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self.parameters = [parameter for group in self.groups for parameter in group["params"]]
        self.draws: Iterator[tuple[int, Any]]  # the number of samples read so far, and the batch
        if isinstance(batches, Loader):
            self.draws = batches.read(self.samples_read)
        else:
            self.draws = ((0, batches(generator)) for _ in itertools.count())
        model.train()

    def take_step(self) -> dict[str, float]:
        """Update the weights once: draw batches, compute their gradient, check it, clip it, apply it."""
        began = time.perf_counter()
        lr = self.config.lr * lr_factor(self.step, self.config)
        for group in self.groups:
            group["lr"] = lr
        mean_loss, n_targets, metrics = self._compute_gradient(self._draw())
        _refuse_taken(metrics, "the loss", STEP_METRICS)
        total_norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        numbers = torch.stack((mean_loss, total_norm, n_targets, *metrics.values()))
        loss, grad_norm, targets, *values = numbers.tolist()  # wait for the device once
        if not math.isfinite(loss + grad_norm):
            raise TrainingDiverged(_diverged(self.label, self.step, loss, grad_norm, lr), self.history)
        max_norm = self.config.max_grad_norm
        if max_norm and grad_norm > max_norm:  # only if needed: a pass over all gradients takes time
            nn.utils.clip_grads_with_norm_(self.parameters, max_norm, total_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)  # here, so that no gradient takes memory in the forward pass
        measured = {"loss": loss, "lr": lr, "grad_norm": grad_norm, "targets": int(targets)}
        measured |= dict(zip(metrics, values, strict=True))
        self.history.add({"step": self.step, **measured})
        self.step += 1
        return measured | {"seconds": time.perf_counter() - began}

    def _draw(self) -> list[Any]:
        """Draw the batches of one step."""
        with autocast(self.precision, self.device):  # if the model samples the batches itself: in the loss's precision
            drawn = list(itertools.islice(self.draws, self.config.gradient_accumulation_steps))
        if len(drawn) < self.config.gradient_accumulation_steps:
            raise ValueError(f"the data ended at step {self.step}; ask for fewer steps, or a loader without epochs")
        self.samples_read = drawn[-1][0]
        return [batch for _, batch in drawn]

    def _compute_gradient(self, batches: list[Any]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Call `_mean_gradient`, compiled if the config asks for it; torch compiles at the first call."""
        if self.to_compile:
            self.to_compile = False
            self.loss_fn, result = try_compile(self.loss_fn, partial(self._mean_gradient, batches))
            return result
        return self._mean_gradient(batches, self.loss_fn)

    def _mean_gradient(self, batches: list[Any], loss_fn: LossFn) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Compute the gradient of the mean loss over all targets of these batches, and leave it in .grad.

        Returns:
            The mean loss, the number of targets, and the loss's metrics, averaged over the batches.
        """
        # Gradients may be left from before the run, or from an attempt to compile that failed half way.
        self.model.zero_grad(set_to_none=True)
        total, n_targets = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        metrics: dict[str, Tensor] = {}
        for batch in batches:
            with autocast(self.precision, self.device):
                loss = loss_fn(self.model, batch)
            loss = loss if isinstance(loss, Loss) else Loss(loss, 1)
            # How many targets several batches have together is known after the last one only, so their gradients are
            # summed and divided below. One batch can take the mean at once, which saves that pass over all gradients.
            (loss.mean if len(batches) == 1 else loss.total).backward()
            total, n_targets = total + loss.total.detach(), n_targets + loss.n_targets
            for name, value in (loss.metrics or {}).items():
                metrics[name] = metrics.get(name, 0) + value.detach() / len(batches)
        n_targets = n_targets.clamp(min=1)
        if len(batches) > 1:
            torch._foreach_div_([p.grad for p in self.parameters if p.grad is not None], n_targets)
        return total / n_targets, n_targets, metrics

    def run_validation(self, validate: Callable[[], dict[str, float]], folder: RunFolder) -> None:
        """Log the metrics of `validate`, computed in eval mode."""
        try:
            self.model.eval()
            with torch.no_grad():
                metrics = {name: float(value) for name, value in validate().items()}
            self.model.train()
            _refuse_taken(metrics, "validate", STEP_METRICS | self.history.metrics.keys())
        except Exception:
            folder.save(self.step, self.samples_read)  # an error in the evaluation must not cost the training so far
            raise
        folder.metrics.write(self.step - 1, **metrics)


def _refuse_taken(metrics: Mapping[str, object], whose: str, taken: Set[str]) -> None:
    if found := taken & metrics.keys():
        raise ValueError(f"{whose} gives {', '.join(sorted(found))}, as the steps do; choose another name")


def _diverged(label: str, step: int, loss: float, grad_norm: float, lr: float) -> str:
    if not math.isfinite(loss) and step == 0:
        hint = "Nothing was learned yet, so look at the model and the data: a logarithm of 0, a row masked entirely?"
    else:
        hint = "Try a third of the learning rate, a longer warm-up, or max_grad_norm=1.0 if it was off."
    return f"{label}: at step {step} the loss is {loss:g}, its gradient's norm {grad_norm:g}, the rate {lr:g}. {hint}"
