"""The training loop of the course: one for every model and objective, exact when resumed.

`train` is the loop, step by step. How each part of a step is done stands in the methods of `_Run`, in the order in
which `train` calls them. A resumed run gets its state from `RunFolder.open`, which reads the newest checkpoint.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data.loading.loader import Loader
from course_lib.nn.storage import device_of
from course_lib.train.config import TrainConfig
from course_lib.train.interrupts import stop_requests
from course_lib.train.losses import Loss
from course_lib.train.memory import keep_freed_memory
from course_lib.train.optim import build_optimizers, lr_factor
from course_lib.train.precision import autocast, choose_precision, try_compile
from course_lib.train.run_folder import RunFolder
from course_lib.train.run_state import RunState

STEP_METRICS = {"step", "loss", "lr", "grad_norm", "targets", "seconds"}  # logged at every step
Batches = Callable[[torch.Generator], Any] | Loader
AfterStep = Callable[[int, Mapping[str, float]], object]  # gets the number of steps done, and the metrics of the last
LossFn = Callable[[nn.Module, Any], Tensor | Loss]
Validate = Callable[[], dict[str, float]]


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
    validate: Validate | None = None,
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
    _warn_if_warmup_never_ends(config, label)
    run = _Run(model, batches, loss_fn, config, label, folder)
    with _supervised(run, folder) as (stop_requested, bar):
        while run.step < config.steps and not stop_requested.is_set():
            began = time.perf_counter()
            lr = run.set_lr(config.lr * lr_factor(run.step, config))
            loss = run.compute_gradient(run.draw_batches())  # leaves the gradient of the mean loss in .grad
            total_norm = nn.utils.get_total_norm(run.gradients())
            metrics = run.to_numbers(loss, total_norm, lr)
            run.check_finite(metrics)  # before the weights change
            # Only if needed: a pass over all gradients takes time.
            if config.max_grad_norm and metrics["grad_norm"] > config.max_grad_norm:
                nn.utils.clip_grads_with_norm_(run.parameters, config.max_grad_norm, total_norm)
            for optimizer in run.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)  # here, so that no gradient takes memory in the forward pass
            metrics["seconds"] = time.perf_counter() - began
            run.step += 1
            run.history.add({"step": run.step - 1, **metrics})
            if after_step:
                after_step(run.step, metrics)
            if folder:
                run.log_and_save(folder, metrics, validate, validate_every)
            bar.update()
            bar.set_postfix_str(f"loss {metrics['loss']:.3f}", refresh=False)
    return run.history


class _Run:
    """The state of a run (model, optimizers, position in the data, steps done), and the parts of a step."""

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
        self.device = device_of(model)
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

    def set_lr(self, lr: float) -> float:
        """Set the learning rate of all parameters, and return it."""
        for group in self.groups:
            group["lr"] = lr
        return lr

    def draw_batches(self) -> list[Any]:
        """Draw the batches of one step: one, or as many as gradients are accumulated over."""
        with autocast(self.precision, self.device):  # if the model samples the batches itself: in the loss's precision
            drawn = list(itertools.islice(self.draws, self.config.gradient_accumulation_steps))
        if len(drawn) < self.config.gradient_accumulation_steps:
            raise ValueError(f"the data ended at step {self.step}; ask for fewer steps, or a loader without epochs")
        self.samples_read = drawn[-1][0]
        return [batch for _, batch in drawn]

    def gradients(self) -> list[Tensor]:
        """Return the gradients that are there: a parameter that the loss does not depend on has none."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def compute_gradient(self, batches: list[Any]) -> Loss:
        """Compute the gradient of the mean loss over all targets of these batches, and leave it in .grad.

        Returns:
            The loss of all batches together, with its metrics averaged over them.
        """
        if self.to_compile:
            # torch compiles at the first call, and may fail as late as in its backward pass.
            self.to_compile = False
            self.loss_fn, loss = try_compile(self.loss_fn, partial(self._backward, batches))
            return loss
        return self._backward(batches, self.loss_fn)

    def _backward(self, batches: list[Any], loss_fn: LossFn) -> Loss:
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
            torch._foreach_div_(self.gradients(), n_targets)
        return Loss(total, n_targets, metrics)

    def to_numbers(self, loss: Loss, total_norm: Tensor, lr: float) -> dict[str, float]:
        """Return the metrics of a step as numbers: its own, and those of the loss."""
        of_loss = loss.metrics or {}
        _refuse_taken(of_loss, "the loss", STEP_METRICS)
        numbers = torch.stack((loss.mean, total_norm, torch.as_tensor(loss.n_targets), *of_loss.values()))
        mean_loss, grad_norm, targets, *values = numbers.tolist()  # wait for the device once
        measured = {"loss": mean_loss, "lr": lr, "grad_norm": grad_norm, "targets": int(targets)}
        return measured | dict(zip(of_loss, values, strict=True))

    def check_finite(self, metrics: Mapping[str, float]) -> None:
        """Raise TrainingDiverged if the loss or the norm of its gradient is not finite."""
        if not math.isfinite(metrics["loss"] + metrics["grad_norm"]):
            raise TrainingDiverged(_diverged(self.label, self.step, metrics), self.history)

    def log_and_save(
        self, folder: RunFolder, metrics: Mapping[str, float], validate: Validate | None, validate_every: int
    ) -> None:
        """Log a step in the folder; validate and save the run if it is time to, and at the end."""
        is_last = self.step == self.config.steps
        folder.metrics.write(self.step - 1, **metrics)
        if validate and (is_last or (validate_every and self.step % validate_every == 0)):
            self.run_validation(validate, folder)
        if is_last or self.step % folder.save_every == 0:
            folder.save(self.step, self.samples_read)

    def run_validation(self, validate: Validate, folder: RunFolder) -> None:
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


