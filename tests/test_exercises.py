"""Every exercise: right answers pass however they are written, wrong ones fail, known mistakes are named."""

import ast
import functools
import importlib
import inspect
import math
import re
import textwrap
from pathlib import Path

import nbformat
import pytest
import torch

from course_lib import exercises
from course_lib.exercises.spec import Case, alternatives_in, mistakes_in
from course_lib.grader.check import _visible_exam
from course_lib.grader.exam import Exam, ask
from course_lib.grader.inside import calls
from course_lib.grader.inside.calls import LocalSubject

# As the course has them: a fork may have other points, and private cases.
ALL = {id: exercises.find(id) for slug in exercises.labs() for id in exercises.lab(slug).exercises}
SEEDS = (1, 2**40 + 7)
exam_for = functools.cache(lambda id, seed: Exam(ALL[id], seed))

for_all = pytest.mark.parametrize("id", ALL)


@for_all
@pytest.mark.parametrize("seed", [0, *SEEDS])
def test_reference_passes(id, seed):
    assert exam_for(id, seed).grade(LocalSubject(ALL[id].reference)), id


@for_all
def test_right_answers_written_another_way_pass(id):
    """On many seeds, since a tolerance that is too tight fails an honest answer only now and then."""
    assert ALL[id].alternatives, f"{id} has no right answer written another way: mark one with `@alternative`"
    for seed in (0, *SEEDS, *range(2, 24)):
        exam = exam_for(id, seed) if seed in (0, *SEEDS) else Exam(ALL[id], seed)
        for alternative in ALL[id].alternatives:
            verdict = exam.grade(LocalSubject(alternative.solution))
            assert verdict, (alternative.solution.__name__, seed, verdict.diagnosis)


MISTAKES = [
    pytest.param(id, mistake, id=f"{id}-{mistake.solution.__name__}")
    for id, exercise in ALL.items()
    for mistake in exercise.mistakes
]


@pytest.mark.parametrize("seed", [0, *SEEDS])
@pytest.mark.parametrize(("id", "mistake"), MISTAKES)
def test_known_mistake_fails_and_is_named(id, mistake, seed):
    verdict = exam_for(id, seed).grade(LocalSubject(mistake.solution), hide_values=True)
    assert not verdict, f"{id}: the known mistake {mistake.message!r} passes"
    name = mistake.solution.__name__
    assert verdict.mistake == mistake.message, f"{name} is taken for another mistake: put the one that fits fewer first"
    # Graded, fractions are taken out of what an exercise itself says: a sentence must not live on one.
    assert "..." not in re.sub(r"`[^`]*`", "", verdict.diagnosis), f"{name}: {verdict.diagnosis}"


# Slips made in the reference's source: a mistake's own solution may be wrong in the same way as its helper.
ABS = 'abs(claim["value"] - claim["control"])'
SLIPS = [
    (ABS, 'claim["value"] - claim["control"]', "clearly *below* its control"),
    (ABS, 'claim["control"] - claim["value"]', "clearly *above* its control"),
    ("< 2 *", "< 1 *", "One error is not enough"),
    ('claim["chosen_on"] == claim["measured_on"]', 'claim["chosen_on"] == "test"', "Only the test text counts"),
    ('claim["general"] and claim["seeds"] == 1', 'claim["seeds"] == 1', "One seed is enough for"),
    ('claim["general"] and claim["seeds"] == 1', 'claim["general"]', "may stay if more than one seed"),
    ('claim["control"] is None', 'not claim["control"]', "A control of 0.0 is a control"),
]


@pytest.mark.parametrize(("right", "slip", "told"), SLIPS)
def test_a_slip_in_unsupported_claims_is_named(right, slip, told):
    source = inspect.getsource(ALL["unsupported_claims"].reference)
    assert right in source
    namespace = {}
    exec(source.replace(right, slip), namespace)
    verdict = exam_for("unsupported_claims", 0).grade(LocalSubject(namespace["unsupported_claims"]))
    assert told in (verdict.mistake or ""), verdict.diagnosis


