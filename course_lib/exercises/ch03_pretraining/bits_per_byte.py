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


@alternative
def token_by_token(nats, n_bytes):
    bits, size = 0.0, 0
    for surprise, length in zip(nats.tolist(), n_bytes.tolist(), strict=True):
        bits += surprise / math.log(2)
        size += length
    return bits / size


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


@mistake(MEAN_OF_RATIOS, given=True)
def mean_of_ratios(nats, n_bytes):
    return (nats / n_bytes / math.log(2)).mean().item()


@mistake(MEAN_OF_RATIOS, given=True)
def mean_of_ratios_without_infinity(nats, n_bytes):
    return (nats / n_bytes.clamp(min=1) / math.log(2)).mean().item()


@mistake(MEAN_OF_RATIOS, given=True)
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


@mistake("The ratio is upside down: bits are divided by bytes.")
def bytes_per_bit(nats, n_bytes):
    return (n_bytes.sum() / nats.sum() * math.log(2)).item()


@mistake(
    "Bytes are divided by nats: the ratio is upside down, and then it is divided by ln 2. Bits are divided by bytes."
)
def bytes_per_nat(nats, n_bytes):
    return (n_bytes.sum() / nats.sum() / math.log(2)).item()


@mistake("This counts the 8 bits of each byte, so it is bits per bit. How many bits of *surprise* come to a byte?")
def bits_per_bit(nats, n_bytes):
    return bits_per_byte(nats, 8 * n_bytes)


@mistake("These are the bits of the whole text. Divide them by the number of its bytes.")
def bits_in_all(nats, n_bytes):
    return (nats.sum() / math.log(2)).item()


@mistake("The ratios of all tokens are added up. Divide the sum of all surprises by the sum of all bytes: once.")
def sum_of_ratios(nats, n_bytes):
    return (nats / n_bytes / math.log(2)).sum().item()


@mistake("One bit is ln 2 nats, the *natural* logarithm: `math.log(2)`.")
def another_logarithm(nats, n_bytes):
    return (nats.sum() / n_bytes.sum() / math.log10(2)).item()


@mistake("This divides by 2. One bit is ln 2 = 0.69 nats: divide by `math.log(2)`.")
def divided_by_2(nats, n_bytes):
    return (nats.sum() / n_bytes.sum() / 2).item()


@mistake(
    "Only the first token was looked at. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_token_alone(nats, n_bytes):
    return bits_per_byte(nats[:1], n_bytes[:1])


@mistake("Tokens that stand for no byte count as one byte here, and their surprise is left out. Just sum up both.")
def both_wrong_at_an_end(nats, n_bytes):
    return bits_per_byte(nats[n_bytes > 0], n_bytes.clamp(min=1))


@mistake("The *mean* of the surprises is divided by the sum of the bytes. Take the sum of both.")
def mean_over_sum(nats, n_bytes):
    return (nats.mean() / n_bytes.sum() / math.log(2)).item()


@mistake(
    "This takes a logarithm of the nats per byte. A surprise is a logarithm already, and needs another unit only: "
    "divide by `math.log(2)`."
)
def logarithm_again(nats, n_bytes):
    return (nats.sum() / n_bytes.sum()).log2().item()


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
        "How many nats are there in all, how many bits is that, and for how many bytes? One division at the end; "
        "`.item()` makes a float.",
    ),
    reference=bits_per_byte,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, A unit that everybody can use",
)
