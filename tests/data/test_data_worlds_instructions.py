"""The world of instructions: what its skills do, what a document shows and what it never shows."""

import pytest
import torch

from course_lib.data.worlds.instructions import GAP, STRANGERS, WORDS, Instructions

WORLD = Instructions()


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def plainly(skill, string):
    """Each skill as Python would do it, letter by letter."""
    following = dict(zip("abcdefgh", "bcdefgha", strict=True))
    match skill:
        case "reverse":
            return string[::-1]
        case "sort":
            return sorted(string)
        case "rotate":
            return [*string[1:], string[0]]
        case "shift":
            return [following[letter] for letter in string]


def lines_of(rows):
    for row in rows:
        text = WORLD.tokenizer.decode(row.tolist())
        yield from (line.split() for line in text.split(";") if line.strip())


def test_a_line_shows_what_its_word_says():
    found = dict.fromkeys(WORDS, 0)
    for word, *rest in lines_of(WORLD.documents(300, rng(), words=0.0)):
        string, marks, answer = rest[:4], rest[4:7], rest[7:]
        assert set(marks) <= set(GAP)
        skills = [skill for skill in WORDS if word in WORDS[skill]]
        assert bool(skills) != (word in STRANGERS)
        for skill in skills:
            assert answer == plainly(skill, string)
            found[skill] += 1
        assert any(answer == plainly(skill, string) for skill in WORDS)
    assert min(found.values()) > 80  # of 600 lines, six sevenths of a quarter each


def test_a_skill_that_is_left_out_is_in_no_line_and_its_words_keep_to_themselves():
    rows = WORLD.documents(400, rng(), without=["sort"])
    alone = 0
    for line in lines_of(rows):
        if set(line) & set(WORDS["sort"]):
            assert set(line) <= set(WORDS["sort"])
            alone += 1
    assert alone > 0
    assert rows.shape == (400, WORLD.lines * (2 * WORLD.length + WORLD.gap + 2))


def test_held_out_strings_are_in_no_document_and_no_training_task():
    everything = torch.cartesian_prod(*[torch.arange(8)] * 4)
    held_out = {tuple(row) for row in everything[WORLD.held_out(everything)].tolist()}
    assert len(held_out) == pytest.approx(len(everything) / 5, rel=0.02)
    assert not {tuple(row) for row in WORLD.strings(3000, rng()).tolist()} & held_out
    assert {tuple(row) for row in WORLD.strings(3000, rng(), test=True).tolist()} <= held_out


def test_tasks_come_in_turn_and_their_answers_are_right():
    words = [("reverse", "flip"), ("shift", "bump")]
    tasks = WORLD.tasks(7, rng(), words)
    assert [(task.skill, task.word) for task in tasks] == (words * 4)[:7]
    for task in tasks:
        word, *string = task.prompt.split()
        assert word == task.word
        assert task.answer.split() == plainly(task.skill, string)


def test_what_is_no_world_is_refused():
    with pytest.raises(ValueError, match="n_letters=1 must be a whole number, at least 2"):
        Instructions(n_letters=1)
    with pytest.raises(ValueError, match="there is no skill 'hum'"):
        WORLD.apply_skill("hum", torch.zeros(1, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="'z' is no letter"):
        WORLD.token("z")
