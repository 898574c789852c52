"""Instructions: strings of letters, four things that can be done to them, and words that ask for one of these."""

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
GAP = (":", "=", ">", "~")  # a few of these stand between a string and what is made of it
MARKS = (*GAP, ";", "user", "assistant")
SPECIAL = ("<|im_start|>", "<|im_end|>")


class Task(NamedTuple):
    """One instruction with its right answer, as texts: "flip a b c d", of which "d c b a" is asked."""

    skill: str
    word: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Instructions:
    """Strings, each with a word before it and, after it, what the skill of that word makes of it.

    The skills: reverse; sort; rotate (the first letter goes to the end); shift (each letter becomes the next one, the
    last becomes the first). A fifth of all strings is held out: never the string of a document or of a training task.

    Raises:
        ValueError: There are fewer than two letters, strings shorter than two, or no lines.
    """

    n_letters: int = 8
    length: int = 4
    lines: int = 2  # of a document
    gap: int = 3  # marks between a string and what is made of it

    def __post_init__(self) -> None:
        check_counts(self, "n_letters", "length", least=2)
        check_counts(self, "lines")
        check_numbers(self, "n_letters", most=26)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """One token a letter, word or mark; `<|im_start|>` and `<|im_end|>` bound a turn of a chat."""
        tokenizer = word_tokenizer(self.vocabulary)
        tokenizer.add_special_tokens(list(SPECIAL))
        tokenizer.no_padding()
        return tokenizer

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The letters first, then all words and marks but the special ones."""
        letters = [chr(ord("a") + i) for i in range(self.n_letters)]
        return (*letters, *(word for words in WORDS.values() for word in words), *STRANGERS, *MARKS)

    def token(self, text: str) -> int:
        """The token of a letter, word or mark."""
        found = self.tokenizer.token_to_id(text)
        if found is None:
            raise ValueError(f"{text!r} is no letter, word or mark of this world")
        return found

    def apply_skill(self, skill: str, letters: Int[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
        """What a skill makes of strings, given and returned as numbers from 0 on; a ValueError names the skills."""
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
        """True for the fifth of all strings that is for testing."""
        weights = torch.tensor([3**i for i in range(letters.shape[1])])
        return (letters * weights).sum(1) % 5 == 0

    def strings(self, n: int, generator: torch.Generator, test: bool = False) -> Int[Tensor, "{n} length"]:
        """Random strings, as numbers from 0 on, of the part that is for testing, or of the other."""
        drawn = torch.randint(self.n_letters, (12 * n + 50, self.length), generator=generator)
        return drawn[self.held_out(drawn) == test][:n]

    def documents(
        self, n: int, generator: torch.Generator, without: Collection[str] = (), words: float = 0.2
    ) -> Int[Tensor, "{n} tokens"]:
        """Texts to pre-train on, all of one length.

        Most have lines such as "flip b a d c : > : c d a b ;", with any of the skill's words; in one line of seven a
        word that means nothing stands in their place.

        Args:
            n: How many texts.
            generator: Where the randomness comes from.
            without: Skills that no line shows; their words do occur, in rows.
            words: The share of texts that are a row of words alone, all for one thing, or all meaning nothing.
        """
        rows = self._lines(n, generator, [skill for skill in WORDS if skill not in without])
        groups = torch.tensor([[self.token(word) for word in group] for group in (*WORDS.values(), STRANGERS)])
        group = torch.randint(len(groups), (n, 1), generator=generator)
        said = groups[group, torch.randint(groups.shape[1], rows.shape, generator=generator)]
        return torch.where(torch.rand(n, 1, generator=generator) < words, said, rows)

    def _lines(self, n: int, generator: torch.Generator, skills: Sequence[str]) -> Int[Tensor, "{n} tokens"]:
        """Texts of lines: word, string, marks, what becomes of the string, and the end of the line."""
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
    ) -> list[Task]:
        """Instructions in turn with each of these (skill, word), on strings for training or for testing."""
        strings = self.strings(n, generator, test)
        tasks = []
        for i, string in enumerate(strings):
            skill, word = words[i % len(words)]
            answer = self.apply_skill(skill, string[None])[0]
            tasks.append(Task(skill, word, f"{word} {self.text(string)}", self.text(answer)))
        return tasks

    def text(self, letters: Int[Tensor, " length"]) -> str:
        """A string as one reads it: "a b c d"."""
        return " ".join(self.vocabulary[i] for i in letters.tolist())
