"""Instructions: strings of letters, four skills that transform them, and words that ask for a skill."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer
from torch import Tensor

from course_lib.data.worlds.words import word_tokenizer
from course_lib.settings import check_counts, check_numbers

# Four words for each skill, and four that mean nothing.
WORDS = {
    "reverse": ("reverse", "flip", "mirror", "invert"),
    "sort": ("sort", "order", "arrange", "rank"),
    "rotate": ("rotate", "roll", "cycle", "turn"),
    "shift": ("shift", "raise", "advance", "bump"),
}
STRANGERS = ("blick", "dax", "fep", "wug")
GAP = (":", "=", ">", "~")  # a few of these stand between a string and its transformation
MARKS = (*GAP, ";", "user", "assistant")
SPECIAL = ("<|im_start|>", "<|im_end|>")


class Instruction(NamedTuple):
    """An instruction with its right answer, as texts, such as "flip a b c d" and "d c b a"."""

    skill: str
    word: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Instructions:
    """Documents of strings, each between a word and the result of that word's skill, and instructions with answers.

    The skills: reverse; sort; rotate (the first letter goes to the end); shift (each letter becomes the next one, the
    last becomes the first). A fifth of all strings is held out: it occurs in no document and in no training task.

    Raises:
        ValueError: If there are fewer than two letters, strings shorter than two, or no lines.
    """

    n_letters: int = 8
    length: int = 4
    lines: int = 2  # lines of a document
    gap: int = 3  # marks between a string and its transformation

    def __post_init__(self) -> None:
        check_counts(self, "n_letters", "length", least=2)
        check_counts(self, "lines")
        check_numbers(self, "n_letters", most=26)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, with one token per letter, word or mark.

        `<|im_start|>` and `<|im_end|>` begin and end a chat turn.
        """
        tokenizer = word_tokenizer(self.vocabulary)
        tokenizer.add_special_tokens(list(SPECIAL))
        tokenizer.no_padding()
        return tokenizer

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The letters, then all words and marks except the special ones."""
        letters = [chr(ord("a") + i) for i in range(self.n_letters)]
        return (*letters, *(word for words in WORDS.values() for word in words), *STRANGERS, *MARKS)

    def token(self, text: str) -> int:
        """Return the token of a letter, word or mark."""
        found = self.tokenizer.token_to_id(text)
        if found is None:
            raise ValueError(f"{text!r} is no letter, word or mark of this world")
        return found

    def apply_skill(self, skill: str, letters: Int[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
        """Apply a skill to strings, which are given and returned as numbers from 0 on.

        Raises:
            ValueError: If there is no such skill; the message lists the skills.
        """
        match skill:
            case "reverse":
                return letters.flip(1)
            case "sort":
                return letters.sort(1).values
            case "rotate":
                return letters.roll(-1, 1)
            case "shift":
                return (letters + 1) % self.n_letters
        raise ValueError(f"there is no skill {skill!r}; the skills are {', '.join(WORDS)}")

    def held_out(self, letters: Int[Tensor, "batch length"]) -> Bool[Tensor, " batch"]:
        """Return True for the fifth of all strings that is for testing."""
        weights = torch.tensor([3**i for i in range(letters.shape[1])])
        return (letters * weights).sum(1) % 5 == 0

    def strings(self, n: int, generator: torch.Generator, test: bool = False) -> Int[Tensor, "{n} length"]:
        """Sample strings, as numbers from 0 on, from the part for testing or from the other."""
        drawn = torch.randint(self.n_letters, (12 * n + 50, self.length), generator=generator)
        return drawn[self.held_out(drawn) == test][:n]

    def documents(
        self, n: int, generator: torch.Generator, without: Collection[str] = (), words: float = 0.2
    ) -> Int[Tensor, "{n} tokens"]:
        """Sample texts to pre-train on, all of the same length.

        Most consist of lines such as "flip b a d c : > : c d a b ;", with any of the skill's words; in one line of
        seven a meaningless word replaces it.

        Args:
            n: The number of texts.
            generator: The source of randomness.
            without: Skills that no line shows; their words occur only in rows of words.
            words: The share of texts that are only a row of words, all for one skill or all meaningless.
        """
        rows = self._lines(n, generator, [skill for skill in WORDS if skill not in without])
        groups = torch.tensor([[self.token(word) for word in group] for group in (*WORDS.values(), STRANGERS)])
        group = torch.randint(len(groups), (n, 1), generator=generator)
        said = groups[group, torch.randint(groups.shape[1], rows.shape, generator=generator)]
        return torch.where(torch.rand(n, 1, generator=generator) < words, said, rows)

    def _lines(self, n: int, generator: torch.Generator, skills: Sequence[str]) -> Int[Tensor, "{n} tokens"]:
        """Sample texts of lines: word, string, marks, the transformed string, and the end of the line."""
        which = torch.randint(len(skills), (n,), generator=generator).repeat_interleave(self.lines)
        strings = self.strings(len(which), generator)
        answers = torch.stack([self.apply_skill(skill, strings) for skill in skills])[which, torch.arange(len(which))]
        known = torch.tensor([[self.token(word) for word in WORDS[skill]] for skill in skills])[which]
        strange = torch.tensor([self.token(word) for word in STRANGERS]).expand_as(known)
        asked = torch.where(torch.rand(len(which), 1, generator=generator) < 1 / 7, strange, known)
        word = asked.gather(1, torch.randint(asked.shape[1], (len(which), 1), generator=generator))
        marks = torch.tensor([self.token(mark) for mark in GAP])
        marks = marks[torch.randint(len(GAP), (len(which), self.gap), generator=generator)]
        semicolon = torch.full((len(which), 1), self.token(";"))
        first = self.token("a")
        return torch.cat([word, strings + first, marks, answers + first, semicolon], dim=1).reshape(n, -1)

    def tasks(
        self, n: int, generator: torch.Generator, words: Sequence[tuple[str, str]], test: bool = False
    ) -> list[Instruction]:
        """Sample instructions with each (skill, word) in turn, on strings for training or for testing."""
        strings = self.strings(n, generator, test)
        tasks = []
        for i, string in enumerate(strings):
            skill, word = words[i % len(words)]
            answer = self.apply_skill(skill, string[None])[0]
            tasks.append(Instruction(skill, word, f"{word} {self.text(string)}", self.text(answer)))
        return tasks

    def text(self, letters: Int[Tensor, " length"]) -> str:
        """Return a string as text: "a b c d"."""
        return " ".join(self.vocabulary[i] for i in letters.tolist())
