"""Causality, measured: how strongly each output of attention reacts to each input."""

import torch

from course_lib.exercises.ch01_attention.attention import attention
from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def influence(x, mask=None):
    jacobian = torch.autograd.functional.jacobian(lambda x: attention(x, x, x, mask), x)  # n, d, n, d
    return jacobian.norm(dim=(1, 3))  # how strongly output t (a vector) reacts to input s (a vector)


def cases(rng):
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    return [
        Case("5 tokens of width 3 under a causal mask", (torch.randn(5, 3, generator=rng), causal)),
        Case("4 tokens of width 6, no mask", (torch.randn(4, 6, generator=rng),)),
        Case("each token sees itself and the next two", (torch.randn(5, 4, generator=rng), causal.T.tril(2))),
    ]


@alternative
def one_gradient_at_a_time(x, mask=None):
    x = x.detach().clone().requires_grad_()
    out = attention(x, x, x, mask)
    rows = []
    for t in range(len(x)):
        grads = [torch.autograd.grad(out[t, j], x, retain_graph=True)[0] for j in range(x.shape[1])]
        rows.append(torch.stack(grads).square().sum(dim=(0, 2)).sqrt())
    return torch.stack(rows)


@mistake("This looks transposed: row t is the output, column s the input.")
def transposed(x, mask=None):
    return influence(x, mask).T


@mistake("Right without a mask; hand the mask on to `attention`.")
def no_mask(x, mask=None):
    return influence(x)


@mistake(
    "The components of an output are added up before differentiating, so opposite effects cancel: differentiate every "
    "component, then take the norm over all of them."
)
def components_added_first(x, mask=None):
    def sums(x):
        return attention(x, x, x, mask).sum(-1)

    return torch.autograd.functional.jacobian(sums, x).norm(dim=-1)


@mistake("These are the squared norms: take the square root.")
def squared(x, mask=None):
    return influence(x, mask) ** 2


@mistake(
    "This counts only the way through the values. x is also the queries and the keys: differentiate "
    "`attention(x, x, x, mask)` with respect to all three at once."
)
def through_the_values_alone(x, mask=None):
    def outputs(v):
        return attention(x, x, v, mask)

    return torch.autograd.functional.jacobian(outputs, x).norm(dim=(1, 3))


@mistake(
    "These are attention weights: how much of each value is taken. But moving an input moves the weights too. "
    "Differentiate the output."
)
def attention_weights(x, mask=None):
    return attention(x, x, torch.eye(len(x), dtype=x.dtype), mask)


EXERCISE = Exercise(
    id="influence",
    title="Causality, measured",
    points=3,
    minutes=12,
    difficulty=3,
    hints=(
        "Output t and input s are both vectors, so the derivative of one with respect to the other is a d x d matrix. "
        "`torch.autograd.functional.jacobian(f, x)` gives them all at once: in which shape?",
        "The shape is (n, d, n, d): output token, its component, input token, its component. `.norm(dim=(1, 3))` takes "
        "the norm over both component axes.",
    ),
    reference=influence,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    needs=("attention",),
    see="Chapter 1, No looking ahead",
)