@contextmanager
def _supervised(run: _Run, folder: RunFolder | None) -> Iterator[tuple[threading.Event, tqdm]]:
    """Show a progress bar and time the run; when the user interrupts it, save it or say that it is lost."""
    history, label, steps = run.history, run.label, run.config.steps
    start = time.process_time()
    bar = tqdm(initial=run.step, total=steps, desc=label, delay=1.0, mininterval=0.5)  # no bar for short runs
    try:
        with stop_requests(caught=folder is not None) as stop_requested, bar:
            yield stop_requested, bar
            if stop_requested.is_set() and folder:  # between two steps, where the state is consistent
                folder.save(run.step, run.samples_read)
                history.interrupted = True  # after the last step too: the user wants whatever follows to stop as well
    except KeyboardInterrupt:
        history.interrupted = True
        if folder is None:
            print(f"{label}: stopped after {run.step} of {steps} steps; run it again from the start.", flush=True)
            raise
    finally:
        if folder:
            folder.close()
    if history.interrupted and folder:
        print(f"{label}: stopped after {run.step} of {steps} steps; to go on, {folder.resume_hint}.", flush=True)
    history.cpu_seconds = time.process_time() - start


def _warn_if_warmup_never_ends(config: TrainConfig, label: str) -> None:
    if config.warmup_steps > config.steps:
        print(
            f"{label}: the warm-up takes {config.warmup_steps} steps and the run ends after {config.steps}, so the "
            f"rate never reaches lr={config.lr:g}; lower warmup_steps.",
            flush=True,
        )


def _refuse_taken(metrics: Mapping[str, object], whose: str, taken: Set[str]) -> None:
    if found := taken & metrics.keys():
        raise ValueError(f"{whose} gives {', '.join(sorted(found))}, as the steps do; choose another name")


def _diverged(label: str, step: int, metrics: Mapping[str, float]) -> str:
    loss, grad_norm, lr = metrics["loss"], metrics["grad_norm"], metrics["lr"]
    if not math.isfinite(loss) and step == 0:
        hint = "Nothing was learned yet, so look at the model and the data: a logarithm of 0, a row masked entirely?"
    else:
        hint = "Try a third of the learning rate, a longer warm-up, or max_grad_norm=1.0 if it was off."
    return f"{label}: at step {step} the loss is {loss:g}, its gradient's norm {grad_norm:g}, the rate {lr:g}. {hint}"
