"""Votes and evaluations: how votes can fall, how a score tells right from wrong, and an evaluation repeated."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def vote_counts(votes: int, answers: int) -> Float[Tensor, "outcome answers"]:
    """Return all ways in which votes can fall on answers, one a row: how many votes each answer has."""
    # Bars between stars: the votes are in a row, and bars divide them among the answers.
    bars = torch.combinations(torch.arange(votes + answers - 1), answers - 1)
    bars = F.pad(F.pad(bars, (1, 0), value=-1), (0, 1), value=votes + answers - 1)
    return (bars.diff(dim=1) - 1).float()


def auroc(score: Float[Tensor, " n"], right: Bool[Tensor, " n"]) -> float:
    """Compute how often something right has a higher score than something wrong; a tie counts as half.

    0.5 is no better than chance, and 1 tells all right ones from all wrong ones.
    """
    apart = score[right][:, None] - score[~right]
    return float((apart > 0).double().mean() + (apart == 0).double().mean() / 2)


def evaluations(
    chance_right: Float[Tensor, " pool"], questions: int, answers: int, sets: int, generator: torch.Generator
) -> Float[Tensor, "set question"]:
    """Repeat an evaluation many times: draw questions, ask each several times, and return the right shares.

    Args:
        chance_right: The probability that an answer to each question is right; questions are drawn from these.
        questions: The number of questions in an evaluation.
        answers: The number of answers to each.
        sets: The number of evaluations.
        generator: The generator that draws.
    """
    asked = chance_right[torch.randint(len(chance_right), (sets, questions), generator=generator)]
    return torch.binomial(torch.full_like(asked, answers), asked, generator=generator) / answers


def coverage(truth: float, means: Float[Tensor, " set"], errors: Float[Tensor, " set"]) -> float:
    """Compute how often an interval of 1.96 standard errors on both sides contains the truth; 0.95 is promised."""
    return float(((means - truth).abs() <= 1.96 * errors).double().mean())
