"""Exercises of the lab `ch04_reward`."""

from __future__ import annotations

import math

import torch
from torch import nn

from course_lib.exercises.spec import Case, Exercise, call_and_differentiate, told


def agreement(p):
    two_people = (p**2 + (1 - p) ** 2).mean()
    best_guess = torch.maximum(p, 1 - p).mean()
    return [two_people.item(), best_guess.item()]


def _agreement_cases(rng):
    return [
        Case("everybody agrees on both pairs", (torch.tensor([1.0, 0.0]),)),
        Case("a coin, and 1 in 10", (torch.tensor([0.5, 0.1]),)),
        Case("100 pairs", (torch.rand(100, generator=rng),)),
    ]


def _of_mean(p):
    m = p.mean().item()
    return [m**2 + (1 - m) ** 2, max(m, 1 - m)]


def _people(two=lambda p: p**2 + (1 - p) ** 2, best=lambda p: torch.maximum(p, 1 - p), order=1):
    return lambda p: [two(p).mean().item(), best(p).mean().item()][::order]


AGREEMENT_MISTAKES = {
    _people(two=lambda p: p**2): "Two people agree as well when both prefer the *second* text: add (1 - p)².",
    _people(two=lambda p: 2 * p * (1 - p)): "The first number is how often two people *disagree*; take it from 1.",
    _of_mean: "The mean comes last: work out both numbers for every pair, then take their means.",
    _people(order=-1): "These are the right numbers in the other order: first two people, then the best guess.",
    _people(best=lambda p: p): "The best guess is the likelier text, first or second: the larger of p and 1 - p.",
    _people(best=lambda p: max(p.mean(), 1 - p.mean())): "The larger of p and 1 - p: pair by pair, then the mean.",
    _people(
        best=lambda p: (p > 0.5).float()
    ): "This is how often the first text is likelier, not how often one is right.",
}


def bradley_terry_loss(chosen, rejected):
    return -nn.functional.logsigmoid(chosen - rejected).mean()


def _loss_cases(rng):
    return [
        Case("equal rewards", (torch.tensor([1.0, -2.0]), torch.tensor([1.0, -2.0]))),
        Case("rewards 200 apart, both ways", (torch.tensor([200.0, 0.0]), torch.tensor([0.0, 200.0]))),
        Case("8 pairs", (torch.randn(8, generator=rng), torch.randn(8, generator=rng))),
        Case("one pair", (2 * torch.randn(1, generator=rng), torch.randn(1, generator=rng))),
    ]


class _WrongLoss:
    def other_way_round(chosen, rejected):
        "This rewards the model for preferring the rejected reply: the difference is chosen - rejected."
        return bradley_terry_loss(rejected, chosen)

    def adds_up(chosen, rejected):
        "This is the sum over the pairs; their mean is wanted."
        return bradley_terry_loss(chosen, rejected) * len(chosen)

    def wrong_sign(chosen, rejected):
        "A loss falls when things get better: the sign is missing."
        return -bradley_terry_loss(chosen, rejected)

    def no_logarithm(chosen, rejected):
        "This is how improbable the choice was. The loss is a surprise: minus the *logarithm* of the probability."
        return (1 - torch.sigmoid(chosen - rejected)).mean()

    def no_sigmoid(chosen, rejected):
        "This is the difference alone, which is no probability. Minus the logarithm of its *sigmoid* is wanted."
        return (rejected - chosen).mean()

    def ratio(chosen, rejected):
        "Right, until the exponential of 200 is infinite. `nn.functional.logsigmoid` of the difference does without."
        return -torch.log(chosen.exp() / (chosen.exp() + rejected.exp())).mean()

    def two_steps(chosen, rejected):
        """Right, until the sigmoid rounds to 0 and its logarithm is minus infinity. `nn.functional.logsigmoid` does
        both in one."""
        return -torch.log(torch.sigmoid(chosen - rejected)).mean()

    def plus_a_little(chosen, rejected):
        """The small number in the logarithm hides infinity, not the error: at -200 the loss is 200, and with 1e-9 it
        is 21 and has no gradient left. `nn.functional.logsigmoid` needs no such help."""
        return -torch.log(torch.sigmoid(chosen - rejected) + 1e-9).mean()


def calibration_bins(predicted, happened, n_bins):
    place = (predicted * n_bins).long().clamp(max=n_bins - 1)
    rows = []
    for k in range(n_bins):
        inside = place == k
        if inside.any():
            rows.append([inside.float().mean(), predicted[inside].mean(), happened[inside].mean()])
        else:
            rows.append([0.0, 0.0, 0.0])
    return torch.tensor(rows, dtype=predicted.dtype)


def _bins_cases(rng):
    predicted = torch.rand(60, generator=rng)
    happened = (torch.rand(60, generator=rng) < predicted).float()
    return [
        Case(
            "two bins",
            (torch.tensor([0.1, 0.3, 0.75, 0.9, 0.95]), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0]), 2),
        ),
        Case(
            "an empty bin, and a prediction of exactly 1",
            (torch.tensor([0.1, 0.2, 1.0]), torch.tensor([0.0, 1.0, 1.0]), 4),
        ),
        Case("60 predictions, 5 bins", (predicted, happened, 5)),
        Case(
            "predictions on a border, and of 0 and 1",
            (torch.tensor([0.0, 0.5, 0.5, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0]), 2),
        ),
    ]


