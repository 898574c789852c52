"""Exercises of the lab `ch03_emergence`."""

from __future__ import annotations

import math

import torch

from course_lib.exercises.spec import Case, Exercise, Mistake, call_and_differentiate


def exact_match(right):
    return right.all(dim=1).float().mean().item()


def _exact_match_cases(rng):
    right = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    return [
        Case("4 answers of 3 tokens", (right,)),
        Case("one token an answer", (torch.tensor([[True], [False], [True]]),)),
        Case("40 answers of 5 tokens", (torch.rand(40, 5, generator=rng) < 0.8,)),
    ]


EXACT_MATCH_MISTAKES = (
    Mistake(
        lambda right: right.float().mean().item(),
        "This is the share of right tokens. An answer counts only if all of its tokens are right.",
    ),
    Mistake(
        lambda right: right.any(dim=1).float().mean().item(),
        "This counts an answer as soon as one of its tokens is right; all of them have to be.",
    ),
    Mistake(
        lambda right: right.all(dim=0).float().mean().item(),
        "This looks down the columns, at one place of all answers. Each row is an answer: `dim=1`.",
    ),
    Mistake(
        lambda right: float(right.all()),
        "This looks at the whole table at once: 1 if everything is right, else 0. Each row is an answer: `dim=1`, then "
        "the mean over the rows.",
    ),
    Mistake(
        lambda right: right.all(dim=1).float().sum().item(),
        "This is the number of right answers; their share is wanted.",
    ),
)


def token_accuracy_needed(exact, length):
    return exact ** (1 / length)


def _needed_cases(rng):
    exact = 0.1 + 0.8 * torch.rand((), generator=rng).item()
    return [
        Case("half of all answers of 8 tokens", (0.5, 8)),
        Case("answers of one token", (0.3, 1)),
        Case("a quarter of all answers of 2 tokens", (0.25, 2)),
        Case("answers of 100 tokens", (exact, 100)),
    ]


NEEDED_MISTAKES = (
    Mistake(
        lambda exact, length: exact**length,
        "This is the way back: how often an answer is right if each token is right with probability `exact`.",
    ),
    Mistake(
        lambda exact, length: exact / length,
        "The probabilities of independent tokens are multiplied, not added, so undo a power: take a root.",
    ),
    Mistake(
        lambda exact, length: 1 - (1 - exact) / length,
        "Close for exact values near 1, but an approximation: solve p to the power of `length` = exact for p.",
    ),
    Mistake(lambda exact, length: math.sqrt(exact), "This is the square root; it has to be the length-th root."),
)


def extrapolate(sizes, values, size):
    x, y = sizes - sizes.mean(), values - values.mean()
    slope = (x * y).sum() / (x * x).sum()
    return (values.mean() + slope * (size - sizes.mean())).item()


def _extrapolate_cases(rng):
    sizes = torch.tensor([4.0, 8.0, 12.0, 20.0])
    return [
        Case("points on a line", (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3]), 5.0)),
        Case(
            "3 points off the line, unevenly spaced",
            (torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 3.0, 2.0]), 8.0),
        ),
        Case("4 random values", (sizes, torch.rand(4, generator=rng), 32.0)),
    ]


def _origin(sizes, values, size):
    return ((sizes * values).sum() / (sizes * sizes).sum() * size).item()


def _ends(sizes, values, size):
    slope = (values[-1] - values[0]) / (sizes[-1] - sizes[0])
    return (values[-1] + slope * (size - sizes[-1])).item()


def _last_two(sizes, values, size):
    slope = (values[-1] - values[-2]) / (sizes[-1] - sizes[-2])
    return (values[-1] + slope * (size - sizes[-1])).item()


