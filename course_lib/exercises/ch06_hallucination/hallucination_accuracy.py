"""Accuracy: the share of predictions that are right.  (Replace this exercise by your own.)"""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def hallucination_accuracy(predictions, targets):
    return (predictions == targets).float().mean()


def cases(rng):
    targets = torch.randint(5, (4, 25), generator=rng)
    guesses = torch.randint(5, (4, 25), generator=rng)
    half = torch.where(torch.rand(4, 25, generator=rng) < 0.5, targets, guesses)
    by_hand = torch.tensor([1, 2, 3, 4])
    return [
        Case("three of four are right", (by_hand, torch.tensor([1, 2, 3, 0])), expected=torch.tensor(0.75)),
        Case("4 rows of 25, about half of them right", (half, targets)),
        Case("random guesses among five", (guesses, targets)),
    ]


@alternative
def by_counting(predictions, targets):
    right = sum(p == t for p, t in zip(predictions.flatten().tolist(), targets.flatten().tolist(), strict=True))
    return torch.tensor(right / targets.numel())


@mistake("This counts the right predictions. The share is wanted: divide by how many there are.")
def count_of_right(predictions, targets):
    return (predictions == targets).float().sum()


@mistake("This is the share of wrong predictions: compare with `==`, not with `!=`.")
def share_of_wrong(predictions, targets):
    return (predictions != targets).float().mean()


EXERCISE = Exercise(
    id="hallucination_accuracy",
    title="Accuracy",
    points=1,
    minutes=5,
    difficulty=1,
    hints=(
        "Compare the two tensors: each place is then true or false.",
        "`(predictions == targets).float()` holds ones and zeros; the share is their mean.",
    ),
    reference=hallucination_accuracy,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Hallucination: what we measured",
)
