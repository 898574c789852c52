"""The best that can be done: the riskiest requests are refused first (Neyman and Pearson 1933)."""

import torch

from course_lib.exercises.ch04_safety.outcome_rates import outcome_rates
from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def frontier(risk):
    risk = risk.sort(descending=True).values
    benign = 1 - risk
    points = torch.stack([benign.cumsum(0) / benign.sum(), risk.cumsum(0) / risk.sum()], dim=1)
    return torch.cat([points.new_zeros(1, 2), points])


def cases(rng):
    low, high = (torch.rand(2, generator=rng) / 5).tolist()
    return [
        Case(
            "one that is always harmful, one that never is",
            (torch.tensor([0.0, 1.0]),),
            expected=torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        ),
        Case("risks of 0.5, 0.1, 0.9", (torch.tensor([0.5, 0.1, 0.9]),)),
        Case("two alike", (torch.tensor([0.2 + low, 0.7 + high, 0.2 + low, 0.45]),)),
        Case("12 random risks", (torch.rand(12, generator=rng),)),
    ]


@alternative
def by_loops(risk):
    x = y = 0.0
    rows = [[x, y]]
    for value in sorted(risk.tolist(), reverse=True):
        x, y = x + 1 - value, y + value
        rows.append([x, y])
    return torch.tensor(rows, dtype=risk.dtype) / torch.tensor([x, y], dtype=risk.dtype)


def refused_in_this_order(risk):
    benign = 1 - risk
    points = torch.stack([benign.cumsum(0) / benign.sum(), risk.cumsum(0) / risk.sum()], dim=1)
    return torch.cat([torch.zeros(1, 2), points])


@mistake("This refuses the least risky request first, which is the worst that can be done. Begin with the riskiest.")
def least_risky_first(risk):
    return refused_in_this_order(risk.sort().values)


@mistake("The requests are taken in the order in which they came. Sort them: the riskiest is refused first.")
def not_sorted(risk):
    return refused_in_this_order(risk)


@mistake("The first point is missing: refusing nothing, where both rates are 0. Put a row of zeros in front.")
def no_first_point(risk):
    return frontier(risk)[1:]


@mistake("The columns are exchanged: false refusal comes first, since it is the x axis of the picture.")
def columns_exchanged(risk):
    return frontier(risk).flip(1)


@mistake(
    "Requests of the same risk are refused all at once here, so their rows are equal. Refuse one more request in each "
    "row."
)
def equal_risks_at_once(risk):
    rows = [[0.0, 0.0]]
    for least in risk.sort(descending=True).values:
        refusal, false_refusal = outcome_rates((risk >= least).float(), risk)
        rows.append([false_refusal, refusal])
    return torch.tensor(rows)


@mistake("These are sums. Divide each column by its last entry, so that both end at 1.")
def sums(risk):
    return frontier(risk) * torch.stack([(1 - risk).sum(), risk.sum()])


@mistake(
    "These are shares of all requests. Divide the first column by the number of the benign, `(1 - risk).sum()`, and "
    "the second by the number of the harmful, `risk.sum()`."
)
def shares_of_all_requests(risk):
    return frontier(risk) * torch.stack([(1 - risk).mean(), risk.mean()])


@mistake(
    "The last point is missing: refusing everything, where both rates are 1. k goes from 0 to the number of requests."
)
def no_last_point(risk):
    return frontier(risk)[:-1]


@mistake("The row of zeros is behind the others. Row 0 is for refusing nothing: put it in front.")
def zeros_behind(risk):
    return frontier(risk).roll(-1, dims=0)


@mistake(
    "Each row is what one request adds. Row k is for refusing the k riskiest *together*: add up what they add, as "
    "`cumsum` does."
)
def not_added_up(risk):
    points = frontier(risk)
    return torch.cat([points[:1], points.diff(dim=0)])


