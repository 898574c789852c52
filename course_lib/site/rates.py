"""`course rates`: try the learning rates of a lab's models, and keep what came out in `results/rates/`."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from nbformat import NotebookNode

from course_lib.checkout import commit_of
from course_lib.files import read_json, write_json
from course_lib.preset import preset
from course_lib.site.build import read_lab, solved_labs
from course_lib.site.execute import execute
from course_lib.site.lab_run import LabRun
from course_lib.site.paths import Project, SiteError, find_project

SEEDS = (100, 101)  # course seeds that no lab is reported on
STEP = 3.0  # between two rates that are tried next to each other
EXTENSIONS = 3  # times that the grid grows where the best rate is at its end
Loss = float | None  # None where a model diverged
Losses = dict[float, list[Loss]]  # by rate, for each seed


def folder(project: Project) -> Path:
    """Return the folder of all trials."""
    return project.root / "results" / "rates"


def path(project: Project, name: str) -> Path:
    """Return the path of the trial of the rates of a lab, or of a recipe."""
    return folder(project) / f"{name}.json"


def try_rates(
    lab: str,
    seeds: Sequence[int] = SEEDS,
    jobs: int | None = None,
    root: Path | None = None,
    *,
    one_by_one: bool = False,
) -> None:
    """Run a lab at its learning rates, at lower and at higher ones, and choose the best of each arm.

    The rates are multiplied by a third, by 1 and by 3, and by more where the best is at an end. An arm keeps the rate
    that it has unless another has a lower loss on each seed.

    Args:
        lab: A lab that asks for its rates by `tuned_rates`, and tells the loss of each arm by `tried`.
        seeds: Course seeds that the lab is not reported on.
        jobs: The number of runs at a time; None for as many as there is room for.
        root: A folder of the checkout; by default the working directory.
        one_by_one: Change the rate of one arm at a time, in the order of the committed file: the later ones are trained
            on top of the earlier ones at the rates that were chosen for them.

    Raises:
        SiteError: If the lab tells no loss, or there is no such lab.
    """
    project = find_project(root)
    if lab not in project.lab_slugs():
        raise SiteError(f"there is no lab {lab}; there are {', '.join(project.lab_slugs())}")
    file = path(project, lab)
    arms = [arm for arms in read_json(file)["comparisons"].values() for arm in arms["arms"]] if one_by_one else [None]
    for arm in arms:
        before = read_json(file) if file.is_file() else {}
        tried = _try(project, lab, seeds, jobs, arm)
        write_json(file, _assemble(project, lab, seeds, tried, before, one_by_one))
        print(f"rates: {file.relative_to(project.root)} written, {len(tried)} arms")


def _try(
    project: Project, lab: str, seeds: Sequence[int], jobs: int | None, arm: str | None
) -> dict[tuple[str, str], Losses]:
    """Return the losses of a lab's arms, or of one, by comparison and arm."""
    (solved,) = solved_labs({lab: read_lab(project, lab)}).values()
    solved.metadata["execution"] = {"allow_errors": True}  # at a rate that is too high a later cell may fail
    told: dict[tuple[str, str], dict[float, dict[int, Loss]]] = {}

    def keep(run: LabRun, executed: NotebookNode) -> None:
        trials = list(_told(executed))
        if not trials:
            raise SiteError(f"labs/{lab}.ipynb tells no loss{_why(executed)}")
        for trial in trials:
            of_arm = told.setdefault((trial["comparison"], trial["arm"]), {})
            losses = of_arm.setdefault(trial["rate"], {})
            if run.seed in losses:
                raise SiteError(f"labs/{lab}.ipynb tells the loss of {trial['arm']!r} twice in one run")
            losses[run.seed] = trial["loss"]

    powers, todo = [0], [-1, 0, 1]  # of STEP, by which the rates are multiplied
    for _ in range(1 + EXTENSIONS):
        runs = [LabRun(lab, solved, seed, STEP**power, arm) for power in todo for seed in seeds]
        execute(project, runs, keep, jobs, False)
        powers += todo
        tried = {name: {rate: [of[rate].get(s) for s in seeds] for rate in sorted(of)} for name, of in told.items()}
        ends = {_end(losses) for losses in tried.values()}
        todo = [power for end, power in ((-1, min(powers) - 1), (1, max(powers) + 1)) if end in ends]
        if not todo:
            break
    return tried


def _told(executed: NotebookNode) -> Iterator[dict[str, Any]]:
    """Yield what a lab told of its rates: the comparison, the arm, the rate and the loss."""
    for cell in executed.cells:
        for output in cell.get("outputs", ()):
            if trial := output.get("metadata", {}).get("course_trial"):
                yield trial


