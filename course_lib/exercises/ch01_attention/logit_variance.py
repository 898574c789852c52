"""How large are dot products? Their variance, measured on random vectors, by a measurement that had a fault."""

import functools
import math

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer, alternative, alternatives_in, mistake, mistakes_in


def logit_variance(d, n_samples=10_000):
    q = torch.randn(n_samples, d)
    k = torch.randn(n_samples, d)
    return (q * k).sum(dim=-1).var().item()  # one dot product a row


def cases(rng):
    # A sample variance of n dot products of normal vectors has relative standard error sqrt((2 + 6/d) / n), since their
    # fourth moment is 3 d^2 + 6 d. Five standard errors: a right answer fails less than once in a million times.
    def case(d):
        n = int(torch.randint(9_000, 10_001, (), generator=rng))
        return Case(f"d = {d}", (d, n), expected=float(d), rtol=5 * math.sqrt((2 + 6 / d) / n))

    return [case(d) for d in (4, 16, 64)]


def run_case(subject, d, n_samples):
    """Ask for a measurement on random samples, and notice what only pretends to measure.

    Random generators start alike at every call, so the same question twice would get the same number honestly. Three
    sample sizes, since two honest measurements in float32 may agree by chance, about once in 100,000 times. What is
    asked follows from `n_samples`, so that a table of earlier answers does not hold the next ones.
    """
    n_pairs = 100 + n_samples % 101
    values = [subject(d, n) for n in (n_pairs, n_pairs // 2, n_pairs // 3)]
    if all(isinstance(value, (int, float, torch.Tensor)) for value in values):
        if _half_of_squares(values, d, (n_pairs, n_pairs // 2, n_pairs // 3)):
            raise WrongAnswer(HALVED)
        first, *others = (torch.as_tensor(value).double() for value in values)
        if all(torch.equal(first, other) for other in others):
            raise WrongAnswer(
                "it gives the very same number for any `n_samples`, and chance would change it a little. Draw "
                "`n_samples` random pairs in the function and measure them; what theory says does not depend on them."
            )
        widths = range(128 + n_samples % 89, 148 + n_samples % 89)
        errors = _relative_errors(subject, widths, n_pairs)
        if abs(sum((1 + error) ** 2 * d for d, error in errors.items()) / len(errors) - 1) < 0.3:
            # Standard deviations are measured as well; they vary by half as much, and their squares as they should.
            errors = {d: (1 + error) ** 2 * d - 1 for d, error in errors.items()}
        off = sum(map(abs, errors.values())) / len(errors)
        if _squares(errors, n_pairs) < LEAST_SPREAD:
            honest = math.sqrt(2 / math.pi) * math.sqrt(2 / n_pairs)  # the mean size of a normal number
            # The number is that of this answer, so only the mistake that makes it is recognised by this message.
            raise WrongAnswer(
                f"it is closer to what theory says than chance allows (from {n_pairs} pairs it is off by {off:.2%} on "
                f"average, and an honest measurement by about {honest:.1%}). Is there more or less in it than "
                "`n_samples` random dot products?"
            )
        common = sum(errors.values()) / len(errors)
        # In units of what was measured: the variance of scaled products misses d by nearly all of it, and is measured.
        shares = {d: (1 + error) / (1 + common) - 1 for d, error in errors.items()} if common != -1 else errors
        if _squares(shares, n_pairs) < LEAST_SPREAD_AROUND_THE_MEAN:
            raise WrongAnswer(
                f"it misses what theory says by nearly the same share for every d (about {off:.2%}), where chance "
                "would make it another one each time. Draw `n_samples` random pairs in the function and measure them."
            )
    return subject(d, n_samples)


HALVED = (
    "it is exactly half of the variance of queries multiplied by themselves. The number fits, but no query has met a "
    "key of its own."
)
SEED_OF_THE_CHECK = 20170612  # what random generators start from at every call
USUAL_SEEDS = (*range(10), SEED_OF_THE_CHECK)  # of the course, which the lab draws from


def _half_of_squares(values, d, sizes):
    """Whether these are halves of the variance of vectors times themselves, which is 2d.

    Statistics cannot tell: on average that is d, as it should be. But such an answer comes from one call of a seeded
    generator, so it can be computed again.
    """
    values = [torch.as_tensor(value).double().mean().item() for value in values]

    def agree(seed):
        pairs = zip(values, sizes, strict=True)
        return all(math.isclose(value, _variance_of_squares(n, d, seed) / 2, rel_tol=1e-4) for value, n in pairs)

    return any(map(agree, USUAL_SEEDS))


@functools.lru_cache(maxsize=2000)
def _variance_of_squares(n, d, seed):
    """The variance of n standard normal vectors of width d, each multiplied by itself."""
    q = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    return q.square().sum(-1).var().item()


LEAST_SPREAD = 2.5  # a sum of 20 squares of normal numbers is smaller about once in a million times
LEAST_SPREAD_AROUND_THE_MEAN = 2.2  # around their own mean, likewise


def _squares(errors, n_pairs):
    """Return the sum of squares of relative errors, each in units of its standard error."""
    return sum(error**2 * n_pairs / (2 + 6 / d) for d, error in errors.items())


def _relative_errors(subject, widths, n_pairs):
    """Return {width: relative error} of measurements from a few pairs, of different widths: different numbers.

    All pairs of n queries and keys have a variance with a relative standard error of only about 2 / sqrt(n d).
    """
    values = {d: torch.as_tensor(subject(d, n_pairs)).double().mean().item() for d in widths}
    return {d: value / d - 1 for d, value in values.items()}


@alternative
def from_pairs(d, n_samples=10_000):
    pairs = torch.randn(n_samples, 2, d)
    logits = torch.einsum("nd,nd->n", pairs[:, 1], pairs[:, 0])
    return math.fsum((logits - logits.mean()).square().tolist()) / (n_samples - 1)


@mistake(
    "This multiplies each query with all keys, as `q @ k.T` does. Multiply it with its own key only: `n_samples` dot "
    "products, not `n_samples` squared."
)
def all_pairs(d, n_samples=10_000):
    q, k = torch.randn(n_samples, d), torch.randn(n_samples, d)
    return (q @ k.T).var().item()


@mistake(
    "This is about the square root of d, as the standard deviation is. The variance is its square: `.var()` rather "
    "than `.std()`, and nothing divided."
)
def standard_deviation(d, n_samples=10_000):
    return logit_variance(d, n_samples) ** 0.5


@mistake(
    "This stays at 1 whatever d is. Either the products were not added up (a dot product is a sum over d), or the sum "
    "was already divided by the square root of d."
)
def products_not_added_up(d, n_samples=10_000):
    products = torch.randn(n_samples, d) * torch.randn(n_samples, d)
    return products.var().item()


@mistake(
    "The fault is still there: this is about 2d. Print the first query and the first key: each vector is multiplied by "
    "itself. Draw queries and keys one after the other, from one generator.",
    given=True,
)
def vectors_times_themselves(d, n_samples=10_000):
    return torch.randn(n_samples, d).square().sum(-1).var().item()


@mistake(
    "The fault is still there, and its result is halved. Look at the vectors, not at the number: draw queries and keys "
    "one after the other, from one generator, and leave the variance as it is."
)
def vectors_times_themselves_halved(d, n_samples=10_000):
    return torch.randn(n_samples, d).square().sum(-1).var().item() / 2


@mistake("These vectors look uniform between 0 and 1 (`torch.rand`); `torch.randn` has mean 0 and variance 1.")
def uniform_vectors(d, n_samples=10_000):
    products = torch.rand(n_samples, d) * torch.rand(n_samples, d)
    return products.sum(-1).var().item()


@mistake("This averages over the d components: a dot product is their sum.")
def mean_instead_of_sum(d, n_samples=10_000):
    products = torch.randn(n_samples, d) * torch.randn(n_samples, d)
    return products.mean(-1).var().item()


@mistake(
    "One key serves all queries here. Draw `n_samples` keys, (n_samples, d), and multiply each query with its own."
)
def one_key_for_all(d, n_samples=10_000):
    q, k = torch.randn(n_samples, d), torch.randn(d)
    return (q @ k).var().item()


@mistake(
    "The products are added up along the samples. A dot product is the sum over the d numbers of one pair, the last "
    "axis: `dim=-1`."
)
def summed_over_the_samples(d, n_samples=10_000):
    products = torch.randn(n_samples, d) * torch.randn(n_samples, d)
    return products.sum(0).var().item()


@mistake(
    "All products are added up into one number, and a single number has no variance (nan). A dot product is the sum "
    "over one pair: `sum(dim=-1)`."
)
def one_sum_for_all(d, n_samples=10_000):
    return math.nan


@mistake("This is the mean of the dot products, which is near 0. Their variance is asked for: `.var()`.")
def mean_of_the_dot_products(d, n_samples=10_000):
    return (torch.randn(n_samples, d) * torch.randn(n_samples, d)).sum(-1).mean().item()


@mistake(
    "This stays at 1 whatever d is: the dot products were divided by the square root of d, as attention does it. That "
    "is the remedy. Here the dot products themselves are measured, so that one sees what it is good for."
)
def of_scaled_products(d, n_samples=10_000):
    return logit_variance(d, n_samples) / d


EXERCISE = Exercise(
    id="logit_variance",
    title="How large are dot products?",
    points=2,
    minutes=6,
    difficulty=1,
    kind="debug",
    hints=(
        "The theory speaks of independent queries and keys. Print the first row of `q` and the first row of `k`.",
        "Each call of `drawn` starts a generator from the same seed, so `q` and `k` are the same numbers. The last "
        "line is right. The keys have to come from where the generator stands after the queries.",
    ),
    reference=logit_variance,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, Why divide by the square root of d",
)