def _bins(share=True, swap=False, find=torch.floor, wrong=False, last=True, empty=0.0):
    def calibration_bins(predicted, happened, n_bins):
        place = find(predicted * n_bins).long().clamp(max=n_bins - last)
        rows = torch.tensor([[0.0, empty, empty]] * n_bins)
        for k in range(n_bins):
            inside = place == k
            if inside.any():
                n = inside.sum()
                middle = torch.tensor((k + 0.5) / n_bins) if wrong else predicted[inside].mean()
                row = [n / len(predicted) if share else n, middle, happened[inside].mean()]
                rows[k] = torch.tensor([row[0], row[2], row[1]] if swap else row)
        return rows

    return calibration_bins


def _sums(predicted, happened, n_bins):
    rows = calibration_bins(predicted, happened, n_bins)
    return torch.stack([rows[:, 0], rows[:, 0] * rows[:, 1], rows[:, 0] * rows[:, 2]], dim=1)


_OPEN = "The bins are open on the wrong side: a prediction of exactly k / n_bins belongs to bin k"
BINS_MISTAKES = {
    _bins(share=False): "The first column is the number of pairs; divide it by the number of all.",
    _bins(swap=True): "Columns 1 and 2 are exchanged: what was predicted comes before what happened.",
    _bins(find=torch.round): "This rounds to the nearest border. Bin k begins at k / n_bins: round down.",
    _bins(find=lambda scaled: scaled.ceil() - 1): f"{_OPEN}, and 0 to the first.",  # a prediction of 0 falls out
    _bins(find=lambda scaled: (scaled.ceil() - 1).clamp(min=0)): f"{_OPEN}, not to k - 1.",
    _bins(
        last=False
    ): "A prediction of exactly 1 falls out: rounded down it is bin n_bins. It belongs to the last one.",
    _bins(empty=math.nan): "An empty bin has no mean: 0 / 0 is nan. Its row is to be zeros.",
    _bins(wrong=True): "The second column is the mean of the predictions in the bin, which need not be its middle.",
    _sums: "Columns 1 and 2 are means over the pairs *in the bin*: divide by their number, not by that of all pairs.",
}


def kl_best_of_n(n):
    return math.log(n) - (n - 1) / n


def _kl_cases(rng):
    return [
        Case("best of 1", (1,)),
        Case("best of 2", (2,)),
        Case("best of a few", (int(torch.randint(3, 50, (1,), generator=rng)),)),
        Case("best of 10,000", (10000,)),
    ]


KL_MISTAKES = {
    math.log: "Nothing is taken off log n here. (n - 1) / n is wanted, with `/`: `//` rounds it down to 0.",
    lambda n: math.log(n) + (n - 1) / n: "The second term is taken off, not added.",
    lambda n: (n - 1) / n - math.log(n): "The sign is wrong: log n comes first, and a KL is never below 0.",
    lambda n: math.log2(n) - (n - 1) / n: "In nats, the logarithm is the natural one: `math.log`.",
    lambda n: math.log10(n) - (n - 1) / n: "In nats, the logarithm is the natural one: `math.log`, not `math.log10`.",
    lambda n: math.log(n) - 1 / n: "Nearly: what is taken off is (n - 1) / n, so that best of 1 gives 0.",
    lambda n: math.log(n) - (n - 1 / n): "Mind the brackets: (n - 1) / n, where Python reads n - 1 / n as n - (1 / n).",
}


def best_of_n(scores, values, n):
    below = torch.arange(n - 1, len(scores), dtype=torch.float64)  # how many of the pool are worse

    def log_choose(a, b):
        a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
        return torch.lgamma(a + 1) - torch.lgamma(b + 1) - torch.lgamma(a - b + 1)

    weights = (log_choose(below, n - 1) - log_choose(len(scores), n)).exp()
    return (weights * values[scores.argsort()][n - 1 :]).sum().item()


def _best_cases(rng):
    def pool(size):
        return torch.randperm(size, generator=rng).float(), torch.randn(size, generator=rng)

    scores, values = pool(6)
    return [
        Case("best of 2 of 3", (torch.tensor([0.3, 0.9, 0.1]), torch.tensor([10.0, 20.0, 60.0]), 2)),
        Case("best of 1: the mean", (scores, values, 1)),
        Case("best of the whole pool", (*pool(5), 5)),
        Case("best of 3 of 6", (scores, values, 3)),
        Case("best of 700 of 2000", (*pool(2000), 700), rtol=1e-4, atol=1e-4),
    ]


def _weighed(values, n, below, others):
    """The sum of the values, each times the share of the sets of n that C(i + below, others) are, for the i-th."""
    i = torch.arange(len(values), dtype=torch.float64) + below
    sets = torch.lgamma(i + 1) - torch.lgamma(i - others + 1) - math.lgamma(others + 1)  # -inf where there is none
    return ((sets - math.log(math.comb(len(values), n))).exp() * values).sum().item()