def _why(executed: NotebookNode) -> str:
    """Say why a lab told nothing: the first error in it, or that it never tells."""
    for cell in executed.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                return f": cell {cell.id} raised {output.ename}: {output.evalue}"
    return ": call `tried` of its `tuned_rates` for each arm"


def _mean(losses: Sequence[Loss]) -> float:
    """Return the mean loss; no rate is worse than one at which a model diverged."""
    finite = [loss for loss in losses if loss is not None]
    return fmean(finite) if len(finite) == len(losses) else math.inf


def _best(losses: Losses) -> float:
    return min(losses, key=lambda rate: _mean(losses[rate]))


def _end(losses: Losses) -> int:
    """Return -1 if the best rate is the lowest, 1 if it is the highest, else 0."""
    return (_best(losses) == max(losses)) - (_best(losses) == min(losses))


def _assemble(
    project: Project,
    lab: str,
    seeds: Sequence[int],
    tried: dict[tuple[str, str], Losses],
    before: dict[str, Any],
    one_by_one: bool = False,
) -> dict[str, Any]:
    """Return what is committed: where it is from, and for each arm the losses and the rate that was chosen.

    Args:
        project: The checkout.
        lab: The lab.
        seeds: The course seeds of the trial.
        tried: The losses of the arms.
        before: What was committed before.
        one_by_one: Whether the other arms stay as they were before.
    """
    had = before.get("comparisons", {})
    comparisons: dict[str, Any] = had if one_by_one else {}
    for (comparison, arm), losses in tried.items():
        kept = had.get(comparison, {}).get("arms", {}).get(arm, {}).get("chosen")
        best = _best(losses)
        entry: dict[str, Any] = {"losses": {f"{rate:g}": losses[rate] for rate in losses}, "chosen": best}
        if kept in losses and kept != best and not _lower_on_each(losses[best], losses[kept]):
            entry |= {"chosen": kept, "why": f"{best:g} is not better on each seed"}
        comparisons.setdefault(comparison, {"arms": {}})["arms"][arm] = entry
    asked = "".join(f" --seeds {seed}" for seed in seeds) if tuple(seeds) != SEEDS else ""
    provenance = {
        "lab": lab,
        "command": f"course rates {lab}{asked}" + (" --one-by-one" if one_by_one else ""),
        "commit": commit_of(project.root),
        "preset": preset(),
        "device": "cpu" if preset() == "cpu" else "accelerator",
        "versions": {"python": platform.python_version(), "torch": version("torch"), "numpy": version("numpy")},
        "seeds": list(seeds),
    }
    return {"provenance": provenance, "comparisons": comparisons}


def _lower_on_each(losses: Sequence[Loss], others: Sequence[Loss]) -> bool:
    return all(_mean([loss]) < _mean([other]) for loss, other in zip(losses, others, strict=True))


def complaints(made: dict[str, Any], reported: Sequence[int]) -> Iterator[str]:
    """Yield a sentence for each arm whose rate the trial does not bear out.

    Args:
        made: The committed trial.
        reported: The course seeds on which the lab's numbers are reported.
    """
    seeds = made.get("provenance", {}).get("seeds", [])
    if shared := sorted(set(seeds) & set(reported)):
        yield f"its rates were chosen on seed {shared[0]}, on which its numbers are reported"
    for comparison, arms in made["comparisons"].items():
        for arm, entry in arms["arms"].items():
            yield from (f"{comparison}, {arm}: {told}" for told in _doubts(entry, len(seeds)))


def _doubts(entry: dict[str, Any], n_seeds: int) -> Iterator[str]:
    losses = {float(rate): values for rate, values in entry.get("losses", {}).items()}
    chosen, why = entry["chosen"], entry.get("why")
    if chosen not in losses:
        yield f"the rate {chosen:g} was not tried; run `course rates`"
        return
    if len(losses) < 3:
        yield f"{len(losses)} rates are no choice; try at least 3"
    if chosen in (min(losses), max(losses)):  # whatever the reason: beyond the end may lie a better one
        yield f"{chosen:g} is at an end of the rates that were tried; try one beyond it"
    if why:  # as where an arm learned nothing at any rate, and was not tried on a second seed
        return
    if short := [rate for rate, values in losses.items() if len(values) != n_seeds]:
        yield f"the rate {short[0]:g} was not tried on each of {n_seeds} seeds"
    if (best := _best(losses)) != chosen:
        yield f"{best:g} had a lower loss than {chosen:g}, and the file does not say why that was not chosen"
