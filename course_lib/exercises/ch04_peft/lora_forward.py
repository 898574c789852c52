"""A linear layer with a LoRA: the frozen matrix, and two thin ones beside it (Hu et al. 2021, equation 3)."""

import torch
from torch import nn

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate_only,
    mistake,
    mistakes_in,
)


def lora_forward(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha / a.shape[0] * ((x @ a.T) @ b.T)


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def case(name, shape, d_out, rank, alpha, zero=False):
        weight, a, b = normal(d_out, shape[-1]), normal(rank, shape[-1]), normal(d_out, rank)
        return Case(name, (normal(*shape), weight, normal(d_out), a, b * 0 if zero else b, alpha))

    return [
        case("B is zero: as the frozen layer", (3, 6), 4, 2, 8.0, zero=True),
        case("rank 2, alpha 4", (3, 5), 4, 2, 4.0),
        case("a batch of texts, rank 3, alpha 1", (2, 4, 6), 8, 3, 1.0),
        case("rank 1, alpha 1", (5, 4), 3, 1, 1.0),
    ]


@alternative
def merged_first(x, weight, bias, a, b, alpha):
    return nn.functional.linear(x, weight + b @ a * (alpha / len(a)), bias)


@alternative
def by_einsum(x, weight, bias, a, b, alpha):
    small = torch.einsum("or,ri,...i->...o", b, a, x)
    return torch.einsum("oi,...i->...o", weight, x) + small * alpha / b.shape[1] + bias


@alternative
def frozen_without_gradients(x, weight, bias, a, b, alpha):
    with torch.no_grad():
        scale = alpha / len(a)
        weight, bias = weight.clone(), bias.clone()
    return nn.functional.linear(x, weight, bias) + scale * nn.functional.linear(nn.functional.linear(x, a), b)


def through_a_and_b(x, a, b):
    return (x @ a.T) @ b.T


@mistake(
    "What comes out of A and B is added as it is. Multiply it by alpha / rank; the rank is the number of rows of A."
)
def not_scaled(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + through_a_and_b(x, a, b)


@mistake(
    "This multiplies by alpha alone. The factor is alpha / rank; the rank is the number of rows of A, `a.shape[0]`."
)
def scaled_by_alpha(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha * through_a_and_b(x, a, b)


@mistake("This divides alpha by d_in. Divide it by the rank, which is the number of rows of A: `a.shape[0]`.")
def divided_by_d_in(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha / a.shape[1] * through_a_and_b(x, a, b)


@mistake("This divides alpha by d_out. Divide it by the rank, which is the number of rows of A: `a.shape[0]`.")
def divided_by_d_out(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha / b.shape[0] * through_a_and_b(x, a, b)


@mistake("The bias of the frozen layer is missing: add `bias`.")
def no_bias(x, weight, bias, a, b, alpha):
    return x @ weight.T + alpha / a.shape[0] * through_a_and_b(x, a, b)


@mistake("The frozen matrix is missing. A and B do not take its place: what they give is added to `x @ weight.T`.")
def no_frozen_matrix(x, weight, bias, a, b, alpha):
    return bias + alpha / a.shape[0] * through_a_and_b(x, a, b)


@mistake(
    "The bias is multiplied by alpha / rank too. It belongs to the frozen layer: multiply only what comes out of A "
    "and B."
)
def bias_scaled(x, weight, bias, a, b, alpha):
    return x @ weight.T + alpha / a.shape[0] * (through_a_and_b(x, a, b) + bias)


EXERCISE = Exercise(
    id="lora_forward",
    title="Beside the frozen matrix",
    points=2,
    minutes=10,
    difficulty=2,
    kind="code",
    hints=(
        "First what the frozen layer does: `x @ weight.T + bias`. Then x goes through A, and the result through B.",
        "`x @ a.T` has `rank` numbers per token, and `(x @ a.T) @ b.T` has d_out. The factor is `alpha / a.shape[0]`.",
    ),
    reference=lora_forward,
    cases=cases,
    run_case=call_and_differentiate_only(0, 3, 4),  # x, a and b: weight and bias are frozen
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Two thin matrices",
)
