"""The folder of a run: what it was, what it measured, and the checkpoints from which it goes on."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from course_lib.data.loading.loader import Loader
from course_lib.train.checkpoint import CheckpointError, checkpoint_steps, load_checkpoint, save_checkpoint, write
from course_lib.train.config import TrainConfig
from course_lib.train.metrics import Metrics, read_metrics


@dataclass
class RunFolder:
    """Where a run is kept so that it can be gone on with: run.json, metrics.jsonl, TensorBoard's files, checkpoints.

    path: a folder that is empty or not there yet. With `resume` the run goes on from its last checkpoint, and where
    there is none it starts at step 0 and says so; a run of another model, plan, or Loader is refused, but what the data
    are and what a loss computes is not compared. every: steps from one checkpoint to the next; one more is made at the
    end and at an interrupt. again: how to go on, for the sentence after an interrupt.
    """

    path: Path
    resume: bool = False
    every: int = 100
    again: str = "pass RunFolder(..., resume=True)"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every={self.every} must be at least 1: steps from one checkpoint to the next")
        self.path = Path(self.path)
        self.checkpoints = self.path / "checkpoints"
        self._lock = FileLock(self.path / ".lock")

    def open(
        self,
        model: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        generator: torch.Generator,
        config: TrainConfig,
        label: str,
        batches: Any = None,
    ) -> tuple[int, int]:
        """Begin, or go on: the steps done, and the samples read. The objects get the state of that moment.

        batches: their source; where that has `state_dict` and `load_state_dict`, its state is kept too.
        Until `close` no other process can open the folder. Raises CheckpointError for one that is used, cannot be
        written to, or holds another run or a damaged checkpoint.
        """
        self._enter()
        with ExitStack() as at_failure:
            at_failure.callback(self._lock.release)
            this = _description(model, config, batches)
            step = index = 0
            if checkpoint_steps(self.checkpoints):
                self._must_match(this, label)
                state = load_checkpoint(self.checkpoints, model, optimizers, generator)
                step, index = state["step"], state["index"]
                if hasattr(batches, "load_state_dict"):
                    batches.load_state_dict(state["batches"])
                if step > config.steps:
                    raise CheckpointError(
                        f"{self.path} is at step {step} already; ask for as many steps at least, or name another folder"
                    )
                done = step == config.steps
                print(
                    f"{label}: {'is trained already' if done else f'goes on from step {step} of {config.steps}'}.",
                    flush=True,
                )
            elif self.resume:
                print(f"{label}: there is no checkpoint in {self.path} yet; starting at step 0.", flush=True)
            try:
                write(self.path / "run.json", json.dumps(this, indent=1))
                self.metrics = Metrics(self.path, step)
            except OSError as error:
                raise self._unwritable(error) from error
            self._objects, self._batches = (model, optimizers, generator), batches
            at_failure.pop_all()
        return step, index

    def close(self) -> None:
        """Write what is left, and let other processes in."""
        self.metrics.close()
        self._lock.release()

    def _enter(self) -> None:
        try:
            if self.path.exists() and not self.path.is_dir():
                raise CheckpointError(f"{self.path} is a file; name a folder")
            if not self.resume and self.path.exists() and any(self.path.iterdir()):
                raise CheckpointError(
                    f"{self.path} is in use already; to go on there, {self.again}, or name another folder"
                )
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CheckpointError(
                f"another process is training in {self.path}; let it end, or name another folder"
            ) from None
        except NotImplementedError:
            return  # the disk knows no locks
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> CheckpointError:
        return CheckpointError(f"{self.path} cannot be written to ({error}); name another folder")

    def so_far(self) -> list[dict[str, Any]]:
        """What was noted at the steps before, in their order."""
        return [line for line in read_metrics(self.metrics.file) if "lr" in line]

    def save(self, step: int, index: int) -> None:
        """Keep the state after `step` steps, of which `index` samples were read. Raises CheckpointError: no room."""
        if step not in checkpoint_steps(self.checkpoints):
            left = self._batches.state_dict() if hasattr(self._batches, "state_dict") else None
            save_checkpoint(self.checkpoints, step, *self._objects, {"index": index}, left)

    def _must_match(self, this: dict[str, Any], label: str) -> None:
        try:
            before = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            parts = [(part, dict(before.get(part, {})), now) for part, now in this.items()]
        except (OSError, ValueError, AttributeError, TypeError):
            raise CheckpointError(f"{self.path}/run.json is missing or damaged; begin anew in another folder") from None
        for part, then, now in parts:
            different = [name for name in now.keys() | then.keys() if now.get(name) != then.get(name)]
            if part == "config" and different == ["steps"]:
                print(f"{label}: planned for {then['steps']} steps, now {now['steps']}; rates follow the new plan.")
            elif different:
                name = sorted(different)[0]
                raise CheckpointError(
                    f"{self.path} holds another run: its {part} has {name} = {then.get(name)}, this one "
                    f"{now.get(name)}. Ask for the same, or name another folder"
                )


def _description(model: nn.Module, config: TrainConfig, batches: Any) -> dict[str, Any]:
    shapes = {name: list(p.shape) for name, p in model.named_parameters()}
    data = {"seed": batches.seed, "samples": len(batches.samples)} if isinstance(batches, Loader) else {}
    return json.loads(
        json.dumps({"config": asdict(config), "model": shapes, "settings": _settings(model), "data": data})
    )


def _settings(model: nn.Module) -> dict[str, Any]:
    config: Any = getattr(model, "config", None)
    settings = dict(vars(config)) if config is not None else {}
    for part in model.modules():  # how a frozen model, or a part of it, is tuned: see course_lib.tune
        settings |= getattr(part, "tuning", None) or {}
    return {name: str(value) for name, value in settings.items()}
