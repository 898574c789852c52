"""The answer that most of the samples give; in a tie the one that came first."""

from collections import Counter

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def majority_vote(answers):
    votes = (answers[:, :, None] == answers[:, None, :]).sum(2)  # votes for each answer given
    first = votes.argmax(1, keepdim=True)  # the first of the most frequent
    return answers.gather(1, first)[:, 0]


def cases(rng):
    def rows(questions, k, kinds):
        return torch.randint(kinds, (questions, k), generator=rng)

    def tied(questions):
        # Two answers with two votes each, and one with a single vote, in a random order.
        kinds = torch.rand(questions, 9, generator=rng).argsort(1)[:, [0, 0, 1, 1, 2]]
        return kinds.gather(1, torch.rand(questions, 5, generator=rng).argsort(1))

    return [
        Case("by hand: 4, 2, 4, 0, 2, 4", (torch.tensor([[4, 2, 4, 0, 2, 4]]),), expected=torch.tensor([4])),
        Case("a tie by hand: 3, 1, 1, 3", (torch.tensor([[3, 1, 1, 3]]),), expected=torch.tensor([3])),
        Case("one sample", (rows(6, 1, 5),)),
        Case("20 questions, ties of two answers", (tied(20),)),
        Case("20 questions, 9 samples, five answers", (rows(20, 9, 5),)),
        Case("12 questions, 33 samples, three answers", (rows(12, 33, 3),)),
        Case("8 questions, 4 samples, large numbers", (rows(8, 4, 3) * 1000 - 500,)),
    ]


@alternative
def row_by_row(answers):
    return torch.tensor([Counter(row).most_common(1)[0][0] for row in answers.tolist()])


@alternative
def by_counting(answers):
    winners = []
    for row in answers.tolist():
        winner = row[0]
        for answer in row:
            if row.count(answer) > row.count(winner):
                winner = answer
        winners.append(winner)
    return torch.tensor(winners)


@mistake(
    "In a tie this takes the smallest answer, as `torch.mode` and `bincount(...).argmax()` do. Then small numbers win "
    "more often than large ones. Take the answer that came first."
)
def smallest_of_a_tie(answers):
    return torch.stack([min(row.unique(), key=lambda a: -(row == a).sum()) for row in answers])


@mistake("In a tie this takes the largest answer. Take the one that came first among the samples.")
def largest_of_a_tie(answers):
    return torch.stack([max(row.unique().flip(0), key=lambda a: (row == a).sum()) for row in answers])


@mistake("In a tie this takes the answer that came last. Take the one that came first among the samples.")
def last_of_a_tie(answers):
    return majority_vote(answers.flip(1))


@mistake("This is the first sample of each question. Count the votes of all of them.")
def the_first_sample(answers):
    return answers[:, 0]


@mistake("This is how many votes the winner has. Its answer is wanted.")
def the_number_of_votes(answers):
    return (answers[:, :, None] == answers[:, None, :]).sum(2).max(1).values


@mistake("This is the place of the winner among the samples. Return the answer that stands there.")
def the_place(answers):
    return (answers[:, :, None] == answers[:, None, :]).sum(2).argmax(1)


@mistake("This is the median. Answers are names here: 2 is not between 1 and 3. Count how often each is given.")
def the_median(answers):
    return answers.median(1).values


EXERCISE = Exercise(
    id="majority_vote",
    title="The most frequent answer",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "For each sample, how many samples of the same question say the same? Compare `answers[:, :, None]` with "
        "`answers[:, None, :]`.",
        "`argmax(1)` of these counts finds the first of the largest; `gather` fetches the answer that stands there.",
    ),
    reference=majority_vote,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Many samples, one answer",
)
