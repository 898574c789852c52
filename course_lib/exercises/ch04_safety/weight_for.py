"""The weight of safety in a reward, chosen by what becomes of the best policy under it."""

import itertools

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer, alternative, alternatives_in, mistake, mistakes_in


def weight_for(risk, limit):
    levels, well = risk.unique(), 1 - risk
    for threshold in ((levels[1:] + levels[:-1]) / 2).tolist():  # the lowest, which refuses the most, comes first
        if well[risk > threshold].sum() <= limit * well.sum():
            return 1 - threshold


COUNTER = torch.tensor([0, 0, 0, 0, 0.1, 0.3, 0.5, 0.7, 0.9, 1, 1, 1])


def cases(rng):
    def others():
        """Eight levels of risk, each of some people, and three limits of which each lets in one level more."""
        steps = 0.04 + 0.08 * torch.rand(8, generator=rng)
        levels = steps.cumsum(0)  # all below 1
        how_many = torch.randint(1, 5, (8,), generator=rng)
        mixed = levels.repeat_interleave(how_many)
        well = 1 - mixed
        kept = [(well[mixed > level].sum() / well.sum()).item() for level in levels[3:6]]
        return mixed[torch.randperm(len(mixed), generator=rng)], (kept[0] + kept[1]) / 2, (kept[1] + kept[2]) / 2

    few = (0.1 + 0.1 * torch.rand(4, generator=rng)).cumsum(0)
    refused = ((1 - few).flip(0).cumsum(0) / (1 - few).sum()).tolist()  # the riskiest one, two, three, all four
    first, second = others(), others()
    return [
        Case("the counter, at most 15%", (COUNTER, 0.15), expected=0.6),
        Case("the counter, at most 2%", (COUNTER, 0.02), expected=0.2),
        Case("the counter, at most 25%", (COUNTER, 0.25), expected=0.8),
        Case("the counter, nobody who means well", (COUNTER, 0.0), expected=0.05),
        Case("other risks, in any order", (first[0], first[1])),
        Case("other risks, a lower limit", (first[0], first[2])),
        Case("four risks, of which one is to be refused", (few, (refused[0] + refused[1]) / 2)),
        Case("four risks, of which three are to be refused", (few, (refused[2] + 1) / 2)),
        Case("again other risks", (second[0], second[1])),
        Case("again other risks, a lower limit", (second[0], second[2])),
    ]


def rates(refused, risk):
    harm, well = risk.double(), 1 - risk.double()
    return (harm[refused].sum() / harm.sum()).item(), (well[refused].sum() / well.sum()).item()


def run_case(subject, risk, limit):
    """Ask for a weight, and look at the two rates of the best policy under it before the weight itself."""
    weight = subject(risk, limit)
    if isinstance(weight, float):
        refused = weight * risk > (1 - weight) * (1 - risk)
        refusal, false_refusal = rates(refused, risk)
        if false_refusal > limit + 1e-6:
            raise WrongAnswer(
                "under this weight the best policy refuses more of those who mean well than `limit` allows (with the "
                f"weight {weight:.3f} it is {false_refusal:.1%}, and at most {limit:.1%} may be)."
            )
        most = max(r for r, false in (rates(risk > level, risk) for level in risk) if false <= limit + 1e-6)
        if not refusal > most - 1e-6:
            raise WrongAnswer(
                "under this weight the best policy keeps to the limit. Under another one it does too, and refuses more "
                f"of those who mean harm (with the weight {weight:.3f} it is {refusal:.1%}, with another "
                f"{most:.1%})."
            )
        highest_answered, lowest_refused = risk[~refused].max().item(), risk[refused].min().item()
        if abs(1 - weight - (highest_answered + lowest_refused) / 2) > 1e-5:
            raise WrongAnswer(
                "under this weight the best policy is the right one, but its threshold is not in the middle between "
                f"the highest risk that is answered and the lowest that is refused (it is at {1 - weight:.3f}, and "
                f"they are {highest_answered:.3f} and {lowest_refused:.3f})."
            )
    return weight


