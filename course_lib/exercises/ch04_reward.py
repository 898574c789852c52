"""Exercises of the lab `ch04_reward`."""

from __future__ import annotations

import math

import torch
from torch import nn

from course_lib.exercises.spec import Case, Exercise, Mistake, call_and_differentiate


def agreement(p):
    two_people = (p**2 + (1 - p) ** 2).mean()
    best_guess = torch.maximum(p, 1 - p).mean()
    return [two_people.item(), best_guess.item()]


def _agreement_cases(rng):
    return [
        Case("everybody agrees on both pairs", (torch.tensor([1.0, 0.0]),)),
        Case("a coin, and 9 in 10", (torch.tensor([0.5, 0.9]),)),
        Case("100 pairs", (torch.rand(100, generator=rng),)),
    ]


def _of_mean(p):
    m = p.mean().item()
    return [m**2 + (1 - m) ** 2, max(m, 1 - m)]


AGREEMENT_MISTAKES = (
    Mistake(
        lambda p: [(p**2).mean().item(), torch.maximum(p, 1 - p).mean().item()],
        "Two people agree as well when both prefer the *second* text: add (1 - p)².",
    ),
    Mistake(_of_mean, "The mean comes last: work out both numbers for every pair, then take their means."),
    Mistake(
        lambda p: agreement(p)[::-1],
        "These are the right numbers in the other order: first two people, then the best guess.",
    ),
    Mistake(
        lambda p: [agreement(p)[0], p.mean().item()],
        "The best guess is the likelier text of each pair, be it the first or the second: the larger of p and 1 - p.",
    ),
)


def bradley_terry_loss(chosen, rejected):
    return -nn.functional.logsigmoid(chosen - rejected).mean()


def _loss_cases(rng):
    return [
        Case("equal rewards", (torch.tensor([1.0, -2.0]), torch.tensor([1.0, -2.0]))),
        Case("rewards 200 apart, both ways", (torch.tensor([200.0, 0.0]), torch.tensor([0.0, 200.0]))),
        Case("8 pairs", (torch.randn(8, generator=rng), torch.randn(8, generator=rng))),
        Case("one pair", (2 * torch.randn(1, generator=rng), torch.randn(1, generator=rng))),
    ]


LOSS_MISTAKES = (
    Mistake(
        lambda chosen, rejected: -nn.functional.logsigmoid(rejected - chosen).mean(),
        "This rewards the model for preferring the rejected reply: the difference is chosen - rejected.",
    ),
    Mistake(
        lambda chosen, rejected: -nn.functional.logsigmoid(chosen - rejected).sum(),
        "This is the sum over the pairs; their mean is wanted.",
    ),
    Mistake(
        lambda chosen, rejected: nn.functional.logsigmoid(chosen - rejected).mean(),
        "A loss falls when things get better: the sign is missing.",
    ),
    Mistake(
        lambda chosen, rejected: (1 - torch.sigmoid(chosen - rejected)).mean(),
        "This is how improbable the choice was. The loss is a surprise: minus the *logarithm* of the probability.",
    ),
    Mistake(
        lambda chosen, rejected: -torch.log(torch.sigmoid(chosen - rejected)).mean(),
        "Right, until the sigmoid rounds to 0 and its logarithm is minus infinity. "
        "`nn.functional.logsigmoid` does both in one.",
    ),
    Mistake(
        lambda chosen, rejected: -torch.log(torch.sigmoid(chosen - rejected) + 1e-9).mean(),
        "The small number in the logarithm hides infinity, not the error: at -200 the loss is 200, and with 1e-9 it is "
        "21 and has no gradient left. `nn.functional.logsigmoid` needs no such help.",
    ),
)


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


