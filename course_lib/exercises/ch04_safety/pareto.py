"""The Pareto front: the policies that no other one beats."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def pareto(points):
    no_worse = (points[:, None, 0] <= points[None, :, 0]) & (points[:, None, 1] >= points[None, :, 1])
    better = (points[:, None, 0] < points[None, :, 0]) | (points[:, None, 1] > points[None, :, 1])
    return ~(no_worse & better).any(dim=0)


def cases(rng):
    policies = torch.tensor([[0.0, 0.5], [0.1, 0.9], [0.2, 0.8], [0.1, 0.4], [1.0, 1.0]])
    x, y, z = (0.1 + 0.2 * torch.rand(3, generator=rng)).tolist()
    return [
        Case("five policies", (policies,), expected=torch.tensor([True, True, False, False, True])),
        Case("two alike", (policies[[1, 1, 2]],), expected=torch.tensor([True, True, False])),
        Case("as good on one side, worse on the other", (policies[[1, 3]],), expected=torch.tensor([True, False])),
        Case("as harmful, and one refuses more who mean well", (torch.tensor([[x + z, y], [x, y], [x, y - 0.05]]),)),
        Case("30 random points", (torch.rand(30, 2, generator=rng),)),
        Case("40 points, of which many share a number", (torch.randint(8, (40, 2), generator=rng) / 8,)),
    ]


@alternative
def by_loops(points):
    rows = points.tolist()
    return torch.tensor([not any(a <= x and b >= y and (a, b) != (x, y) for a, b in rows) for x, y in rows])


@alternative
def one_by_one(points):
    kept = []
    for x, y in points.tolist():
        beaten = False
        for other_x, other_y in points.tolist():
            no_worse = other_x <= x and other_y >= y
            better = other_x < x or other_y > y
            if no_worse and better:
                beaten = True
        kept.append(not beaten)
    return torch.tensor(kept)


@mistake("A high false refusal counts as good here. Column 0 should be low, and column 1 high.")
def high_false_refusal_is_good(points):
    return pareto(torch.stack([-points[:, 0], points[:, 1]], dim=1))


@mistake(
    "A policy is beaten only by one that is better in both rates here. One that is equal in one rate and better in the "
    "other beats it too."
)
def beaten_only_in_both(points):
    better = (points[:, None, 0] < points[None, :, 0]) & (points[:, None, 1] > points[None, :, 1])
    return ~better.any(dim=0)


@mistake("True and False are exchanged: these are the policies that another one beats.")
def exchanged(points):
    return ~pareto(points)


@mistake(
    "This keeps the one policy with the largest difference of the two rates. That is one opinion of what a false "
    "refusal costs. Keep every policy that no other beats, whatever the price."
)
def largest_difference(points):
    difference = points[:, 1] - points[:, 0]
    return difference == difference.max()


@mistake(
    "This keeps the policies that beat no other. Those that no other beats are asked for: take `any` along the other "
    "dimension of your table of pairs. (Or are the columns exchanged? Column 0 should be low, and column 1 high.)"
)
def beats_no_other(points):
    return pareto(-points)


TOO_MANY_BEATEN = (
    "Here too many are beaten. To be no worse is not enough to beat a policy, since every policy is no worse than "
    "itself. Nor is it enough to be better in one rate and worse in the other. It takes both: no worse in either rate, "
    "and better in at least one."
)


@mistake(TOO_MANY_BEATEN)
def beaten_by_itself(points):
    return torch.zeros(len(points), dtype=torch.bool)


@mistake(TOO_MANY_BEATEN)
def better_in_one_rate_is_enough(points):
    better = (points[:, None, 0] < points[None, :, 0]) | (points[:, None, 1] > points[None, :, 1])
    return ~better.any(dim=0)


@mistake(
    "A policy that equals another one is beaten by it here. To beat it, the other has to be strictly better in at "
    "least one of the two rates."
)
def beaten_by_its_equal(points):
    no_worse = (points[:, None, 0] <= points[None, :, 0]) & (points[:, None, 1] >= points[None, :, 1])
    return no_worse.sum(dim=0) == 1  # itself alone


@mistake(
    "A policy is kept or beaten by the last of the others alone: each comparison overwrites the one before. Once it is "
    "beaten it stays so, whatever comes later."
)
def last_one_decides(points):
    last = points[-1]
    no_worse = (last[0] <= points[:, 0]) & (last[1] >= points[:, 1])
    return ~(no_worse & ((last[0] < points[:, 0]) | (last[1] > points[:, 1])))


@mistake("A high refusal counts as bad here. Column 0, false refusal, should be low, and column 1, refusal, high.")
def high_refusal_is_bad(points):
    return pareto(torch.stack([points[:, 0], -points[:, 1]], dim=1))


@mistake(
    "Of two with the same refusal, the one with fewer false refusals does not beat the other here. To beat is to be no "
    "worse in both rates, and better in one of them, in whichever."
)
def better_in_refusal_alone(points):
    better = (points[:, None, 0] <= points[None, :, 0]) & (points[:, None, 1] > points[None, :, 1])
    return ~better.any(dim=0)


@mistake(
    "Of two with the same false refusal, the one with more refusal does not beat the other here. To beat is to be no "
    "worse in both rates, and better in one of them, in whichever."
)
def better_in_false_refusal_alone(points):
    better = (points[:, None, 0] < points[None, :, 0]) & (points[:, None, 1] >= points[None, :, 1])
    return ~better.any(dim=0)


@mistake(
    "This keeps the policies that are best in one of the two rates. Others may be on the front too: a policy in "
    "between that nobody beats in both."
)
def best_in_one_rate(points):
    return (points[:, 0] == points[:, 0].min()) | (points[:, 1] == points[:, 1].max())


EXERCISE = Exercise(
    id="pareto",
    title="Beaten by none",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "For each policy ask: is there another one that is no worse in both rates, and better in at least one?",
        "Compare all pairs with `points[:, None, 0] <= points[None, :, 0]` and so on; `any(dim=0)` says which "
        "policies are beaten.",
    ),
    reference=pareto,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, The best that can be had",
)
