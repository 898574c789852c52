"""`course audit`: what it must find in planted exercises, and what it says of the course's own."""

import json
import time

import pytest
import torch
from typer.testing import CliRunner

from course_lib import exercises
from course_lib.cli import app
from course_lib.errors import CourseError
from course_lib.exercises.spec import Case, Exercise, Mistake
from course_lib.grader import audit as audit_module
from course_lib.grader.audit import MOST_BY_LOOK_UP, LookUp, audit, audit_exercise
from course_lib.grader.exam import Exam
from course_lib.grader.hidden import exams_of, seed_of
from course_lib.grader.in_turn import later_exams
from course_lib.grader.inside import calls
from course_lib.grader.inside.calls import LocalSubject
from course_lib.grader.mutants import build, mutants_of

SEEDS = (1, 2, 3)


def clipped(x, most=4.0):
    """The square of each number, with a minus if the limit has one, but no more than `most`."""
    squares = x * x
    if most < 0:
        squares = -squares
    return squares.clamp(max=most)


def counted(n):
    total = 0
    while n > 0:
        total += n
        n -= 1
    return total


def planted(cases, reference=clipped, mistakes=()):
    return Exercise(
        id="planted",
        title="Planted",
        points=2,
        minutes=1,
        difficulty=1,
        kind="code",
        hints=("a", "b"),
        reference=reference,
        cases=cases,
        mistakes=mistakes,
        see="nowhere",
    )


def good_cases(rng):
    def draw(n):
        return 3 * torch.randn(n, generator=rng)

    return [
        Case("five numbers", (draw(50),)),
        Case("another limit", (draw(60), 2.5)),
        Case("a limit below zero", (draw(40), -1.0)),
        Case("a small limit", (draw(40), 0.5)),
        Case("no limit to speak of", (draw(30), 0.0)),
    ]


def fixed_cases(rng):
    return good_cases(torch.Generator().manual_seed(5))


def test_a_good_exercise_keeps_all_bounds():
    found = audit_exercise(planted(good_cases, mistakes=(Mistake(lambda x, most=4.0: x * x, "clip"),)), SEEDS)
    assert (found.cases, found.fresh, found.look_up) == (5, 5, 0)
    assert found.mistakes == found.mistakes_caught == 1
    assert not found.survivors
    assert not found.complaints


def test_cases_that_ignore_the_seed_are_caught():
    found = audit_exercise(planted(fixed_cases), SEEDS)
    assert (found.fresh, found.look_up) == (0, 1)
    assert "earns 100% of the points" in found.complaints[0]


def test_an_answer_that_is_the_same_whatever_is_asked_is_caught():
    def cases(rng):
        return [Case(f"case {i}", (torch.rand(3, generator=rng) + 2, 1.0)) for i in range(3)]

    found = audit_exercise(planted(cases), SEEDS)
    assert (found.fresh, found.look_up) == (3, 1), "every square is clipped to 1"


def test_a_slip_that_no_case_notices_is_listed():
    def cases(rng):
        return good_cases(rng)[:2]  # no limit below zero

    found = audit_exercise(planted(cases), SEEDS)
    assert any("squares = -squares  ->  pass" in survivor for survivor in found.survivors)
    assert "of wrong answers are caught" in found.complaints[0]


def test_a_known_mistake_that_passes_is_listed():
    found = audit_exercise(planted(good_cases, mistakes=(Mistake(clipped, "none"),)), SEEDS)
    assert found.survivors[0].startswith("the mistake clipped  (passes on 3 of 3 seeds)")
    assert found.most == 1


def test_what_a_person_calls_equivalent_does_not_count(tmp_path, monkeypatch):
    def cases(rng):
        return good_cases(rng)[:2]

    listed = [survivor.split("  (passes")[0] for survivor in audit_exercise(planted(cases), SEEDS).survivors]
    file = tmp_path / "equivalent.toml"
    file.write_text(f"planted = {json.dumps([*listed, 'gone'])}")
    monkeypatch.setattr(audit_module, "EQUIVALENT", file)
    found = audit_exercise(planted(cases), SEEDS)
    assert not found.survivors
    assert found.complaints == ["listed in equivalent.toml, and not among what passes: gone"]


def test_mutants_are_small_slips_that_run():
    changes = {mutant.change for mutant in mutants_of(clipped)}
    assert "squares = x * x  ->  squares = x / x" in changes
    assert "if most < 0:  ->  if most <= 0:" in changes
    assert "squares = -squares  ->  pass" in changes
    assert "return squares.clamp(max=most)  ->  return -squares.clamp(max=most)" in changes
    x = torch.tensor([1.0, 3.0])
    slip = next(mutant for mutant in mutants_of(clipped) if mutant.change == "squares = x * x  ->  squares = x / x")
    assert build(slip, clipped)(x).tolist() == [1, 1]
    assert clipped(x).tolist() == [1, 4], "the original is as it was"


