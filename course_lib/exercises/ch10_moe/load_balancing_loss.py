"""The load-balancing loss of the Switch Transformer (Fedus et al. 2021, equation 4), for any k."""

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


def load_balancing_loss(logits, weights):
    chosen = (weights > 0).to(logits.dtype)
    share = chosen.sum(dim=0) / chosen.sum()  # of all choices, how many fell on each expert
    probability = logits.softmax(dim=-1).mean(dim=0)
    return logits.shape[-1] * (share * probability).sum()


def cases(rng):
    def routed(tokens, experts, k):
        logits = 1.5 * torch.randn(tokens, experts, generator=rng) + 0.01 * torch.arange(experts)
        best = logits.softmax(-1).topk(k, dim=-1)
        return logits, torch.zeros_like(logits).scatter(-1, best.indices, best.values)

    even = torch.eye(4).repeat(3, 1)  # 12 tokens, three for each expert
    same = torch.eye(4)[[1] * 6]
    sure = 160 * same - 80  # so sure that there is no gradient left, and `exp` still finite
    return [
        Case("nobody is preferred: 1", (torch.zeros(12, 4), even)),
        Case("all tokens for the same expert, and sure of it: 4", (sure, same)),
        Case("20 tokens, 1 of 4 experts", routed(20, 4, 1)),
        Case("30 tokens, 2 of 8 experts", routed(30, 8, 2)),
        Case("9 tokens, 3 of 5 experts", routed(9, 5, 3)),
    ]


@alternative
def expert_by_expert(logits, weights):
    n_experts = logits.shape[1]
    probabilities = torch.softmax(logits, dim=1)
    n_choices = weights.count_nonzero()
    total = 0.0
    for i in range(n_experts):
        total = total + weights[:, i].count_nonzero() / n_choices * probabilities[:, i].mean()
    return total * n_experts


@alternative
def by_matrices(logits, weights):
    share = (weights != 0).type_as(logits).mean(0)
    return logits.shape[-1] * (logits.softmax(-1) @ share).mean() / share.sum()


def both(logits, weights):
    chosen = (weights > 0).to(logits.dtype)
    return chosen.sum(dim=0) / chosen.sum(), logits.softmax(dim=-1).mean(dim=0)


@mistake(
    "The number of experts is missing (or a mean over the experts stands in place of the sum). With an even load this "
    "gives 1 / n_experts, and it should be 1, however many experts there are."
)
def no_number_of_experts(logits, weights):
    return load_balancing_loss(logits, weights) / logits.shape[-1]


@mistake(
    "`mean` divides by the number of experts, and the formula multiplies by it: take the *sum* over the experts, times "
    "`logits.shape[-1]`."
)
def mean_and_no_number_of_experts(logits, weights):
    return load_balancing_loss(logits, weights) / logits.shape[-1] ** 2


@mistake("This is multiplied by the number of *tokens*. E is the number of experts, `logits.shape[-1]`.")
def number_of_tokens(logits, weights):
    return load_balancing_loss(logits, weights) / logits.shape[-1] * len(logits)


@mistake("f is the *number* of choices here. It has to be their share: divide by the number of all choices.")
def counts_for_shares(logits, weights):
    return load_balancing_loss(logits, weights) * (weights > 0).sum()


@mistake("P is the *sum* of the probabilities over the tokens here. It has to be their mean.")
def sum_of_probabilities(logits, weights):
    return load_balancing_loss(logits, weights) * len(logits)


@mistake(
    "Only the best expert of each token is counted, and the others that it chose take its time as well. Count all "
    "weights that are not 0."
)
def first_choices_alone(logits, weights):
    share = torch.eye(logits.shape[-1])[weights.argmax(dim=-1)].mean(dim=0)
    return logits.shape[-1] * (share * logits.softmax(dim=-1).mean(dim=0)).sum()


@mistake("P is the mean *logit* here. It has to be the mean probability: softmax first.")
def no_softmax(logits, weights):
    share, _ = both(logits, weights)
    return logits.shape[-1] * (share * logits.mean(dim=0)).sum()


@mistake("This is the softmax of the mean logits. P is the mean of the probabilities: softmax first, then the mean.")
def softmax_of_the_mean(logits, weights):
    share, _ = both(logits, weights)
    return logits.shape[-1] * (share * logits.mean(dim=0).softmax(dim=-1)).sum()


# Their mean over the tokens, or their share of all weight.
P_OF_WEIGHTS = (
    "P is made of the weights, which are 0 for those who were not chosen, and no function of the logits here. It is "
    "the mean probability of *all* experts: `logits.softmax(-1).mean(0)`."
)


