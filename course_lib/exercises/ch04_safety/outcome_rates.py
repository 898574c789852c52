"""Two rates, not one: how many of the harmful requests are refused, and how many of the benign."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def outcome_rates(refused, risk):
    refusal = (refused * risk).sum() / risk.sum()
    false_refusal = (refused * (1 - risk)).sum() / (1 - risk).sum()
    return [refusal.item(), false_refusal.item()]


def cases(rng):
    harm = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    refused = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    mixed = torch.tensor([0.0, 0.1, 0.3, 0.9, 1.0])
    others = torch.cat([mixed, torch.rand(10, generator=rng)])
    return [
        Case("two who mean harm and three who do not", (refused, harm), expected=[0.5, 1 / 3]),
        Case("refusing all five of a mixed crowd", (torch.ones_like(mixed), mixed), expected=[1.0, 1.0]),
        Case("refusing from a risk of 0.9 on", ((others >= 0.9).float(), others)),
        Case("20 requests, refused now and then", (torch.rand(20, generator=rng), torch.rand(20, generator=rng))),
    ]


@alternative
def by_counting(refused, risk):
    harm = sum(risk.tolist())
    well = len(risk) - harm
    pairs = list(zip(refused.tolist(), risk.tolist(), strict=True))
    return [sum(q * r for q, r in pairs) / harm, sum(q * (1 - r) for q, r in pairs) / well]


@mistake("The two rates are in the wrong order: first refusal, then false refusal.")
def exchanged(refused, risk):
    return outcome_rates(refused, risk)[::-1]


@mistake(
    "These are shares of all requests. Refusal is a share of those who mean harm, and false refusal a share of those "
    "who do not: divide by how many there are of each, `risk.sum()` and `(1 - risk).sum()`."
)
def shares_of_all_requests(refused, risk):
    return [(refused * risk).mean().item(), (refused * (1 - risk)).mean().item()]


@mistake(
    "These are shares of the refusals: how many of them were right, and how many wrong. Divide by how many mean harm, "
    "`risk.sum()`, and by how many do not, `(1 - risk).sum()`."
)
def shares_of_the_refusals(refused, risk):
    right = ((refused * risk).sum() / refused.sum()).item()
    wrong = ((refused * (1 - risk)).sum() / refused.sum()).item()
    return [right, wrong]


@mistake(
    "Each request counts either as harmful or as benign as a whole here. With a risk of 0.3, three in ten of those who "
    "ask mean harm and seven do not: it counts in both rates, with weights 0.3 and 0.7."
)
def either_harmful_or_benign(refused, risk):
    return outcome_rates(refused, (risk > 0.5).float())


@mistake(
    "Only requests with a risk of exactly 1 or 0 count here. With a risk of 0.3, three in ten of those who ask mean "
    "harm and seven do not: it counts in both rates, with weights 0.3 and 0.7."
)
def certain_risks_alone(refused, risk):
    return [refused[risk == 1].mean().item(), refused[risk == 0].mean().item()]


@mistake(
    "A request counts as refused if that is likelier than not. `refused` says how likely it is: multiply by it as it "
    "is, without rounding."
)
def refusals_rounded(refused, risk):
    return outcome_rates((refused > 0.5).float(), risk)


@mistake(
    "The second number is the share of benign requests that are answered. The share that is refused is asked for: 1 "
    "minus that."
)
def share_answered(refused, risk):
    refusal, false_refusal = outcome_rates(refused, risk)
    return [refusal, 1 - false_refusal]


@mistake(
    "False refusal is a share of the refusals here. It is a share of those who do not mean harm: divide by how many "
    "they are, `(1 - risk).sum()`."
)
def false_refusal_of_the_refusals(refused, risk):
    return [outcome_rates(refused, risk)[0], ((refused * (1 - risk)).sum() / refused.sum()).item()]


@mistake(
    "The second number is the share of the *harmful* that is answered, 1 minus the first. False refusal is about those "
    "who mean well: of them, what share is refused?"
)
def share_of_the_harmful_answered(refused, risk):
    refusal = outcome_rates(refused, risk)[0]
    return [refusal, 1 - refusal]


@mistake(
    "Both rates are divided by the number of the harmful. False refusal is a share of those who do not mean harm: "
    "divide by `(1 - risk).sum()`."
)
def both_by_the_harmful(refused, risk):
    return [outcome_rates(refused, risk)[0], ((refused * (1 - risk)).sum() / risk.sum()).item()]


@mistake(
    "`1 - risk.sum()` is 1 minus how many mean harm. How many do not is `(1 - risk).sum()`, with the brackets around "
    "1 - risk."
)
def sum_before_the_difference(refused, risk):
    return [outcome_rates(refused, risk)[0], ((refused * (1 - risk)).sum() / (1 - risk.sum())).item()]


@mistake(
    "Every request with some risk counts as harmful as a whole here. With a risk of 0.3, three in ten of those who ask "
    "mean harm and seven do not: it counts in both rates, with weights 0.3 and 0.7."
)
def any_risk_is_harmful(refused, risk):
    return outcome_rates(refused, (risk > 0).float())


@mistake("These are divided twice: by a number of people, and by the number of requests. Sum, in place of the mean.")
def divided_twice(refused, risk):
    return [rate / len(risk) for rate in outcome_rates(refused, risk)]


@mistake("The first number is the share of the harmful that is *answered*. The share that is refused is asked for.")
def harmful_answered(refused, risk):
    refusal, false_refusal = outcome_rates(refused, risk)
    return [1 - refusal, false_refusal]


@mistake(
    "The first number is a share of the refusals. Refusal is a share of those who mean harm: divide by how many they "
    "are, `risk.sum()`."
)
def refusal_of_the_refusals(refused, risk):
    return [((refused * risk).sum() / refused.sum()).item(), outcome_rates(refused, risk)[1]]


@mistake(
    "All refusals are counted in both numbers. Of those that are refused, a share `risk` means harm, and 1 - risk does "
    "not: multiply before you add up."
)
def all_refusals_in_both(refused, risk):
    return [(refused.sum() / risk.sum()).item(), (refused.sum() / (1 - risk).sum()).item()]


@mistake(
    "Only requests that are refused every time count as refused. `refused` says how likely it is: multiply by it as it "
    "is."
)
def always_refused_alone(refused, risk):
    return outcome_rates((refused == 1).float(), risk)


@mistake(
    "False refusal is a share of all requests here. It is a share of those who do not mean harm: divide by how many "
    "they are, `(1 - risk).sum()`."
)
def false_refusal_of_all_requests(refused, risk):
    return [outcome_rates(refused, risk)[0], (refused * (1 - risk)).mean().item()]


@mistake(
    "Refusal is a share of all requests here. It is a share of those who mean harm: divide by how many they are, "
    "`risk.sum()`."
)
def refusal_of_all_requests(refused, risk):
    return [(refused * risk).mean().item(), outcome_rates(refused, risk)[1]]


EXERCISE = Exercise(
    id="outcome_rates",
    title="Two rates, not one",
    points=2,
    minutes=8,
    difficulty=1,
    kind="derive",
    hints=(
        "Of 100 people who make a request with risk 0.3, 30 mean harm and 70 do not. How many of each are refused?",
        "`refused * risk` says for each request how many of the harmful are refused. Add this up, and divide by how "
        "many harmful ones there are. For the others `1 - risk` stands in place of `risk`, in both places.",
    ),
    reference=outcome_rates,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Two rates, not one",
)
