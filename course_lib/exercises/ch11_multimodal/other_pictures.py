"""The control that shows whether a model looks: every question with the picture of another one."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    WrongAnswer,
    alternative,
    alternatives_in,
    in_words,
    mistake,
    mistakes_in,
)


def other_pictures(kind):
    order = kind.argsort(stable=True)
    replaced = torch.empty_like(order)
    for value in kind.unique().tolist():
        same = order[kind[order] == value]
        replaced[same] = same.roll(1)
    return replaced


def cases(rng):
    mixed = torch.arange(28) % 4  # seven of each kind
    times = torch.cat([torch.tensor([2]), torch.randint(3, 9, (2,), generator=rng)])  # two can only be exchanged
    return [
        Case("six questions of two kinds", (torch.tensor([0, 1, 0, 1, 0, 1]),)),
        Case("28 questions of four kinds", (mixed[torch.randperm(28, generator=rng)],)),
        Case("three kinds, kind by kind", (torch.tensor([3, 1, 2]).repeat_interleave(times),)),
    ]


def run_case(subject, kind):
    """Compare what the control does, not how: any choice that keeps all three promises is right."""
    chosen = subject(kind)
    n = len(kind)
    if not isinstance(chosen, torch.Tensor) or chosen.dtype != torch.long:
        raise WrongAnswer("return a tensor of whole numbers: for each question, the number of a picture.")
    if chosen.shape != kind.shape:
        raise WrongAnswer(f"there are {n} questions, so {n} numbers should come back, in one row.")
    if chosen.min() < 0 or chosen.max() >= n:
        raise WrongAnswer(f"the pictures have the numbers 0 to {n - 1}.")
    own = chosen == torch.arange(n)
    alike = bool((kind[chosen] == kind).all())
    if own.all():
        return "all questions keep their own picture"
    if len(chosen.unique()) == 1:
        return "all questions get the same picture"
    if len(chosen.unique()) < n:
        first = "a picture is shown more than once"
        return (
            f"{first}, some with another kind" if not alike else f"{first}, some with its own" if own.any() else first
        )
    if not alike:
        return "some pictures come from questions of another kind"
    return "a question keeps its own picture" if own.any() else "all three rules are kept"


@alternative
def by_lists(kind):
    kinds = kind.tolist()
    replaced = []
    for i, own in enumerate(kinds):
        same = [j for j, other in enumerate(kinds) if other == own]
        replaced.append(same[(same.index(i) + 1) % len(same)])
    return torch.tensor(replaced)


@alternative
def on_a_random_circle(kind):
    shuffled = torch.randperm(len(kind))
    grouped = shuffled[kind[shuffled].argsort(stable=True)]
    chosen = torch.empty_like(grouped)
    for value in kind.unique():
        circle = grouped[kind[grouped] == value]
        chosen[circle] = circle.roll(-1)
    return chosen


@alternative
def with_plain_loops(kind):
    replaced = []
    n = len(kind)
    for i in range(n):
        j = (i + 1) % n
        while kind[j] != kind[i]:
            j = (j + 1) % n
        replaced.append(j)
    return torch.tensor(replaced)


@mistake(
    "Every question still has its own picture. Then nothing is taken away, and the control tells nothing: exchange "
    "them."
)
def unchanged(kind):
    return torch.arange(len(kind))


@mistake(
    "Some pictures come from questions of another kind, as with a random permutation of all. Then more changes than "
    "the link between picture and question: exchange pictures among questions of the same kind."
)
def regardless_of_kind(kind):
    return torch.arange(len(kind)).roll(1)


@mistake(
    "Some question keeps its own picture, as happens with a random permutation (about one does, on average), or where "
    "a loop leaves some out, or ends early. A question that keeps its picture can be answered by looking. Within each "
    "kind, move everything one step along a circle."
)
def keeps_one_by_chance(kind):
    replaced = torch.arange(len(kind))
    for value in kind.unique():
        same = (kind == value).nonzero()[:, 0]
        replaced[same] = same.flip(0)
    return replaced


@mistake(
    "Some picture is shown more than once, and another one never. Then the pictures as a whole are not the same as "
    "before, and an easy or a strange one may decide. Each should be shown exactly once."
)
def one_for_its_kind(kind):
    chosen = torch.arange(len(kind))
    for value in kind.unique():
        first, second = (kind == value).nonzero()[:2, 0]
        chosen[kind == value] = first
        chosen[first] = second
    return chosen


@mistake(
    "All questions get the same picture, the first one too, which is its own. Each picture should be shown exactly "
    "once, at another question of the same kind."
)
def one_for_all(kind):
    return torch.zeros_like(kind)


@mistake(
    "Some question keeps its own picture, and some picture is shown more than once: as where all of one kind get the "
    "picture of the first, or where the last has no next one and keeps its own. Each picture should be shown once, and "
    "never at its own question: go round in a circle."
)
def first_of_its_kind(kind):
    chosen = torch.empty_like(kind)
    for value in kind.unique():
        chosen[kind == value] = (kind == value).nonzero()[0, 0]
    return chosen


@mistake(
    "Pictures come from questions of other kinds, and some are shown more than once. Are these the numbers of "
    "questions? Kinds are not, nor are places within a kind: fetch the numbers from the list of its questions."
)
def places_within_a_kind(kind):
    chosen = torch.empty_like(kind)
    for value in kind.unique():
        here = kind == value
        chosen[here] = torch.arange(int(here.sum())).roll(1)
    return chosen


EXERCISE = Exercise(
    id="other_pictures",
    title="The control: does it look?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="design",
    hints=(
        "A random order is not enough: about one question would keep its own picture. Put the questions of one kind "
        "in a circle, and give each the picture of its neighbour.",
        "`(kind == value).nonzero()[:, 0]` lists the questions of one kind, and `x.roll(1)` moves a list one step "
        "along a circle. Do it for each value of `kind.unique()`.",
    ),
    reference=other_pictures,
    cases=cases,
    run_case=run_case,
    remark=in_words,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, Does it look?",
)
