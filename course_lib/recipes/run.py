"""One call of `course train`: its settings, its folder, and the command that resumes it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.files import read_json, write_text
from course_lib.measure import device
from course_lib.preset import Preset, preset
from course_lib.recipes.estimate import StageCost, stage_cost
from course_lib.train import RunFolder, TrainConfig, train
from course_lib.train.loop import AfterStep, Batches, LossFn


class RecipeError(CourseError):
    """Raised when a recipe cannot be run as asked, or its results cannot be used; the message says what to do."""


class Stopped(KeyboardInterrupt):
    """Raised when the user has stopped a run, after its state is saved and a message has said how to resume it."""


def seeds_of(seed: int, n: int) -> range:
    """Return the n seeds that a run trains from: 0 to n - 1 in a run of seed 0, the next n in one of seed 1."""
    return range(seed * n, (seed + 1) * n)


RunSize = Literal["cpu", "hour", "gpu"]  # the preset of a run: minutes on a CPU, an hour on one core of it, or a GPU
Plan = TypeVar("Plan")
Task = TypeVar("Task")


@dataclass(frozen=True)
class Run:
    """The settings of one run of a recipe.

    Attributes:
        recipe: The name of the recipe.
        out: The folder that everything is written to.
        seed: The seed of weights and batches.
        steps: The number of training steps; None for the preset's own.
        resume: Whether to resume the run in the folder.
        preset: The preset, which sets the sizes; by default the one that COURSE_PRESET names.
        estimating: Whether this is an estimate: `train` then counts what each stage costs in place of training it,
            nothing is measured, and nothing is written.
        costs: The cost of each stage that an estimate has counted.
        cpu_shares: The share of a processor that this process got while each of these was counted and timed.

    Raises:
        RecipeError: If the number of steps is below 1.
    """

    recipe: str
    out: Path
    seed: int = 0
    steps: int | None = None
    resume: bool = False
    preset: RunSize = field(default_factory=preset)
    estimating: bool = False
    costs: list[StageCost] = field(default_factory=list)
    cpu_shares: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise RecipeError(f"a run takes at least 1 step, not {self.steps}; leave --steps out for the preset's own")

    @property
    def device(self) -> torch.device:
        """The device of the run; the preset gpu is estimated on the CPU where there is no accelerator."""
        if self.estimating and not torch.accelerator.is_available():
            return torch.device("cpu")
        return device(self.lab_preset)

    @property
    def lab_preset(self) -> Preset:
        """The preset of labs that computes on the same device."""
        return "gpu" if self.preset == "gpu" else "cpu"

    def choose(self, plans: Mapping[str, Plan]) -> Plan:
        """Return the plan for the run's preset.

        Raises:
            RecipeError: If the recipe has none for it.
        """
        if self.preset not in plans:
            raise RecipeError(f"{self.recipe} has no preset {self.preset}; use --preset with {', '.join(plans)}")
        return plans[self.preset]

    @property
    def arguments(self) -> str:
        """The arguments of `course train` that repeat the run, such as "gpt --preset cpu --seed 0"."""
        words = f"{self.recipe} --preset {self.preset} --seed {self.seed}"
        return f"{words} --steps {self.steps}" if self.steps else words

    @property
    def resume_command(self) -> str:
        """The command that resumes the run."""
        program, name = "course", Path(sys.argv[0]).name
        if name == "__main__.py":
            program = "python -m course_lib"
        elif name == "course" and shutil.which("course") is None:
            program = shlex.quote(sys.argv[0])  # the path it was called by, since the bare name would not be found
        return f"{program} train {self.arguments} --out {shlex.quote(str(self.out))} --resume"

    def claim_folder(self, plan: object) -> None:
        """Create the folder, and record in it which run it belongs to.

        Args:
            plan: All settings that affect the results; their repr is saved and compared.

        Raises:
            RecipeError: If the folder is in use by anything but the same run. Whether the same run may resume is
                decided by the folders of its stages (`course_lib.train.RunFolder`).
        """
        if self.estimating:
            return
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

    def measured_so_far(self, plan: object, fixed_steps: bool = False) -> dict[str, float]:
        """Claim the folder for a run without stages, and return the numbers that it has kept there.

        Args:
            plan: As in `claim_folder`.
            fixed_steps: Whether the plan alone says how long each model trains, so that `--steps` has no meaning.

        Raises:
            RecipeError: If the folder is in use, the run has begun and is not to be resumed, an estimate is asked for,
                which only stages have, or a number of steps is given that the run could not use.
        """
        if fixed_steps and self.steps is not None:
            raise RecipeError(
                f"{self.recipe} takes no --steps, since its plan says how long each model trains; run it without"
            )
        if self.estimating:
            advice = "" if fixed_steps else "; try it with --steps"
            raise RecipeError(f"{self.recipe} trains many small models one by one, and has no estimate{advice}")
        self.claim_folder(plan)
        kept = self.out / "measured.json"
        if kept.exists() and not self.resume:
            raise RecipeError(f"{self.out} holds a run that has begun; go on with: {self.resume_command}")
        return read_json(kept) if kept.exists() else {}

    def keep(self, numbers: dict[str, float]) -> None:
        """Keep what has been measured so far, for a run that goes on."""
        write_text(self.out / "measured.json", json.dumps(numbers))

    def measure_each(
        self, numbers: dict[str, float], tasks: Mapping[str, Task], measure: Callable[[Task], float]
    ) -> None:
        """Measure each task that has no number yet, one after another, and keep all numbers after each.

        Args:
            numbers: The numbers so far, by key; those measured are added.
            tasks: The tasks, each under the key of its number.
            measure: Measures one task, as by training a model.
        """
        for key, task in tasks.items():
            if key not in numbers:
                numbers[key] = measure(task)
                self.keep(numbers)

    def train(
        self,
        model: nn.Module,
        batches: Batches,
        loss_fn: LossFn,
        config: TrainConfig,
        folder: str,
        label: str,
        validate: Callable[[], dict[str, float]] | None = None,
        after_step: AfterStep | None = None,
    ) -> None:
        """Train one stage of the run, or resume it after an interrupt, and then set the model to eval mode.

        In an estimate, count what the stage costs in place of that.

        Args:
            model: The model to train, on the device of the batches.
            batches: The source of batches; see `course_lib.train.train` for more on these arguments.
            loss_fn: Computes the loss of the model on a batch.
            config: The training settings; the run's own seed, and its number of steps if given, replace those in it.
            folder: The name of the stage's folder within that of the run.
            label: The name of the stage in messages.
            validate: Computes validation metrics; called about eight times.
            after_step: Called after every step, as `course_lib.train.train` does.

        Raises:
            Stopped: If the user interrupts the training.
        """
        config = replace(config, seed=self.seed, steps=self.steps or config.steps)
        if self.estimating:
            here = self.preset != "gpu" or self.device.type != "cpu"
            began, worked = time.perf_counter(), time.process_time()
            self.costs.append(stage_cost(model, batches, loss_fn, config, label, here=here))
            self.cpu_shares.append((time.process_time() - worked) / (time.perf_counter() - began))
            return
        every, hint = max(1, config.steps // 10), f"run: {self.resume_command}"
        stage = RunFolder(self.out / folder, self.resume, save_every=every, resume_hint=hint)
        validate_every = max(1, config.steps // 8)
        history = train(model, batches, loss_fn, config, label, stage, validate, validate_every, after_step)
        if history.interrupted:
            raise Stopped
        model.eval()
