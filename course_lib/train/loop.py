"""The training loop of the course: one for every model and objective, exact when resumed.

`train` is the loop, and `_Run` the state of a run, which takes one step at a time; its methods come in the order of a
step. A resumed run gets its state from `RunFolder.open`, which reads the newest checkpoint.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data.loading.loader import Loader
from course_lib.train.config import TrainConfig
from course_lib.train.interrupts import stop_requests
from course_lib.train.losses import Loss
from course_lib.train.memory import keep_freed_memory
from course_lib.train.optim import build_optimizers, lr_factor
from course_lib.train.precision import autocast, choose_precision, try_compile
from course_lib.train.run_folder import RunFolder

STEP_METRICS = {"step", "loss", "lr", "norm", "targets", "seconds"}  # what is noted of every step
Batches = Callable[[torch.Generator], Any] | Loader
Objective = Callable[[nn.Module, Any], Tensor | Loss]


@dataclass
class History:
    """What happened: one entry per step, the CPU seconds of this call, and whether it was interrupted."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    interrupted: bool = False

    def add(self, step: int, loss: float, lr: float) -> None:
        """Note one more step."""
        self.step.append(step)
        self.loss.append(loss)
        self.lr.append(lr)


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is NaN or infinite. The model has the weights from before that step; see `history`."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


def train(
    model: nn.Module,
    batches: Batches,
    loss: Objective,
    config: TrainConfig,
    label: str = "training",
    folder: RunFolder | None = None,
    validate: Callable[[], dict[str, float]] | None = None,
    validate_every: int = 0,
    after_step: Callable[[], None] | None = None,
) -> History:
    """Train `model` in place: at each step the loss on the next batch goes down a little.

    An interrupt (Ctrl-C, or the stop button of a notebook) ends the run early, with a sentence, and keeps what was
    learned. From the first call on this process keeps freed memory: see train/memory.py.

    Args:
        model: on the device of the batches.
        batches: a Loader, or a function that draws a batch with the generator it is given. The generator is seeded by
            `config.seed` and used for batches alone, so that every model sees the same ones. If `batches` is an object
            with `state_dict` and `load_state_dict`, a flat dict of tensors, its state is a part of each checkpoint.
        loss: called with the model and a batch; returns a mean, or a `Loss`, whose sums over all batches of a step are
            divided by the counts of all of them.
        config: steps, rates, optimizer, precision.
        label: what the progress bar and messages call the run.
        folder: where to keep the run, so that after an interrupt or a kill it resumes as if nothing had happened.
        validate: numbers to note in the folder, computed in eval mode; not called without a folder.
        validate_every: steps between two calls of it; one more comes at the end.
        after_step: called after every step.

    Returns:
        The loss and learning rate of every step, those before a resume included.

    Raises:
        TrainingDiverged: before a NaN or infinite loss or gradient can touch the weights.
        CheckpointError: for a folder that is used, full, damaged, of another run, or of another process.
    """
    keep_freed_memory()
    run = _Run(model, batches, loss, config, label, folder, after_step)
    history = run.history
    start = time.process_time()
    bar = tqdm(initial=run.step, total=config.steps, desc=label, delay=1.0, mininterval=0.5)  # none for what is quick
    try:
        with stop_requests(caught=folder is not None) as stop_requested, bar:
            while run.step < config.steps and not stop_requested.is_set():
                run.take_step()
                bar.update()
                bar.set_postfix_str(f"loss {history.loss[-1]:.3f}", refresh=False)
                if folder:
                    run.note_step(folder)
                    run.validate_if_due(folder, validate, validate_every)
                    if run.step == config.steps or run.step % folder.every == 0:
                        folder.save(run.step, run.samples_read)
            if stop_requested.is_set() and folder:  # between two steps, where everything fits together
                folder.save(run.step, run.samples_read)
                history.interrupted = True  # after the last step too: whoever stopped it wants no more of it
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        if folder:
            folder.close()
    if history.interrupted:
        kept = f"to go on, {folder.again}" if folder else "the model keeps what it learned"
        print(f"{label}: stopped after {run.step} of {config.steps} steps; {kept}.", flush=True)
    history.cpu_seconds = time.process_time() - start
    return history


