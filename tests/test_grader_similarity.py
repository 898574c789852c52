"""Which answers are alike: what a copy keeps, what independent answers and those of the course do not share."""

import ast
import inspect
import itertools
import random
import textwrap

import pytest
from bs4 import BeautifulSoup

from course_lib import exercises
from course_lib.grader import class_page, similarity
from course_lib.grader.class_page import write_class_page
from course_lib.grader.exam import Outcome
from course_lib.grader.inside.cells import analyse
from course_lib.grader.inside.shape import LONGEST
from course_lib.grader.similarity import LEAST, MOST_GROUPS, MOST_HOLDERS, Pair, alike, in_groups, pairs, published

LAB = "ch01_attention"
ALL = {exercise.id: exercise for slug in exercises.labs() for exercise in exercises.of_lab(slug)}
SOFTMAX = ALL["softmax"]

# An answer that nothing published is like, and a copy of it in other words.
LONG_WAY = """\
def softmax(x, dim=-1):
    rows = x.movedim(dim, 0)
    top = rows[0]
    for row in rows[1:]:
        top = torch.maximum(top, row)
    weights, total = [], torch.zeros_like(top)
    for row in rows:
        weights.append(torch.exp(row - top))
        total = total + weights[-1]
    return torch.stack([w / total for w in weights]).movedim(0, dim)
"""
COPY = '''\
def softmax(scores: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """My own softmax."""
    s = scores.movedim(dim, 0)  # the axis first
    biggest = (s[0])
    for each in s[1:]: biggest = torch.maximum(biggest, each)
    out, z = [], torch.zeros_like(biggest)
    for each in s:
        out.append(
            torch.exp(each - biggest)
        )
        z = z + out[-1]

    return torch.stack([o / z for o in out]).movedim(0, dim)
'''
OTHER_WAY = """\
def softmax(x, dim=-1):
    order = x.sort(dim=dim, descending=True).values
    largest = order.narrow(dim, 0, 1)
    shifted = torch.where(x == largest, torch.zeros_like(x), x - largest)
    powers = torch.pow(torch.tensor(math.e, dtype=x.dtype), shifted)
    norm = powers.cumsum(dim).narrow(dim, x.shape[dim] - 1, 1)
    return powers * norm.reciprocal()
"""


def shape_of(source):
    [found] = [each["shape"] for each in analyse(source)["statements"] if each["definition"]]
    return found


def sources_of(exercise):
    """The reference and the other right answers."""
    solutions = [exercise.reference, *(alternative.solution for alternative in exercise.alternatives)]
    return [textwrap.dedent(inspect.getsource(solution)) for solution in solutions]


class Disguise(ast.NodeTransformer):
    """Gives all variables new names, and numbers another spelling."""

    def __init__(self, tree, rng):
        bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        bound |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        self.names = {name: f"{rng.choice('abcxyz')}{rng.randrange(10**6)}" for name in sorted(bound - {"self"})}

    def visit_Name(self, node):
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node):
        node.arg = self.names.get(node.arg, node.arg)
        return self.generic_visit(node)

    def visit_Constant(self, node):
        if type(node.value) is int:
            node.value = float(node.value)
        return node


def disguised(source, rng):
    """The same answer with other names, spellings and layout, and with comments and docstrings."""
    tree = ast.parse(source)
    tree = Disguise(tree, rng).visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.body.insert(0, ast.Expr(ast.Constant("Mine.")))
        if isinstance(node, ast.FunctionDef):
            for parameter in node.args.args:
                parameter.annotation = ast.Name("Any")
    lines = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
    return "\n".join(f"{line}  # {rng.random()}" for line in lines if "'''" not in line)


@pytest.mark.parametrize("id", list(ALL))
def test_a_shape_outlives_new_names_comments_and_layout(id):
    rng = random.Random(id)
    for source in sources_of(ALL[id]):
        assert shape_of(disguised(source, rng)) == shape_of(source)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return x.exp()", "return x.sum()"),
        ("return x + 1", "return x - 1"),
        ("return x + 1", "return x + 2"),
        ("return x.sum(dim=1)", "return x.sum(axis=1)"),
        ("return x is None", "return x is True"),
    ],
)
def test_another_computation_has_another_shape(one, other):
    assert shape_of(f"def f(x):\n    {one}") != shape_of(f"def f(x):\n    {other}")


def test_a_source_made_to_hurt_has_a_shape_or_none():
    deep = "def f(x):\n    return " + "-" * 900 + "x"
    assert analyse(deep)["error"] or shape_of(deep)
    long = "def f(x):\n" + "    x = x + 1\n" * 9000
    assert len(shape_of(long)) == LONGEST
    assert len(shape_of(f"def f(x):\n    return x.{'y' * 10**5}")) == LONGEST
    assert shape_of("def f(x):\n    return 10**400 + " + "9" * 400).count("large") == 1


def found(*sources, natural=frozenset()):
    return pairs("softmax", {f"s{i}": shape_of(source) for i, source in enumerate(sources)}, set(natural))


def test_a_copy_in_other_words_is_found_and_other_answers_are_not():
    natural = published(LAB, SOFTMAX)
    [pair] = found(LONG_WAY, OTHER_WAY, COPY, natural=natural)
    assert (pair.names, pair.share) == (("s0", "s2"), 1.0)
    assert pair.shared >= LEAST
    longer = COPY.replace("    return", "    z = z.clamp(min=0).clone()\n    assert z.isfinite().all()\n    return")
    [pair] = found(LONG_WAY, longer, natural=natural)
    assert 0.6 < pair.share < 1


