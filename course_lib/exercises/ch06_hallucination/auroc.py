"""The area under the ROC curve as a share of pairs, found from code that gives a tie to the wrong answer."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def auroc(confidence, right):
    gap = confidence[right][:, None] - confidence[~right]
    return (gap > 0).float().mean() + (gap == 0).float().mean() / 2


def cases(rng):
    def answers(n, skill, levels):
        right = torch.rand(n, generator=rng) < 0.6
        right[:2] = torch.tensor([True, False])  # one of each at least
        sure = torch.rand(n, generator=rng) + skill * right
        return (sure * levels).round() / levels, right

    def always(n):
        _, right = answers(n, 0.0, 10)
        return torch.rand((), generator=rng).expand(n).clone(), right

    return [
        Case(
            "by hand: 0.9 and 0.5 were right, 0.5 and 0.2 wrong",
            (torch.tensor([0.9, 0.5, 0.5, 0.2]), torch.tensor([True, True, False, False])),
            expected=torch.tensor(0.875),
        ),
        Case("always equally sure", always(12), expected=torch.tensor(0.5)),
        Case("40 answers, sure to a tenth", answers(40, 0.3, 10)),
        Case("60 answers, sure to a half", answers(60, 0.5, 2)),
        Case("50 answers, hardly a tie", answers(50, 0.4, 10_000)),
        Case("40 answers, surer where wrong", answers(40, -0.5, 5)),
    ]


@alternative
def pair_by_pair(confidence, right):
    good, bad = confidence[right].tolist(), confidence[~right].tolist()
    won = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return torch.tensor(won / (len(good) * len(bad)))


@alternative
def by_ranks(confidence, right):
    below = (confidence[:, None] > confidence).sum(1)
    upto = (confidence[:, None] >= confidence).sum(1)
    rank = (below + upto + 1) / 2  # ties share the mean of their ranks
    n = right.sum()
    return (rank[right].sum() - n * (n + 1) / 2) / (n * (~right).sum())


@alternative
def by_signs(confidence, right):
    signs = torch.sign(confidence[right].unsqueeze(1) - confidence[~right].unsqueeze(0))
    return (1 + signs).mean() / 2


@mistake("The fault is still there: in a tie the wrong answer wins. A tie says nothing: count it as a half.")
def ties_lose(confidence, right):
    return (confidence[right][:, None] > confidence[~right]).float().mean()


@mistake("In a tie the right answer wins here. A tie says nothing: count it as a half.")
def ties_win(confidence, right):
    return (confidence[right][:, None] >= confidence[~right]).float().mean()


@mistake(
    "Pairs with a tie are left out. Then a model that is nearly always equally sure is judged by a few pairs: count "
    "all of them, a tie as a half."
)
def ties_left_out(confidence, right):
    gap = confidence[right][:, None] - confidence[~right]
    return (gap > 0).sum() / (gap != 0).sum().clamp(min=1)


@mistake("Right and wrong are exchanged: this is how often the *wrong* answer is the surer one.")
def exchanged(confidence, right):
    gap = confidence[~right][:, None] - confidence[right]
    return (gap > 0).float().mean() + (gap == 0).float().mean() / 2


@mistake("This compares all answers with each other. Compare right ones with wrong ones only.")
def all_pairs(confidence, right):
    gap = confidence[right][:, None] - confidence
    return (gap > 0).float().mean() + (gap == 0).float().mean() / 2


@mistake("This is how often it is right. How well its confidence tells right from wrong is wanted.")
def accuracy(confidence, right):
    return right.float().mean()


@mistake(
    "This asks whether a confidence above one half goes with a right answer. The area under the curve needs no "
    "threshold: compare each right answer with each wrong one."
)
def threshold_at_one_half(confidence, right):
    return ((confidence > 0.5) == right).float().mean()


@mistake(
    "This is the difference of the mean confidences. It depends on the scale of the confidence. Only the order counts: "
    "how often is a right answer surer than a wrong one?"
)
def difference_of_means(confidence, right):
    return confidence[right].mean() - confidence[~right].mean()


EXERCISE = Exercise(
    id="auroc",
    title="Does it know when it is right?, with a fault",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "A model that is always equally sure has only ties. What does the code make of a tie, and what should it be?",
        "Add to the share of pairs with `>` half of the share with `==`.",
    ),
    reference=auroc,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Does its confidence tell?",
)