EXTRAPOLATE_MISTAKES = (
    Mistake(_origin, "This line goes through the origin; let it have a height of its own as well as a slope."),
    Mistake(_ends, "This line joins the first point and the last, and ignores those between: fit it to all of them."),
    Mistake(_last_two, "This continues the last two points; fit the line to all of them."),
    Mistake(lambda sizes, values, size: values.mean().item(), "This is the mean of the values; the slope is missing."),
    Mistake(
        lambda sizes, values, size: extrapolate(sizes.log(), values, math.log(size)),
        "This is a line over the logarithm of the size; take the size itself.",
    ),
)


def prefix_matching_score(weights, period):
    query = torch.arange(period, weights.shape[-1])
    return weights[:, query, query - period + 1].mean(dim=1)


def _score_cases(rng):
    def causal(heads, n):
        return (
            torch.randn(heads, n, n, generator=rng).masked_fill(~torch.ones(n, n).tril().bool(), -math.inf).softmax(-1)
        )

    perfect = torch.zeros(1, 8, 8)
    perfect[0, torch.arange(8), (torch.arange(8) - 3).clamp(min=0)] = 1.0
    return [
        Case("a perfect induction head, period 4", (perfect, 4)),
        Case("3 random heads, 10 tokens, period 4", (causal(3, 10), 4)),
        Case("2 random heads, 12 tokens, period 6", (causal(2, 12), 6)),
        Case("period 2", (causal(2, 7), 2)),
    ]


def _score(offset=1, first=0, last=None, transpose=False):
    def score(weights, period):
        query = torch.arange(period + first, weights.shape[-1] if last is None else last * period)
        key = query - period + offset
        return (weights[:, key, query] if transpose else weights[:, query, key]).mean(dim=1)

    return score


SCORE_MISTAKES = (
    Mistake(
        _score(offset=0),
        "This is the weight on the *same* token one period ago (a duplicate head). An induction head looks one "
        "further: at what came after it, t - period + 1.",
    ),
    Mistake(
        _score(transpose=True),
        "Rows and columns are exchanged: `weights[:, t, s]` is how much query t looks at key s.",
    ),
    Mistake(
        _score(first=-1),
        "This begins one query too early. At t = period - 1 nothing has been repeated yet: begin at t = period.",
    ),
    Mistake(
        _score(first=1),
        "This begins one query too late. The one at t = period has seen its symbol before, at 0: begin there.",
    ),
    Mistake(
        _score(last=2),
        "This stops after the second copy. Go on to the last query: every one from t = period on has an earlier copy.",
    ),
    Mistake(
        lambda weights, period: prefix_matching_score(weights, period).mean(),
        "This is the mean over all heads, where one good head drowns; return a score for each.",
    ),
    Mistake(
        lambda weights, period: prefix_matching_score(weights, period) * (weights.shape[-1] - period),
        "This is the sum over the queries; their mean is wanted.",
    ),
    Mistake(
        lambda weights, period: weights[:, period:, 1 : weights.shape[-1] - period + 1].mean(dim=(1, 2)),
        "This is the mean over a whole block, each of these queries with each of these keys. Each query has one key of "
        "its own: index with two lists of places, `weights[:, query, key]`.",
    ),
    Mistake(
        lambda weights, period: weights[
            :, torch.arange(weights.shape[-1]), torch.arange(weights.shape[-1]) - period + 1
        ].mean(dim=1),
        "This takes in the queries before t = period, for which nothing has come back yet (and their negative places "
        "count from the end). Begin at t = period.",
    ),
)


def transition(steps, values, low, high):
    def first(level):
        return next((step for step, value in zip(steps, values, strict=True) if value > level), None)

    return [first(low), first(high)]


def _transition_cases(rng):
    noise = torch.rand(10, generator=rng).tolist()
    noisy = [0.05 * i + 0.3 * x for i, x in enumerate(noise)]
    return [
        Case("a jump", ([50, 100, 150, 200], [0.02, 0.05, 0.6, 0.97], 0.1, 0.9)),
        Case("never above", ([10, 20, 30], [0.02, 0.3, 0.25], 0.1, 0.9)),
        Case("back below, and above again", ([1, 2, 3, 4, 5], [0.0, 0.2, 0.05, 0.95, 0.85], 0.1, 0.9)),
        Case("exactly at the level", ([5, 10, 15, 20], [0.1, 0.4, 0.9, 1.0], 0.1, 0.9)),
        Case("a noisy rise", (list(range(0, 100, 10)), noisy, 0.1, 0.35)),
    ]


