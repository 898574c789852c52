"""`course replicate`: run labs on several seeds, and keep in `results/replications/` what came out on each."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
from filelock import AcquireReturnProxy
from nbformat import NotebookNode
from tqdm import tqdm

from course_lib.errors import CourseError
from course_lib.files import acquire_lock, read_json, write_text
from course_lib.preset import preset
from course_lib.site import cache, rates, records, replication
from course_lib.site.build import read_lab, solved_labs
from course_lib.site.execute import execute
from course_lib.site.lab_run import LabRun
from course_lib.site.paths import Project, SiteError, digest_of, find_project

# Writes the solved notebook of a lab, by the code in the working directory.
SOLVE = """
import sys
import nbformat
from course_lib.site.build import solved_labs
lab, out = sys.argv[1:]
notebook = nbformat.read(f"labs/{lab}.ipynb", as_version=4)
nbformat.write(solved_labs({lab: notebook})[lab], out)
"""


def replicate(labs: Sequence[str] = (), seeds: int = 10, jobs: int | None = None, root: Path | None = None) -> None:
    """Run labs on the course seeds 0, 1, ..., and write the replication of each lab that ran on all of them.

    A run that has ended is kept below `_build/replications`, and is not made again while the lab's code, the preset and
    the versions stay the same. A lab whose replication is of its present code is left out. A number out of its band
    ends no run.

    Args:
        labs: The labs; by default all of the book.
        seeds: The number of course seeds.
        jobs: The number of runs at a time; None for as many as there is room for.
        root: A folder of the checkout; by default the working directory.

    Raises:
        SiteError: If there is no such lab, or some runs did not come to their end; all others have been made and kept.
    """
    project = find_project(root)
    with _alone(project):
        places = _places(project, labs)
        done = [lab for lab, place in places.items() if place.is_done(seeds)]
        if done:
            print(f"replications: of the present code already: {', '.join(done)}")
        places = {lab: place for lab, place in places.items() if lab not in done}
        todo = [place.run(seed) for place in places.values() for seed in range(seeds) if not place.has(seed)]
        n_runs = len(places) * seeds
        print(f"replications: {n_runs - len(todo)} of {n_runs} runs are kept from before, {len(todo)} to go")
        waiting = {run.lab for run in todo}
        for lab, place in places.items():
            if lab not in waiting:
                place.write(seeds)

        def keep(run: LabRun, executed: NotebookNode) -> None:
            places[run.lab].keep(run.seed, executed)
            if all(places[run.lab].has(seed) for seed in range(seeds)):
                places[run.lab].write(seeds)

        if todo:
            try:
                execute(project, todo, keep, jobs=jobs, strict=False)
            except KeyboardInterrupt:
                left = sum(not places[run.lab].has(run.seed) for run in todo)
                print(f"replications: stopped, {left} runs to go; the same command goes on from here")
                raise


def _chosen(project: Project, labs: Sequence[str]) -> list[str]:
    """Return the chosen labs in reading order, without repetition.

    Raises:
        SiteError: If one of them is not in the book.
    """
    listed = project.lab_slugs()
    if unknown := [lab for lab in labs if lab not in listed]:
        raise SiteError(f"there is no lab {unknown[0]}; there are {', '.join(listed)}")
    return [lab for lab in listed if lab in labs or not labs]


def renew(labs: Sequence[str] = (), root: Path | None = None) -> None:
    """Take over the bands of labs whose numbers have not changed, so that they need not be run on every seed again.

    Seed 0 decides: the lab is run on it, unless `course book` has done so, and has to give the very numbers that its
    replication has for this seed. Where it gives others, the processor may be the reason: then the replicated code is
    run on this machine too, and has to give the same numbers as the present code.

    Args:
        labs: The labs; by default all that have been replicated.
        root: A folder of the checkout; by default the working directory.

    Raises:
        SiteError: If there is no such lab, a lab has no replication or gives other numbers; all others are renewed.
    """
    project = find_project(root)
    with _alone(project):
        places = {lab: place for lab, place in _places(project, labs).items() if labs or place.before}
        if missing := [lab for lab, place in places.items() if place.before is None]:
            raise SiteError(f"nobody has replicated {', '.join(missing)}; run `course replicate {' '.join(missing)}`")
        places = {lab: place for lab, place in places.items() if not place.is_done()}
        todo = [place.run(0) for place in places.values() if not place.has(0)]
        if todo:
            execute(project, todo, lambda run, executed: places[run.lab].keep(0, executed), strict=False)
        told = []
        for lab, place in places.items():
            differs = place.renew()
            if differs and (commit := place.replicated_commit()):
                print(f"replications: {lab}: {differs}; running the code of {commit} here, to compare")
                differs = place.renew(_run_at(project, lab, commit))
            if differs:
                told.append(f"{lab}: {differs}; run `course replicate {lab}`")
        if told:
            raise SiteError("\n".join(told))
        print(f"replications: {len(places)} renewed")


def _run_at(project: Project, lab: str, commit: str) -> records.Records:
    """Run a lab on seed 0 as it was at a commit, in a work tree of its own, and return what it records."""
    measured: records.Records = {}
    with tempfile.TemporaryDirectory(prefix="course-replicated-") as scratch:
        tree, solved = Path(scratch) / "tree", Path(scratch) / "solved.ipynb"
        git = functools.partial(subprocess.run, cwd=project.root, check=True, capture_output=True)
        git(["git", "worktree", "add", "--detach", str(tree), commit])
        try:
            # The references are part of what was run, so the code of that time solves the lab.
            solve = [sys.executable, "-c", SOLVE, lab, str(solved)]
            subprocess.run(solve, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, check=True)
            run = LabRun(lab, nbformat.read(solved, as_version=4), 0)

            def keep(_: LabRun, executed: NotebookNode) -> None:
                measured.update(records.collect(lab, executed))

            execute(find_project(tree), [run], keep, jobs=1, strict=False)
        finally:
            git(["git", "worktree", "remove", "--force", str(tree)])
    return measured


def _alone(project: Project) -> AcquireReturnProxy:
    project.build.mkdir(exist_ok=True)
    return acquire_lock(
        project.build / "replicate.lock", "Another replication of this book is running; waiting for it."
    )


def _solved(project: Project, labs: Sequence[str]) -> dict[str, NotebookNode]:
    return solved_labs({lab: read_lab(project, lab) for lab in labs})


def _places(project: Project, labs: Sequence[str]) -> dict[str, _Place]:
    solved = _solved(project, _chosen(project, labs))
    return {lab: _Place(project, lab, notebook) for lab, notebook in solved.items()}


class _Place:
    """Where the runs of one lab are kept until there is one for each seed, and the replication that they make.

    Attributes:
        source: The hash of the lab's code.
        key: The hash of all that a run's numbers depend on besides the seed.
        before: The committed replication, if there is one that can be read.
    """

    def __init__(self, project: Project, lab: str, solved: NotebookNode) -> None:
        self.project, self.lab, self.solved = project, lab, solved
        self.folder = project.build / "replications" / preset() / lab
        self.source = cache.source(project, lab, solved)
        self.key = digest_of(self.source, *cache.surroundings(project))
        self.before: replication.Replication | None = None
        with suppress(CourseError):  # a damaged file is written anew
            self.before = replication.read(project, lab)
        if not self.has(0) and (executed := cache.load(project, cache.key(project, lab, solved, 0))):
            self.keep(0, executed)  # `course book` has made this run

    def is_done(self, seeds: int = 0) -> bool:
        """Return whether the committed replication is of the present code, and on so many seeds or more."""
        before = self.before
        return before is not None and before["provenance"]["source"] == self.source and len(before["seeds"]) >= seeds

    def run(self, seed: int) -> LabRun:
        """Return the run on a seed."""
        return LabRun(self.lab, self.solved, seed)

    def has(self, seed: int) -> bool:
        """Return whether the run on a seed is kept."""
        return self._kept(seed) is not None

    def _kept(self, seed: int) -> dict[str, Any] | None:
        """Read what was kept of the run on a seed; None if nothing was, or the lab has changed since."""
        try:
            kept = read_json(self._file(seed))
        except CourseError:  # not there; or damaged, and made again
            return None
        return kept if isinstance(kept, dict) and kept.get("key") == self.key else None

    def _file(self, seed: int) -> Path:
        return self.folder / f"seed{seed}.json"

    def keep(self, seed: int, executed: NotebookNode) -> None:
        """Keep the numbers of a run; the one on seed 0 is kept whole if all are in their bands, for `course book`."""
        measured = records.collect(self.lab, executed)
        if seed == 0 and not any(record.get("ok") is False for record in measured.values()):
            cache.store(self.project, cache.key(self.project, self.lab, self.solved, 0), executed)
        kept = {"key": self.key, "commit": executed.metadata["course"]["commit"], "records": measured}
        write_text(self._file(seed), json.dumps(kept, indent=1) + "\n")

    def write(self, seeds: int) -> None:
        """Write the replication that the runs on all seeds make, unless there is one on more seeds."""
        runs = [kept for seed in range(seeds) if (kept := self._kept(seed))]
        if self.before and (there := len(self.before["seeds"])) > seeds:
            tqdm.write(f"replications: {self.lab} stays as it is, on {there} seeds; {seeds} do not replace them")
            return
        devices = dict.fromkeys(record["device"] for kept in runs for record in kept["records"].values())
        size = "" if preset() == "cpu" else f" --preset {preset()}"
        provenance = {
            "lab": self.lab,
            "source": self.source,
            "preset": preset(),
            "reads_results": any("committed_run(" in cell.source for cell in self.solved.cells),
            "command": f"course replicate {self.lab} --seeds {seeds}{size}",
            "commit": ", ".join(dict.fromkeys(kept["commit"] for kept in runs)),
            "device": ", ".join(devices),
            "versions": {"python": platform.python_version(), "torch": version("torch"), "numpy": version("numpy")},
        }
        made = replication.assemble(provenance, {seed: kept["records"] for seed, kept in enumerate(runs)})
        file = replication.write(self.project, made).relative_to(self.project.root)
        tqdm.write(f"replications: {file} written, {len(made['numbers'])} numbers on {seeds} seeds")

    def replicated_commit(self) -> str | None:
        """Return the last commit in this checkout that is known to give the replication's numbers, if there is one."""
        assert self.before is not None
        made = self.before["provenance"]
        for commit in (made.get("bands_of"), made["commit"].split(", ")[-1]):
            known = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
            if commit and subprocess.run(known, cwd=self.project.root, capture_output=True).returncode == 0:
                return commit
        return None

    def renew(self, then: records.Records | None = None) -> str | None:
        """Write the replication with the bands of the run on seed 0; return a sentence if its numbers are others."""
        kept = self._kept(0)
        assert kept is not None
        assert self.before is not None
        if differs := replication.renew(self.before, kept["records"], then):
            return differs
        self.before["provenance"] |= {"source": self.source, "bands_of": kept["commit"]}
        replication.write(self.project, self.before)
        return None


