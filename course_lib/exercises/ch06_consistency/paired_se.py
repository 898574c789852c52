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
    "Both met the same questions, and what is hard for one is mostly hard for the other. Take the differences first.",
    given=True,
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


@mistake(
    "This gives 0 for two models with the same answers, and for all others the variances are still added. Let the "
    "differences question by question decide, and it is 0 there by itself."
)
def zero_if_the_same(a, b):
    return torch.tensor(0.0) if torch.equal(a, b) else unpaired.solution(a, b)


@mistake(
    "The variances are subtracted. Two models that are equally uneven would then have no error, however they differ. "
    "Take the differences question by question first."
)
def variances_subtracted(a, b):
    return (a.var() / len(a) - b.var() / len(b)).sqrt()


@mistake(
    "The variances are subtracted, and the sign is dropped. Two models that are equally uneven would then have no "
    "error, however they differ. Take the differences question by question first."
)
def variances_subtracted_without_sign(a, b):
    return (a.var() / len(a) - b.var() / len(b)).abs().sqrt()


@mistake(
    "This is the difference of two standard deviations. Wanted is the standard deviation of the *differences*: "
    "subtract first."
)
def deviations_subtracted(a, b):
    return (a.std() - b.std()) / math.sqrt(len(a))


@mistake(
    "This is the difference of two standard deviations, without its sign. Wanted is the standard deviation of the "
    "*differences*: subtract first."
)
def deviations_subtracted_without_sign(a, b):
    return (a.std() - b.std()).abs() / math.sqrt(len(a))


@mistake(
    "Two standard errors are added. Each is that of one model alone; both met the same questions, so take the "
    "differences first."
)
def errors_added(a, b):
    return (a.std() + b.std()) / math.sqrt(len(a))


@mistake("This is the variance over n: the *square* of the standard error. Take the root.")
def squared(a, b):
    return (a - b).var() / len(a)


@mistake("This is the variance over the root of n. The standard error is the standard *deviation*, `std`, over it.")
def variance_over_the_root(a, b):
    return (a - b).var() / math.sqrt(len(a))


@mistake("This divides by the root of 2 n. There are n differences, one for each question, though two models answer.")
def twice_as_many(a, b):
    return (a - b).std() / math.sqrt(2 * len(a))


@mistake("The scores are put together, as if they were 2 n answers of one model. Take the difference of each question.")
def put_together(a, b):
    return torch.cat([a, b]).std() / math.sqrt(2 * len(a))


@mistake("This is the error of the *sum* of both scores: subtract b, question by question.")
def of_the_sum(a, b):
    return (a + b).std() / math.sqrt(len(a))


@mistake("This is the standard error of one model alone. That of the difference is wanted.")
def of_a_alone(a, b):
    return a.std() / math.sqrt(len(a))


@mistake("This is the mean of the differences over the root of n. The standard deviation belongs there.")
def mean_over_the_root(a, b):
    return (a - b).mean() / math.sqrt(len(a))


@mistake("This is the difference divided by its error, as a test uses it. The error itself is wanted.")
def in_errors(a, b):
    return (a - b).mean() / ((a - b).std() / math.sqrt(len(a)))


@mistake(
    "This is the formula for shares, the root of p (1 - p) / n, with the share of questions on which the two differ. A "
    "difference is 1, 0 or -1, or anything between: take its standard deviation."
)
def as_of_a_share(a, b):
    p = (a - b).abs().mean()
    return (p * (1 - p) / len(a)).sqrt()


@mistake(
    "Questions on which both have the same score are left out. They count: a difference of 0 is a difference, too."
)
def where_they_differ(a, b):
    gaps = (a - b)[a != b]
    return gaps.std() / math.sqrt(len(a)) if len(gaps) > 1 else torch.tensor(math.nan)


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
        "There is one number for each question: by how much a is better there. What is the standard error of the mean "
        "of these n numbers?",
    ),
    reference=paired_se,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Error bars that are honest",
)
