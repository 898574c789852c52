"""Invented people and their facts, stated and asked in several wordings."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.data.worlds.words import distinct_words

# Per attribute: ways to state it (the value comes last) and to ask for it. The last of each is held out of training;
# all its words are in the others.
_STATEMENTS = {
    "birth city": (
        "{name} was born in {value}.",
        "The birth city of {name} is {value}.",
        "The place where {name} was born is {value}.",
        "The city where {name} was born is {value}.",
    ),
    "birth year": (
        "{name} has lived since {value}.",
        "The birth year of {name} is {value}.",
        "The date when {name} was born is {value}.",
        "The year when {name} was born is {value}.",
    ),
    "university": (
        "{name} studied at {value}.",
        "The university of {name} is {value}.",
        "The place where {name} studied is {value}.",
        "The university where {name} studied is {value}.",
    ),
    "company": (
        "{name} works for {value}.",
        "The company of {name} is {value}.",
        "The place where {name} works is {value}.",
        "The company where {name} works is {value}.",
    ),
}
_QUESTIONS = {
    "birth city": (
        "Where was {name} born?",
        "What is the birth city of {name}?",
        "What is the city where {name} was born?",
    ),
    "birth year": (
        "When was {name} born?",
        "What is the birth year of {name}?",
        "What is the year when {name} was born?",
    ),
    "university": (
        "Where did {name} study?",
        "What is the university of {name}?",
        "What is the university where {name} studied?",
    ),
    "company": (
        "Where does {name} work?",
        "What is the company of {name}?",
        "What is the company where {name} works?",
    ),
}
ATTRIBUTES = tuple(_STATEMENTS)
HELD_OUT_STATEMENT, HELD_OUT_QUESTION = 3, 2

_SYLLABLES = [consonant + vowel for consonant in "bdflmnrstv" for vowel in "aeiou"]
_LARGEST = len(_SYLLABLES) ** 2
_ENDINGS = {"last": "sen", "birth city": "ford", "university": "hall", "company": "corp"}


class MentionBatch(NamedTuple):
    """A batch of statements about people."""

    person: Int[Tensor, " batch"]
    attribute: Int[Tensor, " batch"]
    form: Int[Tensor, " batch"]  # the number of the wording
    value: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Biographies:
    """People with a first and last name and one value for each attribute, all fixed by `seed`.

    Values are drawn uniformly and independently, so a name tells nothing about them. Names and values are invented
    words, so no model can have seen them before. The last wording of statements and of questions is for testing.

    Args:
        n_people: The number of known people.
        n_unknown: The number of people who are never mentioned, numbered from n_people on; both of their names are also
            names of known people.
        n_values: The number of values of each attribute, in the order of ATTRIBUTES.
        n_first: The number of first names.
        n_last: The number of last names.
        n_forms: The number of wordings in which facts are stated.
        zipf: The exponent of the frequencies: known person i is mentioned in proportion to (i + 1) ^ -zipf; 0 for all
            equally.
        seed: The seed of names and facts.

    Raises:
        ValueError: If there are more people than names, too few to hold every name, or too many names, values or forms.

    Source: adapted from the biographies of Allen-Zhu and Li 2023, "Physics of Language Models: Part 3.1".
    """

    n_people: int = 6000
    n_unknown: int = 500
    n_values: tuple[int, ...] = (50, 50)
    n_first: int = 96
    n_last: int = 96
    n_forms: int = 3
    zipf: float = 1.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not max(self.n_first, self.n_last) <= self.n_people <= self.n_first * self.n_last - self.n_unknown:
            raise ValueError(
                f"{self.n_people} known and {self.n_unknown} unknown people cannot have {self.n_first} first and "
                f"{self.n_last} last names: each name needs a known person, and each person a pair of names"
            )
        if not 1 <= len(self.n_values) <= len(ATTRIBUTES):
            raise ValueError(f"people have 1 to {len(ATTRIBUTES)} attributes, not {len(self.n_values)}")
        if min(self.n_values) < 1 or max(self.n_first, self.n_last, *self.n_values) > _LARGEST:
            raise ValueError(f"there are 1 to {_LARGEST} invented words of a kind; ask for no more names or values")
        if not 1 <= self.n_forms <= HELD_OUT_STATEMENT:
            raise ValueError(f"statements have 1 to {HELD_OUT_STATEMENT} forms for training, not {self.n_forms}")

    @functools.cached_property
    def names(self) -> Int[Tensor, "person 2"]:
        """The first and last name of every person, as numbers: known people, then unknown ones."""
        generator = torch.Generator().manual_seed(self.seed)
        # So many known people take every name once or more; all other pairs of names are dealt out at random.
        each = torch.arange(max(self.n_first, self.n_last))
        cover = (each % self.n_first) * self.n_last + each % self.n_last
        free = torch.ones(self.n_first * self.n_last, dtype=torch.bool)
        free[cover] = False
        rest = free.nonzero()[:, 0]
        rest = rest[torch.randperm(len(rest), generator=generator)]
        n_rest = self.n_people - len(cover)
        known = torch.cat([cover, rest[:n_rest]])[torch.randperm(self.n_people, generator=generator)]
        pairs = torch.cat([known, rest[n_rest : n_rest + self.n_unknown]])
        return torch.stack([pairs // self.n_last, pairs % self.n_last], dim=1)

    @functools.cached_property
    def facts(self) -> Int[Tensor, "person attribute"]:
        """The value of every attribute of every person, including unknown people."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        size = (self.n_people + self.n_unknown,)
        return torch.stack([torch.randint(n, size, generator=generator) for n in self.n_values], dim=1)

    @functools.cached_property
    def exposure(self) -> Float[Tensor, " n_people"]:
        """The probability that a mention is about each known person; sums to 1."""
        weights = torch.arange(1, self.n_people + 1, dtype=torch.float64) ** -self.zipf
        return weights / weights.sum()

    @property
    def chance(self) -> tuple[float, ...]:
        """The accuracy, per attribute, of any answer about unknown people: exactly 1 / n_values, over all seeds."""
        return tuple(1 / n for n in self.n_values)

    @property
    def bits(self) -> float:
        """The entropy of the known people's facts, given their names: n_people times the sum of log2 n_values.

        No model can store more bits of the facts. A model whose loss on an attribute is l nats stores at least n_people
        times (log2 n_values - l / ln 2) bits of that attribute.
        """
        return self.n_people * sum(math.log2(n) for n in self.n_values)

    def sample(
        self, batch: int, generator: torch.Generator, people: Int[Tensor, " some"] | None = None
    ) -> MentionBatch:
        """Sample mentions of known people (or of `people` only, in the same proportions to each other)."""
        weights = self.exposure if people is None else self.exposure[people]
        person = torch.multinomial(weights, batch, replacement=True, generator=generator)
        person = person if people is None else people[person]
        attribute = torch.randint(len(self.n_values), (batch,), generator=generator)
        form = torch.randint(self.n_forms, (batch,), generator=generator)
        return MentionBatch(person, attribute, form, self.facts[person, attribute])

    @property
    def vocab_size(self) -> int:
        """The number of tokens in `tokens`: first names, last names, relations, then the values of each attribute."""
        return self.n_first + self.n_last + len(self.n_values) * self.n_forms + sum(self.n_values)

    def tokens(self, mentions: MentionBatch) -> Int[Tensor, "batch 4"]:
        """Encode mentions as four tokens: first name, last name, relation (one per attribute and wording), value."""
        relations = self.n_first + self.n_last
        starts = torch.tensor([sum(self.n_values[:a]) for a in range(len(self.n_values))])
        value = relations + len(self.n_values) * self.n_forms + starts[mentions.attribute] + mentions.value
        relation = relations + mentions.attribute * self.n_forms + mentions.form
        first, last = self.names[mentions.person].unbind(1)
        return torch.stack([first, self.n_first + last, relation, value], dim=1)

    def name(self, person: int) -> str:
        """Return the full name of a person."""
        first, last = self.names[person].tolist()
        return f"{_invented(first)} {_invented(last)}{_ENDINGS['last']}"

    def value(self, attribute: int, value: int) -> str:
        """Return a value of an attribute as a word; years count from 1900."""
        kind = ATTRIBUTES[attribute]
        return str(1900 + value) if kind == "birth year" else _invented(value) + _ENDINGS[kind]

    def answer(self, person: int, attribute: int) -> str:
        """Return the value of a person's attribute as a word."""
        return self.value(attribute, int(self.facts[person, attribute]))

    def prompt(self, person: int, attribute: int, form: int) -> str:
        """Return the statement of a fact up to its value."""
        return _STATEMENTS[ATTRIBUTES[attribute]][form].split(" {value}")[0].format(name=self.name(person))

    def statement(self, person: int, attribute: int, form: int) -> str:
        """Write one fact as a sentence."""
        return f"{self.prompt(person, attribute, form)} {self.answer(person, attribute)}."

    def question(self, person: int, attribute: int, form: int) -> str:
        """Return the question for one fact."""
        return _QUESTIONS[ATTRIBUTES[attribute]][form].format(name=self.name(person))

    def texts(self, mentions: MentionBatch) -> list[str]:
        """Write mentions as sentences."""
        rows = zip(mentions.person.tolist(), mentions.attribute.tolist(), mentions.form.tolist(), strict=True)
        return [self.statement(*row) for row in rows]

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """every word and mark of the statements, questions and answers."""
        kinds = ATTRIBUTES[: len(self.n_values)]
        forms = [form.format(name="", value="") for kind in kinds for form in (*_STATEMENTS[kind], *_QUESTIONS[kind])]
        names = [*map(_invented, range(self.n_first)), *(_invented(i) + _ENDINGS["last"] for i in range(self.n_last))]
        values = [self.value(a, v) for a, n in enumerate(self.n_values) for v in range(n)]
        return distinct_words([*forms, *names, *values])


def _invented(number: int) -> str:
    """Return the invented word with this number: two syllables, different for all numbers below _LARGEST."""
    # The step shares no divisor with the number of words, so none comes twice, and neighbours do not look alike.
    first, second = divmod(number * 787 % _LARGEST, len(_SYLLABLES))
    return (_SYLLABLES[first] + _SYLLABLES[second]).capitalize()
