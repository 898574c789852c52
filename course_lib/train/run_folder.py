"""The folder of a run: its settings, its measurements, and the checkpoints from which it resumes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from torch import nn

from course_lib.data.loading.loader import Loader
from course_lib.files import write_text
from course_lib.train.config import TrainConfig
from course_lib.train.metrics import Metrics, MetricsLine, read_metrics
from course_lib.train.run_state import CheckpointError, RunState, checkpoint_steps

Description = dict[str, dict[str, object]]  # of a run: its config, its model, and so on, as JSON gives them


@dataclass
class RunFolder:
    """The folder of a run, from which it can be resumed: run.json, metrics.jsonl, TensorBoard's files, checkpoints.

    Attributes:
        path: A folder that is empty or does not exist yet, or the folder of a run to resume.
        resume: Whether to resume from the last checkpoint in the folder; if there is none, the run starts at step 0 and
            says so. A run with another model, config, loader seed or number of samples is refused. The batch size of
            the loader, the data themselves and the loss are not compared.
        save_every: Steps between two checkpoints; one more is written at the end and at an interrupt.
        resume_hint: How to resume, for messages: after an interrupt, or if the folder is in use.
    """

    path: Path
    resume: bool = False
    save_every: int = 100
    resume_hint: str = "pass RunFolder(..., resume=True)"

    def __post_init__(self) -> None:
        if self.save_every < 1:
            raise ValueError(f"save_every={self.save_every} must be at least 1: steps from one checkpoint to the next")
        self.path = Path(self.path)
        self.checkpoints = self.path / "checkpoints"
        self._lock = FileLock(self.path / ".lock")

    def open(self, run: RunState, config: TrainConfig, label: str) -> tuple[int, int]:
        """Begin a run in the folder, or resume the run in it by loading its newest checkpoint.

        Until `close`, no other process can open the folder.

        Args:
            run: The objects that get the state of the newest checkpoint, if there is one, and that `save` saves.
            config: The settings of the run.
            label: The name of the run in messages.

        Returns:
            The number of steps done, and the number of samples read in them.

        Raises:
            CheckpointError: If the folder is in use, cannot be written to, or holds another run or a damaged
                checkpoint.
        """
        self._run = run
        try:
            self._lock_folder()
            description = _description(run.model, config, run.batches)
            step = samples_read = 0
            if checkpoint_steps(self.checkpoints):
                self._refuse_another_run(description, label)
                step, samples_read = self._load(config, label)
            elif self.resume:
                print(f"{label}: there is no checkpoint in {self.path} yet; starting at step 0.", flush=True)
            write_text(self.path / "run.json", json.dumps(description, indent=1), synced=True)
            self.metrics = Metrics(self.path, step)
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise CheckpointError(f"{self.path} cannot be written to ({error}); name another folder") from error
            raise
        return step, samples_read

    def earlier_steps(self) -> list[MetricsLine]:
        """Return the metrics of the steps before a resume, in order."""
        return [line for line in read_metrics(self.metrics.file) if "lr" in line]

    def save(self, step: int, samples_read: int) -> None:
        """Write a checkpoint of the state after `step` steps, in which `samples_read` samples were read.

        Raises:
            CheckpointError: If the disk is full.
        """
        from course_lib.train.checkpoint import save_checkpoint  # see run_state.py

        if step not in checkpoint_steps(self.checkpoints):
            save_checkpoint(self.checkpoints, step, samples_read, self._run)

    def close(self) -> None:
        """Close the files and let other processes open the folder."""
        self.metrics.close()
        self._lock.release()

    def _lock_folder(self) -> None:
        try:
            if self.path.exists() and not self.path.is_dir():
                raise CheckpointError(f"{self.path} is a file; name a folder")
            if not self.resume and self.path.exists() and any(self.path.iterdir()):
                raise CheckpointError(
                    f"{self.path} is in use already; to go on there, {self.resume_hint}, or name another folder"
                )
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CheckpointError(
                f"another process is training in {self.path}; let it end, or name another folder"
            ) from None
        except NotImplementedError:
            pass  # the file system has no locks

    def _load(self, config: TrainConfig, label: str) -> tuple[int, int]:
        """Load the newest checkpoint into the objects of the run.

        Returns:
            The number of steps done, and the number of samples read in them.
        """
        from course_lib.train.checkpoint import load_checkpoint  # see run_state.py

        step, samples_read = load_checkpoint(self.checkpoints, self._run)
        if step > config.steps:
            raise CheckpointError(
                f"{self.path} is at step {step} already; ask for as many steps at least, or name another folder"
            )
        done = "is trained already" if step == config.steps else f"goes on from step {step} of {config.steps}"
        print(f"{label}: {done}.", flush=True)
        return step, samples_read

    def _refuse_another_run(self, description: Description, label: str) -> None:
        try:
            before = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            parts = [(part, dict(before.get(part, {})), now) for part, now in description.items()]
        except (OSError, ValueError, AttributeError, TypeError):
            raise CheckpointError(
                f"{self.path}/run.json is missing or damaged; begin again in another folder"
            ) from None
        for part, then, now in parts:
            different = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
            if part == "config" and different == ["steps"]:
                print(f"{label}: planned for {then['steps']} steps, now {now['steps']}; rates follow the new plan.")
            elif different:
                name = different[0]
                raise CheckpointError(
                    f"{self.path} holds another run: its {part} has {name} = {then.get(name)}, this one "
                    f"{now.get(name)}. Ask for the same, or name another folder"
                )


def _description(model: nn.Module, config: TrainConfig, batches: object) -> Description:
    """Return what identifies a run, as it reads after a round trip through JSON."""
    settings = dict(vars(model.config)) if hasattr(model, "config") else {}
    for part in model.modules():  # how a frozen model, or a part of it, is tuned: see course_lib.tune
        settings |= getattr(part, "tuning", None) or {}
    description = {
        "config": asdict(config),
        "model": {name: list(p.shape) for name, p in model.named_parameters()},
        "settings": {name: str(value) for name, value in settings.items()},
        "data": {"seed": batches.seed, "samples": len(batches.samples)} if isinstance(batches, Loader) else {},
    }
    return json.loads(json.dumps(description))
