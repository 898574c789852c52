"""Balancing by a bias alone: the bias helps to choose, and does not weigh (Wang et al. 2024)."""

import torch

from course_lib.exercises.ch10_moe.route import route
from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate_only,
    mistake,
    mistakes_in,
)


def biased_route(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    experts = (probabilities + bias).topk(k, dim=-1).indices
    weights = probabilities.gather(-1, experts)  # without the bias
    if renormalise:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, experts, weights)


def cases(rng):
    def logits(tokens, experts):
        return torch.randn(tokens, experts, generator=rng) + 0.01 * torch.arange(experts)

    by_hand = torch.tensor([[0.6, 0.3, 0.1]]).log()
    small, some = 0.15 * torch.randn(6, generator=rng), logits(5, 6)
    return [
        # With 0.4 the biased sum is not 1, and the last one is chosen even beside renormalised 2/3 and 1/3.
        Case("0.6, 0.3, 0.1, and the last one helped by 0.4", (by_hand, torch.tensor([0.0, 0.0, 0.4]), 2)),
        Case("the same, and only the best one", (by_hand, torch.tensor([-0.4, 0.0, 0.3]), 1), {"renormalise": False}),
        Case("5 tokens, 2 of 6 experts", (some, small, 2)),
        Case("the same, every bias 0.9 lower: nothing changes", (some, small - 0.9, 2)),
        Case("5 tokens, 1 of 6 experts, as they are", (logits(5, 6), small.flip(0), 1), {"renormalise": False}),
        Case("one expert gets all tokens", (logits(6, 4), torch.tensor([0.0, 2.0, 0.0, 0.0]), 2)),
        Case("no bias at all", (logits(4, 5), torch.zeros(5), 2)),
    ]


@alternative
def by_a_mask(logits, bias, k, renormalise=True):
    wanted = logits.softmax(-1).detach() + bias
    chosen = wanted >= wanted.topk(k, dim=-1).values[:, -1:]
    if renormalise:
        return logits.masked_fill(~chosen, -torch.inf).softmax(-1)
    return logits.softmax(-1) * chosen


@alternative
def one_token_after_the_other(logits, bias, k, renormalise=True):
    rows = []
    for row in logits:
        p = row.softmax(0)
        chosen = torch.zeros_like(p)
        chosen[(p.detach() + bias).argsort(descending=True)[:k]] = 1
        rows.append(p * chosen / ((p * chosen).sum() if renormalise else 1))
    return torch.stack(rows)


def placed(logits, experts, weights, renormalise):
    if renormalise:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, experts, weights)


@mistake(
    "This is still the faulty function: the bias is in the weights. An expert that is chosen *because* it was idle "
    "then speaks as loudly as one that fits. Choose by probability plus bias, and weigh by the probability alone.",
    given=True,
)
def bias_in_the_weights(logits, bias, k, renormalise=True):
    best = (logits.softmax(dim=-1) + bias).topk(k, dim=-1)
    return placed(logits, best.indices, best.values, renormalise)


@mistake(
    "The bias is added to the logits, before the softmax, so it changes the weights as well. Add it to the "
    "probabilities, and for the choice alone."
)
def bias_on_the_logits(logits, bias, k, renormalise=True):
    best = (logits + bias).softmax(dim=-1).topk(k, dim=-1)
    return placed(logits, best.indices, best.values, renormalise)


@mistake(
    "The choice is made by the *logits* plus the bias. Here the bias is a step in probability: add it after the "
    "softmax."
)
def chosen_by_the_logits(logits, bias, k, renormalise=True):
    experts = (logits + bias).topk(k, dim=-1).indices
    return placed(logits, experts, logits.softmax(dim=-1).gather(-1, experts), renormalise)


@mistake(
    "The bias is no longer in the weights, but still in the sum that they are divided by. Divide the chosen "
    "probabilities by *their* sum."
)
def bias_in_the_sum(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    best = (probabilities + bias).topk(k, dim=-1)
    weights = probabilities.gather(-1, best.indices)
    if renormalise:
        weights = weights / best.values.sum(dim=-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, best.indices, weights)


@mistake(
    "The bias is taken out of the weights after they were divided by their sum, and it was in that sum. Take it out "
    "first, then divide; or gather the probabilities themselves."
)
def subtracted_too_late(logits, bias, k, renormalise=True):
    best = (logits.softmax(dim=-1) + bias).topk(k, dim=-1)
    weights = best.values
    if renormalise:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, best.indices, weights - bias[best.indices])


@mistake(
    "`route` expects logits, and makes a softmax of what it gets: so the probabilities go through a second one, and "
    "the bias is in the weights."
)
def route_of_biased_probabilities(logits, bias, k, renormalise=True):
    return route(logits.softmax(dim=-1) + bias, k, renormalise)


