"""Answers to one exercise that are alike: hints at where a teacher may want to look, and never a verdict.

The shapes of two answers (`inside.shape`) are compared by fingerprints: hashes of runs of RUN words, of which the least
in each window of WINDOW is kept. So every run of RUN + WINDOW - 1 words that two answers share is found, and most runs
need not be kept (Schleimer, Wilkerson and Aiken, "Winnowing", SIGMOD 2003). What answers share by nature does not
count: whatever the course publishes, and runs that many students wrote. Whole answers that are the same always count.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from course_lib.checkout import NoCheckout, find_checkout
from course_lib.exercises import own
from course_lib.exercises.spec import Exercise
from course_lib.grader.inside.cells import analyse

RUN, WINDOW = 12, 4
MOST_HOLDERS = 10  # a run that more students wrote is common, as in Moss
LEAST = 8  # shared fingerprints: some thirty words, two or three lines of code
ALIKE = 0.6  # of the fingerprints of the shorter answer
MOST_GROUPS = 20  # of a lab, on the page


@dataclass(frozen=True)
class Pair:
    """Two answers that are alike.

    Attributes:
        exercise: The id of the exercise.
        names: The names of the two submissions.
        share: How much of the shorter answer the other one has as well, what is alike by nature aside.
        shared: The number of fingerprints that they share.
    """

    exercise: str
    names: tuple[str, str]
    share: float
    shared: int


def runs(shape: str) -> list[int]:
    """Return a hash of each run of RUN words of a shape."""
    words = shape.split()
    return [crc32(" ".join(words[i : i + RUN]).encode()) for i in range(len(words) - RUN + 1)]


def fingerprints(shape: str) -> set[int]:
    """Return the hashes that winnowing keeps: the least in each window."""
    hashes = runs(shape)
    return {min(hashes[i : i + WINDOW]) for i in range(max(1, len(hashes) - WINDOW + 1))} if hashes else set()


def published(lab: str, exercise: Exercise) -> set[int]:
    """Return the runs that are in everybody's hands, or that the course expects.

    They are those of the exercise's file (reference, other right answers, known mistakes) and of the notebook as the
    learner gets it.
    """
    sources = [inspect.getsource(sys.modules[exercise.reference.__module__])]
    try:
        root = find_checkout()
        notebooks = (root / "labs" / f"{lab}.ipynb", root / own.FOLDER / lab / f"{exercise.id}.ipynb")
        for notebook in filter(lambda path: path.is_file(), notebooks):
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            sources += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except NoCheckout:
        pass
    return {run for source in sources for run in _runs_in(source)}


@functools.lru_cache(maxsize=1000)  # the cells of a notebook are asked about for each of its exercises
def _runs_in(source: str) -> frozenset[int]:
    """Return the runs of the definitions in a piece of code."""
    return frozenset(run for each in analyse(source)["statements"] for run in runs(each["shape"]))


def pairs(exercise: str, shapes: Mapping[str, str], natural: set[int]) -> list[Pair]:
    """Return the answers to an exercise that are alike.

    Args:
        exercise: Its id.
        shapes: The shape of each answer, by the name of the submission.
        natural: The runs that do not count, from `published`.
    """
    kept = {name: fingerprints(shape) - natural for name, shape in shapes.items()}
    holders: dict[int, list[str]] = defaultdict(list)
    for name in sorted(kept):
        for hash in kept[name]:
            holders[hash].append(name)
    common = {hash for hash, names in holders.items() if len(names) > MOST_HOLDERS}
    shared: Counter[tuple[str, str]] = Counter()
    for hash in holders.keys() - common:
        shared.update(itertools.combinations(holders[hash], 2))
    found = _the_same(exercise, kept)
    for (one, other), count in shared.items():
        if count >= LEAST:
            share = count / min(len(kept[one] - common), len(kept[other] - common))
            if share >= ALIKE:
                found.append(Pair(exercise, (one, other), share, count))
    return found


def _the_same(exercise: str, kept: Mapping[str, set[int]]) -> list[Pair]:
    """Return the pairs of an answer with each of more than MOST_HOLDERS that have all its runs and no others.

    Each of their runs is common, so by shared runs that are not, they would be the one group that nobody sees.
    """
    holders: dict[frozenset[int], list[str]] = defaultdict(list)
    for name in sorted(kept):
        holders[frozenset(kept[name])].append(name)
    return [
        Pair(exercise, (names[0], other), 1.0, len(runs_kept))
        for runs_kept, names in holders.items()
        if len(runs_kept) >= LEAST and len(names) > MOST_HOLDERS
        for other in names[1:]
    ]


def in_groups(found: Iterable[Pair]) -> list[list[Pair]]:
    """Put the pairs together that share an answer, so that seven friends are one group and not 21 pairs.

    The order stays: in a group, and among groups by their first pair.
    """
    groups: list[list[Pair]] = []
    for pair in found:
        touched = [
            group
            for group in groups
            if any(other.exercise == pair.exercise and {*other.names} & {*pair.names} for other in group)
        ]
        if not touched:
            groups.append([pair])
            continue
        first, *others = touched
        for other in others:
            first += other
            groups.remove(other)
        first.append(pair)
    return groups


def alike(lab: str, lab_exercises: Iterable[Exercise], reports: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """Return the pairs of answers to a lab's exercises that are alike, the most alike first.

    Args:
        lab: The lab.
        lab_exercises: Its exercises.
        reports: The reports that count, one for each student.
    """
    found = []
    for exercise in lab_exercises:
        entries = {report["name"]: report["exercises"].get(exercise.id, {}) for report in reports}
        shapes = {name: entry["answer"]["shape"] for name, entry in entries.items() if entry.get("answer")}
        if len(shapes) > 1:
            found += pairs(exercise.id, shapes, published(lab, exercise))
    return sorted(found, key=lambda pair: (-pair.share, -pair.shared, pair.exercise, pair.names))
