"""The effect size of the Word Embedding Association Test: how much more some words are associated with others."""

import torch
from torch.nn import functional as F

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def weat_effect(x, y, a, b):
    def unit(vectors):
        return vectors / vectors.norm(dim=1, keepdim=True)

    def association(words):
        return (unit(words) @ unit(a).T).mean(1) - (unit(words) @ unit(b).T).mean(1)

    of_x, of_y = association(x), association(y)
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


def cases(rng):
    def sets(*sizes, width=6, scale=1.0):
        return tuple(scale * torch.randn(size, width, generator=rng) + 0.3 for size in sizes)

    by_hand = ([[2.0, 0], [3, 4]], [[0.0, 5], [4, 3]], [[1.0, 0]], [[0.0, 3]])
    return [
        Case(
            "by hand: associations 1, -0.2 and -1, 0.2",
            tuple(torch.tensor(rows) for rows in by_hand),
            expected=torch.tensor(0.8 / 0.52**0.5),
        ),
        Case("8 and 8 targets, 8 and 8 attributes", sets(8, 8, 8, 8)),
        Case("5 and 5 targets, 3 and 7 attributes", sets(5, 5, 3, 7)),
        Case("6 and 3 targets, 4 and 4 attributes", sets(6, 3, 4, 4)),
        Case("long vectors", sets(4, 4, 5, 5, width=20, scale=30.0)),
    ]


@alternative
def by_cosine_similarity(x, y, a, b):
    every = torch.cat([x, y])
    near_a = torch.cosine_similarity(every[:, None], a[None], dim=-1).mean(1)
    near_b = torch.cosine_similarity(every[:, None], b[None], dim=-1).mean(1)
    s = near_a - near_b
    return (s[: len(x)].mean() - s[len(x) :].mean()) / ((s - s.mean()) ** 2).mean().sqrt()


@alternative
def word_by_word(x, y, a, b):
    def s(w):
        cosines = [[float(w @ v / w.norm() / v.norm()) for v in side.double()] for side in (a, b)]
        return sum(cosines[0]) / len(a) - sum(cosines[1]) / len(b)

    of_x, of_y = [s(w) for w in x.double()], [s(w) for w in y.double()]
    every = of_x + of_y
    middle = sum(every) / len(every)
    spread = (sum((value - middle) ** 2 for value in every) / len(every)) ** 0.5
    return torch.tensor((sum(of_x) / len(of_x) - sum(of_y) / len(of_y)) / spread)


@alternative
def with_plain_loops(x, y, a, b):
    def association(word):
        near_a, near_b = 0.0, 0.0
        for other in a:
            near_a = near_a + (word @ other) / (word.norm() * other.norm())
        for other in b:
            near_b = near_b + (word @ other) / (word.norm() * other.norm())
        return near_a / len(a) - near_b / len(b)

    found = []
    for word in torch.cat([x, y]):
        found.append(association(word))
    found = torch.stack(found)
    spread = ((found - found.mean()) ** 2).mean().sqrt()
    return (found[: len(x)].mean() - found[len(x) :].mean()) / spread


def _unit(vectors):
    return vectors / vectors.norm(dim=1, keepdim=True)


def _associations(x, y, a, b):
    return [_unit(words) @ _unit(a).mean(0) - _unit(words) @ _unit(b).mean(0) for words in (x, y)]