@mistake(P_OF_WEIGHTS)
def mean_weights_for_probabilities(logits, weights):
    share, _ = both(logits, weights)
    return logits.shape[-1] * (share * weights.mean(dim=0)).sum()


@mistake(P_OF_WEIGHTS)
def shares_of_weight_for_probabilities(logits, weights):
    share, _ = both(logits, weights)
    return logits.shape[-1] * (share * weights.sum(dim=0) / weights.sum()).sum()


@mistake(
    "P is a probability among the *chosen* experts here, renormalised. It is the one among all experts, as softmax "
    "gives it."
)
def probability_among_the_chosen(logits, weights):
    share, _ = both(logits, weights)
    kept = logits.softmax(dim=-1) * (weights > 0)
    return logits.shape[-1] * (share * (kept / kept.sum(dim=-1, keepdim=True)).mean(dim=0)).sum()


@mistake(
    "The probability of an expert is averaged over the tokens that chose it (0 / 0 if there are none). P is its mean "
    "over *all* tokens."
)
def mean_over_those_who_chose(logits, weights):
    share, _ = both(logits, weights)
    chosen = (weights > 0).to(logits.dtype)
    return logits.shape[-1] * (share * (logits.softmax(dim=-1) * chosen).sum(dim=0) / chosen.sum(dim=0)).sum()


@mistake(
    "This counts the *tokens* that chose an expert. With k experts a token, these shares sum to k. Take the share of "
    "all choices, so that the shares sum to 1."
)
def share_of_tokens(logits, weights):
    share, probability = both(logits, weights)
    k = (weights > 0).to(logits.dtype).sum() / len(weights)
    return logits.shape[-1] * (k * share * probability).sum()


@mistake(
    "This is the share times itself. A count has no gradient, so the router would learn nothing from it: one of the "
    "two factors is the mean *probability*."
)
def share_squared(logits, weights):
    share, _ = both(logits, weights)
    return logits.shape[-1] * (share * share).sum()


@mistake(
    "This is the mean probability times itself, and does not see where the tokens really went. One of the two factors "
    "is the share of choices."
)
def probability_squared(logits, weights):
    _, probability = both(logits, weights)
    return logits.shape[-1] * (probability * probability).sum()


@mistake(
    "Here the product is taken token by token: the mean probability of the *chosen* experts. Take both means over the "
    "tokens first, and multiply then."
)
def product_before_the_means(logits, weights):
    chosen = (weights > 0).to(logits.dtype)
    return logits.shape[-1] * (logits.softmax(dim=-1) * chosen).sum() / chosen.sum()


# Divided by all weight, by the number of choices, or by that of the tokens.
SHARE_OF_WEIGHT = (
    "The shares are made of the weights. Count the choices instead: a token that comes with little weight takes as "
    "much of an expert's time as any other."
)


@mistake(SHARE_OF_WEIGHT)
def mean_weights_for_shares(logits, weights):
    return logits.shape[-1] * (weights.mean(dim=0) * logits.softmax(dim=-1).mean(dim=0)).sum()


@mistake(SHARE_OF_WEIGHT)
def weight_of_each_choice_for_shares(logits, weights):
    share = weights.sum(dim=0) / (weights > 0).sum()
    return logits.shape[-1] * (share * logits.softmax(dim=-1).mean(dim=0)).sum()


@mistake(SHARE_OF_WEIGHT)
def share_of_the_weights(logits, weights):
    share = weights.sum(dim=0) / weights.sum()
    return logits.shape[-1] * (share * logits.softmax(dim=-1).mean(dim=0)).sum()


@mistake("This softmax runs over the tokens. A token's probabilities are those of the experts: the last axis.")
def softmax_over_tokens(logits, weights):
    share, _ = both(logits, weights)
    return logits.shape[-1] * (share * logits.softmax(dim=0).mean(dim=0)).sum()


@mistake("The minus sign is wrong: this loss falls as the load becomes less even.")
def sign_flipped(logits, weights):
    return -load_balancing_loss(logits, weights)


EXERCISE = Exercise(
    id="load_balancing_loss",
    title="A loss for an even load",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Two lists with a number for each expert: its share of all choices, and its mean probability. The first "
        "says where the tokens went, the second has a gradient. Multiply and add up; what must stand before the "
        "sum, so that an even load gives 1?",
        "`(weights > 0).to(logits.dtype)` has a 1 for each choice: its sum over the tokens, divided by the sum of "
        "all, is the share. The other factor is a mean of `logits.softmax(-1)` over the tokens. With an even load "
        "each product is 1 / E times 1 / E, and there are E of them: what is missing to 1?",
    ),
    reference=load_balancing_loss,
    cases=cases,
    run_case=call_and_differentiate_only(0),  # a choice has no gradient
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, An even load",
)
