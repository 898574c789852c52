"""Recall at k: is the right text among the k that fit best? Ties and NaN must not count as luck."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def recall_at_k(similarity, right, k):
    own = similarity.gather(1, right[:, None])
    not_worse = (~(similarity < own)).sum(dim=1)  # the right text itself is one of them
    found = (not_worse <= k) & ~own[:, 0].isnan()
    return found.double().mean().item()


def cases(rng):
    right = torch.randperm(53, generator=rng)
    # Most of the right texts come out ahead, so that no other choice of them has the same recall by chance.
    similarity = torch.randn(53, 53, generator=rng) + 2 * torch.eye(53)[right]
    broken = torch.tensor([[0.1, math.nan, 0.3], [0.5, 0.9, 0.1], [0.2, 0.4, math.nan]])
    larger = torch.randn(40, 31, generator=rng) + 2 * torch.eye(31).repeat(2, 1)[:40]
    larger[torch.rand(40, 31, generator=rng) < 0.1] = math.nan
    coarse = torch.randint(3, (30, 6), generator=rng).float()
    return [
        Case(
            "three pictures, three texts, k = 1",
            (torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.1, 0.2, 0.7]]), torch.tensor([0, 1, 2]), 1),
            expected=2 / 3,
        ),
        Case("all similarities equal, k = 2", (torch.zeros(8, 8), torch.arange(8), 2), expected=0.0),
        Case("NaN for the right text, k = all", (broken, torch.tensor([1, 1, 2]), 3), expected=1 / 3),
        Case("NaN here and there, k = 5", (larger, torch.arange(40) % 31, 5)),
        Case("more pictures than texts, with ties, k = 2", (coarse, torch.arange(30) % 6, 2)),
        Case("53 pictures in another order than their texts, k = 4", (similarity, right, 4)),
    ]


@alternative
def by_loops(similarity, right, k):
    hits = 0
    for row, target in zip(similarity.tolist(), right.tolist(), strict=True):
        own = row[target]
        if math.isnan(own):
            continue
        before = sum(not value < own for place, value in enumerate(row) if place != target)
        hits += before < k
    return hits / len(right)


@alternative
def by_sorting(similarity, right, k):
    rows = torch.arange(len(similarity))
    cleaned = similarity.nan_to_num(nan=math.inf)
    own = similarity[rows, right]
    ahead = cleaned.clone()
    ahead[rows, right] = -math.inf
    if k >= ahead.shape[1]:
        return (~own.isnan()).double().mean().item()
    kth = ahead.sort(dim=1, descending=True).values[:, k - 1]
    return (kth < own).double().mean().item()


def with_ties_won(similarity, right):
    own = similarity.gather(1, right[:, None])
    return own[:, 0], 1 + (similarity > own).sum(dim=1)


@mistake(
    "A NaN counts as a hit here, and a tie as won: nothing is *larger* than NaN. A model that returns NaN, or the same "
    "number for everything, would be perfect. Count what is not smaller, and let NaN miss."
)
def nan_is_a_hit(similarity, right, k):
    return (with_ties_won(similarity, right)[1] <= k).double().mean().item()


@mistake(
    "Ties are won here: a model that gives every text the same similarity would be perfect. Count the texts that are "
    "not *smaller*, instead of those that are larger."
)
def ties_are_won(similarity, right, k):
    own, rank = with_ties_won(similarity, right)
    return ((rank <= k) & ~own.isnan()).double().mean().item()


@mistake(
    "`topk` settles ties by the place in the list, and takes NaN for the largest number. Compare with the similarity "
    "of the right text instead: how many texts are not smaller?"
)
def by_topk(similarity, right, k):
    return (similarity.topk(k, dim=1).indices == right[:, None]).any(dim=1).double().mean().item()


@mistake(
    "With k as large as the number of texts, a NaN is found here. A similarity that is not a number never is a hit."
)
def nan_among_all(similarity, right, k):
    own = similarity.gather(1, right[:, None])
    return ((~(similarity < own)).sum(dim=1) <= k).double().mean().item()


@mistake("This is one place too strict: the right text itself is counted, so it may be the k-th: `<= k`.")
def one_too_few(similarity, right, k):
    return recall_at_k(similarity, right, k - 1)


@mistake("This looks at the best text alone, whatever k is. The right one may be any of the k best.")
def best_alone(similarity, right, k):
    return recall_at_k(similarity, right, 1)


@mistake("The right text is taken to be the one with the number of the picture. It is the one that `right` names.")
def on_the_diagonal(similarity, right, k):
    return recall_at_k(similarity, torch.arange(len(similarity)) % similarity.shape[1], k)


@mistake("This is a count. Divide by the number of pictures.")
def count(similarity, right, k):
    return recall_at_k(similarity, right, k) * len(right)


EXERCISE = Exercise(
    id="recall_at_k",
    title="Is it among the first k?",
    points=2,
    minutes=10,
    difficulty=2,
    kind="code",
    hints=(
        "Fetch each picture's similarity to its own text first: `similarity.gather(1, right[:, None])`. The rank of "
        "that text is the number of texts that are not smaller, itself included.",
        "`(~(similarity < own)).sum(dim=1) <= k`, and then `& ~own[:, 0].isnan()`, and the mean as a float.",
    ),
    reference=recall_at_k,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("topk",),
    see="Chapter 11, A name that was never heard",
)
