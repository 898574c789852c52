"""Invented people: facts read back from the text, nothing of the unknown and the held out leaks, levels and bits."""

import itertools
import math
import re

import pytest
import torch
from guessing import drawn_as_listed, mean_is, near, rng

from course_lib.data.worlds.biographies import ATTRIBUTES, HELD_OUT_QUESTION, HELD_OUT_STATEMENT, Biographies, _invented
from course_lib.data.worlds.words import word_tokenizer

FULL = Biographies(n_people=300, n_unknown=100, n_values=(20, 30, 40, 10), n_first=25, n_last=30)
NAME = r"(?P<name>[A-Z]\w+ [A-Z]\w+)"
# What tells the attributes of a statement apart, in the order in which to try.
CLUES = {
    "birth city": r"birth city|city where|place where .* was born|was born in",
    "birth year": r"birth year|year when|date when|has lived since",
    "university": r"university|studied",
    "company": r"company|works",
}


def read(sentence):
    """Name, attribute and value of a statement, from its words alone."""
    name = re.search(NAME, sentence).group("name") if not sentence.startswith("The") else re.search(
        rf"(?:of|where|when) {NAME}", sentence
    ).group("name")  # fmt: skip
    attribute = next(kind for kind, clue in CLUES.items() if re.search(clue, sentence))
    return name, attribute, re.search(r"(\w+)\.$", sentence).group(1)


def people_of(world, n):
    return [world.name(person) for person in range(n)]


@pytest.mark.parametrize("form", range(HELD_OUT_STATEMENT + 1))
def test_facts_read_back_from_the_text(form):
    for person in range(0, 400, 7):
        for attribute, kind in enumerate(ATTRIBUTES):
            sentence = FULL.statement(person, attribute, form)
            answer = FULL.answer(person, attribute)
            assert read(sentence) == (FULL.name(person), kind, answer)
            assert sentence == f"{FULL.prompt(person, attribute, form)} {answer}."
            assert FULL.value(attribute, FULL.facts[person, attribute].item()) == answer


def test_a_prompt_tells_which_fact_comes():
    prompts = [FULL.prompt(0, a, form) for a in range(4) for form in range(HELD_OUT_STATEMENT + 1)]
    for one, other in itertools.permutations(prompts, 2):
        assert not f"{other} ".startswith(f"{one} ")
    questions = {FULL.question(0, a, form) for a in range(4) for form in range(HELD_OUT_QUESTION + 1)}
    assert len(questions) == 12
    assert all(q.endswith("?") and FULL.name(0) in q for q in questions)
    assert len({FULL.question(0, 1, form) for form in range(3)} | set(prompts)) == 3 + len(prompts)


def test_held_out_forms_are_never_drawn_but_their_words_are():
    mentions = FULL.sample(5000, rng())
    assert set(mentions.form.tolist()) == set(range(HELD_OUT_STATEMENT))
    assert Biographies(n_forms=1).sample(500, rng()).form.max() == 0
    forms = FULL.texts(mentions)
    for attribute in range(4):
        held_out = FULL.statement(0, attribute, HELD_OUT_STATEMENT)
        assert held_out not in forms
    for n_attributes in range(1, 5):
        attributes = range(n_attributes)
        told = {w for a in attributes for f in range(HELD_OUT_STATEMENT) for w in words(FULL.statement(0, a, f))}
        asked = {w for a in attributes for f in range(HELD_OUT_QUESTION) for w in words(FULL.question(0, a, f))}
        for a in attributes:
            assert words(FULL.statement(0, a, HELD_OUT_STATEMENT)) <= told
            assert words(FULL.question(0, a, HELD_OUT_QUESTION)) <= told | asked


def words(text):
    return set(re.findall(r"\w+|[^\w\s]", text))


@pytest.mark.parametrize("world", [Biographies(), FULL, Biographies(8, 1, (3,), 3, 5), Biographies(5, 10, (2,), 3, 5)])
def test_unknown_people_are_strangers_with_known_names(world):
    names = people_of(world, world.n_people + world.n_unknown)
    known, unknown = names[: world.n_people], names[world.n_people :]
    assert len(set(names)) == len(names)
    for part, size in ((0, world.n_first), (1, world.n_last)):
        parts = {name.split()[part] for name in known}
        assert len(parts) == size
        assert {name.split()[part] for name in unknown} <= parts
    mentions = world.sample(20_000, rng())
    assert mentions.person.max() < world.n_people
    assert torch.equal(mentions.value, world.facts[mentions.person, mentions.attribute])


