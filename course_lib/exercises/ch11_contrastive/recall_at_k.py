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


COUNT = "This is a count. Divide by the number of pictures. And mind the ties and NaN: they must not count as hits."


@mistake(COUNT)
def count_with_ties_and_nan(similarity, right, k):
    return nan_is_a_hit.solution(similarity, right, k) * len(right)


@mistake(COUNT)
def count_by_topk(similarity, right, k):
    return by_topk.solution(similarity, right, k) * len(right)


@mistake("This is a count. Divide by the number of pictures.")
def count(similarity, right, k):
    return recall_at_k(similarity, right, k) * len(right)


def _others(similarity, right):
    """The similarity of each right text, and of all others, with -inf in its place."""
    rows = torch.arange(len(similarity))
    others = similarity.clone()
    others[rows, right] = -math.inf
    return similarity[rows, right], others


@mistake(
    "This looks among the *least* similar texts: `argsort` and `sort` begin with the smallest. The most similar ones "
    "are wanted, and ties need a rule of their own: count what is not smaller."
)
def the_least_similar(similarity, right, k):
    return (similarity.argsort(dim=1)[:, :k] == right[:, None]).any(1).double().mean().item()


@mistake(
    "`value >= own` is false where either is NaN. So a NaN never counts as more similar, and a right text that is NaN "
    "itself is found. Ask `not value < own`, and let a NaN of its own miss."
)
def greater_or_equal(similarity, right, k):
    own, others = _others(similarity, right)
    return ((others >= own[:, None]).sum(1) < k).double().mean().item()


@mistake(
    "`value >= own` is false where `value` is NaN, so a NaN does not count as more similar. It should: ask "
    "`not value < own`."
)
def nan_of_others_ignored(similarity, right, k):
    own, others = _others(similarity, right)
    return (((others >= own[:, None]).sum(1) < k) & ~own.isnan()).double().mean().item()


@mistake(
    "With `>=` the right text counts itself, so it is found if the count is at *most* k; and where it is NaN, `>=` is "
    "false everywhere, and it must not be found."
)
def itself_counted(similarity, right, k):
    return ((similarity >= similarity.gather(1, right[:, None])).sum(1) < k).double().mean().item()


@mistake(
    "Pictures whose right text is NaN are left out of the mean. They are misses, and count: divide by the number of "
    "all pictures."
)
def nan_left_out(similarity, right, k):
    kept = ~similarity.gather(1, right[:, None])[:, 0].isnan()
    return recall_at_k(similarity[kept], right[kept], k)


# A NaN counts as it should in the second of them.
ONE_TOO_MANY = (
    "This is one place too generous: k *other* texts may come before the right one here. Only k - 1 may, since it has "
    "to be among the k itself."
)


@mistake(ONE_TOO_MANY)
def one_too_many_and_nan_is_a_hit(similarity, right, k):
    own, others = _others(similarity, right)
    return ((others >= own[:, None]).sum(1) <= k).double().mean().item()


@mistake(ONE_TOO_MANY)
def one_too_many(similarity, right, k):
    return recall_at_k(similarity, right, k + 1)


@mistake(
    "This compares the pictures for a text: a column. Recall asks each picture for its text: compare along the row."
)
def along_the_column(similarity, right, k):
    own = similarity.gather(1, right[:, None])
    columns = similarity[:, right].T  # row i: all pictures, for the right text of picture i
    return (((~(columns < own)).sum(1) <= k) & ~own[:, 0].isnan()).double().mean().item()


@mistake(
    "A NaN is taken for 0, as `nan_to_num` does. It should count as more similar than anything, and as a miss for the "
    "right text."
)
def nan_as_zero(similarity, right, k):
    return recall_at_k(similarity.nan_to_num(0), right, k)


@mistake("A NaN *anywhere* in the row makes a miss here. Of another text it only counts as one that is more similar.")
def any_nan_misses(similarity, right, k):
    own = similarity.gather(1, right[:, None])
    return (((~(similarity < own)).sum(1) <= k) & ~similarity.isnan().any(1)).double().mean().item()


@mistake("This divides by k. Divide by the number of pictures.")
def over_k(similarity, right, k):
    return recall_at_k(similarity, right, k) * len(right) / k


@mistake("This is in percent. A share is a number from 0 to 1.")
def in_percent(similarity, right, k):
    return 100 * recall_at_k(similarity, right, k)


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
        '`~(x < y)` is "not smaller", and true where either is NaN. Count these in each row: up to which count is '
        "the right text found? And a right text that is NaN itself?",
    ),
    reference=recall_at_k,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("topk",),
    see="Chapter 11, A name that was never heard",
)
