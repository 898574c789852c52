"""Dispatch and combine: each expert computes for the tokens that chose it, and for no others."""

import math

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


def mix_experts(x, weights, w1, w2):
    output = torch.zeros_like(x)
    for expert in range(len(w1)):
        tokens = weights[:, expert].nonzero()[:, 0]  # those who chose this expert
        answers = torch.relu(x[tokens] @ w1[expert]) @ w2[expert]
        output = output.index_add(0, tokens, weights[tokens, expert, None] * answers)
    return output


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def routed(tokens, experts, k):
        places = torch.rand(tokens, experts, generator=rng).topk(k, dim=-1).indices
        shares = 0.2 + torch.rand(tokens, k, generator=rng)
        return torch.zeros(tokens, experts).scatter(-1, places, shares / shares.sum(-1, keepdim=True))

    def case(name, weights, d_model=4, width=5):
        n_experts = weights.shape[1]
        experts = normal(n_experts, d_model, width), normal(n_experts, width, d_model)
        return Case(name, (normal(len(weights), d_model), weights, *experts))

    broken = case("nobody chose the last expert, and its numbers are NaN", torch.eye(3)[[0, 1, 0, 1, 1]])
    broken.args[2][2] = math.nan
    # What is too large to compute with, no expert may see. (NaN would also be heard in an honest `0 * x[token]`.)
    unserved = case("a token that no expert takes, with huge numbers", 0.8 * torch.eye(4)[[3, 1, 2, 1], :3])
    unserved.args[0][0] = 3e38
    return [
        # Not 1: forgotten weights are then other numbers, and detached ones the same.
        case("6 tokens, one of 3 experts each", 0.9 * torch.eye(3)[[0, 2, 1, 1, 0, 2]]),
        case("7 tokens, 2 of 4 experts each", routed(7, 4, 2)),
        case("wider experts, probabilities that do not sum to 1", 0.6 * routed(5, 3, 1), 3, 8),
        broken,
        case("all tokens chose the same expert", torch.eye(4)[[2, 2, 2]]),
        # Largest weights below one half: how much is much, no number tells.
        case("small weights: the largest is 0.35", torch.tensor([[0.35, 0.0, 0.3], [0.1, 0.25, 0.0]])),
        unserved,
    ]


@alternative
def weighed_before_the_expert(x, weights, w1, w2):
    output = torch.zeros_like(x)  # relu(a x) = a relu(x) for a > 0, so the weight may as well come first
    for expert in range(len(w1)):
        chose = weights[:, expert] > 0
        if chose.any():
            rows = weights[chose, expert, None] * x[chose]
            places = chose.nonzero().squeeze(-1)
            output = output.index_add(0, places, torch.relu(rows @ w1[expert]) @ w2[expert])
    return output


@alternative
def one_token_after_the_other(x, weights, w1, w2):
    rows = []
    for token, shares in zip(x, weights, strict=True):
        row = torch.zeros_like(token)
        for expert in shares.nonzero().flatten().tolist():
            row = row + shares[expert] * ((token @ w1[expert]).clamp(min=0) @ w2[expert])
        rows.append(row)
    return torch.stack(rows)


# With or without those experts whom nobody chose; some hide in the sum what they should not have computed.
ALL_ON_ALL = (
    "This is the right sum, but an expert computes for every token here, and the answers to those that did not choose "
    "it are thrown away. It costs as much as asking all of them, and neither 0 times NaN nor `torch.where` keeps NaN "
    "out of the gradients. Pick an expert's tokens first, and compute for these alone."
)


@mistake(ALL_ON_ALL)
def all_experts_on_all_tokens(x, weights, w1, w2):
    hidden = torch.relu(torch.einsum("td,edf->tef", x, w1))
    return torch.einsum("te,tef,efd->td", weights, hidden, w2)


@mistake(ALL_ON_ALL)
def all_experts_on_all_tokens_step_by_step(x, weights, w1, w2):
    hidden = torch.relu(torch.einsum("td,edf->tef", x, w1))
    answers = torch.einsum("tef,efd->ted", hidden, w2)
    return (weights[..., None] * answers).sum(dim=1)


