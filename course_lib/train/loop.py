"""The training loop of the course: one for every model and objective, exact when resumed."""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data.loading.loader import Loader
from course_lib.train.config import TrainConfig
from course_lib.train.losses import Loss
from course_lib.train.memory import keep_freed_memory
from course_lib.train.optim import build_optimizers, lr_factor
from course_lib.train.precision import autocast, choose_precision, try_compile
from course_lib.train.run_folder import RunFolder

OF_STEPS = {"step", "loss", "lr", "norm", "targets", "seconds"}  # what is noted of every step
Batches = Callable[[torch.Generator], Any] | Loader
Objective = Callable[[nn.Module, Any], Tensor | Loss]


@dataclass
class History:
    """What happened: one entry per step, the CPU seconds of this call, and whether the reader stopped it."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    interrupted: bool = False

    def add(self, step: int, loss: float, lr: float) -> None:
        """One more step."""
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

    batches: a Loader, or a function that draws a batch with the generator it is given, which is seeded by `config.seed`
    and used for batches alone, so that every model sees the same ones. Where that is an object with `state_dict` and
    `load_state_dict`, a flat dict of tensors, its state is a part of each checkpoint.
    loss: a mean, or a `Loss`, whose sums over all batches of a step are divided by the counts of all of them.
    folder: where to keep the run, so that it can go on after an interrupt or a kill as if nothing had happened.
    validate: numbers to note in the folder, in eval mode, every `validate_every` steps and at the end; without a folder
    it is not asked. after_step: what else changes with every step.
    The batches are on the device of the model. Freed memory is kept by this process from then on: see train/memory.py.
    An interrupt (Ctrl-C, or the stop button of a notebook) ends the run early, with a sentence, and keeps what was
    learned. Raises TrainingDiverged before a NaN or infinite loss or gradient can touch the weights; CheckpointError
    for a folder that is used, full, damaged, of another run, or of another process that trains there.
    """
    keep_freed_memory()
    steppers = build_optimizers(model, config)
    device = next(model.parameters()).device
    kind = choose_precision(config.precision, device)
    generator = torch.Generator().manual_seed(config.seed)
    step, index, history = 0, 0, History()
    if folder:
        step, index = folder.open(model, steppers, generator, config, label, batches)
        for line in folder.so_far():
            history.add(line["step"], line["loss"], line["lr"])
    groups = [group for optimizer in steppers for group in optimizer.param_groups]  # loading makes new ones
    parameters = [p for group in groups for p in group["params"]]
    draws = _draws(batches, generator, index)
    start = time.process_time()
    model.train()
    model.zero_grad(set_to_none=True)  # of whatever the reader differentiated before
    objective: Objective | None = None  # the loss, compiled
    bar = tqdm(initial=step, total=config.steps, desc=label, delay=1.0, mininterval=0.5)  # none for what is quick
    try:
        with _asked_to_stop(folder) as asked, bar:
            while step < config.steps and not asked.is_set():
                began = time.perf_counter()
                rate = config.lr * lr_factor(step, config)
                for group in groups:
                    group["lr"] = rate
                with autocast(kind, device):  # where the model itself writes the batches, as it will read them
                    index, drawn = _draw(draws, config.accumulate, step)

                def backward(objective: Objective, drawn: list[Any] = drawn) -> tuple[Tensor, Tensor]:
                    return _backward(model, objective, drawn, kind)

                if config.compile and objective is None:
                    objective, (mean, count) = try_compile(loss, backward)
                else:
                    mean, count = backward(objective or loss)
                norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
                number, size, targets = torch.stack((mean, norm, count)).tolist()  # one wait for the device, not three
                if not math.isfinite(number + size):
                    raise TrainingDiverged(_diverged(label, step, number, size, rate), history)
                if config.clip and size > config.clip:  # only then: passing over all gradients takes time
                    nn.utils.clip_grads_with_norm_(parameters, config.clip, norm)
                for optimizer in steppers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)  # here, so that no gradient takes memory in the forward pass
                if after_step:
                    after_step()
                history.add(step, number, rate)
                step += 1
                bar.update()
                bar.set_postfix_str(f"loss {number:.3f}", refresh=False)
                if folder:
                    seconds = time.perf_counter() - began
                    folder.metrics.write(
                        step - 1, loss=number, lr=rate, norm=size, targets=int(targets), seconds=seconds
                    )
                    if validate and (step == config.steps or (validate_every and step % validate_every == 0)):
                        try:
                            numbers = _validated(model, validate)
                        except Exception:
                            folder.save(step, index)  # what the steps taught is not lost to an error in the evaluation
                            raise
                        folder.metrics.write(step - 1, **numbers)
                    if step == config.steps or step % folder.every == 0:
                        folder.save(step, index)
            if asked.is_set() and folder:  # between two steps, where everything fits together
                folder.save(step, index)
                history.interrupted = True  # after the last step too: whoever asked wants no more of it
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        if folder:
            folder.close()
    if history.interrupted:
        kept = f"to go on, {folder.again}" if folder else "the model keeps what it learned"
        print(f"{label}: stopped after {step} of {config.steps} steps; {kept}.", flush=True)
    history.cpu_seconds = time.process_time() - start
    return history


