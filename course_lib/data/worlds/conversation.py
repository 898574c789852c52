"""Conversations in which a user tells facts between small talk, with questions about them, and words for lists."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple


class Fact(NamedTuple):
    """A kind of fact: how it is told, asked for and answered."""

    told: str  # with a place for the value
    question: str  # in the words of the fact
    other_words: str  # the same question, which shares no rare word with the fact
    answer: str  # the beginning of the answer, which the value ends
    values: tuple[str, ...]  # eight, so that a guess is right in one case of eight


FACTS = (
    Fact(
        "My cat is called {}.",
        "What is my cat called?",
        "Which name does the pet have?",
        "Your cat is called",
        ("Tom", "Max", "Leo", "Sam", "Bob", "Ben", "Charlie", "Oscar"),
    ),
    Fact(
        "I live in {}.",
        "Where do I live?",
        "Which town is my home?",
        "You live in",
        ("Paris", "Rome", "London", "Berlin", "Madrid", "Tokyo", "Vienna", "Dublin"),
    ),
    Fact(
        "I work as a {}.",
        "What do I work as?",
        "Which job is mine?",
        "You work as a",
        ("teacher", "nurse", "baker", "lawyer", "farmer", "painter", "driver", "cook"),
    ),
    Fact(
        "I play the {}.",
        "What do I play?",
        "Which instrument is mine?",
        "You play the",
        ("piano", "guitar", "violin", "drums", "flute", "trumpet", "harp", "organ"),
    ),
    Fact(
        "For breakfast I eat {}.",
        "What do I eat for breakfast?",
        "How does my morning begin?",
        "For breakfast you eat",
        ("eggs", "bread", "rice", "fruit", "cheese", "fish", "soup", "cake"),
    ),
)
REPLIES = ("Good to hear.", "That sounds nice.", "I see.", "How lovely.")
SMALL_TALK = (
    ("It rains a lot today.", "Take an umbrella with you."),
    ("The bus was late again.", "That happens a lot here."),
    ("Tell me about the moon.", "There is no air on it."),
    ("My neighbour has a noisy cat.", "Cats can be loud at night."),  # names what a question may ask about
    ("Should I water the garden?", "Wait until the evening."),
    ("My brother wants to work less.", "He may be tired."),
    ("The shop was closed.", "It may open on Monday."),
    ("Is it cold in the north?", "In winter it is very cold."),
    ("I read a long book.", "Long books need time."),
    ("The children play outside.", "Fresh air is good for them."),
    ("My aunt came to live with us.", "She must be happy."),
)

# Who has what, in lists of facts.
# fmt: off
PEOPLE = (
    "Tom", "Mary", "John", "Anna", "Peter", "Laura", "Mark", "Emma", "Paul", "Sarah", "David", "Alice", "Simon",
    "Julia", "Frank", "Helen", "Kevin", "Nancy", "Brian", "Susan", "Henry", "Linda", "Jack", "Karen", "Oscar", "Diana",
    "Victor", "Rachel", "George", "Maria", "Eric", "Sophie",
)
THINGS = (
    "drum", "cup", "hat", "book", "lamp", "ring", "bell", "coat", "fork", "chair", "knife", "ball", "bag", "key", "pen",
    "shoe", "map", "box", "rope", "cake", "clock", "plate", "sword", "spoon", "table", "brush", "car", "boat", "tent",
    "horse", "guitar", "piano",
)
# fmt: on


class Asked(NamedTuple):
    """A question at the end of a conversation."""

    fact: Fact
    value: str  # the right answer
    turn: int | None  # the turn in which it was told; None if it never was


@dataclass(frozen=True)
class Conversation:
    """A conversation: what user and assistant said in each turn, and what may be asked."""

    turns: list[tuple[str, str]]
    asked: list[Asked]

    @classmethod
    def sample(cls, n_turns: int, told: tuple[int, ...], rng: random.Random) -> Conversation:
        """Sample a conversation.

        Args:
            n_turns: The number of turns.
            told: The turns in which a fact is told, each of another kind; the last question is about a kind that was
                never told, and its answer is a guess.
            rng: The random number generator.

        Raises:
            ValueError: If there are more facts or more small talk than we have.
        """
        if len(told) >= len(FACTS) or n_turns - len(told) > len(SMALL_TALK):
            raise ValueError(f"at most {len(FACTS) - 1} facts and {len(SMALL_TALK)} turns of small talk")
        kinds = rng.sample(FACTS, len(told) + 1)
        talk = rng.sample(SMALL_TALK, n_turns - len(told))
        replies = rng.sample(REPLIES, len(told))
        asked = [Asked(kind, rng.choice(kind.values), turn) for kind, turn in zip(kinds, (*told, None), strict=True)]
        facts = {a.turn: (a.fact.told.format(a.value), reply) for a, reply in zip(asked, replies, strict=False)}
        return cls([facts[turn] if turn in facts else talk.pop() for turn in range(n_turns)], asked)


def as_chat(turns: list[tuple[str, str]]) -> str:
    """Write turns in the chat format that SmolLM2 was tuned with."""
    return "".join(
        f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n{reply}<|im_end|>\n" for user, reply in turns
    )


def as_question(question: str, answer: str) -> str:
    """Write a question in the same format, and the beginning of its answer."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}"
