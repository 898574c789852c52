"""The standard error of a difference on the same questions, found from code that takes the questions for others."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def paired_se(a, b):
    return (a - b).std() / math.sqrt(len(a))


def cases(rng):
    def right(n, p, shared):
        # Two rows of right (1) and wrong (0): with chance `shared` the second repeats the first.
        a = (torch.rand(n, generator=rng) < p).float()
        b = (torch.rand(n, generator=rng) < p).float()
        return a, torch.where(torch.rand(n, generator=rng) < shared, a, b)

    def scores(n, shared):
        hard, a, b = torch.rand(3, n, generator=rng)
        return shared * hard + (1 - shared) * a, shared * hard + (1 - shared) * b

    same = (torch.rand(40, generator=rng) < 0.6).float()
    return [
        Case(
            "by hand: 1, 1, 0, 1 and 1, 0, 0, 1",
            (torch.tensor([1.0, 1.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0, 1.0])),
            expected=torch.tensor(0.25),
        ),
        Case("a model and itself", (same, same.clone()), expected=torch.tensor(0.0)),
        Case("200 questions, nearly the same answers", right(200, 0.6, 0.9)),
        Case("50 questions, other answers", right(50, 0.5, 0.0)),
        Case("120 questions, mean scores of several samples", scores(120, 0.8)),
        Case("30 questions, where one is right the other is wrong", (same[:30], 1 - same[:30])),
    ]


@alternative
def by_the_covariance(a, b):
    both = torch.cov(torch.stack([a, b]))
    return ((both[0, 0] + both[1, 1] - 2 * both[0, 1]).clamp(min=0) / len(a)).sqrt()


@alternative
def by_sums(a, b):
    gaps = [x - y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    mean = sum(gaps) / len(gaps)
    return torch.tensor(math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1) / len(gaps)))


@mistake(
    "The fault is still there: the variances of a and b are added, as if each had been asked questions of its own. "
    "Both met the same questions, and what is hard for one is mostly hard for the other. Take the differences first."
)
def unpaired(a, b):
    return (a.var() / len(a) + b.var() / len(b)).sqrt()


@mistake("This is the standard deviation of the differences. That of their mean is smaller by the root of n.")
def of_one_question(a, b):
    return (a - b).std()


@mistake("Here the standard deviation is divided by n. The error of a mean falls with the root of n.")
def divided_by_n(a, b):
    return (a - b).std() / len(a)


@mistake("This is the difference itself. How far it may be off is wanted.")
def the_difference(a, b):
    return a.mean() - b.mean()


@mistake(
    "The sum of squares is divided by n. The mean was estimated from the same questions: divide by n - 1, as `std()` "
    "does by itself."
)
def divided_by_n_inside(a, b):
    return (a - b).std(unbiased=False) / math.sqrt(len(a))


@mistake("The covariance is taken off once. It is there twice: the variance of a - b is var a + var b - 2 cov.")
def covariance_once(a, b):
    both = torch.cov(torch.stack([a, b]))
    return ((both[0, 0] + both[1, 1] - both[0, 1]).clamp(min=0) / len(a)).sqrt()


@mistake(
    "This is the root mean square of the differences: their mean is not subtracted. A gap that is the same on every "
    "question would then look like an error."
)
def mean_not_subtracted(a, b):
    return ((a - b) ** 2).mean().sqrt() / math.sqrt(len(a))


@mistake("These are the absolute differences. A gap for a and a gap for b then look alike: keep the signs.")
def absolute(a, b):
    return (a - b).abs().std() / math.sqrt(len(a))


@mistake(
    "This divides by the root of n - 1, after `std()`, which has divided by n - 1 inside already. The error of a mean "
    "is the standard deviation over the root of n."
)
def corrected_twice(a, b):
    return (a - b).std() / math.sqrt(len(a) - 1)


@mistake("This is half a 95% interval, 1.96 standard errors. One standard error is asked for.")
def half_an_interval(a, b):
    return 1.96 * (a - b).std() / math.sqrt(len(a))


EXERCISE = Exercise(
    id="paired_se",
    title="The error of a difference, with a fault",
    points=2,
    minutes=8,
    difficulty=2,
    kind="debug",
    hints=(
        "A model compared with itself has a difference of 0 on every set of questions. So what should its error be? "
        "Look at the differences question by question.",
        "`(a - b).std() / math.sqrt(len(a))`.",
    ),
    reference=paired_se,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Error bars that are honest",
)
