"""Right or wrong: the share of answers in which every token is right."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def exact_match(right):
    return right.all(dim=1).float().mean().item()


def cases(rng):
    right = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    answers = int(torch.randint(30, 90, (), generator=rng))
    return [
        Case("4 answers of 3 tokens", (right,)),
        Case("one token an answer", (torch.rand(answers, 1, generator=rng) < 0.6,)),
        Case("40 answers of 5 tokens", (torch.rand(40, 5, generator=rng) < 0.8,)),
    ]


@alternative
def by_rows(right):
    return sum(bool(row.sum() == len(row)) for row in right) / len(right)


@alternative
def by_minimum(right):
    return right.int().amin(1).double().mean().item()


@mistake("This is the share of right tokens. An answer counts only if all of its tokens are right.")
def share_of_tokens(right):
    return right.float().mean().item()


@mistake("This counts an answer as soon as one of its tokens is right; all of them have to be.")
def any_token(right):
    return right.any(dim=1).float().mean().item()


@mistake("This looks down the columns, at one place of all answers. Each row is an answer: `dim=1`.")
def columns(right):
    return right.all(dim=0).float().mean().item()


@mistake(
    "This looks at the whole table at once: 1 if everything is right, else 0. Each row is an answer: `dim=1`, then the "
    "mean over the rows."
)
def whole_table(right):
    return float(right.all())


@mistake("This is the number of right answers; return their share.")
def number_instead_of_share(right):
    return right.all(dim=1).float().sum().item()


EXERCISE = Exercise(
    id="exact_match",
    title="Right or wrong",
    points=1,
    minutes=4,
    difficulty=1,
    kind="code",
    hints=(
        "A row is right if all of it is. What does `all` do along an axis?",
        "`right.all(dim=1)` has one True or False for each answer; the mean of `.float()` is their share.",
    ),
    reference=exact_match,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Right or wrong, or part by part",
)
