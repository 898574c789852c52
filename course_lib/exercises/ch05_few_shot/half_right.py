"""A control: labels that look like the true ones and say nothing, since exactly half of them are right."""

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer, alternative, alternatives_in, mistake, mistakes_in


def half_right(labels, seed):
    generator = torch.Generator().manual_seed(seed)
    shown = labels.clone()
    for row, true in zip(shown, labels, strict=True):
        for label in (0, 1):
            places = (true == label).nonzero().flatten()
            places = places[torch.randperm(len(places), generator=generator)]
            row[places[: len(places) // 2]] = 1 - label
    return shown


def cases(rng):
    def lists(batch, n):
        half = torch.tensor([0, 1]).repeat(batch, n // 2)
        return half.gather(1, torch.rand(batch, n, generator=rng).argsort(1))

    def whole():
        return int(torch.randint(2, 10**6, (), generator=rng))

    return [
        Case("20 lists of 4, seed 0", (lists(20, 4), 0)),
        Case("30 lists of 8, seed 1", (lists(30, 8), 1)),
        Case("64 lists of 8, another seed", (lists(64, 8), whole())),
        Case("100 lists of 4, another seed", (lists(100, 4), whole())),
    ]


def run_case(subject, labels, seed):
    """Compare what kind of labels they are, not which: any choice of that kind is right."""
    shown = subject(labels, seed)
    if not isinstance(shown, torch.Tensor) or shown.shape != labels.shape:
        came = (
            tuple(shown.shape) if isinstance(shown, torch.Tensor) else "None" if shown is None else type(shown).__name__
        )
        raise WrongAnswer(f"return a tensor of the shape of `labels`, {tuple(labels.shape)}; {came} came back.")
    if shown.dtype != labels.dtype:
        raise WrongAnswer(f"the labels are of type {labels.dtype}; leave them so.")
    return seen_from_outside(shown, subject(labels, seed + 1), labels)


def seen_from_outside(shown, others, labels):
    """Describe the choice, not its labels: two answers with the same fault may have drawn others at random."""
    if not ((shown == 0) | (shown == 1)).all():
        return "labels other than 0 and 1"
    right = (shown == labels).float().mean(1)
    if (right == 1).all():
        return "all are right"
    if (right == 0).all():
        return "all are wrong"
    if not 0.3 < right.mean() < 0.7:
        return "more or fewer than half are right"
    if ((right == 0) | (right == 1)).all():
        return "each list is all right or all wrong"
    balanced = (shown.sum(1) == labels.sum(1)).all()
    if (right != 0.5).any():
        return "half are right on average" if balanced else "half are right on average, and one label is more frequent"
    if not balanced:
        return "more of one label than of the other"
    often = (shown == labels).float().mean(0)  # at each place
    if len(labels) > 40 and ((often < 0.2) | (often > 0.8)).any():
        return "the same places in every list"
    if torch.equal(shown, others):
        return "the same labels for every seed"
    return "half of each label, at random"


@alternative
def until_it_fits(labels, seed):
    torch.manual_seed(seed)
    n = labels.shape[1]
    rows = []
    for true in labels:
        row = true
        while (row == true).sum() * 2 != n:
            row = true[torch.randperm(n)]
        rows.append(row)
    return torch.stack(rows)


@alternative
def by_ranks(labels, seed):
    # Rank the examples of each label in a random order; the first half of the ranks is flipped.
    luck = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed))
    ranks = (luck + 2 * labels).argsort(1).argsort(1) % (labels.shape[1] // 2)
    return torch.where(ranks < labels.shape[1] // 4, 1 - labels, labels)


@mistake(
    "Half of the labels are right only *on average* here, as with coin flips: a list of 8 may well have 6 that are "
    "right, or more of one label than of the other. Fix both, in every list."
)
def coin_flips(labels, seed):
    return torch.randint(2, labels.shape, generator=torch.Generator().manual_seed(seed))


@mistake(
    "Each list has as many of each label. But half are right only *on average*, as when labels are put in a new order, "
    "or come from another list: some lists have nearly all right, and teach the task. Make it exactly half in each."
)
def a_new_order(labels, seed):
    luck = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed))
    return labels.gather(1, luck.argsort(1))


@mistake("All labels are flipped here. That tells as much as the true ones: one has only to answer the opposite.")
def all_flipped(labels, seed):
    return 1 - labels


@mistake("All labels are the true ones. This is no control.")
def unchanged(labels, seed):
    return labels.clone()


@mistake(
    "Half of the labels are right, but a list has more of one label than of the other. A model likes the label that it "
    "sees more often. Flip as many ones as zeros."
)
def one_label_alone(labels, seed):
    return torch.zeros_like(labels)


THE_SAME_PLACES = (
    "Of each label the same places are flipped in every list: the first ones, the last ones, or what a generator says "
    "that is made anew for each list. Models attend more to what is near: then it matters where the right ones are. "
    "Choose the places of each list at random, with one generator for all."
)


@mistake(THE_SAME_PLACES)
def a_generator_for_each_list(labels, seed):
    return torch.cat([half_right(true[None], seed) for true in labels])


@mistake(THE_SAME_PLACES)
def the_first_half(labels, seed):
    n = labels.shape[1]
    seen = torch.where(labels == 1, (labels == 1).cumsum(1), (labels == 0).cumsum(1))
    return torch.where(seen <= n // 4, 1 - labels, labels)


@mistake(
    "Another seed gives the same labels here. Which ones are right is a matter of chance, and `seed` decides it: "
    "`torch.Generator().manual_seed(seed)`, and `generator=` wherever something is drawn."
)
def the_same_for_every_seed(labels, seed):
    return half_right(labels, 0)


@mistake(
    "Half of the lists are flipped, and each is all right or all wrong. A list of one kind teaches the task, and one "
    "of the other kind its opposite. Flip half of the labels in *each* list."
)
def whole_lists_flipped(labels, seed):
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return torch.where((order < len(labels) // 2)[:, None], 1 - labels, labels)


@mistake(
    "More or fewer than half of the labels are right. Of each list, flip half of the zeros and half of the ones. And "
    "look up the places in `labels`, not in what is changed already: there a flipped 0 looks like a 1, and is flipped "
    "back."
)
def flipped_and_flipped_back(labels, seed):
    generator = torch.Generator().manual_seed(seed)
    shown = labels.clone()
    for row in shown:
        for label in (0, 1):
            places = (row == label).nonzero().flatten()
            places = places[torch.randperm(len(places), generator=generator)]
            row[places[: len(places) // 2]] = 1 - label
    return shown


@mistake(
    "One label of each kind is flipped in every list. That is half of them where a list has four. In longer lists flip "
    "half of the zeros and half of the ones: `len(places) // 2`."
)
def one_of_each(labels, seed):
    generator = torch.Generator().manual_seed(seed)
    shown = labels.clone()
    for row, true in zip(shown, labels, strict=True):
        for label in (0, 1):
            places = (true == label).nonzero().flatten()
            row[places[torch.randint(len(places), (1,), generator=generator)]] = 1 - label
    return shown


@mistake(
    "More or fewer than half of the labels are right. Of each list, flip half of the zeros *and* half of the ones; and "
    "`return` stands behind the loops."
)
def half_of_one_label(labels, seed):
    return torch.where(labels == 1, half_right(labels, seed), labels)


EXERCISE = Exercise(
    id="half_right",
    title="Labels that say nothing",
    points=2,
    minutes=12,
    difficulty=2,
    kind="design",
    hints=(
        "To keep as many of each label, flip as many ones as zeros. How many of each, so that half of all labels stay "
        "right?",
        "Take one list and one label. `(true == label).nonzero().flatten()` are its places; `torch.randperm` puts "
        "them in a random order. How many of them do you flip?",
    ),
    reference=half_right,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, A real language model reads reviews",
)
