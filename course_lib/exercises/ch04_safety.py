"""Exercises of the lab ch04_safety: refusals that are right, refusals that are wrong, and what can be had at best."""

import torch

from course_lib.exercises.spec import Case, Exercise, told

SEE = "Chapter 4, Helpful and safe"


def _risks(rng, n):
    return torch.rand(n, generator=rng)


def outcome_rates(refused, risk):
    refusal = (refused * risk).sum() / risk.sum()
    false_refusal = (refused * (1 - risk)).sum() / (1 - risk).sum()
    return [refusal.item(), false_refusal.item()]


def _rates_cases(rng):
    harm = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    refused = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    mixed = torch.tensor([0.0, 0.1, 0.3, 0.9, 1.0])
    return [
        Case("two who mean harm and three who do not", (refused, harm), expected=[0.5, 1 / 3]),
        Case("refusing all five of a mixed crowd", (torch.ones_like(mixed), mixed), expected=[1.0, 1.0]),
        Case("refusing from a risk of 0.9 on", ((mixed >= 0.9).float(), mixed)),
        Case("20 requests, refused now and then", (_risks(rng, 20), _risks(rng, 20))),
    ]


def _shares(refused, risk, harm, benign):
    return [((refused * risk).sum() / harm).item(), ((refused * (1 - risk)).sum() / benign).item()]


RATES_MISTAKES = {
    lambda q, r: outcome_rates(q, r)[::-1]: "The two are in the wrong order: first refusal, then false refusal.",
    lambda q, r: _shares(q, r, len(q), len(q)): """These are shares of all requests. Refusal is a share of those who
        mean harm, false refusal of those who do not, so divide by how many there are of each.""",
    lambda q, r: _shares(q, r, q.sum(), q.sum()): """These are shares of the refusals: how many of them were right, and
        how many wrong. Divide by how many mean harm, and by how many do not.""",
    lambda q, r: outcome_rates(q, (r > 0.5).float()): """Here each request is called forbidden or benign as a whole.
        With a risk of 0.3, three in ten who ask mean harm and seven do not: it counts in both rates, so weighted.""",
    lambda q, r: [q[r == 1].mean().item(), q[r == 0].mean().item()]: """Only risks of 1 and of 0 are looked at. With a
        risk of 0.3, three in ten who ask mean harm and seven do not: it counts in both rates, so weighted.""",
    lambda q, r: outcome_rates((q > 0.5).float(), r): """A request is taken as refused where that is likelier than not.
        `refused` says how likely it is: multiply with it as it is.""",
    lambda q, r: [outcome_rates(q, r)[0], 1 - outcome_rates(q, r)[1]]: """The second number is the share of benign
        requests that are answered; the share that is refused is wanted.""",
}


def frontier(risk):
    risk = risk.sort(descending=True).values
    benign = 1 - risk
    points = torch.stack([benign.cumsum(0) / benign.sum(), risk.cumsum(0) / risk.sum()], dim=1)
    return torch.cat([points.new_zeros(1, 2), points])


def _frontier_cases(rng):
    return [
        Case(
            "one that is always harmful, one that never is",
            (torch.tensor([0.0, 1.0]),),
            expected=torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        ),
        Case("risks of 0.5, 0.1, 0.9", (torch.tensor([0.5, 0.1, 0.9]),)),
        Case("two alike", (torch.tensor([0.2, 0.7, 0.2, 0.4]),)),
        Case("12 random risks", (_risks(rng, 12),)),
    ]


def _points(risk):
    points = torch.stack([(1 - risk).cumsum(0) / (1 - risk).sum(), risk.cumsum(0) / risk.sum()], dim=1)
    return torch.cat([points.new_zeros(1, 2), points])


def _alike_together(risk):
    rows = [outcome_rates((risk >= least).float(), risk)[::-1] for least in risk.sort(descending=True).values]
    return torch.tensor([[0.0, 0.0], *rows], dtype=risk.dtype)


FRONTIER_MISTAKES = {
    lambda risk: _points(risk.sort().values): """This refuses the least risky first, which is the worst that can be
        done. Begin with the highest risk.""",
    _points: "The requests are taken in the order in which they came. Sort them: the highest risk is refused first.",
    lambda risk: frontier(risk)[1:]: "The first point is missing: refusing nothing, where both rates are 0.",
    lambda risk: frontier(risk).flip(1): "The columns are exchanged: false refusal comes first, it is the x axis.",
    _alike_together: "Requests of the same risk are refused all at once here. One more is refused in each row.",
    lambda risk: frontier(risk) * torch.stack([(1 - risk).sum(), risk.sum()]): """These are sums; each column has to be
        divided by its last, so that both end at 1.""",
    lambda risk: frontier(risk) * torch.stack([(1 - risk).mean(), risk.mean()]): """These are shares of all requests.
        Divide the first column by (1 - risk).sum(), the benign, and the second by risk.sum(), the harmful.""",
}


def refusal_at(points, limit):
    below = int((points[:, 0] <= limit).sum()) - 1
    x, y = points[below].tolist()
    if below == len(points) - 1:
        return y
    next_x, next_y = points[below + 1].tolist()
    return y + (next_y - y) * (limit - x) / (next_x - x)