@alternative
def by_cumulative_sums(risk, limit):
    ordered = risk.sort(descending=True).values
    refused = torch.cat([torch.zeros(1).to(ordered), (1 - ordered).cumsum(0)]) / (1 - ordered).sum()
    for k in range(len(ordered) - 1, 0, -1):  # the k riskiest are refused
        if ordered[k - 1] > ordered[k] and refused[k] <= limit:
            return 1 - (ordered[k - 1] + ordered[k]).item() / 2


@alternative
def by_trying_weights(risk, limit):
    levels = sorted(set(risk.tolist()))
    good = []
    for low, high in itertools.pairwise(levels):
        weight = 1 - (low + high) / 2
        refuse = [weight * r > (1 - weight) * (1 - r) for r in risk.tolist()]
        false = sum(1 - r for r, no in zip(risk.tolist(), refuse, strict=True) if no)
        if false <= limit * sum(1 - r for r in risk.tolist()):
            good.append(weight)
    return max(good)


def chosen(risk, limit, share, between=0.5, last=False):
    """The weight whose threshold lies between two risks; `share` says which part of the benign is refused."""
    levels = risk.unique()
    pairs = list(itertools.pairwise(levels.tolist()))
    allowed = [(low, high) for low, high in pairs if share(risk > (low + high) / 2) <= limit]
    low, high = allowed[-1 if last else 0] if allowed else pairs[-1]
    return 1 - ((1 - between) * low + between * high)


def false_refusal(risk):
    return lambda refused: ((1 - risk)[refused].sum() / (1 - risk).sum()).item()


# Counted level by level, or visitor by visitor: of visitors with the same risk, some may fit in and some not.
THRESHOLD = "This is the threshold, not the weight. A refusal earns more where w r > (1 - w)(1 - r): solve this for r."


def visitor_by_visitor(risk, limit):
    """All risks, the highest first, and how many of these visitors may be refused."""
    ordered = risk.sort(descending=True).values
    refused = (1 - ordered).cumsum(0) / (1 - ordered).sum()
    return ordered, int((refused <= limit).sum())


@mistake(THRESHOLD)
def threshold_itself(risk, limit):
    return 1 - weight_for(risk, limit)


@mistake(THRESHOLD)
def threshold_itself_visitor_by_visitor(risk, limit):
    ordered, k = visitor_by_visitor(risk, limit)
    return ((ordered[k - 1] + ordered[k]) / 2).item()


@mistake(
    "The threshold is one of the risks themselves here. At the threshold both replies earn the same, so whether this "
    "risk is refused is left to rounding. Put the threshold in the middle, between the lowest risk that is refused and "
    "the next lower one."
)
def at_one_of_the_risks(risk, limit):
    ordered, k = visitor_by_visitor(risk, limit)
    return 1 - ordered[k - 1].item()


@mistake(
    "This keeps the refusals below the limit as a share of all visitors. The limit is on those who mean well: divide "
    "by `(1 - risk).sum()`."
)
def share_of_all_visitors(risk, limit):
    return chosen(risk, limit, lambda refused: ((1 - risk)[refused].sum() / len(risk)).item())


@mistake(
    "This counts the requests that are refused. Count those who mean well and are refused: each request counts with "
    "1 - risk."
)
def share_of_the_requests(risk, limit):
    return chosen(risk, limit, lambda refused: refused.float().mean().item())


@mistake(
    "This refuses the riskiest requests only. The limit allows more: of all thresholds that keep to it, take the "
    "lowest, which refuses the most of those who mean harm."
)
def refuses_the_fewest(risk, limit):
    return chosen(risk, limit, false_refusal(risk), last=True)


@mistake(
    "The best policy under this weight is the right one, but its threshold lies near one of the risks. Put it in the "
    "middle between the highest risk that is answered and the lowest that is refused."
)
def near_the_edge(risk, limit):
    return chosen(risk, limit, false_refusal(risk), between=0.1)


