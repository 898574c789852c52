"""`course audit`: do the hidden cases of an exercise tell right from wrong, and are its points spread sensibly?"""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, median_low
from typing import Any

from tqdm import tqdm

from course_lib import exercises
from course_lib.checkout import NoCheckout, find_checkout
from course_lib.errors import CourseError
from course_lib.exercises import own
from course_lib.exercises.spec import Exercise
from course_lib.files import write_text
from course_lib.grader.exam import Exam, Result, ask
from course_lib.grader.inside import calls
from course_lib.grader.inside.calls import LocalSubject, Subject
from course_lib.grader.inside.outcomes import Lost, Raised
from course_lib.grader.mutants import Mutant, build, mutants_of
from course_lib.grader.timed import TimedSubject
from course_lib.tables import Table

# A table of the visible answers shows no understanding; 5% is what a lucky constant may earn in a case or two.
MOST_BY_LOOK_UP = 0.05
# A slip that passes is a wrong answer with full points: one in twenty may hide in what no lab asks for.
LEAST_CAUGHT = 0.95
# What a visible case asks too earns no points in grading: enough other cases have to share them out.
LEAST_FRESH = 0.5
N_SEEDS = 3  # hidden seeds; a slip has to be caught on each, since a class is graded on one
N_LOOK_UPS = 20  # hidden seeds for the table: two seeds may ask the same by chance
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")


@dataclass
class Audit:
    """What was measured of one exercise.

    Attributes:
        id: The exercise.
        lab: Its lab.
        kind: What it asks: to code, derive, debug or design.
        points: Its points.
        cases: The number of its hidden cases.
        fresh: How many of them have arguments that no visible case has, on the median seed.
        look_up: The share of the points that a table of the visible answers earns, mean of N_LOOK_UPS hidden seeds.
        mutants: The number of mutants that give an answer, without those known to be equivalent.
        mutants_caught: How many of them fail on every hidden seed.
        mistakes: The number of known mistakes.
        mistakes_caught: How many of them fail on every hidden seed.
        named: The share of wrong answers, mutants and mistakes alike, that were recognised.
        most: The largest share of the points that a known mistake earns, mean of the hidden seeds.
        most_by: The name of that mistake.
        survivors: What was not caught, with the number of seeds on which it passes.
        stale: What is listed as equivalent and is not among the survivors.
    """

    id: str
    lab: str
    kind: str
    points: int
    cases: int = 0
    fresh: int = 0
    look_up: float = 0.0
    mutants: int = 0
    mutants_caught: int = 0
    mistakes: int = 0
    mistakes_caught: int = 0
    named: float = 0.0
    most: float = 0.0
    most_by: str = ""
    survivors: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    @property
    def caught(self) -> float:
        """The share of mutants and known mistakes that were caught."""
        return (self.mutants_caught + self.mistakes_caught) / max(1, self.mutants + self.mistakes)

    @property
    def complaints(self) -> list[str]:
        """A sentence for each bound that does not hold."""
        found = []
        if self.look_up > MOST_BY_LOOK_UP:
            found.append(
                f"a table of the visible answers earns {self.look_up:.0%} of the points, more than "
                f"{MOST_BY_LOOK_UP:.0%}: let more cases depend on `rng`"
            )
        if self.caught < LEAST_CAUGHT:
            found.append(f"{self.caught:.0%} of wrong answers are caught, fewer than {LEAST_CAUGHT:.0%}: add cases")
        if self.fresh < LEAST_FRESH * self.cases:
            found.append(f"{self.fresh} of {self.cases} hidden cases are fresh, fewer than {LEAST_FRESH:.0%}")
        found += [f"listed in {EQUIVALENT.name}, and not among what passes: {change}" for change in self.stale]
        return found