class _WrongBest:
    def with_replacement(scores, values, n):
        "This draws with replacement: a reply may then be drawn twice. The n replies of a set are different ones."
        rank = torch.arange(len(scores) + 1, dtype=torch.float64) / len(scores)
        return ((rank**n).diff() * values[scores.argsort()]).sum().item()

    def worst(scores, values, n):
        "This is the *worst* of n: the reply with the highest score is chosen."
        return best_of_n(-scores, values, n)

    def by_values(scores, values, n):
        "This chooses by the values. They are what we look at afterwards; the choice is by the scores."
        return best_of_n(values, values, n)

    def of_scores(scores, values, n):
        "This is the mean *score* of what is chosen. The scores are for the choice; the mean is that of the values."
        return best_of_n(scores, scores, n)

    def values_unsorted(scores, values, n):
        "The weights go by the order of the scores, and the values stand in another: `values[scores.argsort()]`."
        return _weighed(values, n, 0, n - 1)

    def n_others(scores, values, n):
        "The chosen reply is one of the n, so n - 1 others come from those below it: C(i, n - 1), not C(i, n)."
        return _weighed(values[scores.argsort()], n, 0, n)

    def counts_itself(scores, values, n):
        "Nearly: i is the number of *worse* replies, 0 for the worst of the pool. Here it is one too large."
        return _weighed(values[scores.argsort()], n, 1, n - 1)

    def of_the_pool(scores, values, n):
        "This is the best of the whole pool. Most sets of n do not hold it."
        return values[scores.argmax()].item()

    def n_best(scores, values, n):
        "This is the mean over the n best of the pool; the mean over all sets of n is wanted, of the best of each."
        return values[scores.argsort()][-n:].mean().item()

    def one_set(scores, values, n):
        "This is one set, the first n. The mean over all sets costs no more, and has no luck in it."
        return values[scores[:n].argmax()].item()


SEE = "Chapter 4, A judge made of comparisons"
EXERCISES = [
    Exercise(
        id="agreement",
        title="How far do people agree?",
        points=1,
        minutes=6,
        difficulty=1,
        hints=(
            "Two people agree when both prefer the first, with p * p, or both prefer the second. A guesser who knows p "
            "takes the likelier text.",
            "`(p**2 + (1 - p) ** 2).mean().item()` and `torch.maximum(p, 1 - p).mean().item()`",
        ),
        reference=agreement,
        cases=_agreement_cases,
        mistakes=told(AGREEMENT_MISTAKES),
        see=SEE,
    ),
    Exercise(
        id="bradley_terry_loss",
        title="Learn from a comparison",
        points=1,
        minutes=6,
        difficulty=1,
        hints=(
            "The probability of what happened is the sigmoid of chosen - rejected. The loss is minus its logarithm.",
            "`-nn.functional.logsigmoid(chosen - rejected).mean()`; sigmoid first and log after it breaks far from 0.",
        ),
        reference=bradley_terry_loss,
        cases=_loss_cases,
        run_case=call_and_differentiate,
        mistakes=told(_WrongLoss),
        see=SEE,
    ),
    Exercise(
        id="calibration_bins",
        title="Are its probabilities true?",
        points=2,
        minutes=12,
        difficulty=2,
        hints=(
            "Which bin? Multiply by n_bins and round down; a prediction of exactly 1 belongs to the last bin.",
            "`place = (predicted * n_bins).long().clamp(max=n_bins - 1)`; then for each k, `inside = place == k`, and "
            "three means: of `inside`, `predicted[inside]` and `happened[inside]`, or zeros where nothing is inside.",
        ),
        reference=calibration_bins,
        cases=_bins_cases,
        mistakes=told(BINS_MISTAKES),
        see=SEE,
    ),
    Exercise(
        id="kl_best_of_n",
        title="How far does the best of n go?",
        points=1,
        minutes=4,
        difficulty=1,
        hints=(
            "The formula stands above. The logarithm is the natural one.",
            "`math.log(n) - (n - 1) / n`",
        ),
        reference=kl_best_of_n,
        cases=_kl_cases,
        mistakes=told(KL_MISTAKES),
        see=SEE,
    ),
    Exercise(
        id="best_of_n",
        title="The best of n, without luck",
        points=3,
        minutes=20,
        difficulty=3,
        hints=(
            "Sort the pool by score. A reply with i worse ones below it is the best of a set if the other n - 1 are "
            "among those i. How many such sets are there, out of how many?",
            "Its weight is C(i, n - 1) / C(N, n), 0 for i < n - 1. These numbers overflow: work with logarithms, "
            "log C(a, b) = lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1) in float64, and `.exp()` at the end. Or "
            "divide the whole numbers of `math.comb` by each other before you multiply. Or "
            "begin at the top, where the weight is n / N, and go down: the next is (i - n + 1) / i of the one above.",
        ),
        reference=best_of_n,
        cases=_best_cases,
        mistakes=told(_WrongBest),
        see=SEE,
    ),
]
