"""SmolLM2 on lists of reviews whose labels are true, flipped or half right: more lists than the lab has time for.

    course train reviews --preset cpu --seed 100     # about a CPU-minute

Nothing is trained. The lists are made and read as in `labs/ch05_few_shot`, which reads six others on each seed. All
kinds of labels are shown with the same sentences, so kinds are compared list by list.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from course_lib.data.corpora.ratings import ratings
from course_lib.interop import smollm2
from course_lib.measure import bootstrap
from course_lib.models import GPT
from course_lib.nn.storage import device_of
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run

EXAMPLES = 8  # in a list, four of each label; a ninth sentence is asked only
NAMES = ("negative", "positive")
SEED = 100  # of the committed run; no seed of the course's replications
AT_A_TIME = 6  # lists, for the memory's sake
KINDS = ("true", "flipped", "half-right")
PLAIN = "true"  # what the other kinds are compared with, and the kind whose shots are


class ReviewsPlan(NamedTuple):
    """The number of lists in a run."""

    lists: int


PRESETS = {"cpu": ReviewsPlan(60), "gpu": ReviewsPlan(1000)}


class ReviewLists(NamedTuple):
    """Lists of short sentences with a clear tone, from reviews of films.

    Attributes:
        texts: The sentences of each list, those of the examples and one more.
        truth: 1 for a positive sentence, 0 for a negative one.
    """

    texts: list[list[str]]
    truth: Int[Tensor, "lists sentences"]

    @property
    def labels(self) -> Int[Tensor, "lists examples"]:
        """The true labels of the examples."""
        return self.truth[:, :EXAMPLES]


def review_lists(n_lists: int, seed: int) -> ReviewLists:
    """Draw lists at random: four examples of each label in random order, and a ninth sentence of one of the two.

    Raises:
        DataError: If the reviews cannot be fetched.
    """
    sentences: tuple[list[str], list[str]] = ([], [])
    for rated in ratings("movies"):
        if abs(rated.mean) >= 1.5 and len(rated.text.split()) <= 8:
            sentences[rated.mean > 0].append(rated.text)
    dice = random.Random(seed)
    labels = torch.tensor([dice.sample((0, 1) * (EXAMPLES // 2), EXAMPLES) for _ in range(n_lists)])
    asked_last = torch.arange(n_lists)[:, None] % 2  # as many of each
    truth = torch.cat([labels, asked_last], dim=1)
    return ReviewLists([[dice.choice(sentences[label]) for label in row] for row in truth.tolist()], truth)


def half_of_them_right(labels: Int[Tensor, "lists examples"], seed: int) -> Int[Tensor, "lists examples"]:
    """Return labels that say nothing: in each list as many of each, and of each half are right."""
    place = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed))
    shown = labels.clone()
    for label in (0, 1):
        first = place.masked_fill(labels != label, 2).argsort(1)[:, : EXAMPLES // 4]
        shown.scatter_(1, first, 1 - label)
    return shown


@torch.no_grad()
def leaning(
    model: GPT, tokenizer: Tokenizer, lists: ReviewLists, marked: Int[Tensor, "lists examples"]
) -> Float[Tensor, "lists sentences"]:
    """Compute how much likelier "positive" is than "negative", in logits, for each sentence before its label is shown.

    Args:
        model: A language model.
        tokenizer: Its tokenizer.
        lists: The lists.
        marked: The labels to show.
    """
    words = [tokenizer.encode(f" {name}").ids[0] for name in NAMES]
    rows, places = [], []
    for texts, marks in zip(lists.texts, marked.tolist(), strict=True):
        ids: list[int] = []
        asked = []
        for number, text in enumerate(texts):
            ids += tokenizer.encode(f"Review: {text}\nSentiment:").ids
            asked.append(len(ids) - 1)
            if number < EXAMPLES:
                ids += [words[marks[number]], *tokenizer.encode("\n\n").ids]
        rows.append(ids)
        places.append(asked)
    found = []
    for start in range(0, len(rows), AT_A_TIME):
        some = rows[start : start + AT_A_TIME]
        longest = max(map(len, some))  # what is filled up comes later, and is not seen
        x = torch.tensor([ids + [0] * (longest - len(ids)) for ids in some]).to(device_of(model))
        hidden = model.hidden_states(model.token_embedding(x)).cpu()
        found.append(hidden[torch.arange(len(some))[:, None], torch.tensor(places[start : start + AT_A_TIME])])
    negative, positive = (torch.cat(found) @ model.lm_head.weight[words].cpu().T).unbind(-1)
    return positive - negative


def shares(lists: ReviewLists, leanings: dict[str, Float[Tensor, "lists sentences"]]) -> dict[str, float]:
    """Return how often each kind is right by shots, and the differences that are compared, all with their intervals.

    Args:
        lists: The lists.
        leanings: What `leaning` gives for each kind of labels.
    """
    right = {kind: ((leans > 0).long() == lists.truth).double() for kind, leans in leanings.items()}
    plain = leanings[PLAIN] - leanings[PLAIN].mean(0)  # both labels are equally frequent
    right["calibrated"] = ((plain > 0).long() == lists.truth).double()
    later = {kind: r[:, 4:].mean(1) for kind, r in right.items()}
    by_list = {f"{kind}.later": share for kind, share in later.items()}
    by_list |= {f"{kind}-less-{PLAIN}": share - later[PLAIN] for kind, share in later.items() if kind != PLAIN}
    for shots in (0, 1, 2, 4, 8):
        by_list[f"shots.{shots}"] = right[PLAIN][:, shots]
        if shots:
            by_list[f"shots.{shots}-less-0"] = right[PLAIN][:, shots] - right[PLAIN][:, 0]
    values = {}
    for key, of_lists in by_list.items():
        values[f"reviews.{key}"] = of_lists.mean().item()
        values[f"reviews.{key}.from"], values[f"reviews.{key}.to"] = bootstrap(of_lists, resamples=10_000)
    return values


def reviews(run: Run) -> Results:
    """Let SmolLM2 read all lists with each kind of labels.

    Raises:
        DataError: If the model or the reviews cannot be fetched.
    """
    plan = run.choose(PRESETS)
    values = run.measured_so_far(plan, fixed_steps=True)
    if not values:
        lists = review_lists(plan.lists, run.seed)
        model, tokenizer = smollm2()
        model.to(run.device)
        half = half_of_them_right(lists.labels, run.seed)
        marks = dict(zip(KINDS, (lists.labels, 1 - lists.labels, half), strict=True))
        values = shares(lists, {kind: leaning(model, tokenizer, lists, shown) for kind, shown in marks.items()})
        run.keep(values)
    return write_results(run, values, {"reviews.flipped.later": f"reviews.{PLAIN}.later"})