@pytest.mark.parametrize("id", list(ALL))
def test_what_the_course_publishes_is_alike_by_nature(id):
    exercise = ALL[id]
    mistakes = [textwrap.dedent(inspect.getsource(mistake.solution)) for mistake in exercise.mistakes[:2]]
    natural = published(exercises.lab_of(id), exercise)
    for source in [*sources_of(exercise), *mistakes]:
        assert similarity.fingerprints(shape_of(source)) <= natural
        assert not found(source, disguised(source, random.Random(1)), natural=natural)


def test_right_answers_written_independently_do_not_pair():
    """Even if nothing that is published is left out: of some 270 pairs, at most one in a hundred looks alike."""
    counted = taken = 0
    for exercise in ALL.values():
        sources = sources_of(exercise)
        counted += len(list(itertools.combinations(sources, 2)))
        taken += len(found(*sources))
    assert counted > 200
    assert taken <= counted / 100


def test_what_many_wrote_is_common_and_short_answers_tell_nothing():
    assert len(found(*[LONG_WAY] * MOST_HOLDERS)) == MOST_HOLDERS * (MOST_HOLDERS - 1) / 2
    others = [f"{LONG_WAY.rstrip()} + {i}" for i in range(MOST_HOLDERS + 1)]  # all runs are common, but for the last
    assert found(*others) == []
    short = "def softmax(x, dim=-1):\n    e = (x - x.max()).exp()\n    return e / e.sum(dim, True)"
    assert found(short, short) == []


def test_a_whole_answer_that_many_have_is_one_group():
    same = [LONG_WAY, COPY] * (MOST_HOLDERS // 2 + 1)
    [group] = in_groups(found(*same, OTHER_WAY))
    assert {name for pair in group for name in pair.names} == {f"s{i}" for i in range(len(same))}
    assert {pair.share for pair in group} == {1.0}


# On the page of the class


def report(name, source):
    entry = {"title": "Softmax", "points": 0.0, "max_points": 2, "outcome": Outcome.WRONG}
    entry |= {
        "ended": None,
        "mistake": None,
        "diagnosis": None,
        "summary": "",
        "avoided": [],
        "answer": {"source": source, "shape": shape_of(source)},
    }
    return {
        "name": name, "lab": LAB, "verdict": "graded", "points": 0.0, "max_points": 2, "exercises": {"softmax": entry}
    }  # fmt: skip


def page(out, reports, **options):
    write_class_page(out, reports, {each["name"]: out / each["name"] for each in reports}, **options)
    return BeautifulSoup((out / "class.html").read_text(), "html.parser")


def test_both_answers_stand_side_by_side_and_nothing_of_them_is_markup(tmp_path):
    evil = COPY.replace("My own softmax.", "</pre><script>alert(1)</script>{{ 7 * 7 }}")
    seen = page(tmp_path, [report("ana", LONG_WAY), report("<b>ben", evil), report("eve", OTHER_WAY)])
    [pair] = seen.find_all("details")
    assert pair.summary.text == "Softmax: <b>ben and ana, 100% alike"
    assert [code.text.strip() for code in pair.find_all("pre")] == [evil.strip(), LONG_WAY.strip()]
    assert "no proof of anything" in seen.text
    assert not seen.find("script")
    assert not seen.find_all(src=True)
    assert "http" not in str(seen)


def test_it_can_be_left_out_and_says_when_there_is_none(tmp_path):
    reports = [report("ana", LONG_WAY), report("ben", COPY)]
    assert "alike" not in page(tmp_path, reports, similarity=False).text
    assert "no two answers share much beyond what the course publishes" in page(tmp_path, reports[:1]).text


def test_the_most_alike_come_first_and_a_group_takes_one_place(tmp_path):
    loose = LONG_WAY.replace("    top = rows[0]\n", "    top = rows[0] * 1.5 + x.mean().clamp(0, 1).abs()\n")
    reports = [report(f"s{i}", LONG_WAY if i else loose) for i in range(8)]
    shares = [pair.share for pair in alike(LAB, [SOFTMAX], reports)]
    assert shares == sorted(shares, reverse=True)
    assert (len(shares), shares[0] > shares[-1]) == (28, True)
    [group] = page(tmp_path, reports).find_all("details")
    assert group.summary.text == "Softmax: s1 and s2, 100% alike; and 6 more"
    assert group.p.get_text() == "With them: s0, s3, s4, s5, s6, s7."
    assert group.p.a["href"] == "s0/report.html"


def test_a_pair_that_joins_two_groups_makes_them_one():
    ab, cd, ef, bc = (Pair("softmax", names, 1.0, 9) for names in ("ab", "cd", "ef", "bc"))
    other = Pair("attention", ("a", "b"), 1.0, 9)
    assert in_groups([ab, cd, ef, other, bc]) == [[ab, cd, bc], [ef], [other]]


def test_the_page_has_an_end(tmp_path, monkeypatch):
    found = [Pair("softmax", (f"s{i}", f"t{i}"), 1.0, 9) for i in range(MOST_GROUPS + 3)]
    monkeypatch.setattr(class_page, "alike", lambda *_: found)
    reports = [report(name, LONG_WAY) for pair in found for name in pair.names]
    seen = page(tmp_path, reports)
    assert len(seen.find_all("details")) == MOST_GROUPS
    assert "And 3 more, less alike than these." in seen.text


def test_a_report_of_an_earlier_version_has_no_answer():
    old = report("ana", LONG_WAY)
    del old["exercises"]["softmax"]["answer"]
    assert alike(LAB, [SOFTMAX], [old, report("ben", COPY)]) == []