def on_all_tokens(x, weights, w1, w2, share, skip=False):
    """The sum over the experts, each of which computes for all tokens; `share` makes its part of the sum."""
    output = torch.zeros_like(x)
    for expert, column in enumerate(weights.T[:, :, None]):
        if column.any() or not skip:
            output = output + share(x, column, w1[expert], w2[expert])
    return output


def weighed(x, column, first, second):
    return column * network(x, first, second)


def hidden_by_where(x, column, first, second):
    return torch.where(column > 0, weighed(x, column, first, second), 0.0)


@mistake(ALL_ON_ALL)
def all_in_turn_on_all_tokens(x, weights, w1, w2):
    return on_all_tokens(x, weights, w1, w2, weighed)


@mistake(ALL_ON_ALL)
def all_but_the_idle_on_all_tokens(x, weights, w1, w2):
    return on_all_tokens(x, weights, w1, w2, weighed, skip=True)


@mistake(ALL_ON_ALL)
def all_behind_where(x, weights, w1, w2):
    return on_all_tokens(x, weights, w1, w2, hidden_by_where)


@mistake(ALL_ON_ALL)
def all_but_the_idle_behind_where(x, weights, w1, w2):
    return on_all_tokens(x, weights, w1, w2, hidden_by_where, skip=True)


def on_weighed_tokens(x, column, first, second):
    return network(column * x, first, second)


@mistake(ALL_ON_ALL)
def all_on_weighed_tokens(x, weights, w1, w2):
    return on_all_tokens(x, weights, w1, w2, on_weighed_tokens)


def chosen_only(x, weights, w1, w2, expert_of, add=True, weighed=True):
    """The sum over the experts with one thing changed: what an expert does, whether it adds, whether it is weighed."""
    rows = []
    for token, shares in zip(x, weights, strict=True):
        row = torch.zeros_like(token)
        for expert in shares.nonzero().flatten().tolist():
            answer = expert_of(token, w1[expert], w2[expert]) * (shares[expert] if weighed else 1)
            row = row + answer if add else answer
        rows.append(row)
    return torch.stack(rows)


def network(token, first, second):
    return torch.relu(token @ first) @ second


@mistake("The answers are added without their weights: multiply each by `weights[token, expert]`.")
def unweighed(x, weights, w1, w2):
    return chosen_only(x, weights, w1, w2, network, weighed=False)


def linear_network(token, first, second):
    return token @ first @ second


@mistake("relu is missing between the two matrices of an expert: without it, two matrices are no more than one.")
def no_relu(x, weights, w1, w2):
    return chosen_only(x, weights, w1, w2, linear_network)


def relu_of_the_network(token, first, second):
    return torch.relu(network(token, first, second))


@mistake("relu is applied twice: between the two matrices, where it belongs, and to the answer, where it does not.")
def relu_twice(x, weights, w1, w2):
    return chosen_only(x, weights, w1, w2, relu_of_the_network)


def relu_of_the_linear_network(token, first, second):
    return torch.relu(linear_network(token, first, second))


@mistake("relu is applied to the answer. It belongs between the two matrices: `relu(x @ w1) @ w2`.")
def relu_at_the_end(x, weights, w1, w2):
    return chosen_only(x, weights, w1, w2, relu_of_the_linear_network)


@mistake(
    "A token that chose two experts keeps the answer of the last one alone: the answers are written over each other. "
    "Add them: `index_add`, or `+=`."
)
def the_last_answer_alone(x, weights, w1, w2):
    return chosen_only(x, weights, w1, w2, network, add=False)


@mistake("Only the expert with the largest weight answers. Add the answers of all experts whose weight is not 0.")
def the_best_alone(x, weights, w1, w2):
    best = weights.max(dim=-1)
    rows = zip(x, best.values, best.indices, strict=True)
    return torch.stack([weight * network(token, w1[expert], w2[expert]) for token, weight, expert in rows])


@mistake(
    "Only experts with a weight of one half or more answer. A weight may be small and counts all the same: ask all "
    "whose weight is not 0."
)
def half_or_more(x, weights, w1, w2):
    return mix_experts(x, weights * (weights >= 0.5), w1, w2)


@mistake(
    "Two experts are asked for each token, whether it chose them or not. How many have a weight differs from call to "
    "call, and even from token to token: ask those whose weight is not 0."
)
def always_two(x, weights, w1, w2):
    best = weights.topk(2, dim=-1)
    rows = []
    for token, shares, experts in zip(x, best.values, best.indices, strict=True):
        rows.append(sum(shares[i] * network(token, w1[e], w2[e]) for i, e in enumerate(experts.tolist())))
    return torch.stack(rows)


