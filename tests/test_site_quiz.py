"""The quizzes of the book: neither the length nor the place of an answer tells, and each chapter asks to think."""

import re
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import groupby

import pytest
from site_project import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from course.quiz import KINDS, choices, shuffled

QUIZ = re.compile(
    r"^:::\{quiz\} (?P<question>.+)\n:id: (?P<id>.+)\n(?::kind: (?P<kind>.+)\n)?(?P<body>(?s:.*?))^:::$", re.M
)
PAGES = sorted(path for kind in ("ch[0-9][0-9]_*.md", "capstone_*.md") for path in (ROOT / "book").glob(kind))
CHAPTERS = {name: list(paths) for name, paths in groupby(PAGES, key=lambda path: path.stem.partition("_")[0])}


@dataclass
class Quiz:
    id: str
    kind: str | None
    options: list[tuple[bool, str, str]]

    @property
    def lengths(self):
        """The length of the right answer, and those of the wrong ones."""
        return next(len(text) for right, text, _ in self.options if right), [
            len(text) for right, text, _ in self.options if not right
        ]


def quizzes(path):
    text = path.read_text(encoding="utf8")
    found = [Quiz(m["id"], m["kind"], choices(m["body"].splitlines())) for m in QUIZ.finditer(text)]
    assert len(found) == text.count("{quiz}")
    return found


ALL = [quiz for path in PAGES for quiz in quizzes(path)]


def test_the_length_of_an_answer_does_not_tell():
    longest = sum(quiz.lengths[0] > max(quiz.lengths[1]) for quiz in ALL)
    shortest = sum(quiz.lengths[0] < min(quiz.lengths[1]) for quiz in ALL)
    assert max(longest, shortest) / len(ALL) < 0.35  # among four, luck has a quarter


def test_the_place_of_an_answer_does_not_tell():
    places = Counter([right for right, _, _ in shuffled(quiz.options, quiz.id)].index(True) for quiz in ALL)
    assert set(places) == set(range(4))
    assert all(0.12 < count / len(ALL) < 0.4 for count in places.values())


def test_the_choices_are_shuffled_in_the_same_way_each_time():
    options = ALL[0].options
    assert shuffled(options, "a") == shuffled(options, "a")
    assert sorted(shuffled(options, "a")) == sorted(options)
    assert len({tuple(shuffled(options, name)) for name in "abcdefgh"}) > 1


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_asks_for_a_sum_a_picture_and_what_was_not_shown(chapter):
    assert {quiz.kind for path in CHAPTERS[chapter] for quiz in quizzes(path)} >= KINDS.keys()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_quizzes_stand_at_their_ideas(chapter):
    texts = [path.read_text(encoding="utf8") for path in CHAPTERS[chapter]]
    sections = [section for text in texts for section in re.split(r"(?m)^## ", text)]
    assert sum("{quiz}" in section for section in sections) >= 5


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_not_many_quizzes_stand_in_a_row(path):
    in_a_row = re.findall(r"(?:^:::\{quiz\}.*\n(?:(?!:::\n).*\n)*:::\n\s*){3,}", path.read_text(encoding="utf8"), re.M)
    assert not in_a_row


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_two_quizzes_of_a_page_share_a_name(path):
    names = [quiz.id for quiz in quizzes(path)]
    assert len(set(names)) == len(names)