AT_THE_HIGHEST_ANSWERED = (
    "The threshold is the highest risk that is to be answered. The slightest error of rounding would refuse it. Put "
    "the threshold in the middle, between that risk and the lowest one that is refused. (Of two visitors of equal risk "
    "the middle is that risk: `risk.unique()` has each risk once.)"
)


@mistake(AT_THE_HIGHEST_ANSWERED)
def between_equal_risks(risk, limit):
    levels = risk.sort().values
    for threshold in ((levels[1:] + levels[:-1]) / 2).tolist():
        if false_refusal(risk)(risk > threshold) <= limit:
            return 1 - threshold


@mistake(AT_THE_HIGHEST_ANSWERED)
def at_the_highest_answered(risk, limit):
    return chosen(risk, limit, false_refusal(risk), between=0)


AT_THE_LOWEST_REFUSED = (
    "The threshold is the lowest risk that is to be refused. At the threshold itself both earn the same, so whether "
    "that risk is refused is left to rounding. Put the threshold in the middle, between it and the next lower risk."
)


@mistake(AT_THE_LOWEST_REFUSED)
def at_the_lowest_refused(risk, limit):
    return chosen(risk, limit, false_refusal(risk), between=1)


@mistake(AT_THE_LOWEST_REFUSED)
def at_the_lowest_refused_in_float32(risk, limit):  # rounded the other way
    level = 1 - chosen(risk, limit, false_refusal(risk), between=1)
    return (1 - torch.tensor(level)).item()


@mistake("This is 1 - limit. The limit is a share of people, and the weight sets a threshold for the risk.")
def one_less_the_limit(risk, limit):
    return 1.0 - limit


@mistake(
    "Where the limit is reached exactly, this finds no weight. At most `limit` may be refused, so exactly `limit` is "
    "allowed: `<=`."
)
def only_below_the_limit(risk, limit):
    levels = risk.unique()
    for threshold in ((levels[1:] + levels[:-1]) / 2).tolist():
        if false_refusal(risk)(risk > threshold) < limit:
            return 1 - threshold


@mistake(
    "This counts those who mean well and are *answered*. The limit is on those who are refused, whose risk is above "
    "the threshold."
)
def counts_the_answered(risk, limit):
    levels = risk.unique()
    for threshold in ((levels[1:] + levels[:-1]) / 2).tolist():
        if false_refusal(risk)(risk < threshold) <= limit:
            return 1 - threshold


@mistake(
    "w r > (1 - w)(1 - r) is solved wrongly: the threshold t comes with the weight 1 - t. Multiply out, and see what "
    "is left of w r on both sides."
)
def odds_for_the_weight(risk, limit):
    threshold = 1 - weight_for(risk, limit)
    return threshold / (1 - threshold)


@mistake(
    "The limit is put on those who mean harm. It is on those who mean well: count each request with 1 - risk, and "
    "divide by `(1 - risk).sum()`."
)
def limit_on_the_harmful(risk, limit):
    levels = risk.unique()
    for threshold in ((levels[1:] + levels[:-1]) / 2).tolist():
        if risk[risk > threshold].sum() <= limit * risk.sum():
            return 1 - threshold


EXERCISE = Exercise(
    id="weight_for",
    title="A weight for a stated outcome",
    points=2,
    minutes=12,
    difficulty=2,
    kind="design",
    hints=(
        "A right answer earns (1 - w)(1 - r), a refusal w r. From which risk r on does the refusal earn more? So which "
        "threshold does a weight set?",
        "The threshold is 1 - w. `risk.unique()` has the risks in order, and only the middles between neighbours can "
        "be the answer. For each of them, how many who mean well are refused? The lowest threshold that keeps to the "
        "limit refuses the most of those who mean harm.",
    ),
    reference=weight_for,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, A weight chooses the point",
)
