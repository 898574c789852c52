"""The effect size of the Word Embedding Association Test: how much more some words are associated with others."""

import torch

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


EXERCISE = Exercise(
    id="weat_effect",
    title="How strongly words are associated",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Write a helper for the association of each target: its mean cosine with `a`, less its mean cosine with `b`.",
        "`(of_x.mean() - of_y.mean()) / torch.cat([of_x, of_y]).std(correction=0)`, where `of_x` are the associations "
        "of x.",
    ),
    reference=weat_effect,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, How close are two words?",
)