def _draws(batches: Batches, generator: torch.Generator, index: int) -> Iterator[tuple[int, Any]]:
    """(samples read after this batch, batch), for ever or until a loader's epochs end."""
    if isinstance(batches, Loader):
        yield from batches.read(index)
    else:
        while True:
            yield 0, batches(generator)


def _draw(draws: Iterator[tuple[int, Any]], n: int, step: int) -> tuple[int, list[Any]]:
    drawn = list(itertools.islice(draws, n))
    if len(drawn) < n:
        raise ValueError(f"the data ended at step {step}; ask for fewer steps, or a loader without epochs")
    return drawn[-1][0], [batch for _, batch in drawn]


def _backward(model: nn.Module, loss: Objective, drawn: list[Any], kind: str) -> tuple[Tensor, Tensor]:
    """Leave in .grad the gradient of the mean over all targets of these batches; the mean, and how many there were."""
    device = next(model.parameters()).device
    model.zero_grad(set_to_none=True)
    total, count = torch.zeros((), device=device), torch.zeros((), device=device)
    for batch in drawn:
        with autocast(kind, device):
            value = loss(model, batch)
        value = value if isinstance(value, Loss) else Loss(value, 1)
        # With one batch the mean is known here; otherwise only when all targets are counted.
        (value.mean if len(drawn) == 1 else value.total).backward()
        total, count = total + value.total.detach(), count + value.targets
    count = count.clamp(min=1)
    if len(drawn) > 1:
        torch._foreach_div_([p.grad for p in model.parameters() if p.grad is not None], count)
    return total / count, count


def _validated(model: nn.Module, validate: Callable[[], dict[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        numbers = validate()
    model.train()
    if taken := OF_STEPS & numbers.keys():
        raise ValueError(f"validate gives {', '.join(sorted(taken))}, as the steps do; call it validation, for example")
    return {name: float(value) for name, value in numbers.items()}


@contextlib.contextmanager
def _asked_to_stop(folder: RunFolder | None) -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a run which is kept ends between two steps; a second Ctrl-C ends it at once.

    SIGTERM, with which clusters announce a kill, sets it too.
    """
    asked = threading.Event()
    if not folder or threading.current_thread() is not threading.main_thread():
        yield asked  # Ctrl-C raises KeyboardInterrupt, as always
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _diverged(label: str, step: int, loss: float, norm: float, rate: float) -> str:
    if not math.isfinite(loss) and step == 0:
        hint = "Nothing was learned yet, so look at the model and the data: a logarithm of 0, a row masked entirely?"
    else:
        hint = "Try a third of the learning rate, a longer warm-up, or clip=1.0 if it was off."
    return f"{label}: at step {step} the loss is {loss:g}, its gradient's norm {norm:g}, the rate {rate:g}. {hint}"