def _crossing(above, pick=lambda found: found[0], index=False):
    def transition(steps, values, low, high):
        places = [[i for i, v in enumerate(values) if above(v, level)] for level in (low, high)]
        return [None if not found else pick(found) if index else steps[pick(found)] for found in places]

    return transition


def _for_good(steps, values, low, high):
    below = [max((i for i, v in enumerate(values) if v <= level), default=-1) for level in (low, high)]
    return [steps[i + 1] if i + 1 < len(steps) else None for i in below]


TRANSITION_MISTAKES = (
    Mistake(
        _crossing(lambda v, level: v >= level),
        "Nearly: a value that is exactly at the level is not above it.",
    ),
    Mistake(
        _crossing(lambda v, level: v > level, index=True),
        "These are places in the list; the steps that stand there are wanted.",
    ),
    Mistake(
        _crossing(lambda v, level: v > level, pick=lambda found: found[-1]),
        "This is the last step above the level; the first one is wanted.",
    ),
    Mistake(
        _for_good,
        "This is the step from which the value stays above the level. It may have been above before: the first time is "
        "wanted.",
    ),
)


EXERCISES = [
    Exercise(
        id="exact_match",
        title="Right or wrong",
        points=1,
        minutes=4,
        difficulty=1,
        hints=(
            "A row is right if all of it is. What does `all` do along an axis?",
            "`right.all(dim=1)` has one True or False for each answer; the mean of `.float()` is their share.",
        ),
        reference=exact_match,
        cases=_exact_match_cases,
        mistakes=EXACT_MATCH_MISTAKES,
        see="Chapter 3, Does anything emerge?",
    ),
    Exercise(
        id="token_accuracy_needed",
        title="How good must each token be?",
        points=1,
        minutes=5,
        difficulty=1,
        hints=(
            "If each of L tokens is right with probability p, all of them are with probability p to the power of L.",
            "Solve p ** length = exact for p: the length-th root, `exact ** (1 / length)`.",
        ),
        reference=token_accuracy_needed,
        cases=_needed_cases,
        mistakes=NEEDED_MISTAKES,
        see="Chapter 3, Does anything emerge?",
    ),
    Exercise(
        id="extrapolate",
        title="Foretell the larger model",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "The line of least squares goes through the point of both means. Its slope is the sum of the products of "
            "both deviations over the sum of the squared deviations of the sizes.",
            "`x, y = sizes - sizes.mean(), values - values.mean()`, `slope = (x * y).sum() / (x * x).sum()`, then "
            "`values.mean() + slope * (size - sizes.mean())`.",
        ),
        reference=extrapolate,
        cases=_extrapolate_cases,
        mistakes=EXTRAPOLATE_MISTAKES,
        see="Chapter 3, Does anything emerge?",
    ),
    Exercise(
        id="prefix_matching_score",
        title="Is this an induction head?",
        points=3,
        minutes=12,
        difficulty=2,
        hints=(
            "Query t has seen its token before, at t - period. What came next stood one further. Which t have one?",
            "`query = torch.arange(period, n)`, `weights[:, query, query - period + 1]`, then their mean.",
        ),
        reference=prefix_matching_score,
        cases=_score_cases,
        run_case=call_and_differentiate,
        mistakes=SCORE_MISTAKES,
        see="Chapter 3, Does anything emerge?",
    ),
    Exercise(
        id="transition",
        title="When did it happen?",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "For each of the two levels: walk through steps and values together, and stop at the first value above it.",
            "`next((step for step, value in zip(steps, values) if value > low), None)`",
        ),
        reference=transition,
        cases=_transition_cases,
        mistakes=TRANSITION_MISTAKES,
        see="Chapter 3, Does anything emerge?",
    ),
]
