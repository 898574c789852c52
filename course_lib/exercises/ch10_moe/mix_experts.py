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
    return [
        case("6 tokens, one of 3 experts each", torch.eye(3)[[0, 2, 1, 1, 0, 2]]),
        case("7 tokens, 2 of 4 experts each", routed(7, 4, 2)),
        case("wider experts, probabilities that do not sum to 1", 0.6 * routed(5, 3, 1), 3, 8),
        broken,
        case("all tokens chose the same expert", torch.eye(4)[[2, 2, 2]]),
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


@mistake(
    "This is the right sum, but every expert computed for every token, and those who were not chosen are multiplied "
    "by 0. It costs as much as asking all of them, and NaN times 0 is NaN. Pick an expert's tokens first, and compute "
    "for these alone."
)
def all_experts_on_all_tokens(x, weights, w1, w2):
    hidden = torch.relu(torch.einsum("td,edf->tef", x, w1))
    return torch.einsum("te,tef,efd->td", weights, hidden, w2)


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


@mistake("relu is missing between the two matrices of an expert: without it, two matrices are no more than one.")
def no_relu(x, weights, w1, w2):
    return chosen_only(x, weights, w1, w2, lambda token, first, second: token @ first @ second)


@mistake("relu is applied to the answer. It belongs between the two matrices: `relu(x @ w1) @ w2`.")
def relu_at_the_end(x, weights, w1, w2):
    return chosen_only(x, weights, w1, w2, lambda token, first, second: torch.relu(token @ first @ second))


@mistake(
    "A token that chose two experts keeps the answer of the last one alone: the answers are written over each other. "
    "Add them: `index_add`, or `+=`."
)
def the_last_answer_alone(x, weights, w1, w2):
    return chosen_only(x, weights, w1, w2, network, add=False)


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
    hints=(
        "Go through the experts. Which tokens have a weight for this one? Take their rows of x, let the expert "
        "answer, multiply by the weights, and add the result to the same rows of the output.",
        "`tokens = weights[:, expert].nonzero()[:, 0]`, `answers = torch.relu(x[tokens] @ w1[expert]) @ w2[expert]`, "
        "`output = output.index_add(0, tokens, weights[tokens, expert, None] * answers)`.",
    ),
    reference=mix_experts,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, A router and its experts",
)
