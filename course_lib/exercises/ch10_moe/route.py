"""The router: of all experts, each token takes the k with the largest logits, and gives them weights."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def route(logits, k, renormalise=True):
    best = logits.topk(k, dim=-1)
    weights = best.values.softmax(dim=-1)
    if not renormalise:  # as they are among all experts
        weights = logits.softmax(dim=-1).gather(-1, best.indices)
    return torch.zeros_like(logits).scatter(-1, best.indices, weights)


def cases(rng):
    def logits(tokens, experts):
        # No two alike: an answer need not say what it does with equal logits.
        return torch.randn(tokens, experts, generator=rng) + 0.01 * torch.arange(experts)

    # 3 : 2 : 1 and so on. Four tokens: sums over the wrong axis, or without `keepdim`, fit neither 2 nor 3.
    by_hand = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 4.0], [5.0, 0.0, 2.0]]).log1p()
    return [
        Case("four tokens, the best 2 of 3", (by_hand, 2)),
        Case("the best 1 of 3, its probability as it is", (by_hand, 1), {"renormalise": False}),
        Case("5 tokens, the best 2 of 8", (logits(5, 8), 2)),
        Case("5 tokens, the best 2 of 8, not renormalised", (logits(5, 8), 2), {"renormalise": False}),
        Case("6 tokens, the best 3 of 4", (logits(6, 4), 3)),
        Case("logits near 100", (100 + logits(4, 5), 2)),
        Case("the best 1 of 6, renormalised", (logits(4, 6), 1)),
    ]


@alternative
def by_a_mask(logits, k, renormalise=True):
    least = logits.topk(k, dim=-1).values[..., -1:]
    weights = logits.softmax(dim=-1) * (logits >= least)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@alternative
def minus_infinity_elsewhere(logits, k, renormalise=True):
    others = logits.argsort(dim=-1, descending=True).argsort(dim=-1) >= k
    kept = logits.masked_fill(others, -torch.inf) if renormalise else logits
    return kept.softmax(dim=-1).masked_fill(others, 0.0)


@alternative
def one_token_after_the_other(logits, k, renormalise=True):
    rows = []
    for row in logits:
        experts = row.sort(descending=True).indices[:k]
        weights = row.softmax(dim=0)[experts]
        if renormalise:
            weights = weights / weights.sum()
        rows.append(torch.zeros_like(row).index_add(0, experts, weights))
    return torch.stack(rows)


def on_the_best(weights, logits, k):
    """Weights of all experts, with 0 for all but the best k."""
    return torch.zeros_like(logits).scatter(-1, logits.topk(k, dim=-1).indices, 1.0) * weights


@mistake(
    "With `renormalise=True` the weights of a token have to sum to 1: divide the probabilities of its experts by "
    "their sum."
)
def never_renormalises(logits, k, renormalise=True):
    return route(logits, k, renormalise=False)


@mistake(
    "`renormalise=False` asks for the probabilities as they are, among *all* experts. They do not sum to 1 then, and "
    "for k = 1 that is what the router learns from."
)
def always_renormalises(logits, k, renormalise=True):
    return route(logits, k)


# Whether the best are those with the largest logits, or with the largest of these weights.
OVER_TOKENS = "This is a softmax over the tokens. The experts compete for a token: softmax along the last axis."


@mistake(OVER_TOKENS)
def the_best_after_a_softmax_over_tokens(logits, k, renormalise=True):
    best = logits.softmax(dim=0).topk(k, dim=-1)
    weights = best.values / best.values.sum(dim=-1, keepdim=True) if renormalise else best.values
    return torch.zeros_like(logits).scatter(-1, best.indices, weights)


@mistake(OVER_TOKENS)
def softmax_over_tokens(logits, k, renormalise=True):
    weights = on_the_best(logits.softmax(dim=0), logits, k)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


# Of all weights along the wrong axis, or along none; or of the k largest in each place.
SUM_OVER_TOKENS = (
    "This divides by a sum over the tokens. The weights of each *token* have to sum to 1: `sum(dim=-1, keepdim=True)`."
)


@mistake(SUM_OVER_TOKENS)
def divided_by_columns(logits, k, renormalise=True):
    weights = route(logits, k, renormalise=False)
    return weights / weights.sum(dim=0, keepdim=True) if renormalise else weights


@mistake(SUM_OVER_TOKENS)
def divided_by_everything(logits, k, renormalise=True):
    weights = route(logits, k, renormalise=False)
    return weights / weights.sum() if renormalise else weights


@mistake(SUM_OVER_TOKENS)
def divided_by_places(logits, k, renormalise=True):
    best = logits.softmax(dim=-1).topk(k, dim=-1)
    weights = best.values / best.values.sum(dim=0, keepdim=True) if renormalise else best.values
    return torch.zeros_like(logits).scatter(-1, best.indices, weights)


@mistake(
    "Here each expert takes its k best tokens. It is the other way round: each *token* takes its k best experts, "
    "`topk(k, dim=-1)`."
)
def best_tokens_of_each_expert(logits, k, renormalise=True):
    best = logits.softmax(dim=-1).topk(k, dim=0)
    weights = torch.zeros_like(logits).scatter(0, best.indices, best.values)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@mistake(
    "This is a softmax of probabilities, which makes them more alike than they are. Divide the chosen probabilities by "
    "their sum, or take the softmax of the chosen *logits*."
)
def softmax_twice(logits, k, renormalise=True):
    best = logits.softmax(dim=-1).topk(k, dim=-1)
    weights = best.values.softmax(dim=-1) if renormalise else best.values
    return torch.zeros_like(logits).scatter(-1, best.indices, weights)


@mistake("One expert too many: k of them get a weight.")
def one_too_many(logits, k, renormalise=True):
    return route(logits, k + 1, renormalise)


# The others are multiplied by 0, or set to 0: with k = 1 nobody is left, and the gradients differ.
ONE_TOO_FEW = "One expert too few: the one with the k-th largest logit is chosen too. Compare with `>=`, not with `>`."


@mistake(ONE_TOO_FEW)
def one_too_few_by_where(logits, k, renormalise=True):
    p = logits.softmax(dim=-1)
    weights = torch.where(p > p.topk(k, dim=-1).values[:, -1:], p, torch.zeros_like(p))
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@mistake(ONE_TOO_FEW)
def one_too_few(logits, k, renormalise=True):
    chosen = logits > logits.topk(k, dim=-1).values[:, -1:]
    weights = logits.softmax(dim=-1) * chosen
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@mistake(
    "`argsort` says which expert is in each place, not in which place each expert is. `argsort` of its result says "
    "that; or take `topk(k).indices`."
)
def order_taken_for_ranks(logits, k, renormalise=True):
    weights = logits.softmax(dim=-1) * (logits.argsort(dim=-1, descending=True) < k)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


EQUAL_WEIGHTS = "All k experts get the same weight here. The one with the larger logit should count for more."


@mistake(EQUAL_WEIGHTS)
def equal_weights_if_renormalised(logits, k, renormalise=True):
    return equal_weights.solution(logits, k) if renormalise else route(logits, k, renormalise=False)


@mistake(EQUAL_WEIGHTS)
def equal_weights(logits, k, renormalise=True):
    return on_the_best(torch.full_like(logits, 1 / k), logits, k) + 0 * logits


NO_SOFTMAX = "These weights are made of the logits themselves. Make probabilities of them first: softmax."


@mistake(NO_SOFTMAX)
def logits_by_their_sum(logits, k, renormalise=True):
    weights = on_the_best(logits / logits.sum(dim=-1, keepdim=True), logits, k)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@mistake(NO_SOFTMAX)
def no_softmax(logits, k, renormalise=True):
    weights = on_the_best(logits, logits, k)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@mistake("These are the experts with the *smallest* logits.")
def the_worst(logits, k, renormalise=True):
    worst = (-logits).topk(k, dim=-1).indices
    weights = torch.zeros_like(logits).scatter(-1, worst, 1.0) * logits.softmax(dim=-1)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@mistake("Every expert has a weight here, so all of them would have to answer. All but the best k get 0.")
def nobody_is_left_out(logits, k, renormalise=True):
    return logits.softmax(dim=-1)


@mistake(
    "The logits of the others were set to 0, and softmax gives a logit of 0 a weight like any other. Set them to "
    "minus infinity, or set the weights to 0 after the softmax."
)
def zero_before_the_softmax(logits, k, renormalise=True):
    return on_the_best(logits, logits, k).softmax(dim=-1)


@mistake(
    "These are the weights of the k experts, and it is lost whose they are. Return a row with a place for every "
    "expert, and 0 for those who were not chosen."
)
def only_the_k_weights(logits, k, renormalise=True):
    best = logits.softmax(dim=-1).topk(k, dim=-1).values
    return best / best.sum(dim=-1, keepdim=True) if renormalise else best


@mistake(
    "Every weight is 0. `scatter` returns a new tensor: use what it returns. And `w[rows][:, columns] = ...` changes a "
    "copy, not `w`."
)
def written_to_a_copy(logits, k, renormalise=True):
    return torch.zeros_like(logits)


@mistake(
    "`scatter(-1, experts, p)` puts the *first* k entries of each row of `p` in the places of the chosen experts. Pick "
    "their probabilities first, `p.gather(-1, experts)`, and scatter those."
)
def scattered_without_gather(logits, k, renormalise=True):
    weights = logits.softmax(dim=-1)
    return torch.zeros_like(logits).scatter(-1, logits.topk(k, dim=-1).indices, weights)


# Read so, or written so.
NOT_EACH_ROWS_OWN = (
    "With `experts` from `topk`, `p[experts]` is whole rows of `p`, as if the experts' numbers were those of tokens, "
    "and `p[:, experts]` the same columns in every row. To read the chosen entries of each row there is `p.gather(-1, "
    "experts)`, to write them `scatter`."
)


@mistake(NOT_EACH_ROWS_OWN)
def rows_read(logits, k, renormalise=True):
    experts = logits.topk(k, dim=-1).indices
    return torch.zeros_like(logits).scatter(-1, experts, logits.softmax(dim=-1)[experts])


@mistake(NOT_EACH_ROWS_OWN)
def rows_written(logits, k, renormalise=True):
    best = logits.topk(k, dim=-1)
    weights = torch.zeros_like(logits)
    weights[best.indices] = best.values.softmax(dim=-1)
    return weights


@mistake(NOT_EACH_ROWS_OWN)
def columns_written(logits, k, renormalise=True):
    best = logits.softmax(dim=-1).topk(k, dim=-1)
    weights = torch.zeros_like(logits)
    weights[:, best.indices] = best.values / best.values.sum(dim=-1, keepdim=True) if renormalise else best.values
    return weights


# All at once, or token by token: torch counts the changes.
CHANGES_SOFTMAX = (
    "The probabilities are changed in place, as by `p[...] = 0`, but the gradient of softmax needs them as they were. "
    "Begin with `p = p.clone()`, or multiply by a mask instead."
)


@mistake(CHANGES_SOFTMAX)
def zeroed_in_place(logits, k, renormalise=True):
    weights = logits.softmax(dim=-1)
    weights[logits < logits.topk(k, dim=-1).values[:, -1:]] = 0
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


@mistake(CHANGES_SOFTMAX)
def zeroed_in_place_token_by_token(logits, k, renormalise=True):
    weights = logits.softmax(dim=-1)
    for token, row in enumerate(logits):
        weights[token, row.argsort(descending=True)[k:]] = 0
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


# The others are NaN, or 0; the chosen ones are NaN, or infinity over infinity.
OVERFLOWS = (
    "Right on paper. But the exponential of a logit near 100 is infinite in float32. `softmax` subtracts the largest "
    "logit first."
)


@mistake(OVERFLOWS)
def powers_scattered(logits, k, renormalise=True):
    powers = logits.exp()
    best = powers.topk(k, dim=-1)
    weights = best.values / (best.values if renormalise else powers).sum(dim=-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, best.indices, weights)


@mistake(OVERFLOWS)
def quotients_scattered(logits, k, renormalise=True):
    powers = logits.exp()
    best = (powers / powers.sum(dim=-1, keepdim=True)).topk(k, dim=-1)
    weights = best.values / best.values.sum(dim=-1, keepdim=True) if renormalise else best.values
    return torch.zeros_like(logits).scatter(-1, best.indices, weights)


@mistake(OVERFLOWS)
def exponentials(logits, k, renormalise=True):
    powers = logits.exp()
    weights = on_the_best(powers / powers.sum(dim=-1, keepdim=True), logits, k)
    return weights / weights.sum(dim=-1, keepdim=True) if renormalise else weights


EXERCISE = Exercise(
    id="route",
    title="The router",
    points=2,
    minutes=10,
    difficulty=1,
    kind="code",
    hints=(
        "`logits.topk(k, dim=-1)` gives the k largest logits of each token, and where they are. What are the weights "
        "of these k? And how do they get to their places in a row of zeros?",
        "With `best = logits.topk(k, dim=-1)`, a softmax of `best.values` makes weights that sum to 1; `gather(-1, "
        "best.indices)` picks entries out of a softmax of all. `torch.zeros_like(logits).scatter(...)` takes an "
        "axis, the places and what belongs there.",
    ),
    reference=route,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, A router and its experts",
)
