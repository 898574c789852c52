"""The commands `course train`, `course look`, `course results add` and `course data prepare`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

import torch

from course_lib.checkout import find_checkout
from course_lib.errors import CourseError
from course_lib.measure import device_name
from course_lib.preset import preset
from course_lib.recipes import language
from course_lib.recipes.chains_sweep import chains, told_only
from course_lib.recipes.copying_sweep import copying
from course_lib.recipes.estimate import cost_tables, duration
from course_lib.recipes.experts_sweep import experts
from course_lib.recipes.loads_sweep import loads
from course_lib.recipes.moe_rates import moe_rates
from course_lib.recipes.moe_sizes import moe_sizes
from course_lib.recipes.peft_sweep import peft
from course_lib.recipes.positions_sweep import positions
from course_lib.recipes.rates import RATES_FILE, keep_rates
from course_lib.recipes.relations_sweep import two_relations
from course_lib.recipes.report import write_report
from course_lib.recipes.results import Results, read_results
from course_lib.recipes.reviews_sweep import reviews
from course_lib.recipes.routers_sweep import routers
from course_lib.recipes.run import RecipeError, Run, RunSize, Stopped
from course_lib.recipes.safety_sweep import safety
from course_lib.recipes.scaling_sweep import scaling
from course_lib.recipes.shipping import ship
from course_lib.shipped import SHIPPED, shipped_model
from course_lib.train import TrainingDiverged

ESTIMATED = """\
The times are those of the training steps; evaluation, between and after them, comes on top. A GPU's time is computed
from its published peak. Small models get far less of it than the large ones that the share is from, so for them it is
a lower bound. Activations are those in float32; bfloat16 takes about half."""
BUSY = 1.5  # times as long as the processor worked: then something else takes a good part of it


def _vision_rates(run: Run) -> Results:
    from course_lib.recipes.vision_rates import vision_rates  # torchvision is not in the core

    return vision_rates(run)


def _vision_text(run: Run) -> Results:
    from course_lib.recipes.vision_text import vision_text  # torchvision is not in the core; the others need none of it

    return vision_text(run)


RECIPES: dict[str, Callable[[Run], Results]] = {
    "chains": chains,
    "copying": copying,
    "experts": experts,
    "gpt": language.gpt,
    "loads": loads,
    "moe": language.moe,
    "moe-rates": moe_rates,
    "moe-sizes": moe_sizes,
    "peft": peft,
    "positions": positions,
    "reviews": reviews,
    "routers": routers,
    "safety": safety,
    "scaling": scaling,
    "told-only": told_only,
    "two-relations": two_relations,
    "vision-rates": _vision_rates,
    "vision-text": _vision_text,
}


def train(
    recipe: str, size: str | None, steps: int | None, seed: int, out: Path | None, resume: bool, estimate: bool = False
) -> None:
    """Run a recipe and print its results beside their controls.

    Args:
        recipe: The name of the recipe in RECIPES.
        size: The preset; None for the one that COURSE_PRESET names.
        steps: The number of training steps; None for the preset's own.
        seed: The seed of weights and batches.
        out: The folder that everything is written to; None for runs/RECIPE-PRESET-seedN.
        resume: Whether to resume the run in that folder.
        estimate: Whether to print what the run would cost in place of running it.

    Raises:
        CourseError: If the recipe cannot be run as asked, or ended early; the message says what to do.
    """
    if recipe not in RECIPES:
        raise RecipeError(f"there is no recipe {recipe!r}; there are: {', '.join(RECIPES)}")
    if size is not None and size not in get_args(RunSize):
        raise RecipeError(f"there is no preset {size!r}; use --preset with {', '.join(get_args(RunSize))}")
    chosen = cast(RunSize, size) if size else preset()
    folder = out or Path("runs") / f"{recipe}-{chosen}-seed{seed}"
    run = Run(recipe, folder, seed, steps, resume, chosen, estimating=estimate)
    if run.preset != "gpu":
        torch.set_num_threads(1)  # the models are too small for more, and exact results depend on the number of threads
    if run.estimating:
        RECIPES[recipe](run)
        print("\n" + "\n\n".join(table.to_text() for table in cost_tables(run.costs)) + f"\n\n{ESTIMATED}{_busy(run)}")
        return
    print(f"{recipe}: preset {run.preset}, seed {seed}, on {device_name(run.device)}, into {run.out}", flush=True)
    try:
        results = RECIPES[recipe](run)
    except (Stopped, CourseError):
        raise
    except KeyboardInterrupt:
        print(f"{recipe}: stopped; to go on, run: {run.resume_command}", flush=True)
        raise
    except Exception as error:
        if sentence := _advice(run, error):
            raise RecipeError(sentence) from None
        raise
    print(f"\n{write_report(run, results)}\n")
    model = f"The model is in {run.out / 'model'}, the" if (run.out / "model").is_dir() else "The"
    print(f"{model} report with the loss curves is in {run.out / 'report.html'}.")
    print(f"This took {sum(os.times()[:4]):.0f} seconds of the processor.")  # those of its children as well


def _busy(run: Run) -> str:
    """Return a sentence on the time of a run on this machine alone; nothing if it was timed on a quiet one or a GPU."""
    times = [cost.seconds * cost.steps for cost in run.costs if cost.seconds is not None]
    if run.preset == "gpu" or len(times) < len(run.cpu_shares):
        return ""
    alone = sum(seconds * share for seconds, share in zip(times, run.cpu_shares, strict=True))
    if sum(times) <= BUSY * alone:
        return ""
    return f"\nThis machine is busy with something else. Alone, the run would take about {duration(alone)} here."


def _advice(run: Run, error: Exception) -> str | None:
    """Return what to do about an error of the machine or the training; None for one that only a programmer can fix."""
    go_on = f"go on with: {run.resume_command}"
    if isinstance(error, TrainingDiverged):
        return f"{error} What was kept before it is in {run.out}"
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way = "make room there, and" if full else "name another with --out, or"
        return f"{run.out} cannot be written to ({error}); {way} {go_on}"
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error):
        way = "use --preset cpu, or a machine with more" if run.preset == "gpu" else "use a machine with more"
        return (
            f"the preset {run.preset} does not fit into the memory of {run.device}; close what else takes memory, and "
            f"{go_on} ; or {way}"
        )
    return None


def look(picture: Path, question: str, model: Path | None, drawn: int | None) -> None:
    """Print the answer of a vision-text model to a question about a picture.

    Args:
        picture: The image file.
        question: The question; empty if the picture is only to be drawn.
        model: A folder of `course train vision-text`; None for the reader's own of the preset cpu and seed 0, or else
            the one that comes with the course.
        drawn: The seed of a scene to draw into the file first; None for a file that is there.

    Raises:
        CourseError: If anything cannot be read or drawn, or no question is asked; the message says what to do.
    """
    from course_lib.recipes import look as looking  # torchvision is not in the core

    if drawn is not None:
        names = looking.draw_scene(picture, drawn)
        print(f"{picture} shows {', '.join(names)}, row by row.")
    if question:
        own = Path("runs/vision-text-cpu-seed0")  # where `course train vision-text` puts it
        print(looking.look(picture, question, model or (own if own.is_dir() else shipped_model("vision-text"))))
    elif drawn is None:
        raise RecipeError(f'ask something about the picture, such as "{looking.EXAMPLES[0]}"')


def prepare() -> None:
    """Create all files that the recipes read, for all presets, and print a list of them."""
    from course_lib.recipes import vision_text  # torchvision is not in the core

    files = language.prepare() + vision_text.prepare()
    print("Everything that `course train` reads is in these files:")
    for file in files:
        print(f"  {file}  ({file.stat().st_size / 1e6:.1f} MB)")
    print(
        "On a machine without network, put them into one folder, set COURSE_CACHE to it, and run `course train` there, "
        "or, where the course is a copied folder, `python -m course_lib train` in it."
    )


def keep_results(out: Path) -> list[Path]:
    """Copy a finished run's results.json into the checkout's `results/`, or its trial of learning rates if it made one.

    The model of the preset `hour` and seed 0 goes into `shipped/`, if the course comes with one of its recipe.

    Returns:
        The paths of the copies.

    Raises:
        RecipeError: If there are no results, the run was not of a whole preset, or its model is too large to ship.
    """
    results = read_results(out / "results.json")
    made = results.provenance
    if made.recipe not in RECIPES or made.preset not in get_args(RunSize) or not isinstance(made.seed, int):
        raise RecipeError(f"{out} names no recipe, preset and seed of the course; run the recipe again")
    if "--steps" in made.command:
        raise RecipeError(f"{out} is no run of the whole preset; run it without --steps to keep its results")
    root = find_checkout()
    if (out / RATES_FILE).is_file():
        return [keep_rates(out / RATES_FILE, root)]
    comes_with_it = (made.preset, made.seed) == ("hour", 0) and made.recipe in SHIPPED
    shipped = [ship(out, results, root)] if comes_with_it else []
    place = root / "results" / made.preset / f"{made.recipe}-seed{made.seed}.json"
    results.write(place)
    return [place, *shipped]