def _bins(share=True, swap=False, find=torch.floor, wrong=False):
    def calibration_bins(predicted, happened, n_bins):
        place = find(predicted * n_bins).long().clamp(max=n_bins - 1)
        rows = torch.zeros(n_bins, 3)
        for k in range(n_bins):
            inside = place == k
            if inside.any():
                n = inside.sum()
                middle = torch.tensor((k + 0.5) / n_bins) if wrong else predicted[inside].mean()
                row = [n / len(predicted) if share else n, middle, happened[inside].mean()]
                rows[k] = torch.tensor([row[0], row[2], row[1]] if swap else row)
        return rows

    return calibration_bins


BINS_MISTAKES = (
    Mistake(_bins(share=False), "The first column is the number of pairs; divide it by the number of all."),
    Mistake(_bins(swap=True), "Columns 1 and 2 are exchanged: what was predicted comes before what happened."),
    Mistake(
        _bins(find=torch.round),
        "This rounds to the nearest border. Bin k reaches from k / n_bins to (k + 1) / n_bins: round down.",
    ),
    Mistake(
        _bins(find=lambda scaled: scaled.ceil() - 1),  # a prediction of 0 falls out
        "The bins are open on the wrong side: a prediction of exactly k / n_bins belongs to bin k, and 0 to the first.",
    ),
    Mistake(
        _bins(find=lambda scaled: (scaled.ceil() - 1).clamp(min=0)),
        "The bins are open on the wrong side: a prediction of exactly k / n_bins belongs to bin k, not to k - 1.",
    ),
    Mistake(
        _bins(wrong=True),
        "The second column is the mean of the predictions in the bin, which need not be its middle.",
    ),
)


def kl_best_of_n(n):
    return math.log(n) - (n - 1) / n


def _kl_cases(rng):
    return [
        Case("best of 1", (1,)),
        Case("best of 2", (2,)),
        Case("best of a few", (int(torch.randint(3, 50, (1,), generator=rng)),)),
        Case("best of 10,000", (10000,)),
    ]


KL_MISTAKES = (
    Mistake(math.log, "This is the divergence if the best were always one and the same reply; take (n - 1) / n off."),
    Mistake(lambda n: math.log(n) + (n - 1) / n, "The second term is taken off, not added."),
    Mistake(lambda n: math.log2(n) - (n - 1) / n, "In nats, the logarithm is the natural one: `math.log`."),
    Mistake(lambda n: math.log(n) - 1 / n, "Nearly: what is taken off is (n - 1) / n, so that best of 1 gives 0."),
)


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


def _again(scores, values, n):
    rank = torch.arange(1, len(scores) + 1, dtype=torch.float64) / len(scores)
    weights = rank**n - (rank - 1 / len(scores)) ** n
    return (weights * values[scores.argsort()]).sum().item()


BEST_MISTAKES = (
    Mistake(
        _again,
        "This draws with replacement: a reply may then be drawn twice. The n replies of a set are different ones.",
    ),
    Mistake(
        lambda scores, values, n: best_of_n(-scores, values, n),
        "This is the *worst* of n: the reply with the highest score is chosen.",
    ),
    Mistake(
        lambda scores, values, n: best_of_n(values, values, n),
        "This chooses by the values. They are what we look at afterwards; the choice is by the scores.",
    ),
    Mistake(
        lambda scores, values, n: values[scores.argmax()].item(),
        "This is the best of the whole pool. Most sets of n do not hold it.",
    ),
    Mistake(
        lambda scores, values, n: values[scores.argsort()][-n:].mean().item(),
        "This is the mean over the n best of the pool; the mean over all sets of n is wanted, of the best of each.",
    ),
    Mistake(
        lambda scores, values, n: values[scores[:n].argmax()].item(),
        "This is one set, the first n. The mean over all sets costs no more, and has no luck in it.",
    ),
)


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
        mistakes=AGREEMENT_MISTAKES,
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
        drive=call_and_differentiate,
        mistakes=LOSS_MISTAKES,
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
        mistakes=BINS_MISTAKES,
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
        mistakes=KL_MISTAKES,
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
        mistakes=BEST_MISTAKES,
        see=SEE,
    ),
]
