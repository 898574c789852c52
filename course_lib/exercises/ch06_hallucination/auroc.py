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


@alternative
def by_two_loops(confidence, right):
    won, pairs = 0.0, 0
    for i in range(len(confidence)):
        for j in range(len(confidence)):
            if right[i] and not right[j]:
                pairs += 1
                if confidence[i] > confidence[j]:
                    won += 1
                elif confidence[i] == confidence[j]:
                    won += 0.5
    return torch.tensor(won / pairs)


@mistake(
    "The fault is still there: in a tie the wrong answer wins. A tie says nothing: count it as a half.", given=True
)
def ties_lose(confidence, right):
    return (confidence[right][:, None] > confidence[~right]).float().mean()


@mistake("In a tie the right answer wins here. A tie says nothing: count it as a half.")
def ties_win(confidence, right):
    return (confidence[right][:, None] >= confidence[~right]).float().mean()


TIES_LEFT_OUT = (
    "You leave out the pairs with a tie. Then a model that is nearly always equally sure is judged by a few pairs, and "
    "one that always is by none, 0 / 0: count all of them, a tie as a half."
)


@mistake(TIES_LEFT_OUT)
def ties_left_out_and_nothing_else_there(confidence, right):
    gap = confidence[right][:, None] - confidence[~right]
    return (gap > 0).sum() / (gap != 0).sum()


@mistake(TIES_LEFT_OUT)
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


@mistake(
    "This is the share of pairs won less the share lost, from -1 to 1. Asked for is the share won, where a tie counts "
    "as a half, from 0 to 1."
)
def won_less_lost(confidence, right):
    return 2 * auroc(confidence, right) - 1


@mistake(TIES_LEFT_OUT)
def ties_left_out_and_a_half_for_none(confidence, right):
    gap = confidence[right][:, None] - confidence[~right]
    return ((gap > 0).sum() / (gap != 0).sum()).nan_to_num(0.5)


@mistake(
    "This is how many pairs are won. Divide by the number of pairs: that of the right answers times that of the wrong "
    "ones."
)
def a_count(confidence, right):
    return auroc(confidence, right) * (right.sum() * (~right).sum())


@mistake(
    "The pairs won are divided by the number of right answers. Each of these meets *every* wrong one, so there are as "
    "many pairs as right answers times wrong ones."
)
def for_each_right_answer(confidence, right):
    return auroc(confidence, right) * (~right).sum()


@mistake("The pairs won are divided by the number of wrong answers. There are right times wrong ones of these pairs.")
def for_each_wrong_answer(confidence, right):
    return auroc(confidence, right) * right.sum()


@mistake(
    "The pairs won are divided by the number of all answers, squared. Only pairs of a right and a wrong answer are "
    "compared, so divide by the number of these."
)
def over_all_answers_squared(confidence, right):
    return auroc(confidence, right) * right.sum() * (~right).sum() / len(right) ** 2


@mistake(
    "The first right answer meets the first wrong one here, the second the second, and so on, as with `zip`. Every "
    "right answer should meet every wrong one."
)
def side_by_side(confidence, right):
    n = min(right.sum(), (~right).sum())
    gap = confidence[right][:n] - confidence[~right][:n]
    return (gap > 0).float().mean() + (gap == 0).float().mean() / 2


@mistake(
    "This gives a half where *all* confidences are alike, and in other lists a tie still goes to the wrong answer. "
    "Count each pair with a tie as a half."
)
def only_if_all_are_alike(confidence, right):
    if (confidence == confidence[0]).all():
        return torch.tensor(0.5)
    return ties_lose.solution(confidence, right)


@mistake(
    "This is never below one half. A model that is surer where it is *wrong* has less: do not lift the result, but "
    "count each pair with a tie as a half."
)
def at_least_one_half(confidence, right):
    return ties_lose.solution(confidence, right).clamp(min=0.5)


@mistake(
    "Every pair counts twice here, as when the share of `>` and the share of `>=` are added. Half of that would do, or "
    "the share of `>` and half of the share of `==`."
)
def twice(confidence, right):
    return 2 * auroc(confidence, right)


@mistake(
    "The pairs that are won are in `>` and in `>=`, so they count one and a half times here. Add half of the ties "
    "alone, `==`."
)
def wins_and_a_half(confidence, right):
    return ties_lose.solution(confidence, right) + ties_win.solution(confidence, right) / 2


@mistake(
    "Half of the ties is rounded down to a whole number, as `//` does. With an odd number of ties a half is lost: use "
    "`/`."
)
def half_a_tie_lost(confidence, right):
    gap = confidence[right][:, None] - confidence[~right]
    return ((gap > 0).sum() + (gap == 0).sum() // 2) / gap.numel()


@mistake(
    "Each right answer is compared with the *mean* of the wrong ones. Compare it with every wrong answer, and count "
    "the pairs that it wins."
)
def against_the_mean(confidence, right):
    return (confidence[right] > confidence[~right].mean()).float().mean()


@mistake(
    "Pairs that are won count half here, as ties do. A pair that is won counts in full, and only a tie counts half: "
    "the 0.5 belongs to the ties alone."
)
def wins_are_halved(confidence, right):
    return (confidence[right][:, None] >= confidence[~right]).float().mean() / 2


EXERCISE = Exercise(
    id="auroc",
    title="Does it know when it is right?, with a fault",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "A model that is always equally sure has only ties. What does the code make of a tie, and what should it be?",
        "A pair can be won, lost or tied. `>` finds those that are won; which comparison finds the ties, and how much "
        "of a pair is each worth?",
    ),
    reference=auroc,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Does its confidence tell?",
)
