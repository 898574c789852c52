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


@alternative
def token_by_token(x, weight, bias, a, b, alpha):
    outputs = []
    for token in x.reshape(-1, x.shape[-1]):
        thin = a @ token
        outputs.append(weight @ token + bias + alpha * (b @ thin) / len(thin))
    return torch.stack(outputs).reshape(*x.shape[:-1], -1)


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


@mistake(
    "The output of the frozen layer is multiplied by alpha / rank too. Multiply only what comes out of A and B, and "
    "add the frozen layer as it is."
)
def all_scaled(x, weight, bias, a, b, alpha):
    return alpha / a.shape[0] * (x @ weight.T + bias + through_a_and_b(x, a, b))


@mistake(
    "alpha / rank is in here twice, on the way through A and on the way through B. Multiply once, at the end of both."
)
def scaled_twice(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + (alpha / a.shape[0]) ** 2 * through_a_and_b(x, a, b)


@mistake("What comes out of A and B is subtracted. Add it: the layer is W + alpha / rank B A.")
def subtracted(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias - alpha / a.shape[0] * through_a_and_b(x, a, b)


@mistake("The factor is upside down. It is alpha / rank: a larger alpha makes A and B count for more.")
def upside_down(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + a.shape[0] / alpha * through_a_and_b(x, a, b)


@mistake("The frozen layer is missing. What comes out of A and B is a change to it: add it to `x @ weight.T + bias`.")
def lora_alone(x, weight, bias, a, b, alpha):
    return alpha / a.shape[0] * through_a_and_b(x, a, b)


@mistake(
    "This divides alpha by the root of the rank. (A later paper does so, under the name of rsLoRA.) In LoRA it is "
    "divided by the rank itself."
)
def divided_by_the_root(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha / a.shape[0] ** 0.5 * through_a_and_b(x, a, b)


@mistake(
    "There is a ReLU between A and B, as an adapter has one. LoRA has none, so that the product B A can be added to "
    "the frozen matrix later."
)
def with_a_relu(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha / a.shape[0] * ((x @ a.T).relu() @ b.T)


@mistake(
    "This divides alpha by the first axis of x, which counts texts or tokens. Divide it by the rank, the number of "
    "rows of A: `a.shape[0]`."
)
def divided_by_the_batch(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha / x.shape[0] * through_a_and_b(x, a, b)


@mistake("`//` rounds the quotient down, to 0 if alpha is below the rank. Divide with `/`.")
def rounded_down(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha // a.shape[0] * through_a_and_b(x, a, b)


@mistake("This divides by the rank, and alpha is missing. The factor is alpha / rank.")
def without_alpha(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + through_a_and_b(x, a, b) / a.shape[0]


@mistake(
    "The frozen matrix is multiplied by alpha / rank too. Multiply only what comes out of A and B, and add the frozen "
    "layer as it is."
)
def frozen_matrix_scaled(x, weight, bias, a, b, alpha):
    return alpha / a.shape[0] * (x @ weight.T + through_a_and_b(x, a, b)) + bias


@mistake("What comes out of A and B multiplies the frozen layer. It is a change that is *added* to it.")
def multiplied(x, weight, bias, a, b, alpha):
    return (x @ weight.T + bias) * (alpha / a.shape[0] * through_a_and_b(x, a, b))


@mistake("alpha is multiplied by the rank. Divide it: the factor is alpha / rank.")
def times_the_rank(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha * a.shape[0] * through_a_and_b(x, a, b)


EXERCISE = Exercise(
    id="lora_forward",
    title="Beside the frozen matrix",
    points=2,
    minutes=10,
    difficulty=2,
    kind="code",
    hints=(
        "First what the frozen layer does: `x @ weight.T + bias`. Then x goes through A, and the result through B.",
        "`x @ a.T` has as many numbers for each token as the rank: this is the thin middle, and B leads from there to "
        "d_out. alpha divided by the rank is a factor of this way alone. The shapes of A and B both hold the rank.",
    ),
    reference=lora_forward,
    cases=cases,
    run_case=call_and_differentiate_only(0, 3, 4),  # x, a and b: weight and bias are frozen
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Two thin matrices",
)
