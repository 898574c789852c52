"""The best of n, averaged over all sets of n replies of a pool at once: no luck of the draw."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def best_of_n(scores, values, n):
    below = torch.arange(n - 1, len(scores), dtype=torch.float64)  # how many of the pool are worse

    def log_choose(a, b):
        a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
        return torch.lgamma(a + 1) - torch.lgamma(b + 1) - torch.lgamma(a - b + 1)

    weights = (log_choose(below, n - 1) - log_choose(len(scores), n)).exp()
    return (weights * values[scores.argsort()][n - 1 :]).sum().item()


def cases(rng):
    def pool(size):
        return torch.randperm(size, generator=rng).float(), torch.randn(size, generator=rng)

    scores, values = pool(6)
    return [
        Case("best of 2 of 3", (torch.tensor([0.3, 0.9, 0.1]), torch.tensor([10.0, 20.0, 60.0]), 2)),
        Case("best of 1: the mean", (scores, values, 1)),
        Case("best of the whole pool", (*pool(5), 5)),
        Case("best of 3 of 6", (scores, values, 3)),
        Case("best of 700 of 2000", (*pool(2000), 700), rtol=1e-4, atol=1e-4),
        Case("best of 4096 of 20,000, in float64", (*map(torch.Tensor.double, pool(20000)), 4096)),
    ]


def remark(answer, right):
    """What float32 or luck has made a little wrong is told here: it is a little wrong in another way each time."""
    if isinstance(answer, float) and math.isclose(answer, right, rel_tol=0.01):
        return (
            "nearly right. If you draw sets at random, take all sets instead, by their weights. If not, work in "
            "float64: in float32 the logarithms of such large numbers leave too few digits."
        )
    return None


@alternative
def from_the_best_down(scores, values, n):
    size, total = len(scores), 0.0
    weight = n / size
    for i, value in zip(range(size - 1, n - 2, -1), values[scores.argsort(descending=True)].tolist(), strict=False):
        total += weight * value
        weight *= (i - n + 1) / i if i else 0
    return total


@alternative
def by_whole_numbers(scores, values, n):
    sorted_values = values[scores.argsort()].tolist()
    sets, mean = math.comb(len(scores), n), 0.0
    with_it = 1  # sets whose best is the reply with i worse ones: C(i, n - 1), from the one before
    for i in range(n - 1, len(scores)):
        mean += with_it / sets * sorted_values[i]
        with_it = with_it * (i + 1) // (i + 2 - n)
    return mean


def log_choose(a, b):
    """The logarithm of "a choose b" for each a; -inf where there is no such choice."""
    return torch.lgamma(a + 1) - torch.lgamma(a - b + 1) - math.lgamma(b + 1)


WITH_REPLACEMENT = (
    "This draws with replacement, so the same reply may be drawn twice. The n replies of a set are all different: "
    "weigh each reply by the number of sets of which it is the best."
)


@mistake(WITH_REPLACEMENT)
def with_replacement(scores, values, n):
    rank = torch.arange(len(scores) + 1, dtype=torch.float64) / len(scores)
    return ((rank**n).diff() * values[scores.argsort()]).sum().item()


@mistake(WITH_REPLACEMENT)
def others_with_replacement(scores, values, n):
    worse = torch.arange(len(scores), dtype=torch.float64) / len(scores)
    return (n / len(scores) * worse ** (n - 1) * values[scores.argsort()]).sum().item()


@mistake("This is the *worst* of n. Of each set, the reply with the highest score is chosen.")
def worst_of_n(scores, values, n):
    return best_of_n(-scores, values, n)


@mistake("This chooses by the values. They are what we look at afterwards; the choice is made by the scores.")
def chosen_by_values(scores, values, n):
    return best_of_n(values, values, n)


@mistake(
    "This is the mean *score* of the replies that are chosen. The scores only make the choice; return the mean of the "
    "values."
)
def mean_of_scores(scores, values, n):
    return best_of_n(scores, scores, n)


@mistake(
    "The weights are in the order of the scores, and the values are not. Sort the values by score as well: "
    "`values[scores.argsort()]`."
)
def values_unsorted(scores, values, n):
    worse = torch.arange(len(scores), dtype=torch.float64)
    weights = (log_choose(worse, n - 1) - math.log(math.comb(len(scores), n))).exp()
    return (weights * values).sum().item()


@mistake(
    "This chooses n replies from the worse ones. The best reply is one of the n itself, so only n - 1 others come "
    "from those below it: C(i, n - 1), not C(i, n)."
)
def n_others(scores, values, n):
    worse = torch.arange(len(scores), dtype=torch.float64)
    weights = (log_choose(worse, n) - math.log(math.comb(len(scores), n))).exp()
    return (weights * values[scores.argsort()]).sum().item()


@mistake("Nearly: i is the number of *worse* replies, so it is 0 for the worst of the pool. Here it is one too large.")
def counts_itself_as_worse(scores, values, n):
    one_too_many = 1 + torch.arange(len(scores), dtype=torch.float64)
    weights = (log_choose(one_too_many, n - 1) - math.log(math.comb(len(scores), n))).exp()
    return (weights * values[scores.argsort()]).sum().item()


@mistake(
    "This is the best reply of the whole pool. Most sets of n do not contain it: take the best of each set, and the "
    "mean over the sets."
)
def best_of_the_pool(scores, values, n):
    return values[scores.argmax()].item()


@mistake(
    "This is the mean over the n best replies of the pool. Take the best one of each set of n, and the mean over all "
    "sets."
)
def mean_of_the_n_best(scores, values, n):
    return values[scores.argsort()][-n:].mean().item()


@mistake(
    "This looks at a single set, the first n replies. Take the mean over all sets of n: it does not depend on the luck "
    "of one draw."
)
def one_set(scores, values, n):
    return values[scores[:n].argmax()].item()


@mistake(
    "The values are looked up by rank, `argsort().argsort()`. `scores.argsort()` alone is the list of replies from the "
    "worst to the best, and `values[...]` of it brings the values into this order."
)
def looked_up_by_rank(scores, values, n):
    worse = torch.arange(len(scores), dtype=torch.float64)
    weights = (log_choose(worse, n - 1) - math.log(math.comb(len(scores), n))).exp()
    return (weights * values[scores.argsort().argsort()]).sum().item()


@mistake("This divides by C(N, n - 1). There are C(N, n) sets of n replies: divide by that, and the weights sum to 1.")
def divided_by_smaller_sets(scores, values, n):
    return best_of_n(scores, values, n) * (len(scores) - n + 1) / n


@mistake(
    "`lgamma(a)` is the logarithm of (a - 1)!, one factor too few. The logarithm of a! is `torch.lgamma(a + 1)`, in "
    "every place where a factorial stands."
)
def factorials_one_too_small(scores, values, n):
    below = torch.arange(n - 1, len(scores), dtype=torch.float64)

    def log_of_factorial(a):
        return torch.lgamma(torch.as_tensor(a, dtype=torch.float64))

    of_each = log_of_factorial(below) - log_of_factorial(n - 1) - log_of_factorial(below - n + 1)
    of_all = log_of_factorial(len(scores)) - log_of_factorial(n) - log_of_factorial(len(scores) - n)
    return ((of_each - of_all).exp() * values[scores.argsort()][n - 1 :]).sum().item()


@mistake(
    "All replies that can be chosen have the same weight here. The best of the pool is chosen far more often: the "
    "reply with i worse ones has the weight C(i, n - 1) / C(N, n)."
)
def all_weights_alike(scores, values, n):
    return values[scores.argsort()][n - 1 :].mean().item()


EXERCISE = Exercise(
    id="best_of_n",
    title="The best of n, without luck",
    points=3,
    minutes=20,
    difficulty=3,
    kind="code",
    hints=(
        "Sort the pool by score. A reply with i worse ones below it is the best of a set if the other n - 1 are among "
        "those i. How many such sets are there, out of how many?",
        "log C(a, b) is lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1), in float64. Subtract the two logarithms of "
        "the weight before you take `.exp()`; for i below n - 1 the weight is 0. Or begin with the best reply, whose "
        "weight is n / N, and go down: by what do you multiply for the next one?",
    ),
    reference=best_of_n,
    cases=cases,
    remark=remark,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, The best of n",
)