def audit(labs: Sequence[str], seed: int = 1, out: Path | None = None) -> int:
    """Measure the exercises of some labs and print a table.

    Args:
        labs: The labs; none means all.
        seed: The first of the hidden seeds.
        out: A JSON file for all that was measured.

    Returns:
        The exit code: 1 if a bound is broken, else 0.

    Raises:
        CourseError: If there is no such lab.
        KeyboardInterrupt: If it is stopped; the exercises that are done have been printed.
    """
    if unknown := [lab for lab in labs if lab not in exercises.labs()]:
        raise CourseError(f"there is no lab called {unknown[0]!r}; there are: {', '.join(exercises.labs())}")
    todo = [exercise for lab in labs or exercises.labs() for exercise in exercises.of_lab(lab)]
    seeds, done = range(seed, seed + N_SEEDS), []
    try:
        for exercise in (bar := tqdm(todo, unit="exercise", disable=None, leave=False)):
            bar.set_postfix_str(exercise.id)
            done.append(audit_exercise(exercise, seeds))
    except KeyboardInterrupt:
        print(f"audit: stopped after {len(done)} of {len(todo)} exercises")
        raise
    finally:
        _tell(done)
    if out:
        bounds = {"look_up": MOST_BY_LOOK_UP, "caught": LEAST_CAUGHT, "fresh": LEAST_FRESH}
        rows = [{**asdict(found), "caught": found.caught, "complaints": found.complaints} for found in done]
        write_text(out, json.dumps({"seeds": list(seeds), "bounds": bounds, "exercises": rows}, indent=2) + "\n")
    return 1 if any(found.complaints for found in done) else 0


def audit_exercise(exercise: Exercise, seeds: Sequence[int]) -> Audit:
    """Measure one exercise.

    Args:
        exercise: The exercise.
        seeds: The hidden seeds.
    """
    exams = [Exam(exercise, seed) for seed in seeds]
    lab = exercises.lab_of(exercise.id) or ""
    found = Audit(exercise.id, lab, exercise.kind, exercise.points, cases=len(exams[0].cases))
    visible = Exam(exercise)
    more = [Exam(exercise, seed) for seed in range(seeds[-1] + 1, seeds[0] + N_LOOK_UPS)]
    for exam in more:  # of these the points count alone, and not which mistake a table looks like
        exam.mistakes, exam.slips = [], []
    tried = [*exams, *more]
    found.fresh = median_low(len(exam.fresh) for exam in tried)
    found.look_up = mean(_share(exam.grade(LookUp(visible))) for exam in tried)
    wrong: list[Result] = []  # for `named`
    for mistake in exercise.mistakes:
        name = mistake.solution.__name__
        results = [exam.grade(LocalSubject(mistake.solution)) for exam in exams]
        found.mistakes += 1
        found.mistakes_caught += _caught(results, f"the mistake {name}", found.survivors)
        wrong += results
        if (share := mean(map(_share, results))) > found.most:
            found.most, found.most_by = share, name
    equivalent = set(_equivalent().get(exercise.id, []))
    found.stale = sorted(equivalent)
    for mutant, results in _graded(mutants_of(exercise.reference), exams):
        wrong += results
        if mutant.change in equivalent and any(results):
            found.stale = [change for change in found.stale if change != mutant.change]
            continue
        found.mutants += 1
        found.mutants_caught += _caught(results, mutant.change, found.survivors)
    failed = [result for result in wrong if not result]
    found.named = sum(result.mistake is not None for result in failed) / max(1, len(failed))
    return found