@for_all
def test_an_exercise_is_complete(id):
    exercise = ALL[id]
    exam = exam_for(id, 0)
    assert exercise.id == id
    module = exercise.reference.__module__
    assert module == f"course_lib.exercises.{exercises.lab_of(id)}.{id}"
    assert set(mistakes_in(module)) <= set(exercise.mistakes), "EXERCISE comes last: what is below it is not found"
    assert set(alternatives_in(module)) == set(exercise.alternatives), "EXERCISE comes last"
    assert len(exercise.hints) == 2
    assert all(exercise.hints)
    assert exercise.points > 0
    assert 1 <= exercise.difficulty <= 3
    assert exercise.see
    assert exercise.kind in ("code", "derive", "debug", "design")
    assert len(exercise.mistakes) >= 2
    assert len({case.name for case in exam.cases}) == len(exam.cases) >= 2
    earlier = list(ALL)[: list(ALL).index(id)]
    assert set(exercise.needs) <= set(earlier), "an exercise builds on earlier ones only"


LONGEST_TOLD = 40  # characters without spaces: what is shorter is a call that a hint may have to show


def as_told(code):
    return re.sub(r"[\s`]", "", code).replace("'", '"')


@for_all
def test_a_hint_is_not_the_solution(id):
    exercise = ALL[id]
    tree = ast.parse(textwrap.dedent(inspect.getsource(exercise.reference)))
    statements = [node for node in ast.walk(tree) if isinstance(node, (ast.Return, ast.Assign, ast.AugAssign))]
    lines = [as_told(ast.unparse(node.value)) for node in statements if node.value]
    told = [
        line for line in lines if len(line) > LONGEST_TOLD and any(line in as_told(hint) for hint in exercise.hints)
    ]
    assert not told, f"{id}: a hint says where to look and does not write {told}"


