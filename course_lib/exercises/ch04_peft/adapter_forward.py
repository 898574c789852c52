"""An adapter: a small network between the layers, with a way around it (Houlsby et al. 2019)."""

import math

import torch
from torch import nn
from torch.nn.functional import gelu

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def adapter_forward(h, down, down_bias, up, up_bias):
    small = torch.nn.functional.gelu(h @ down.T + down_bias)
    return h + small @ up.T + up_bias


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def case(name, shape, width, zero=False):
        d_model = shape[-1]
        down, up, up_bias = normal(width, d_model), normal(d_model, width), normal(d_model)
        return Case(name, (normal(*shape), down, normal(width), up * (not zero), up_bias * (not zero)))

    return [
        case("the way up is zero: h as it was", (3, 6), 2, zero=True),
        case("from 5 numbers to 2 and back", (4, 5), 2),
        case("a batch of texts, from 8 to 3", (2, 4, 8), 3),
        case("a width of 1", (5, 4), 1),
    ]


@alternative
def by_module_and_functions(h, down, down_bias, up, up_bias):
    linear = nn.functional.linear
    return linear(nn.GELU()(linear(h, down, down_bias)), up, up_bias) + h


@alternative
def by_the_normal_distribution(h, down, down_bias, up, up_bias):
    small = torch.einsum("wd,...d->...w", down, h) + down_bias
    small = small * (1 + torch.erf(small / math.sqrt(2))) / 2
    return h + torch.einsum("dw,...w->...d", up, small) + up_bias


@mistake("The way around is missing: what the small network gives is added to h.")
def no_way_around(h, down, down_bias, up, up_bias):
    return gelu(h @ down.T + down_bias) @ up.T + up_bias


@mistake(
    "There is no gelu in the middle. Without it the two layers are one product of matrices, as in LoRA: apply gelu "
    "after the way down."
)
def no_gelu(h, down, down_bias, up, up_bias):
    return h + (h @ down.T + down_bias) @ up.T + up_bias


@mistake("This has relu in the middle. The adapter of this lab has gelu there.")
def relu_in_the_middle(h, down, down_bias, up, up_bias):
    return h + torch.relu(h @ down.T + down_bias) @ up.T + up_bias


@mistake("This is the approximate gelu, by tanh. Take the exact one: `torch.nn.functional.gelu` without `approximate`.")
def approximate_gelu(h, down, down_bias, up, up_bias):
    return h + gelu(h @ down.T + down_bias, approximate="tanh") @ up.T + up_bias


@mistake("The bias of the way down is missing. Add `down_bias` before gelu.")
def no_bias_on_the_way_down(h, down, down_bias, up, up_bias):
    return h + gelu(h @ down.T) @ up.T + up_bias


@mistake("Both biases are missing. Add `down_bias` before gelu, and `up_bias` after the way up.")
def no_biases(h, down, down_bias, up, up_bias):
    return h + gelu(h @ down.T) @ up.T


@mistake("The bias of the way up is missing: add `up_bias` at the end.")
def no_bias_on_the_way_up(h, down, down_bias, up, up_bias):
    return h + gelu(h @ down.T + down_bias) @ up.T


@mistake("gelu comes after the way up. It belongs in the middle, after the way down, where there are few numbers.")
def gelu_after_the_way_up(h, down, down_bias, up, up_bias):
    return h + gelu((h @ down.T + down_bias) @ up.T + up_bias)


@mistake("gelu is applied to the sum. It belongs in the middle, after the way down; h itself stays as it is.")
def gelu_of_the_sum(h, down, down_bias, up, up_bias):
    return gelu(h + (h @ down.T + down_bias) @ up.T + up_bias)


EXERCISE = Exercise(
    id="adapter_forward",
    title="Down, and up again",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "A linear layer with weight W and bias b computes `x @ W.T + b`. There are two of them, with gelu in between.",
        "`small = torch.nn.functional.gelu(h @ down.T + down_bias)` has `width` numbers per token. Go up, and add h.",
    ),
    reference=adapter_forward,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Three other small parts",
)