class _History(Subject):
    """A subject that knows what has made each object: a question to it is answered by all of that."""

    def __init__(self) -> None:
        self.made: list[list[Any]] = [[]]  # for the subject itself, then for each of its objects

    def question(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """Return what is asked, as plain data that can be compared; of "new" and "set_state", remember it."""
        asked = [*self.made[number], [action, list(args), kwargs]]
        if action == "new":
            self.made.append(asked)
        if action == "set_state":
            self.made[number] = asked
        return asked


class _Recorder(_History):
    """The reference, and a list of all that it was asked and what it answered."""

    def __init__(self, exercise: Exercise):
        super().__init__()
        self.reference = LocalSubject(exercise.reference)
        self.heard: list[tuple[str, list[Any], Any]] = []

    def send(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Ask the reference; see `Subject.send`."""
        asked = self.question(action, number, args, kwargs)
        answer = self.reference.send(action, number, args, kwargs)
        self.heard.append((action, calls.fresh(asked), answer))
        return answer


class LookUp(_History):
    """An answer that computes nothing: a table of the visible questions, and else the most frequent visible answer."""

    def __init__(self, visible: Exam):
        super().__init__()
        recorder = _Recorder(visible.exercise)
        for case in visible.cases:
            ask(visible.exercise, recorder, case)
        self._table = recorder.heard
        self._usual: dict[str, Any] = {}  # by action: the most frequent answer

    def send(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Look the answer up; see `Subject.send`."""
        asked = self.question(action, number, args, kwargs)
        if action == "new":
            return len(self.made) - 1
        known = [(question, answer) for kind, question, answer in self._table if kind == action]
        for question, answer in known:
            if calls.same(question, asked):
                return calls.fresh(answer)
        if action not in self._usual:
            answers = [answer for _, answer in known]
            self._usual[action] = max(answers, key=lambda one: sum(calls.same(one, other) for other in answers))
        return calls.fresh(self._usual[action])


def _graded(mutants: list[Mutant], exams: Sequence[Exam]) -> Iterator[tuple[Mutant, list[Result]]]:
    """Yield the mutants that give any answer, with their results. What only stops with an error deceives nobody."""
    for mutant in mutants:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a mutant does to its numbers
            solution = build(mutant, exams[0].exercise.reference)
            if _answers(solution, exams[0]):
                yield mutant, [exam.grade(TimedSubject(solution)) for exam in exams]


def _answers(solution: Any, exam: Exam) -> bool:
    """Whether a solution gives an answer to any case, right or wrong."""
    subject = TimedSubject(solution)
    for case in exam.cases:
        failure = ask(exam.exercise, subject, case).failure
        if failure is None or failure.outcome is Raised.WRONG_ANSWER:
            return True
        if isinstance(failure.outcome, Lost):
            return False
    return False


def _caught(results: list[Result], name: str, survivors: list[str]) -> bool:
    """Whether all these are wrong; if not, add the name to the survivors."""
    passes = sum(map(bool, results))
    if passes:
        survivors.append(f"{name}  (passes on {passes} of {len(results)} seeds)")
    return not passes


def _share(result: Result) -> float:
    return result.points / result.exercise.points


def _equivalent() -> dict[str, list[str]]:
    """Return the mutants that a person has read and found to give the same answers wherever the exercise asks.

    Those of an instructor's own exercises are in a file of the same name in their folder.

    Raises:
        CourseError: If that file cannot be read, or holds anything but lists of texts.
    """
    known = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    try:
        path = find_checkout() / own.FOLDER / EQUIVALENT.name
        theirs = tomllib.loads(path.read_text("utf-8"))
    except (NoCheckout, FileNotFoundError):
        return known
    except (OSError, ValueError) as error:
        raise CourseError(f"{own.FOLDER}/{EQUIVALENT.name} is not TOML: {error}") from None
    for id, changes in theirs.items():
        if not isinstance(changes, list) or not all(isinstance(change, str) for change in changes):
            raise CourseError(
                f"{own.FOLDER}/{EQUIVALENT.name}: `{id}` is a list of changes as `course audit` prints them, in quotes"
            )
    return {id: [*known.get(id, []), *theirs.get(id, [])] for id in {**known, **theirs}}


COLUMNS = (
    *("exercise", "kind", "points", "cases", "fresh", "look-up", "mutants", "mistakes", "named"),
    *("most for a mistake", ""),
)


def _tell(done: Sequence[Audit]) -> None:
    """Print a line for each exercise, then what is wrong with some."""
    rows = [
        (
            found.id,
            found.kind,
            str(found.points),
            str(found.cases),
            str(found.fresh),
            f"{found.look_up:.0%}",
            f"{found.mutants_caught} of {found.mutants}",
            f"{found.mistakes_caught} of {found.mistakes}",
            f"{found.named:.0%}",
            f"{found.most:.0%}",
            "!" if found.complaints else "",
        )
        for found in done
    ]
    if not rows:
        return
    print(Table(COLUMNS, rows, ["left", "left", *["right"] * 8, "left"]).to_text())
    for found in done:
        if found.complaints or found.survivors:
            lines = [f"  {sentence}" for sentence in found.complaints]
            lines += [f"    passes: {survivor}" for survivor in found.survivors]
            print("\n".join([f"\n{found.id} ({found.lab})", *lines]))
    broken = sum(bool(found.complaints) for found in done)
    print(f"\n{len(done) - broken} of {len(done)} exercises keep all bounds.")
