"""The difference of two models on the same windows of a text, in bits per byte, and its standard error."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def difference_per_byte(nats_a, nats_b, n_bytes):
    bits = (nats_a - nats_b) / math.log(2)
    difference = bits.sum() / n_bytes.sum()
    rest = bits - difference * n_bytes
    n = len(bits)
    error = (n / (n - 1) * (rest**2).sum()).sqrt() / n_bytes.sum()
    return {"difference": float(difference), "error": float(error)}


def cases(rng):
    def windows(n, apart, noise):
        # Some windows are hard for both models: their own losses vary far more than the difference of the two.
        n_bytes = torch.randint(300, 700, (n,), generator=rng).double()
        hard = n_bytes * (1 + torch.rand(n, generator=rng, dtype=torch.float64))
        own = noise * torch.randn(n, generator=rng, dtype=torch.float64)
        return hard + n_bytes * apart + own, hard, n_bytes

    two = torch.tensor([1.0, 1.0], dtype=torch.float64)
    log2 = math.log(2)
    return [
        # Bits: 3 and 1 more, on 1 byte each; 2 a byte, and the windows lie 1 above and 1 below.
        Case(
            "two windows by hand",
            (two * 5 * log2, torch.tensor([2.0, 4.0]).double() * log2, two),
            expected={"difference": 2.0, "error": 1.0},
        ),
        Case("the same model twice", (two * 3, two * 3, two), expected={"difference": 0.0, "error": 0.0}),
        Case("100 windows, a small difference", windows(100, -0.02, 5.0)),
        Case("the other way round", windows(60, 0.05, 8.0)),
        Case(
            "windows of very different lengths",
            (
                torch.tensor([900.0, 30.0, 5.0]).double() + torch.rand(3, generator=rng, dtype=torch.float64),
                torch.tensor([800.0, 40.0, 7.0]).double() - torch.rand(3, generator=rng, dtype=torch.float64),
                torch.tensor([1000.0, 50.0, 4.0]).double(),
            ),
        ),
    ]


@alternative
def in_plain_python(nats_a, nats_b, n_bytes):
    bits = [(a - b) / math.log(2) for a, b in zip(nats_a.tolist(), nats_b.tolist(), strict=True)]
    lengths = n_bytes.tolist()
    total, n = sum(lengths), len(bits)
    difference = sum(bits) / total
    squares = sum((b - difference * length) ** 2 for b, length in zip(bits, lengths, strict=True))
    return {"difference": difference, "error": math.sqrt(squares * n / (n - 1)) / total}


@alternative
def from_a_variance(nats_a, nats_b, n_bytes):
    bits = (nats_a - nats_b) / math.log(2)
    difference = bits.mean() / n_bytes.mean()
    spread = (bits - difference * n_bytes).std()  # their mean is 0
    return {"difference": difference.item(), "error": (spread / len(bits) ** 0.5 / n_bytes.mean()).item()}


def with_error(nats_a, nats_b, n_bytes, error):
    """The right difference beside a wrong error."""
    return {**difference_per_byte(nats_a, nats_b, n_bytes), "error": float(error)}


def own_error(nats, n_bytes):
    return difference_per_byte(nats, torch.zeros_like(nats), n_bytes)["error"]


@mistake(
    "The error looks as if the two models had read different windows. They read the same ones, and a hard window is "
    "hard for both: take the difference on each window first, and the error of these differences."
)
def unpaired(nats_a, nats_b, n_bytes):
    error = math.hypot(own_error(nats_a, n_bytes), own_error(nats_b, n_bytes))
    return with_error(nats_a, nats_b, n_bytes, error)


@mistake("The losses are in nats and the answer is in bits: divide by log(2).")
def in_nats(nats_a, nats_b, n_bytes):
    found = difference_per_byte(nats_a, nats_b, n_bytes)
    return {name: value * math.log(2) for name, value in found.items()}


@mistake("The difference is in bits, its error still in nats: divide by log(2) there, too.")
def error_in_nats(nats_a, nats_b, n_bytes):
    return with_error(nats_a, nats_b, n_bytes, in_nats.solution(nats_a, nats_b, n_bytes)["error"])


@mistake("The error is in bits, the difference still in nats: divide by log(2) there, too.")
def difference_in_nats(nats_a, nats_b, n_bytes):
    return {
        **difference_per_byte(nats_a, nats_b, n_bytes),
        "difference": in_nats.solution(nats_a, nats_b, n_bytes)["difference"],
    }


@mistake("The sign is the other way round: it is a minus b, negative where a is better.")
def b_minus_a(nats_a, nats_b, n_bytes):
    return difference_per_byte(nats_b, nats_a, n_bytes)


@mistake(
    "This is the mean of each window's own bits per byte. Then a short window counts as much as a long one. Divide the "
    "sum of the bits by the sum of the bytes."
)
def mean_of_ratios(nats_a, nats_b, n_bytes):
    each = (nats_a - nats_b) / math.log(2) / n_bytes
    return {"difference": float(each.mean()), "error": float(each.std() / len(each) ** 0.5)}


@mistake("This is per window. Divide by the bytes.")
def for_each_window(nats_a, nats_b, n_bytes):
    found = difference_per_byte(nats_a, nats_b, n_bytes)
    return {name: value * float(n_bytes.mean()) for name, value in found.items()}


@mistake(
    "The error is the spread of single windows. The error of a sum over n windows is smaller: see the formula, with "
    "the square root of the *sum* of the squares."
)
def spread_of_windows(nats_a, nats_b, n_bytes):
    error = difference_per_byte(nats_a, nats_b, n_bytes)["error"] * len(n_bytes) ** 0.5
    return with_error(nats_a, nats_b, n_bytes, error)


@mistake(
    "The factor n / (n - 1) is missing. The difference was fitted to these windows, which makes the rest too small."
)
def without_correction(nats_a, nats_b, n_bytes):
    n = len(n_bytes)
    error = difference_per_byte(nats_a, nats_b, n_bytes)["error"] * ((n - 1) / n) ** 0.5
    return with_error(nats_a, nats_b, n_bytes, error)


@mistake(
    "The rest of a window is its bits less `difference * n_bytes` of that window. Here the mean of the bits is taken "
    "off, so a long window looks like an exception."
)
def around_the_mean(nats_a, nats_b, n_bytes):
    bits = (nats_a - nats_b) / math.log(2)
    return with_error(nats_a, nats_b, n_bytes, bits.std() * len(bits) ** 0.5 / n_bytes.sum())


EXERCISE = Exercise(
    id="difference_per_byte",
    title="A difference and its error",
    points=3,
    minutes=15,
    difficulty=3,
    kind="code",
    hints=(
        "First the bits by which the models differ on each window. Their sum over the sum of the bytes is the "
        "difference. What is left of each window, when the difference times its bytes is taken off?",
        "What is left of a window is its bits less `difference * n_bytes` of that window. The error is made of "
        "these: square, add up, correct by n / (n - 1), take the root; and divide by the same sum of bytes as the "
        "difference.",
    ),
    reference=difference_per_byte,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, Is the difference real?",
)