class _Run:
    """The state of a run: model, optimizers, place in the data, steps done. `take_step` is one update."""

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        loss: Objective,
        config: TrainConfig,
        label: str,
        folder: RunFolder | None,
        after_step: Callable[[], None] | None,
    ) -> None:
        """Begin the run, or resume it from its folder."""
        self.model, self.loss, self.config, self.label, self.after_step = model, loss, config, label, after_step
        self.optimizers = build_optimizers(model, config)
        self.device = next(model.parameters()).device
        self.precision = choose_precision(config.precision, self.device)
        self.history = History()
        self.step, self.samples_read = 0, 0
        generator = torch.Generator().manual_seed(config.seed)
        if folder:
            self.step, self.samples_read = folder.open(model, self.optimizers, generator, config, label, batches)
            for line in folder.so_far():
                self.history.add(line["step"], line["loss"], line["lr"])
        # After the folder was opened, since loading a checkpoint makes new groups.
        self.groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self.parameters = [parameter for group in self.groups for parameter in group["params"]]
        self.draws = _draws(batches, generator, self.samples_read)
        self.compiled: Objective | None = None
        self.last: dict[str, float] = {}  # the numbers of the last step
        model.train()
        model.zero_grad(set_to_none=True)  # of whatever was differentiated before

    def take_step(self) -> None:
        """One update of the weights: draw batches, compute their gradient, check it, clip it, apply it."""
        began = time.perf_counter()
        rate = self.config.lr * lr_factor(self.step, self.config)
        for group in self.groups:
            group["lr"] = rate
        drawn = self._draw()
        mean, count = self._gradient(drawn)
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        loss, size, targets = torch.stack((mean, norm, count)).tolist()  # one wait for the device, not three
        if not math.isfinite(loss + size):
            raise TrainingDiverged(_diverged(self.label, self.step, loss, size, rate), self.history)
        if self.config.clip and size > self.config.clip:  # only then: passing over all gradients takes time
            nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip, norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)  # here, so that no gradient takes memory in the forward pass
        if self.after_step:
            self.after_step()
        self.history.add(self.step, loss, rate)
        self.last = {"loss": loss, "lr": rate, "norm": size, "targets": int(targets), "began": began}
        self.step += 1

    def _draw(self) -> list[Any]:
        """The batches of one step."""
        with autocast(self.precision, self.device):  # where the model itself writes the batches, as it will read them
            drawn = list(itertools.islice(self.draws, self.config.accumulate))
        if len(drawn) < self.config.accumulate:
            raise ValueError(f"the data ended at step {self.step}; ask for fewer steps, or a loader without epochs")
        self.samples_read = drawn[-1][0]
        return [batch for _, batch in drawn]

    def _gradient(self, drawn: list[Any]) -> tuple[Tensor, Tensor]:
        """Leave the gradient in .grad, compiled where asked for; the mean loss, and how many targets it is over."""
        if self.config.compile and self.compiled is None:
            self.compiled, result = try_compile(self.loss, partial(self._backward, drawn))
            return result
        return self._backward(drawn, self.compiled or self.loss)

    def _backward(self, drawn: list[Any], objective: Objective) -> tuple[Tensor, Tensor]:
        """Leave in .grad the gradient of the mean over all targets of these batches; that mean, and their number."""
        self.model.zero_grad(set_to_none=True)
        total, count = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for batch in drawn:
            with autocast(self.precision, self.device):
                value = objective(self.model, batch)
            value = value if isinstance(value, Loss) else Loss(value, 1)
            # With one batch the mean is known here; otherwise only when all targets are counted.
            (value.mean if len(drawn) == 1 else value.total).backward()
            total, count = total + value.total.detach(), count + value.targets
        count = count.clamp(min=1)
        if len(drawn) > 1:
            torch._foreach_div_([p.grad for p in self.model.parameters() if p.grad is not None], count)
        return total / count, count

    def note_step(self, folder: RunFolder) -> None:
        """Write the numbers of the last step into the folder."""
        numbers = dict(self.last)
        seconds = time.perf_counter() - numbers.pop("began")
        folder.metrics.write(self.step - 1, **numbers, seconds=seconds)

    def validate_if_due(
        self, folder: RunFolder, validate: Callable[[], dict[str, float]] | None, validate_every: int
    ) -> None:
        """Note the validation numbers, at the end and every `validate_every` steps."""
        due = self.step == self.config.steps or (validate_every and self.step % validate_every == 0)
        if not validate or not due:
            return
        try:
            numbers = _validated(self.model, validate)
        except Exception:
            folder.save(self.step, self.samples_read)  # what the steps taught is not lost to an error in the evaluation
            raise
        folder.metrics.write(self.step - 1, **numbers)


def _draws(batches: Batches, generator: torch.Generator, samples_read: int) -> Iterator[tuple[int, Any]]:
    """(samples read after this batch, batch), for ever or until a loader's epochs end."""
    if isinstance(batches, Loader):
        yield from batches.read(samples_read)
    else:
        while True:
            yield 0, batches(generator)


def _validated(model: nn.Module, validate: Callable[[], dict[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        numbers = validate()
    model.train()
    if taken := STEP_METRICS & numbers.keys():
        raise ValueError(f"validate gives {', '.join(sorted(taken))}, as the steps do; call it validation, for example")
    return {name: float(value) for name, value in numbers.items()}


def _diverged(label: str, step: int, loss: float, norm: float, rate: float) -> str:
    if not math.isfinite(loss) and step == 0:
        hint = "Nothing was learned yet, so look at the model and the data: a logarithm of 0, a row masked entirely?"
    else:
        hint = "Try a third of the learning rate, a longer warm-up, or clip=1.0 if it was off."
    return f"{label}: at step {step} the loss is {loss:g}, its gradient's norm {norm:g}, the rate {rate:g}. {hint}"