def test_a_mutant_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr("course_lib.grader.timed.CALL", 0.3)

    def cases(rng):
        return [Case(str(i), (int(n),)) for i, n in enumerate(torch.randint(5, 10**6, (3,), generator=rng) % 500 + 5)]

    assert any(mutant.change == "n -= 1  ->  pass" for mutant in mutants_of(counted))
    began = time.monotonic()
    found = audit_exercise(planted(cases, counted), SEEDS)
    assert time.monotonic() - began < 60
    assert found.mutants == found.mutants_caught + len(found.survivors)


@pytest.mark.parametrize("id", ["attention", "multi_head_attention", "route"])
def test_the_table_of_visible_answers_passes_the_visible_checks(id):
    """Also of a class, whose objects are told apart by how they were made."""
    visible = Exam(exercises.find(id))
    assert visible.grade(LookUp(visible))


def test_a_table_of_the_first_hand_ins_hidden_answers_earns_nothing_in_the_second():
    first, own = (exams_of("ch01_attention", seed_of(7, hand_in)) for hand_in in (1, 2))
    for known, asked in zip(first, later_exams(first, own), strict=True):
        if known.exercise.id == "logit_variance":
            continue  # of other random numbers each time it is asked
        table = LookUp(known)
        assert known.grade(table), known.exercise.id
        assert asked.grade(table).points <= MOST_BY_LOOK_UP * asked.exercise.points, known.exercise.id


class LookUpOrTheory(LookUp):
    """A table of the visible answers to `logit_variance`, and else what theory says."""

    def send(self, action, number, args, kwargs):
        asked = self.question(action, number, args, kwargs)
        known = (answer for kind, question, answer in self._table if kind == action and calls.same(question, asked))
        return next(known, float(args[0]))


@pytest.mark.parametrize("seed", range(1, 5))
def test_what_is_asked_beside_a_measurement_follows_from_the_seed(seed):
    visible, hidden = (Exam(exercises.find("logit_variance"), s) for s in (0, seed))
    table = LookUpOrTheory(visible)
    assert visible.grade(table)
    assert hidden.grade(table).points == 0


def test_a_wrong_answer_earns_the_same_in_each_hand_in():
    first, *others = (exams_of("ch01_attention", seed_of(7, hand_in)) for hand_in in (1, 2, 3))
    hand_ins = [first, *(later_exams(first, own) for own in others)]
    for exams in zip(*hand_ins, strict=True):
        for mistake in exams[0].exercise.mistakes:
            results = [exam.grade(LocalSubject(mistake.solution)) for exam in exams]
            assert not any(results)
            assert len({result.points for result in results}) == 1, mistake.solution.__name__
            assert results[0].checks == results[1].checks


def test_a_wrong_answer_earns_at_most_half_and_nothing_by_what_is_visible():
    def cases(rng):
        x = 3 * torch.randn(5, generator=rng)
        return [Case("fixed", (torch.ones(2),)), Case("fresh", (x, 1.0)), Case("fresh, below zero", (x, -1.0))]

    def earns(solution):
        return Exam(planted(cases), 1).grade(LocalSubject(solution)).points

    assert earns(clipped) == 2
    assert earns(lambda x, most=4.0: (x * x).clamp(max=most)) == 0.5, "one of two fresh ones is right"
    assert earns(lambda x, most=4.0: clipped(x, most) if len(x) > 2 else -x) == 1, "the fixed one is wrong"
    assert earns(lambda x, most=4.0: clipped(x, most) if len(x) == 2 else x) == 0, "only the fixed one is right"


def test_the_command(tmp_path):
    out = tmp_path / "audit.json"
    result = CliRunner().invoke(app, ["audit", "ch01_attention", "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "6 of 6 exercises keep all bounds." in result.output
    kept = json.loads(out.read_text())
    assert [row["id"] for row in kept["exercises"]] == list(exercises.lab("ch01_attention").exercises)
    assert all(row["look_up"] <= kept["bounds"]["look_up"] for row in kept["exercises"])


def test_a_broken_bound_is_the_exit_status(monkeypatch, capsys):
    monkeypatch.setattr(exercises, "of_lab", lambda lab: [planted(fixed_cases)])
    assert audit(["ch01_heads"]) == 1
    assert "0 of 1 exercises keep all bounds." in capsys.readouterr().out


def test_stopping_prints_what_is_done(monkeypatch, capsys):
    done = iter([planted(good_cases)])

    def first_only(exercise, seeds, real=audit_exercise):
        for one in done:
            return real(one, seeds)
        raise KeyboardInterrupt

    monkeypatch.setattr(audit_module, "audit_exercise", first_only)
    with pytest.raises(KeyboardInterrupt):
        audit(["ch01_attention"])
    text = capsys.readouterr().out
    assert "stopped after 1 of 6 exercises" in text
    assert "planted" in text


def test_an_unknown_lab_is_named():
    with pytest.raises(CourseError, match="no lab called 'ch99'"):
        audit(["ch99"])