def test_mentions_follow_zipf_or_are_even():
    for world in (Biographies(6, 0, (2, 3), 2, 3), Biographies(6, 0, (2, 3), 2, 3, zipf=0.0)):
        weights = [1 / (i + 1) ** world.zipf for i in range(6)]
        drawn = world.sample(20_000, rng())
        cases = [
            (w / sum(weights) / 6, (i, a, form)) for i, w in enumerate(weights) for a in range(2) for form in range(3)
        ]
        rows = zip(drawn.person.tolist(), drawn.attribute.tolist(), drawn.form.tolist(), strict=True)
        assert drawn_as_listed(list(rows), cases)
        assert world.exposure.tolist() == pytest.approx([w / sum(weights) for w in weights])
    some = world.sample(3000, rng(), people=torch.tensor([4, 1])).person.tolist()
    assert drawn_as_listed(some, [(0.5, 1), (0.5, 4)])


def test_some_people_keep_their_proportions():
    world = Biographies(6, 0, (2,), 2, 3, zipf=1.0)
    some = world.sample(20_000, rng(), people=torch.tensor([5, 0, 2])).person.tolist()
    total = 1 + 1 / 3 + 1 / 6
    assert drawn_as_listed(some, [(1 / total, 0), (1 / 3 / total, 2), (1 / 6 / total, 5)])


def test_facts_are_uniform_independent_and_unrelated_to_names():
    world = Biographies(20_000, 20_000, (4, 5), 250, 250, seed=3)
    city, year = world.facts.T
    for a, b in itertools.product(range(4), range(5)):
        assert near((city == a) & (year == b), 1 / 20)
    strangers = city[world.n_people :]
    for answer in range(4):
        assert near(strangers == answer, world.chance[0])
    # The commonest value among known people with the same last name is no guide to the unknown.
    counts = torch.zeros(250, 4).index_put(
        (world.names[:20_000, 1], city[:20_000]), torch.ones(20_000), accumulate=True
    )
    assert near(counts.argmax(1)[world.names[20_000:, 1]] == strangers, world.chance[0])


def test_levels_and_bits_by_counting():
    world = Biographies(4, 2, (3, 2), 2, 3)
    tables = len(list(itertools.product(itertools.product(range(3), range(2)), repeat=4)))
    assert world.bits == pytest.approx(math.log2(tables))
    assert world.chance == (1 / 3, 1 / 2)
    # Over seeds, any one answer about an unknown person is right with the frequency of chance.
    facts = torch.stack([Biographies(4, 2, (3, 2), 2, 3, seed=seed).facts for seed in range(2000)])
    assert mean_is((facts[:, 5, 0] == 1).double(), world.chance[0])


def test_tokens_name_the_same_facts():
    world = Biographies(60, 5, (4, 7), 8, 9, n_forms=2)
    mentions = world.sample(500, rng())
    tokens = world.tokens(mentions)
    marks = [("first", i) for i in range(8)] + [("last", i) for i in range(9)]
    marks += [("relation", a, form) for a in range(2) for form in range(2)]
    marks += [("value", a, v) for a, n in enumerate((4, 7)) for v in range(n)]
    assert len(marks) == world.vocab_size
    for row, person, a, form, value in zip(tokens.tolist(), *(t.tolist() for t in mentions), strict=True):
        first, last = world.names[person].tolist()
        assert [marks[t] for t in row] == [("first", first), ("last", last), ("relation", a, form), ("value", a, value)]


def test_every_word_is_in_the_vocabulary():
    tokenizer = word_tokenizer(FULL.vocabulary)
    said = [FULL.statement(p, a, f) for p in range(400) for a in range(4) for f in range(4)]
    said += [FULL.question(p, a, f) for p in range(400) for a in range(4) for f in range(3)]
    said += [FULL.value(a, v) for a, n in enumerate(FULL.n_values) for v in range(n)]
    used = {token for row in tokenizer.encode_batch(said) for token in row.tokens}
    assert used == set(FULL.vocabulary) | {"<pad>"}
    assert tokenizer.token_to_id("<pad>") == 0
    assert tokenizer.token_to_id("<end>") == 1


def test_invented_words_are_all_different():
    assert len({_invented(i) for i in range(2500)}) == 2500


def test_the_seed_decides_and_nothing_else():
    before = torch.get_rng_state()
    same, again, other = (Biographies(100, 9, (5, 5), 20, 20, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(same.facts, again.facts)
    assert torch.equal(same.names, again.names)
    assert not torch.equal(same.facts, other.facts)
    assert not torch.equal(same.names, other.names)
    first, second = same.sample(50, rng(5)), again.sample(50, rng(5))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"n_people": 95}, "each name needs"), ({"n_people": 9000}, "pair of names"), ({"n_values": ()}, "1 to 4"),
     ({"n_values": (2,) * 5}, "1 to 4"), ({"n_values": (0,)}, "no more names or values"),
     ({"n_values": (2501,)}, "no more names or values"), ({"n_first": 2501}, "no more names or values"),
     ({"n_forms": 4}, "1 to 3 forms"), ({"n_forms": 0}, "1 to 3 forms")],
)  # fmt: skip
def test_impossible_people(changes, message):
    with pytest.raises(ValueError, match=message):
        Biographies(**changes)
