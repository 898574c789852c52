"""Layer normalisation: each token's features get mean 0 and variance 1, then a gain and a bias."""

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


def layer_norm(x, gain, bias, eps=1e-5):
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / (variance + eps).sqrt() * gain + bias


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def case(name, *shape, size=1.0, shift=0.0, **eps):
        gain, bias = 1 + 0.5 * normal(shape[-1]), normal(shape[-1])
        return Case(name, (shift + size * normal(*shape), gain, bias), eps)

    return [
        case("3 tokens of 8 features", 3, 8),
        case("a batch of 2 texts", 2, 4, 6),
        case("large numbers, far from zero", 2, 3, 16, size=20.0, shift=50.0),
        case("eps=0.1", 2, 5, eps=0.1),
        case("numbers that are nearly alike", 2, 8, size=0.003),
    ]


@alternative
def ready_made(x, gain, bias, eps=1e-5):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], gain, bias, eps)


@alternative
def by_moments(x, gain, bias, eps=1e-5):
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + eps) * gain + bias


@mistake(
    "The variance is divided by n - 1 (torch.var does so unless told `correction=0`). Here it describes these numbers, "
    "it does not estimate others: divide by n."
)
def unbiased_variance(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.var(-1, keepdim=True) + eps).sqrt() * gain + bias


@mistake("The mean is not taken off. Without it this is RMSNorm, with which many newer models get by.")
def mean_not_taken_off(x, gain, bias, eps=1e-5):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


@mistake(
    "The fault is still there. One text of shape (tokens, features) comes out right, a batch of texts does not: which "
    "axis is axis 1 of a batch?"
)
def over_axis_one(x, gain, bias, eps=1e-5):
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + eps).sqrt() * gain + bias


# Two lines have to change.
HALF_CURED = (
    "The fault is still there in one of the two lines: mean and variance are taken over different axes. Both belong to "
    "the last one, `dim=-1`."
)


@mistake(HALF_CURED)
def variance_over_axis_one(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + eps).sqrt() * gain + bias


@mistake(HALF_CURED)
def mean_over_axis_one(x, gain, bias, eps=1e-5):
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


@mistake("The gain is not used. Multiply by it, then add the bias.")
def no_gain(x, gain, bias, eps=1e-5):
    return layer_norm(x, torch.ones_like(gain), bias, eps)


@mistake("The bias is not added. It comes last, after the gain.")
def no_bias(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain, torch.zeros_like(bias), eps)


@mistake("Neither the gain nor the bias is used. Multiply by the gain, then add the bias.")
def neither_gain_nor_bias(x, gain, bias, eps=1e-5):
    return layer_norm(x, torch.ones_like(gain), torch.zeros_like(bias), eps)


@mistake("This normalises over the tokens. Each token is normalised by itself, over its features: the last axis.")
def over_the_tokens(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-2, keepdim=True)
    return centred / (centred.square().mean(-2, keepdim=True) + eps).sqrt() * gain + bias


@mistake("This takes one mean and one variance for all tokens of a text together. Each token has its own.")
def over_a_whole_text(x, gain, bias, eps=1e-5):
    axes = tuple(range(1, x.dim()))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True) + eps).sqrt() * gain + bias


@mistake("This takes one mean and one variance for all numbers together. Each token has its own.")
def over_everything(x, gain, bias, eps=1e-5):
    return (x - x.mean()) / (x.var(correction=0) + eps).sqrt() * gain + bias


@mistake("This divides by the variance; divide by its square root, which has the size of the numbers themselves.")
def divided_by_the_variance(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps) * gain + bias


@mistake(
    "eps is added after the square root. It belongs under it, beside the variance: the last case, where all numbers of "
    "a token are nearly alike, shows the difference."
)
def eps_outside_the_root(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True).sqrt() + eps) * gain + bias


@mistake(
    "eps is left out. It keeps a token whose numbers are all alike from being divided by zero: add it to the variance, "
    "under the root."
)
def no_eps(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain, bias, eps=0.0)


@mistake("This takes eps off the variance. It is added, so that the root never meets zero or less.")
def eps_taken_off(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain, bias, eps=-eps)


@mistake("This always adds 1e-5. `eps` is an argument: add the one that was given.")
def eps_ignored(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain, bias)


@mistake("The bias is added before the gain multiplies; it comes last.")
def bias_before_gain(x, gain, bias, eps=1e-5):
    normalised = layer_norm(x, torch.ones_like(gain), torch.zeros_like(bias), eps)
    return (normalised + bias) * gain


EXERCISE = Exercise(
    id="layer_norm",
    title="Layer normalisation, with a fault",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "Give it a batch, a tensor of shape (2, 5, 8), and look at the mean of each token, `.mean(-1)`. What has mean "
        "0 instead? How can a token learn in this way what comes after it?",
        "The features are the last axis. In one text that is axis 1; in a batch of texts axis 1 counts the tokens. "
        "Take mean and variance with `dim=-1`, which is the last axis in both.",
    ),
    reference=layer_norm,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("F.layer_norm", "torch.layer_norm", "nn.LayerNorm"),
    see="Chapter 2, What a layer is made of",
    # Numbers near 50 are rounded to 4e-6, which the division by a spread of 20 does not undo in the gradients.
    rtol=1e-4,
    atol=1e-4,
)
