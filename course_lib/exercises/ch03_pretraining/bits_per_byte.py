"""Bits per byte, a unit in which models with different tokenizers can be compared; a fault in it is found."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def bits_per_byte(nats, n_bytes):
    return (nats.sum() / n_bytes.sum() / math.log(2)).item()


def cases(rng):
    n = torch.randint(1, 8, (50,), generator=rng)
    return [
        Case("3 tokens", (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1, 2, 4]))),
        Case("an end token of no bytes", (0.5 + 4 * torch.rand(3, generator=rng), torch.tensor([3, 0, 1]))),
        Case("50 tokens", (torch.rand(50, generator=rng) * 6, n)),
    ]


@alternative
def bits_first(nats, n_bytes):
    return float(torch.sum(nats * math.log2(math.e)) / torch.sum(n_bytes))


@mistake("This is in nats per byte. One bit is ln 2 = 0.69 nats, so divide by `math.log(2)`.")
def nats_per_byte(nats, n_bytes):
    return (nats.sum() / n_bytes.sum()).item()


@mistake("The factor is upside down: one bit is 0.69 nats, so there are more bits than nats. Divide by `math.log(2)`.")
def multiplied_by_ln_2(nats, n_bytes):
    return (nats.sum() / n_bytes.sum() * math.log(2)).item()


@mistake(
    "These are bits per token, which make a tokenizer with long tokens look bad for no reason. Divide the sum of the "
    "surprises by the number of bytes."
)
def bits_per_token(nats, n_bytes):
    return (nats.mean() / math.log(2)).item()


# The fault itself, and the same in two other ways; they differ where a token stands for no byte.
MEAN_OF_RATIOS = (
    "The fault is still there: this takes the ratio for each token and averages the ratios, so a token of one byte "
    "counts as much as one of ten. Divide the sum of all surprises by the sum of all bytes."
)


@mistake(MEAN_OF_RATIOS)
def mean_of_ratios(nats, n_bytes):
    return (nats / n_bytes / math.log(2)).mean().item()


@mistake(MEAN_OF_RATIOS)
def mean_of_ratios_without_infinity(nats, n_bytes):
    return (nats / n_bytes.clamp(min=1) / math.log(2)).mean().item()


@mistake(MEAN_OF_RATIOS)
def mean_of_ratios_that_are_finite(nats, n_bytes):
    counted = n_bytes > 0
    return (nats[counted] / n_bytes[counted] / math.log(2)).mean().item()


@mistake(
    "Nearly: the end of an article counts as one byte here. It was only to keep the ratio from being infinite. In the "
    "sum of the bytes it is 0."
)
def an_end_counts_as_a_byte(nats, n_bytes):
    return bits_per_byte(nats, n_bytes.clamp(min=1))


@mistake(
    "Nearly: tokens that stand for no byte are left out. The model has to predict them too, so their surprise belongs "
    "in the sum."
)
def without_tokens_of_no_byte(nats, n_bytes):
    return bits_per_byte(nats[n_bytes > 0], n_bytes)


EXERCISE = Exercise(
    id="bits_per_byte",
    title="Bits per byte, with a fault",
    points=1,
    minutes=6,
    difficulty=1,
    kind="debug",
    hints=(
        "Work out the second line by hand. What does each of the two tokens contribute to the mean, and how many of "
        "the bytes is it?",
        "`nats.sum() / math.log(2)` bits for `n_bytes.sum()` bytes; `.item()` makes a float.",
    ),
    reference=bits_per_byte,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, A unit that everybody can use",
)