@mistake(
    "The bias is added to what `route` returned. There the others have lost their probabilities already, and get 0 if "
    "they are chosen after all. Add it to the probabilities of *all* experts."
)
def bias_on_the_weights(logits, bias, k, renormalise=True):
    weights = route(logits, k, renormalise)
    experts = (weights + bias).topk(k, dim=-1).indices
    return torch.zeros_like(logits).scatter(-1, experts, weights.gather(-1, experts))


@mistake(
    "These are the k largest probabilities, in the places of the chosen experts. Take the chosen ones' own: "
    "`probabilities.gather(-1, experts)`."
)
def largest_probabilities(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    experts = (probabilities + bias).topk(k, dim=-1).indices
    return placed(logits, experts, probabilities.topk(k, dim=-1).values, renormalise)


@mistake(
    "This is a softmax of probabilities, which makes them more alike than they are. Divide the chosen probabilities by "
    "their sum."
)
def softmax_twice(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    experts = (probabilities + bias).topk(k, dim=-1).indices
    weights = probabilities.gather(-1, experts)
    return torch.zeros_like(logits).scatter(-1, experts, weights.softmax(dim=-1) if renormalise else weights)


@mistake(
    "A chosen expert loses its weight if its probability plus bias is not positive. Busy experts have a negative bias. "
    "Who is chosen, `topk` says, not the sign."
)
def lost_below_0(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    best = (probabilities + bias).topk(k, dim=-1)
    weights = probabilities * (torch.zeros_like(logits).scatter(-1, best.indices, best.values) > 0)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@mistake(
    "Probability plus bias is no probability: it may be below 0 or above 1. Clamped, experts become equal that are "
    "not. Leave the sum as it is."
)
def clamped(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    experts = (probabilities + bias).clamp(0, 1).topk(k, dim=-1).indices
    return placed(logits, experts, probabilities.gather(-1, experts), renormalise)


@mistake(
    "`scatter(-1, experts, p)` puts the *first* k entries of each row of `p` in the places of the chosen experts. Pick "
    "their probabilities first, `p.gather(-1, experts)`, and scatter those."
)
def scattered_without_gather(logits, bias, k, renormalise=True):
    weights = logits.softmax(dim=-1)
    return torch.zeros_like(logits).scatter(-1, (weights + bias).topk(k, dim=-1).indices, weights)


# From all rows, or from all columns.
NOT_EACH_ROWS_OWN = (
    "`p[experts]` takes whole rows of `p`, as if the experts' numbers were those of tokens, and `p[:, experts]` takes "
    "the same columns for all tokens. For each row's own columns there is `p.gather(-1, experts)`."
)


@mistake(NOT_EACH_ROWS_OWN)
def rows_read(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    experts = (probabilities + bias).topk(k, dim=-1).indices
    return placed(logits, experts, probabilities[experts], renormalise)


@mistake(NOT_EACH_ROWS_OWN)
def columns_read(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    experts = (probabilities + bias).topk(k, dim=-1).indices
    return placed(logits, experts, probabilities[:, experts], renormalise)


@mistake(
    "The probabilities are changed in place, as by `p += bias` or `p[...] = 0`, but the gradient of softmax needs them "
    "as they were, and so do the weights. (`q = p` is no copy.) Write `p + bias`."
)
def added_in_place(logits, bias, k, renormalise=True):
    probabilities = logits.softmax(dim=-1)
    probabilities += bias
    experts = probabilities.topk(k, dim=-1).indices
    return placed(logits, experts, probabilities.gather(-1, experts), renormalise)


@mistake("The bias is subtracted. A positive bias helps an expert to be chosen.")
def subtracted(logits, bias, k, renormalise=True):
    return biased_route(logits, -bias, k, renormalise)


@mistake("The bias is gone: it has to take part in the choice.")
def no_bias(logits, bias, k, renormalise=True):
    return biased_route(logits, 0 * bias, k, renormalise)


@mistake("With `renormalise=True` the weights of a token sum to 1: divide the chosen probabilities by their sum.")
def never_renormalises(logits, bias, k, renormalise=True):
    return biased_route(logits, bias, k, renormalise=False)


@mistake("`renormalise=False` asks for the probabilities of the chosen experts as they are.")
def always_renormalises(logits, bias, k, renormalise=True):
    return biased_route(logits, bias, k)


EXERCISE = Exercise(
    id="biased_route",
    title="A bias that chooses and does not weigh",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "What is the bias for, and where does it appear in the faulty function? By hand: probabilities 0.6, 0.3, "
        "0.1, and a bias of 0.4 for the last. Who is chosen, and how much should each of them count?",
        "`topk` of the probabilities plus the bias chooses: take its `indices` alone. `gather(-1, experts)` then "
        "picks from the probabilities as they were.",
    ),
    reference=biased_route,
    cases=cases,
    run_case=call_and_differentiate_only(0),  # the bias is not trained by gradients
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, An even load",
)