def check(labs: Sequence[str] = (), root: Path | None = None) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with the committed replications and trials; nothing is run.

    Labs that have changed since they were replicated are no complaint: they are printed.

    Args:
        labs: The labs; by default all of the book.
        root: A folder of the checkout; by default the working directory.

    Raises:
        SiteError: If there is no such lab, or a file in `results/replications/` is not a replication.
    """
    project = find_project(root)
    chosen = _chosen(project, labs)
    replication.changed_since(project, _solved(project, chosen))
    for lab in chosen:
        made = replication.read(project, lab)
        if made is None:
            yield f"{lab}: nobody has replicated it; run `course replicate {lab}`"
        else:
            yield from (f"{lab}: {complaint}" for complaint in replication.complaints(made))
        yield from _doubtful_rates(project, lab, made["seeds"] if made else ())
    if not labs:  # the recipes whose numbers pages cite, such as `moe`
        for name in sorted(file.stem for file in rates.folder(project).glob("*.json")):
            if name not in project.lab_slugs():
                yield from _doubtful_rates(project, name, records.seeds_of_recipe(project, name))


def _doubtful_rates(project: Project, name: str, reported: Sequence[int]) -> Iterator[str]:
    """Yield a sentence for each learning rate of a lab or recipe that its trial, if there is one, does not bear out."""
    if (file := rates.path(project, name)).is_file():
        yield from (f"{name}: {complaint}" for complaint in rates.complaints(read_json(file), reported))