def _at_cases(rng):
    steep = torch.tensor([[0.0, 0.0], [0.0, 0.25], [0.0, 0.5], [0.25, 0.875], [1.0, 1.0]])
    return [
        Case("no false refusal is allowed", (steep, 0.0), expected=0.5),
        Case("halfway between two points", (steep, 0.125), expected=0.6875),
        Case("exactly at a point", (steep, 0.25), expected=0.875),
        Case("everything is allowed", (steep, 1.0), expected=1.0),
        Case("a limit of 0.3 on a random frontier", (frontier(_risks(rng, 9)), 0.3)),
    ]


class _WrongAt:
    """Known mistakes: the docstring of each wrong version, here and below, is what its author is told."""

    def last_allowed(points, limit):
        """This is the last point within the limit. One can have more: refuse the next request too, but only now and
        then, which gives every point of the straight line to the next one."""
        return points[points[:, 0] <= limit][-1, 1].item()

    def next_point(points, limit):
        """This is the first point at the limit or beyond it, where more is refused falsely than is allowed. Go along
        the line only as far as the limit."""
        return points[points[:, 0] >= limit][0, 1].item()

    def nearest(points, limit):
        """This is the height of the nearest point, which may lie beyond the limit. Find the points on either side, and
        go along the straight line between them."""
        return points[(points[:, 0] - limit).abs().argmin(), 1].item()

    def exchanged(points, limit):
        """The columns are exchanged: x, the false refusal, is column 0, and the limit is one on x."""
        x = points[:, 1]
        below = int((x <= limit).sum()) - 1
        if below == len(points) - 1:
            return points[-1, 0].item()
        share = (limit - x[below]) / (x[below + 1] - x[below])
        return (points[below, 0] + share * (points[below + 1, 0] - points[below, 0])).item()

    def lowest(points, limit):
        """Several points may have the same x. Of those take the highest: at no false refusal at all, some requests
        can be refused."""
        below = int((points[:, 0] < limit).sum()) - 1
        if below < 0:
            return points[0, 1].item()
        x, y = points[below].tolist()
        next_x, next_y = points[below + 1].tolist()
        return y + (next_y - y) * (limit - x) / (next_x - x)


def mixed_reward(right, refused, risk, weight):
    return (1 - weight) * (1 - risk) * right + weight * risk * refused


def _reward_cases(rng):
    def bits(n):
        return (_risks(rng, n) < 0.5).float()

    one = torch.ones(1)
    right = bits(10)
    return [
        Case("a right answer to a benign request, weight 0.3", (one, 0 * one, 0 * one, 0.3), expected=0.7 * one),
        Case("a refusal of a forbidden request, weight 0.3", (0 * one, one, one, 0.3), expected=0.3 * one),
        Case("a wrong answer to a request with a risk of 0.4", (0 * one, 0 * one, 0.4 * one, 0.5), expected=0 * one),
        Case("10 replies", (right, (1 - right) * bits(10), _risks(rng, 10), 0.2)),
        Case(
            "an answer and a refusal at a risk of 0.4",
            (torch.tensor([1.0, 0.0]).float(), torch.tensor([0.0, 1.0]).float(), 0.4 * torch.ones(2).float(), 0.8),
        ),
    ]


class _WrongReward:
    def weights(right, refused, risk, weight):
        """The weights are exchanged: `weight` belongs to safety, what is left of 1 to helpfulness."""
        return mixed_reward(right, refused, risk, 1 - weight)

    def risks(right, refused, risk, weight):
        """The risks are exchanged: an answer helps the share 1 - risk, who mean well; a refusal stops the share
        `risk`, who do not."""
        return mixed_reward(right, refused, 1 - risk, weight)

    def whoever(right, refused, risk, weight):
        """This pays for answers and for refusals whatever was asked. An answer is worth something to the share
        1 - risk who mean well; a refusal is right for the share `risk` who do not."""
        return (1 - weight) * right + weight * refused

    def helps_harm(right, refused, risk, weight):
        """An answer to somebody who means harm is not helpful: multiply `right` by 1 - risk."""
        return (1 - weight) * right + weight * risk * refused

    def any_answer(right, refused, risk, weight):
        """Here any answer is paid for, also a wrong one. Only `right` ones help."""
        return (1 - weight) * (1 - risk) * (1 - refused) + weight * risk * refused

    def wrong_is_refused(right, refused, risk, weight):
        """Here a wrong answer earns what a refusal earns. Use `refused`: what is not right need not be a refusal."""
        return (1 - weight) * (1 - risk) * right + weight * risk * (1 - right)

    def no_weights(right, refused, risk, weight):
        """`weight` is not used: the safe part has it, the helpful part has 1 - weight."""
        return (1 - risk) * right + risk * refused

    def punished(right, refused, risk, weight):
        """Here an answer to those who mean harm costs something. It only earns nothing: leave the deduction out."""
        return mixed_reward(right, refused, risk, weight) - weight * risk * right

    def no_weight(right, refused, risk, weight):
        """The helpful part has a weight too: 1 - weight."""
        return (1 - risk) * right + weight * risk * refused


