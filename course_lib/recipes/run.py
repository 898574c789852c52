"""One call of `course train`: what is asked for, the folder it goes to, and the command that goes on with it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.files import read_json, write_text
from course_lib.measure import device
from course_lib.preset import Preset, preset
from course_lib.train import RunFolder, TrainConfig, train
from course_lib.train.loop import Batches, LossFn


class RecipeError(CourseError):
    """A recipe cannot be run, or its results not kept, as asked; the message says what to do."""


class Stopped(KeyboardInterrupt):
    """The user stopped a run whose state is saved, and has been told how to go on with it."""


@dataclass(frozen=True)
class Run:
    """What a recipe is asked to do.

    Args:
        recipe: The recipe's name in RECIPES.
        out: The folder that everything goes to.
        seed: Of weights and batches.
        steps: Training steps in place of the preset's own.
        resume: Whether to go on with the run that is in the folder.
        preset: Which sizes; by default those that COURSE_PRESET names.
    """

    recipe: str
    out: Path
    seed: int = 0
    steps: int | None = None
    resume: bool = False
    preset: Preset = field(default_factory=preset)

    @property
    def device(self) -> torch.device:
        """Where this run computes."""
        return device(self.preset)

    @property
    def arguments(self) -> str:
        """What is typed behind `course train` to repeat the run: "gpt --preset cpu --seed 0"."""
        words = f"{self.recipe} --preset {self.preset} --seed {self.seed}"
        return f"{words} --steps {self.steps}" if self.steps else words

    @property
    def resume_command(self) -> str:
        """What to type to go on with the run."""
        program, name = "course", Path(sys.argv[0]).name
        if name == "__main__.py":
            program = "python -m course_lib"
        elif name == "course" and shutil.which("course") is None:
            program = shlex.quote(sys.argv[0])  # as it was called, since the bare name would not be found
        return f"{program} train {self.arguments} --out {shlex.quote(str(self.out))} --resume"

    def claim_folder(self, plan: object) -> None:
        """Make the folder, and note in it what the run is.

        Args:
            plan: All that decides about the numbers; its repr is kept and compared.

        Raises:
            RecipeError: The folder is in use, unless by the very same run. Whether that may go on is for the folders
                of its stages to say (course_lib.train.RunFolder).
        """
        this = {"run": self.arguments, "plan": repr(plan)}
        note = self.out / "recipe.json"
        if self.out.exists() and not self.out.is_dir():
            raise RecipeError(f"{self.out} is a file; name a folder with --out")
        if note.exists():
            before = read_json(note)
            if before["run"] != this["run"]:
                raise RecipeError(
                    f"{self.out} holds another run ({before['run']}); ask for the same, or name another folder "
                    "with --out"
                )
            if before["plan"] != this["plan"]:
                raise RecipeError(
                    f"{self.out} holds a run of other sizes, from before they changed; name another with --out"
                )
        elif self.out.exists() and any(self.out.iterdir()):
            raise RecipeError(f"{self.out} is in use, and not by a run of the course; name another folder with --out")
        write_text(note, json.dumps(this, indent=1) + "\n")

    def train(
        self,
        model: nn.Module,
        batches: Batches,
        loss_fn: LossFn,
        config: TrainConfig,
        folder: str,
        label: str,
        validate: Callable[[], dict[str, float]] | None = None,
        after_step: Callable[[], None] | None = None,
    ) -> None:
        """Train in one stage of the run, or read what was trained before an interrupt; then set the model to eval mode.

        Args:
            model: On the device of the batches.
            batches: See `course_lib.train.train`, also for the other arguments that are not named here.
            loss_fn: The loss of the model on a batch.
            config: With the run's own seed and number of steps in place of what it says.
            folder: The stage's own, in that of the run.
            label: What messages call the stage.
            validate: Called eight times.
            after_step: Called after every step.

        Raises:
            Stopped: The user interrupted it.
        """
        config = replace(config, seed=self.seed, steps=self.steps or config.steps)
        every, hint = max(1, config.steps // 10), f"run: {self.resume_command}"
        stage = RunFolder(self.out / folder, self.resume, every=every, resume_hint=hint)
        validate_every = max(1, config.steps // 8)
        history = train(model, batches, loss_fn, config, label, stage, validate, validate_every, after_step)
        if history.interrupted:
            raise Stopped
        model.eval()