@mistake(
    "These are dot products, not cosines: a long vector then counts for more. Divide each vector by its length first."
)
def dot_products(x, y, a, b):
    of_x, of_y = ((words @ a.T).mean(1) - (words @ b.T).mean(1) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake("This is the difference of the mean associations. Divide it by the standard deviation of all associations.")
def the_difference(x, y, a, b):
    def unit(vectors):
        return vectors / vectors.norm(dim=1, keepdim=True)

    of_x, of_y = ((unit(words) @ unit(a).T).mean(1) - (unit(words) @ unit(b).T).mean(1) for words in (x, y))
    return of_x.mean() - of_y.mean()


@mistake(
    "This standard deviation divides by n - 1, torch's default. The effect size takes that of all associations, which "
    "divides by n: `correction=0`."
)
def sample_deviation(x, y, a, b):
    return weat_effect(x, y, a, b) * ((len(x) + len(y) - 1) / (len(x) + len(y))) ** 0.5


@mistake(
    "The vectors of each attribute set are averaged first, and one cosine is taken with the mean. Take the cosine with "
    "each word, then the mean of the cosines."
)
def cosine_with_the_mean(x, y, a, b):
    def cosine(words, attribute):
        return torch.cosine_similarity(words, attribute.mean(0, keepdim=True))

    of_x, of_y = (cosine(words, a) - cosine(words, b) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake(
    "The spread is taken within each of the two target sets. The test takes one standard deviation of the associations "
    "of all targets together."
)
def spread_within(x, y, a, b):
    def unit(vectors):
        return vectors / vectors.norm(dim=1, keepdim=True)

    of_x, of_y = ((unit(words) @ unit(a).T).mean(1) - (unit(words) @ unit(b).T).mean(1) for words in (x, y))
    within = torch.cat([of_x - of_x.mean(), of_y - of_y.mean()])
    return (of_x.mean() - of_y.mean()) / within.std(correction=0)


@mistake(
    "This is Cohen's d: it divides by the deviation within the two target sets, pooled. The test takes one standard "
    "deviation of the associations of all targets, around the mean of them all."
)
def cohens_d(x, y, a, b):
    def unit(vectors):
        return vectors / vectors.norm(dim=1, keepdim=True)

    of_x, of_y = ((unit(words) @ unit(a).T).mean(1) - (unit(words) @ unit(b).T).mean(1) for words in (x, y))
    squares = ((of_x - of_x.mean()) ** 2).sum() + ((of_y - of_y.mean()) ** 2).sum()
    return (of_x.mean() - of_y.mean()) / (squares / (len(x) + len(y) - 2)).sqrt()


@mistake(
    "This is Cohen's d: it divides by the root of the mean variance of the two target sets. Put the associations of "
    "all targets together first, and take one standard deviation of them."
)
def cohens_d_of_equal_sets(x, y, a, b):
    def unit(vectors):
        return vectors / vectors.norm(dim=1, keepdim=True)

    of_x, of_y = ((unit(words) @ unit(a).T).mean(1) - (unit(words) @ unit(b).T).mean(1) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / ((of_x.var() + of_y.var()) / 2).sqrt()


@mistake("The sign is turned round. First come the targets x and the attributes a, from which y and b are subtracted.")
def turned_round(x, y, a, b):
    return weat_effect(y, x, a, b)


@mistake(
    "The wrong axis: this divides each *column* by its length. A row is a vector, so take the norm over the columns, "
    "`dim=1`."
)
def columns_made_unit(x, y, a, b):
    x, y, a, b = (vectors / vectors.norm(dim=0) for vectors in (x, y, a, b))
    of_x, of_y = ((words @ a.T).mean(1) - (words @ b.T).mean(1) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake(
    "The associations are added up here. With more targets, this grows. The effect size compares the *mean* of x with "
    "the mean of y, in standard deviations."
)
def sums(x, y, a, b):
    x, y, a, b = (vectors / vectors.norm(dim=1, keepdim=True) for vectors in (x, y, a, b))
    of_x, of_y = ((words @ a.T).mean(1) - (words @ b.T).mean(1) for words in (x, y))
    return of_x.sum() - of_y.sum()


@mistake(
    "The associations are added up here before the division. With more targets, this grows. Take the mean of x less "
    "the mean of y."
)
def sums_in_deviations(x, y, a, b):
    x, y, a, b = (vectors / vectors.norm(dim=1, keepdim=True) for vectors in (x, y, a, b))
    of_x, of_y = ((words @ a.T).mean(1) - (words @ b.T).mean(1) for words in (x, y))
    return (of_x.sum() - of_y.sum()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake(
    "The cosines of a target are added up, with those of A and of B apart. If B has more words than A, it counts for "
    "more: take the mean of each."
)
def sums_of_cosines(x, y, a, b):
    of_x, of_y = (_unit(words) @ _unit(a).sum(0) - _unit(words) @ _unit(b).sum(0) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake(
    "This is the difference divided by the *variance*. The standard deviation is its root, `std`, and in the same unit "
    "as the difference."
)
def over_the_variance(x, y, a, b):
    of_x, of_y = _associations(x, y, a, b)
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).var(correction=0)


@mistake("The standard deviation is that of x alone. It takes the associations of all targets: put x and y together.")
def spread_of_x(x, y, a, b):
    of_x, of_y = _associations(x, y, a, b)
    return (of_x.mean() - of_y.mean()) / of_x.std(correction=0)


@mistake(
    "The standard deviations of x and of y are added. Put the associations of all targets together first, and take one "
    "standard deviation of them."
)
def spreads_added(x, y, a, b):
    of_x, of_y = _associations(x, y, a, b)
    return (of_x.mean() - of_y.mean()) / (of_x.std(correction=0) + of_y.std(correction=0))


@mistake(
    "The squares of the two spreads are added. Put the associations of all targets together first, and take one "
    "standard deviation of them."
)
def squares_added(x, y, a, b):
    of_x, of_y = _associations(x, y, a, b)
    return (of_x.mean() - of_y.mean()) / (of_x.var(correction=0) + of_y.var(correction=0)).sqrt()


@mistake(
    "This is 2 or -2, whatever the words are: the spread is that of two numbers, the mean of x and the mean of y. Take "
    "it over the associations of the single targets."
)
def spread_of_two_means(x, y, a, b):
    of_x, of_y = (each.mean() for each in _associations(x, y, a, b))
    return (of_x - of_y) / torch.stack([of_x, of_y]).std(correction=0)


@mistake(
    "All vectors of a set are divided by one length here, that of the whole table. Each row is a vector and has its "
    "own: `norm(dim=1, keepdim=True)`."
)
def one_length_for_a_set(x, y, a, b):
    of_x, of_y = ((words @ (a / a.norm()).T).mean(1) - (words @ (b / b.norm()).T).mean(1) for words in (x, y))
    of_x, of_y = of_x / x.norm(), of_y / y.norm()
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake(
    "The lengths of the rows are a row themselves without `keepdim=True`, and then each *column* is divided by one of "
    "them, or it does not fit at all."
)
def without_keepdim(x, y, a, b):
    def unit(vectors):
        return vectors / vectors.norm(dim=1)

    of_x, of_y = ((unit(words) @ unit(a).T).mean(1) - (unit(words) @ unit(b).T).mean(1) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake("Only the targets have length 1 here. A cosine divides by *both* lengths: A and B too.")
def attributes_as_they_are(x, y, a, b):
    of_x, of_y = (_unit(words) @ a.mean(0) - _unit(words) @ b.mean(0) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake("Only the attributes have length 1 here. A cosine divides by *both* lengths: X and Y too.")
def targets_as_they_are(x, y, a, b):
    of_x, of_y = (words @ _unit(a).mean(0) - words @ _unit(b).mean(0) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake("The vectors are divided by the *square* of their length. The length is its root: `norm`.")
def over_the_square(x, y, a, b):
    x, y, a, b = (vectors / (vectors**2).sum(1, keepdim=True) for vectors in (x, y, a, b))
    of_x, of_y = ((words @ a.T).mean(1) - (words @ b.T).mean(1) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake("B is left out: the association of a target is its mean cosine with A, *less* its mean cosine with B.")
def without_b(x, y, a, b):
    of_x, of_y = (_unit(words) @ _unit(a).mean(0) for words in (x, y))
    return (of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)


@mistake(
    "Only the mean of y is divided by the standard deviation: `/` comes before `-`. Put brackets around the difference."
)
def without_brackets(x, y, a, b):
    of_x, of_y = _associations(x, y, a, b)
    return of_x.mean() - of_y.mean() / torch.cat([of_x, of_y]).std(correction=0)


APART = (
    "The standard deviation is taken within X and within Y, and the two are put together. Then it does not grow with "
    "the distance between X and Y. Take that of the associations of all targets at once, `torch.cat`."
)


def of_both(x, y, a, b, together):
    """The difference of the means, divided by what `together` makes of both standard deviations."""
    of_x, of_y = (
        (F.normalize(w, dim=1) @ F.normalize(a, dim=1).T).mean(1)
        - (F.normalize(w, dim=1) @ F.normalize(b, dim=1).T).mean(1)
        for w in (x, y)
    )
    return (of_x.mean() - of_y.mean()) / together(of_x.std(correction=0), of_y.std(correction=0))


@mistake(APART)
def mean_of_two_deviations(x, y, a, b):
    return of_both(x, y, a, b, lambda one, other: (one + other) / 2)


@mistake(APART)
def root_of_the_mean_variance(x, y, a, b):
    return of_both(x, y, a, b, lambda one, other: ((one**2 + other**2) / 2).sqrt())


EXERCISE = Exercise(
    id="weat_effect",
    title="How strongly words are associated",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Write a helper for the association of each target: its mean cosine with `a`, less its mean cosine with `b`.",
        "Rows of length 1 have their cosine as dot product: all cosines at once are one matrix product. For the "
        "spread, `torch.cat` puts the associations of x and y together, and `std(correction=0)` divides by n.",
    ),
    reference=weat_effect,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, How close are two words?",
)