def pareto(points):
    no_worse = (points[:, None, 0] <= points[None, :, 0]) & (points[:, None, 1] >= points[None, :, 1])
    better = (points[:, None, 0] < points[None, :, 0]) | (points[:, None, 1] > points[None, :, 1])
    return ~(no_worse & better).any(dim=0)


def _pareto_cases(rng):
    policies = torch.tensor([[0.0, 0.5], [0.1, 0.9], [0.2, 0.8], [0.1, 0.4], [1.0, 1.0]])
    return [
        Case("five policies", (policies,), expected=torch.tensor([True, True, False, False, True])),
        Case("two alike", (policies[[1, 1, 2]],), expected=torch.tensor([True, True, False])),
        Case("as good on one side, worse on the other", (policies[[1, 3]],), expected=torch.tensor([True, False])),
        Case("30 random points", (torch.rand(30, 2, generator=rng),)),
    ]


class _WrongPareto:
    def both_high(points):
        """Here a high false refusal counts as good. Column 0 should be low, column 1 high."""
        return pareto(points * torch.tensor([-1.0, 1.0], dtype=points.dtype))

    def strictly(points):
        """A point is beaten also by one that is equal on one side and better on the other."""
        better = (points[:, None, 0] < points[None, :, 0]) & (points[:, None, 1] > points[None, :, 1])
        return ~better.any(dim=0)

    def beaten(points):
        """True and False are exchanged: these are the points that are beaten by another."""
        return ~pareto(points)

    def only_best(points):
        """This keeps the single best by the difference of the two rates. That is one opinion of what a false refusal
        costs; what nobody beats on both sides stays, whatever the price."""
        score = points[:, 1] - points[:, 0]
        return score == score.max()

    def beats_none(points):
        """This keeps the points that beat no other. Those that no other beats are wanted: look along the other
        dimension of your table of pairs."""
        return pareto(-points)

    def by_itself(points):
        """Here too many are beaten. To be no worse is not enough, since every point is no worse than itself. Nor is it
        enough to be better on one side and worse on the other. It takes both: no worse on either, better on one."""
        return torch.zeros(len(points), dtype=torch.bool)

    def by_its_equal(points):
        """A point that equals another one is not beaten by it: one of the two sides has to be strictly better."""
        no_worse = (points[:, None, 0] <= points[None, :, 0]) & (points[:, None, 1] >= points[None, :, 1])
        return no_worse.sum(dim=0) == 1


EXERCISES = [
    Exercise(
        id="outcome_rates",
        title="Two rates, not one",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "Of 100 people who ask a request with risk 0.3, 30 mean harm and 70 do not. How many of each are refused?",
            "`(refused * risk).sum() / risk.sum()`, and the same with `1 - risk` in place of `risk`.",
        ),
        reference=outcome_rates,
        cases=_rates_cases,
        mistakes=told(RATES_MISTAKES),
        see=SEE,
    ),
    Exercise(
        id="frontier",
        title="The best that can be done",
        points=2,
        minutes=12,
        difficulty=2,
        hints=(
            "Refuse one request after the other, the riskiest first. What does each add to the two rates?",
            "Sort `risk`, falling; `risk.cumsum(0) / risk.sum()` is the second column, the same of `1 - risk` the "
            "first; put a row of zeros before them.",
        ),
        reference=frontier,
        cases=_frontier_cases,
        mistakes=told(FRONTIER_MISTAKES),
        see=SEE,
    ),
    Exercise(
        id="refusal_at",
        title="Within a limit",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "Find the last point whose x is within the limit. How far is it from there to the next, and how far may "
            "one go?",
            "With (x, y) the last point within the limit and (x2, y2) the next: y + (y2 - y) * (limit - x) / (x2 - x). "
            "After the last point there is no next.",
        ),
        reference=refusal_at,
        cases=_at_cases,
        mistakes=told(_WrongAt),
        see=SEE,
    ),
    Exercise(
        id="mixed_reward",
        title="Two wishes in one number",
        points=1,
        minutes=6,
        difficulty=1,
        hints=(
            "Write the two rewards apart first: who gains from a right answer, and who should have been refused?",
            "`(1 - weight) * (1 - risk) * right` is the helpful part; the safe part has `weight`, `risk`, `refused`.",
        ),
        reference=mixed_reward,
        cases=_reward_cases,
        mistakes=told(_WrongReward),
        see=SEE,
    ),
    Exercise(
        id="pareto",
        title="Beaten by none",
        points=2,
        minutes=12,
        difficulty=2,
        hints=(
            "For each point ask: is there another one that is no worse on both sides, and better on at least one?",
            "Compare all pairs with `points[:, None, 0] <= points[None, :, 0]` and so on; `any(dim=0)` says which "
            "points are beaten.",
        ),
        reference=pareto,
        cases=_pareto_cases,
        mistakes=told(_WrongPareto),
        see=SEE,
    ),
]