@mistake(
    "The first column is the share of the requests that are refused. False refusal is a share of those who mean well, "
    "and a request of risk r counts for 1 - r of them."
)
def share_of_the_requests_across(risk):
    points = frontier(risk)
    points[:, 0] = torch.arange(len(points)) / len(risk)
    return points


@mistake(
    "The first column is 1 minus the second, the share of the harmful that is answered. False refusal is about those "
    "who mean well: of them, what share is refused?"
)
def share_of_the_harmful_answered(risk):
    refusal = frontier(risk)[:, 1]
    return torch.stack([1 - refusal, refusal], dim=1)


@mistake(
    "These are means over the k riskiest. Add up what they hold, and divide by what *all* requests hold: `risk.sum()` "
    "for the harmful, `(1 - risk).sum()` for the others."
)
def means_of_the_riskiest(risk):
    risk = risk.sort(descending=True).values
    k = torch.arange(1, len(risk) + 1)
    points = torch.stack([(1 - risk).cumsum(0) / k, risk.cumsum(0) / k], dim=1)
    return torch.cat([torch.zeros(1, 2), points])


@mistake(
    "Row k holds the k - 1 riskiest, and the first row is there twice: `risk[:k]` is empty for k = 0. Let k go to the "
    "number of requests."
)
def one_request_too_few(risk):
    return torch.cat([torch.zeros(1, 2), frontier(risk)[:-1]])


@mistake(
    "Both columns are divided by the number of the harmful. The first is a share of those who mean well: divide it by "
    "`(1 - risk).sum()`."
)
def both_by_the_harmful(risk):
    return frontier(risk) * torch.tensor([((1 - risk).sum() / risk.sum()).item(), 1.0])


@mistake(
    "These are the places of the risks, not the risks. `argsort` says in which order the requests come; `sort(...)"
    ".values`, or `risk[...]` of that order, has the risks themselves."
)
def places_for_risks(risk):
    return refused_in_this_order(risk.argsort(descending=True).float())


@mistake(
    "The two divisors are exchanged. The first column is a share of those who mean well, `(1 - risk).sum()`, the "
    "second a share of the harmful, `risk.sum()`."
)
def divisors_exchanged(risk):
    harmful, benign = risk.sum(), (1 - risk).sum()
    return frontier(risk) * torch.stack([benign / harmful, harmful / benign])


@mistake(
    "The first column is divided by how many have been refused. False refusal is a share of *all* who mean well: "
    "divide by `(1 - risk).sum()`."
)
def share_of_the_refused(risk):
    points = frontier(risk)
    points[1:, 0] *= (1 - risk).sum() / torch.arange(1, len(risk) + 1)
    return points


HARD_LABELS = (
    "You make each request harmful or harmless, whichever is likelier. But a request of risk r is harmful with the "
    "probability r: it counts for r of the harmful, and for 1 - r of the others."
)


@mistake(HARD_LABELS)
def harmful_above_one_half(risk):
    risk = risk.sort(descending=True).values
    return refused_in_this_order((risk > 0.5).float())


@mistake(HARD_LABELS)
def harmful_from_one_half(risk):
    risk = risk.sort(descending=True).values
    return refused_in_this_order((risk >= 0.5).float())


@mistake(
    "The two columns are sorted each by itself. Row k is about the same requests in both: sort the risks, and take 1 - "
    "risk of *these*."
)
def each_sorted_by_itself(risk):
    points = frontier(risk)
    benign = (1 - risk).sort(descending=True).values
    points[1:, 0] = benign.cumsum(0) / benign.sum()
    return points


EXERCISE = Exercise(
    id="frontier",
    title="The best that can be done",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Refuse one request after the other, the riskiest first. What does each add to the two rates?",
        "With the risks in descending order, the `cumsum` of a column says what the 1, 2, 3 ... riskiest add up to; "
        "its last entry is the whole. Which column belongs to the harmful, which to the others? And a row of zeros "
        "goes in front.",
    ),
    reference=frontier,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, The best that can be had",
)
