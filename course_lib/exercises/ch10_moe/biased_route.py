"""Balancing by a bias alone: the bias helps to choose, and does not weigh (Wang et al. 2024)."""

import torch

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
    small = 0.15 * torch.randn(6, generator=rng)
    return [
        Case("0.6, 0.3, 0.1, and the last one helped by 0.3", (by_hand, torch.tensor([0.0, 0.0, 0.3]), 2)),
        Case("the same, and only the best one", (by_hand, torch.tensor([-0.4, 0.0, 0.3]), 1), {"renormalise": False}),
        Case("5 tokens, 2 of 6 experts", (logits(5, 6), small, 2)),
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
    "then speaks as loudly as one that fits. Choose by probability plus bias, and weigh by the probability alone."
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
    hints=(
        "What is the bias for, and where does it appear in the faulty function? By hand: probabilities 0.6, 0.3, 0.1, "
        "and a bias of 0.3 for the last. Who is chosen, and how much should each of them count?",
        "`experts = (probabilities + bias).topk(k, dim=-1).indices`, and then `weights = probabilities.gather(-1, "
        "experts)`.",
    ),
    reference=biased_route,
    cases=cases,
    run_case=call_and_differentiate_only(0),  # the bias is not trained by gradients
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, An even load",
)
