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
        case("one token alone: one axis", 7),
        case("texts in pairs, two pairs: four axes", 2, 2, 3, 5),
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


@alternative
def token_by_token(x, gain, bias, eps=1e-5):
    normalised = []
    for token in x.reshape(-1, x.shape[-1]):
        mean = token.sum() / len(token)
        variance = ((token - mean) ** 2).sum() / len(token)
        normalised.append((token - mean) / (variance + eps) ** 0.5 * gain + bias)
    return torch.stack(normalised).reshape(x.shape)


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
    "axis is axis 1 of a batch?",
    given=True,
)
def over_axis_one(x, gain, bias, eps=1e-5):
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + eps).sqrt() * gain + bias


# Two lines have to change.
HALF_CURED = (
    "The fault is still there in one of the two lines: mean and variance are taken over different axes. Both belong to "
    "the last one, `dim=-1`."
)


@mistake(HALF_CURED, given=True)
def variance_over_axis_one(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + eps).sqrt() * gain + bias


@mistake(HALF_CURED, given=True)
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


WHOLE_TEXT = "This takes one mean and one variance for all tokens of a text together. Each token has its own."


@mistake(WHOLE_TEXT)
def over_all_but_the_first_axis(x, gain, bias, eps=1e-5):
    axes = tuple(range(1, x.dim()))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True) + eps).sqrt() * gain + bias


@mistake(WHOLE_TEXT)
def over_the_last_two_axes(x, gain, bias, eps=1e-5):
    centred = x - x.mean((-2, -1), keepdim=True)
    return centred / (centred.square().mean((-2, -1), keepdim=True) + eps).sqrt() * gain + bias


@mistake(
    "This normalises over axis 0, which is the tokens of one text, and the texts of a batch. Each token is normalised "
    "by itself, over its features: the last axis."
)
def over_axis_zero(x, gain, bias, eps=1e-5):
    centred = x - x.mean(0, keepdim=True)
    return centred / (centred.square().mean(0, keepdim=True) + eps).sqrt() * gain + bias


@mistake(
    "This knows one text, and a batch of texts. There may be any number of axes before the features: count from the "
    "end, `dim=-1`."
)
def axis_one_or_two(x, gain, bias, eps=1e-5):
    axis = 1 if x.dim() == 2 else 2
    centred = x - x.mean(axis, keepdim=True)
    return centred / (centred.square().mean(axis, keepdim=True) + eps).sqrt() * gain + bias


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


@mistake(
    "Two things about the root: `torch.std` divides by n - 1 unless told `correction=0`, and eps belongs under the "
    "root, beside the variance."
)
def unbiased_deviation(x, gain, bias, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps) * gain + bias


@mistake(
    "The squares are those of the numbers as they came. The variance is the mean of the squares *after* the mean was "
    "taken off."
)
def squares_not_centred(x, gain, bias, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


@mistake("This divides by the root of the *sum* of the squares. The variance is their mean.")
def sum_of_squares(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().sum(-1, keepdim=True) + eps).sqrt() * gain + bias


@mistake("This multiplies by the root of the variance. Divide by it, so that the variance becomes 1.")
def multiplied_by_the_root(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred * (centred.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


@mistake("The sum of gain and bias multiplies here. The gain multiplies, and then the bias is added: no brackets.")
def multiplied_by_gain_and_bias(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain + bias, torch.zeros_like(bias), eps)


@mistake("The bias is subtracted. Add it.")
def bias_subtracted(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain, -bias, eps)


@mistake("Gain and bias are exchanged: the gain multiplies, the bias is added.")
def gain_and_bias_exchanged(x, gain, bias, eps=1e-5):
    return layer_norm(x, bias, gain, eps)


@mistake("The mean is added to the numbers. Take it off, so that their mean becomes 0.")
def mean_added(x, gain, bias, eps=1e-5):
    moved = x + x.mean(-1, keepdim=True)
    return moved / (moved.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


@mistake("The sum is taken off the numbers. Take off their mean, so that it becomes 0.")
def sum_taken_off(x, gain, bias, eps=1e-5):
    moved = x - x.sum(-1, keepdim=True)
    return moved / (moved.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


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
        "The features are the last axis. In one text that is axis 1; in a batch of texts axis 1 counts the tokens, and "
        "a single token has no axis 1. Axes can be counted from the end.",
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