FILES = sorted(Path(exercises.__file__).parent.glob("*/[a-z]*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_listed_in_its_lab(path):
    listed = exercises.lab(path.parent.name).exercises
    assert path.stem in listed, f"{path.name} is not in `exercises` of {path.parent.name}/__init__.py"
    id = importlib.import_module(f"course_lib.exercises.{path.parent.name}.{path.stem}").EXERCISE.id
    assert id == path.stem, f'{path.name} has id="{id}"; an exercise has the name of its file'


def test_ids_are_unique_and_the_table_is_complete():
    ids = [exercise.id for slug in exercises.labs() for exercise in exercises.of_lab(slug)]
    assert len(ids) == len(set(ids)) == len(exercises._lab_of_id())
    with pytest.raises(LookupError, match="did you mean 'softmax'"):
        exercises.find("sofmax")


@for_all
def test_the_seed_alone_decides_the_cases(id):
    cases = ALL[id].cases(torch.Generator().manual_seed(SEEDS[0]))
    for a, b in zip(cases, exam_for(id, SEEDS[0]).cases, strict=True):
        assert calls.same((a.args, a.kwargs), (b.args, b.kwargs))


@for_all
def test_reference_source_runs_with_the_labs_imports_and_earlier_references(id):
    exercise, slug = ALL[id], exercises.lab_of(id)
    namespace = {"__name__": "lab"}
    exec(_imports(slug), namespace)
    for earlier in exercises.of_lab(slug):
        exec(inspect.getsource(earlier.reference), namespace)
        if earlier is exercise:
            break
    verdict = exam_for(id, 0).grade(LocalSubject(namespace[exercise.name]))
    assert verdict, verdict.diagnosis


@functools.cache
def _imports(slug):
    """The imports of the lab's notebook, without the course's own: a reference may not lean on the library."""
    found = []
    for cell in notebook_of(slug).cells:
        if cell.cell_type == "code" and "colab-setup" not in cell.get("id", "") and "# EXERCISE" not in cell.source:
            found += [node for node in ast.parse(cell.source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return "\n".join(line for line in map(ast.unparse, found) if "course_lib" not in line)


@functools.cache
def notebook_of(slug):
    path = Path(f"labs/{slug}.ipynb")
    assert path.is_file(), f"{path} is missing, and course_lib/exercises/{slug} has exercises for it"
    return nbformat.read(path, as_version=4)


# What notebooks and pages say about the exercises, typed a second time.

for_all_labs = pytest.mark.parametrize("slug", exercises.labs())
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def stubs_of(slug):
    """{id: the cell before the stub} in the order of the notebook."""
    cells = notebook_of(slug).cells
    marks = [(i, re.match(r"# EXERCISE: (\S+)", cell.source)) for i, cell in enumerate(cells)]
    return {mark[1]: cells[i - 1] for i, mark in marks if mark and cells[i].cell_type == "code"}


@for_all_labs
def test_the_notebook_has_the_labs_title_and_exercises(slug):
    lab, opening = exercises.lab(slug), notebook_of(slug).cells[0].source
    assert opening.splitlines()[0] == f"# {lab.title}"
    assert tuple(stubs_of(slug)) == lab.exercises
    points = sum(ALL[id].points for id in lab.exercises)
    exercise_count = f"{NUMBER_WORDS[len(lab.exercises)].capitalize()} exercise{'s'[: len(lab.exercises) != 1]}"
    assert re.search(rf"{exercise_count}, {points} points?\b", opening)


# Labs that have fewer than three kinds of exercises, for now.
CLIMB_TOO_LITTLE = {
    "capstone_moe",
    "capstone_vision_text",
}


@for_all_labs
def test_a_lab_has_three_kinds_of_exercises(slug):
    ids = exercises.lab(slug).exercises
    kinds = {ALL[id].kind for id in ids}
    enough = len(kinds) >= min(3, len(ids))  # `course new-lab` begins with one exercise
    assert enough != (slug in CLIMB_TOO_LITTLE), (
        f"{slug} has exercises of {len(kinds)} kinds, {', '.join(sorted(kinds))}; it should have at least three, and "
        "then it leaves the list `CLIMB_TOO_LITTLE`"
    )


@for_all
def test_an_exercise_with_a_fault_in_given_code_says_so(id):
    task = stubs_of(exercises.lab_of(id))[id].source
    assert ("Find the fault" in task) == (ALL[id].kind == "debug")


@for_all
def test_the_notebook_says_the_points_and_minutes(id):
    slug = exercises.lab_of(id)
    stubs = stubs_of(slug)
    assert id in stubs, f"labs/{slug}.ipynb has no stub that begins with '# EXERCISE: {id}': add the three cells"
    task = stubs[id]
    assert task.cell_type == "markdown", "the cell before a stub says what it takes and returns"
    assert re.search(rf"^### Exercise:? `{id}`", task.source, re.MULTILINE)
    said = re.findall(r"(\d+) points?, (?:about )?(\d+) minutes", task.source)
    assert said == [(str(ALL[id].points), str(ALL[id].minutes))]


def test_index_and_table_of_contents_list_the_labs():
    row = re.compile(r"^\| \[.+\]\(\.\./labs/(\w+)\.ipynb\) \| (.+) \|$", re.MULTILINE)
    asked = dict(row.findall(Path("book/index.md").read_text()))
    assert asked == {slug: exercises.lab(slug).question for slug in exercises.labs()}
    assert re.findall(r"file: labs/(\w+)", Path("_toc.yml").read_text()) == list(asked)


# Generic wrong versions: whatever the exercise, these must fail.


def floats(change):
    def apply(x):
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            return change(x)
        return float(change(torch.tensor(x))) if isinstance(x, float) else x

    return apply


def zeros(x):
    return x * 0 if isinstance(x, (int, float)) else torch.zeros_like(x) + 0 * x.detach().nan_to_num(0, 0, 0)


def wrong_shape(x):
    return x.unsqueeze(0) if isinstance(x, torch.Tensor) else [x]


def wrong_dtype(x):
    if isinstance(x, torch.Tensor):
        if x.is_floating_point() and not x.ndim:  # any float may stand for a single number
            return x.to(torch.complex64)
        return x.double() if x.is_floating_point() and x.dtype != torch.float64 else x.float()
    return x.encode() if isinstance(x, str) else str(x)


def flipped(x):
    if isinstance(x, torch.Tensor):
        return ~x if x.dtype == torch.bool else -x
    return -x


def transposed(x):
    return x.transpose(-1, -2) if isinstance(x, torch.Tensor) and x.dim() > 1 else x


GENERIC = {
    "zeros": zeros,
    "NaN": floats(lambda x: x * math.nan),
    "infinite": floats(lambda x: x + math.inf),
    "wrong shape": wrong_shape,
    "wrong dtype": wrong_dtype,
    "sign flipped": flipped,
    "transposed": transposed,
    "detached": lambda x: x.detach() if isinstance(x, torch.Tensor) else x,
}


def spoiled(reference, change=lambda x: x, before=lambda args, kwargs: None):
    """The reference, with its arguments tampered with before and every leaf of its result changed after."""
    if isinstance(reference, type):

        class Spoiled(reference):
            def forward(self, *args, **kwargs):
                before(args, kwargs)
                return calls.tree_map(change, super().forward(*args, **kwargs))

        return Spoiled

    def call(*args, **kwargs):
        result = reference(*args, **kwargs)
        before(args, kwargs)
        return calls.tree_map(change, result)

    return call


def tensors_in(value):
    return [t for t in calls.leaves(value) if isinstance(t, torch.Tensor) and t.numel()]


def applies(kind, id):
    """Whether this way of being wrong exists for an exercise: no integer is NaN, no vector is transposed."""
    expected = exam_for(id, 0).expected
    if kind in ("NaN", "infinite"):
        return any(
            isinstance(x, float) or x.is_floating_point()
            for x in calls.leaves(expected)
            if not isinstance(x, (int, str, type(None)))
        )
    if kind == "transposed":  # the results alone are: a number with a gradient of two dimensions stays as it is
        results = [e.get("output", e) if isinstance(e, dict) else e for e in expected]
        return any(t.dim() > 1 and not calls.same(t, t.transpose(-1, -2)) for t in tensors_in(results))
    if (kind, id) == ("wrong dtype", "rank_residual"):
        return False  # it asks for a number, and a tensor of no dimensions is one, whatever its type
    if (kind, id) == ("wrong dtype", "plan_runs"):
        return False  # floats of any type make a plan
    return kind != "detached" or any(isinstance(e, dict) and "gradients" in e for e in expected)


@for_all
def test_generic_wrong_answers_fail(id):
    """All kinds in one test: which apply takes an exam to tell, and at collection each process would make it."""
    for kind in (kind for kind in GENERIC if applies(kind, id)):
        verdict = exam_for(id, 0).grade(LocalSubject(spoiled(ALL[id].reference, GENERIC[kind])))
        assert not verdict, f"{id}: {kind} passes"
        assert verdict.diagnosis, kind


@for_all
def test_changing_an_argument_in_place_fails(id):
    exam = exam_for(id, 0)
    has_tensors = any(tensors_in(case.args) for case in exam.cases)

    def scribble(args, kwargs):
        with torch.no_grad():
            first = tensors_in([list(args), kwargs])[:1]
            for leaf in first:
                leaf.copy_(~leaf if leaf.dtype == torch.bool else leaf + 1)

    assert bool(exam.grade(LocalSubject(spoiled(ALL[id].reference, before=scribble)))) != has_tensors


@for_all
def test_an_answer_that_varies_from_call_to_call_fails(id):
    counter = iter(range(10**6))

    def drift(x):
        if isinstance(x, torch.Tensor):
            return torch.full_like(x, next(counter))
        return type(x)(next(counter))

    assert not exam_for(id, 0).grade(LocalSubject(spoiled(ALL[id].reference, drift)))


@pytest.mark.parametrize("id", [id for id in ALL if ".exp(" in inspect.getsource(ALL[id].reference)])
def test_overflow_is_asked_for_where_exponentials_are_taken(id):
    cases = exam_for(id, 0).cases
    largest = max(t.abs().nan_to_num(0, 0, 0).max().item() for case in cases for t in tensors_in(case.args))
    assert largest > 89, "exp(89) is infinite in float32: a case should reach it"


@for_all
def test_the_instant_check_is_instant(id, capsys):
    from time import process_time

    from course_lib.grader import check

    wrong = ALL[id].mistakes[0]
    # 0.2 s of CPU time on a quiet machine.  On a busy one it can be six times that, once: not five times in a row.
    for _ in range(5):
        _visible_exam.cache_clear()
        began = process_time()
        assert not check(id, wrong.solution)
        took = process_time() - began
        assert wrong.message in capsys.readouterr().out
        if took < 1:
            return
    raise AssertionError(f"{took:.2f} s of CPU time")


@for_all
def test_cases_are_plain_data(id):
    for case in exam_for(id, 0).cases:
        assert isinstance(case, Case)
        assert calls.same(calls.plain(list(case.args)), calls.plain(calls.fresh(list(case.args))))
        answer = ask(ALL[id], LocalSubject(ALL[id].reference), case)
        assert answer.failure is None