@mistake(
    "How many experts answer is read off the first token, and the others may have more or fewer: from section 5 on, "
    "some have none. Ask those whose weight is not 0, token by token or expert by expert."
)
def as_many_as_the_first(x, weights, w1, w2):
    best = weights.topk(int((weights[0] > 0).sum()), dim=-1)
    output = torch.zeros_like(x)
    for shares, experts in zip(best.values.T, best.indices.T, strict=True):
        hidden = torch.relu(torch.einsum("td,tdf->tf", x, w1[experts]))
        output = output + shares[:, None] * torch.einsum("tf,tfd->td", hidden, w2[experts])
    return output


@mistake(
    "Every token asks as many experts as the one with the most: some ask an expert whose weight is 0, and 0 times an "
    "answer that is infinite is NaN. Ask only those whose weight is not 0."
)
def as_many_as_the_most(x, weights, w1, w2):
    best = weights.topk(int((weights > 0).sum(dim=-1).max()), dim=-1)
    hidden = torch.relu(torch.einsum("td,tkdf->tkf", x, w1[best.indices]))
    return torch.einsum("tk,tkf,tkfd->td", best.values, hidden, w2[best.indices])


@mistake(
    "A token that no expert takes gets the number 0 here, since `sum` of nothing is 0. It needs a row of zeros: begin "
    "with `torch.zeros_like(x)`, and add to that."
)
def sum_of_nothing(x, weights, w1, w2):
    rows = []
    for token, shares in zip(x, weights, strict=True):
        chosen = shares.nonzero().flatten().tolist()
        rows.append(sum(shares[expert] * network(token, w1[expert], w2[expert]) for expert in chosen))
    return torch.stack(rows)


@mistake(
    "The rows of the result are all 0. `index_add` and `scatter_add` return a new tensor: `output = "
    "output.index_add(...)`. And `output[tokens][...] += answers` changes a copy."
)
def added_to_a_copy(x, weights, w1, w2):
    return torch.zeros_like(x)


@mistake(
    "`squeeze()` takes away every axis of size 1, and where a single token chose an expert, that is all of them: a "
    "number is left, and no list. Take the column of `nonzero()`, which is `[:, 0]`."
)
def squeezed_to_a_number(x, weights, w1, w2):
    output = torch.zeros_like(x)
    for expert in range(len(w1)):
        tokens = weights[:, expert].nonzero().squeeze()
        answers = weights[tokens, expert].unsqueeze(-1) * network(x[tokens], w1[expert], w2[expert])
        output = output.index_add(0, tokens, answers)
    return output


@mistake(
    "This is divided by the number of experts. The weights say already how much each of them counts; those who were "
    "not asked count for nothing."
)
def mean_over_the_experts(x, weights, w1, w2):
    return mix_experts(x, weights, w1, w2) / len(w1)


@mistake(
    "The answers stand one below the other in the order of the experts. Bring each back to the row of its token, and "
    "add up what one token gets."
)
def in_the_order_of_the_experts(x, weights, w1, w2):
    parts = []
    for expert in range(len(w1)):
        tokens = weights[:, expert].nonzero()[:, 0]
        parts.append(weights[tokens, expert, None] * network(x[tokens], w1[expert], w2[expert]))
    return torch.cat(parts)


@mistake(
    "The tokens themselves are added to the answers. That is the residual connection, which the model adds itself."
)
def with_the_residual(x, weights, w1, w2):
    return x + mix_experts(x, weights, w1, w2)


EXERCISE = Exercise(
    id="mix_experts",
    title="Ask only those who were chosen",
    points=3,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "Go through the experts. Which tokens have a weight for this one? Take their rows of x, let the expert "
        "answer, multiply by the weights, and add the result to the same rows of the output.",
        "`nonzero()[:, 0]` of a column of `weights` gives the tokens that chose an expert. `x[tokens]` are their "
        "rows, and `index_add(0, tokens, ...)` adds rows to the rows of these tokens. A weight needs an axis more, "
        "`[..., None]`, to multiply a row.",
    ),
    reference=mix_experts,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, A router and its experts",
)
