"""Questions and answers made from Wikipedia's opening paragraphs, to tune and to test a chat model.

The answers are Wikipedia's own words (CC BY-SA 4.0), except for one sentence; the wordings of the questions are ours. A
question is closed-book, to be answered from memory, or open-book, with a text to read.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from course_lib.data.corpora.wikipedia import Article, wikipedia_leads
from course_lib.data.loading.split import split_by_hash

CLOSED_BOOK = {
    "describe": (
        "In a few words, who or what is {title}?",
        "Give a short description of {title}.",
        "How would you describe {title} in one line?",
        "{title}: what does that name stand for, briefly?",
    ),
    "explain": (
        "Tell me about {title}.",
        "Write a paragraph about {title}.",
        "What should I know about {title}?",
        "Introduce {title} to a reader who has never heard of it.",
    ),
    "topic": (
        "Which field of knowledge does {title} belong to?",
        "In which part of an encyclopedia would you look for {title}?",
        "Name the subject area of {title}.",
        "Under which heading should {title} be filed?",
    ),
    "name": (
        "Who or what is this: {description}?",
        'Which name fits the description "{description}"?',
        "I am thinking of the following. {description}. What is it called?",
        'Complete the entry: "____: {description}".',
    ),
    "born": (
        "In which year was {title} born?",
        "When was {title} born?",
        "What is the year of birth of {title}?",
        "{title} came into the world in which year?",
    ),
}
OPEN_BOOK = {
    "read-describe": (
        "{extract}\n\nIn a few words, who or what is {title}?",
        "Read this text and describe {title} in one line.\n\n{extract}",
        "{extract}\n\nSum up in a few words who or what {title} is.",
        "With the help of the text below, say briefly what {title} stands for.\n\n{extract}",
    ),
    "read-name": (
        "{extract}\n\nWho or what is this text about?",
        "Name the subject of this text.\n\n{extract}",
        "{extract}\n\nGive this text a title: the name of what it describes.",
        "Of whom or of what does the following text speak?\n\n{extract}",
    ),
    "read-topic": (
        "{extract}\n\nWhich field of knowledge is this text from?",
        "Name the subject area of this text.\n\n{extract}",
        "{extract}\n\nIn which part of an encyclopedia does this stand?",
        "Under which heading should the following text be filed?\n\n{extract}",
    ),
    # The text is about something else, so that the right answer is to say so.
    "read-missing": (
        "{other}\n\nAccording to the text, who or what is {title}?",
        "Read this text and say what it tells about {title}.\n\n{other}",
        "{other}\n\nWhat does this text say about {title}?",
        "Using nothing but the text below, describe {title}.\n\n{other}",
    ),
}
WORDINGS = CLOSED_BOOK | OPEN_BOOK
MISSING = "The text does not say."


@dataclass(frozen=True)
class Question:
    """A prompt, its answer, the kind of question (a key of WORDINGS), and the title of the article."""

    prompt: str
    answer: str
    kind: str
    title: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """The question and its answer as the two messages of a chat, with `role` and `content`."""
        return [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.answer}]


def questions(
    kinds: Iterable[str] = tuple(WORDINGS), wordings: Sequence[int] = (0, 1, 2, 3), test: float = 0.1
) -> tuple[list[Question], list[Question]]:
    """Return questions of these kinds for training and for testing; the two share no article, not even as context.

    An article without an answer to a kind gets no question of that kind: if it has no description, no topic or no year
    of birth, if its description is shared by other articles or gives the name away, or if its text lacks the title.

    Args:
        kinds: The kinds of questions, keys of WORDINGS.
        wordings: The numbers of the wordings to use; a question has the same wording each time. Leave out a number in
            training to see whether a model has learnt the kind or the words.
        test: The share of the articles for testing, approximately, whatever the kinds.

    Raises:
        DataError: If the articles cannot be fetched.
        ValueError: If there is no such kind or wording.
    """
    kinds = list(kinds)
    for kind in kinds:
        if kind not in WORDINGS:
            raise ValueError(f"the kinds of questions are {', '.join(WORDINGS)}; there is none named {kind!r}")
    if not wordings or not set(wordings) <= {0, 1, 2, 3}:
        raise ValueError(f"each kind has the wordings 0, 1, 2 and 3; choose one or more of them, not {list(wordings)}")
    articles = wikipedia_leads()
    counts = Counter(article.description.lower() for article in articles)
    names = {description for description, n in counts.items() if n == 1}
    train, held_out = split_by_hash(articles, by=lambda article: article.title, test=test)
    return list(_ask(train, kinds, wordings, names)), list(_ask(held_out, kinds, wordings, names))


def _ask(
    articles: Sequence[Article], kinds: Sequence[str], wordings: Sequence[int], names: Container[str]
) -> Iterator[Question]:
    """Yield the questions about each article; `names` are the descriptions of one article only."""
    for article, other in zip(articles, [*articles[1:], *articles[:1]], strict=True):  # the next, mostly of one topic
        answers = dict(_answers(article, other, names))
        for kind in kinds:
            if kind in answers:
                wording = WORDINGS[kind][random.Random(f"{kind} {article.title}").choice(wordings)]
                prompt = wording.format(**vars(article), other=other.extract)
                yield Question(prompt, answers[kind], kind, article.title)


def _answers(article: Article, other: Article, names: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield the kinds of questions that an article answers, with the answers; `names` as in `_ask`."""
    yield "explain", article.extract
    if article.description:
        yield "describe", article.description
        yield "read-describe", article.description
        if article.description.lower() in names and not _shares_a_word(article.title, article.description):
            yield "name", article.title
    if article.topic != "Uncategorized":
        yield "topic", article.topic
        yield "read-topic", article.topic
    if article.title.lower() in article.extract.lower():
        yield "read-name", article.title
    # The years of a person are those of the life, but for rulers, which may be of the reign, and bands.
    years = re.search(r"\((?:born (\d{4})|(\d{4})–\d{4})\)$", article.description)
    if article.topic == "People" and years and not re.search(r"\b(King|Queen|Emperor|band)\b", article.description):
        yield "born", years[1] or years[2]
    if not _shares_a_word(article.title, other.title + " " + other.extract):
        yield "read-missing", MISSING


def _shares_a_word(title: str, text: str) -> bool:
    """Return whether the text contains the title or one of its words of four letters or more."""
    words = {title.lower(), *re.findall(r"\w{4,}", title.lower())}
    return any(word in text.lower() for word in words)
