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


@alternative
def with_a_dict(answers):
    winners = []
    for row in answers.tolist():
        votes = {}
        for answer in row:
            votes[answer] = votes.get(answer, 0) + 1
        most, winner = 0, None
        for answer in row:
            if votes[answer] > most:
                most, winner = votes[answer], answer
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


@mistake(
    "This is the first sample of each question. Count the votes of all of them. (In a loop over a tensor no two "
    "entries are the same key of a dict, and each has one vote: loop over `answers.tolist()`.)"
)
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


@mistake(
    "In a tie this takes whichever comes first in a `set`, and a set has no order. Go through the row itself: then the "
    "answer that came first is met first."
)
def first_of_a_set(answers):
    return torch.tensor([max(set(row), key=row.count) for row in answers.tolist()])


@mistake(
    "In a tie `bincount(...).argmax()` takes the smallest answer, and it fails for numbers below 0. Count the votes of "
    "each sample, and take the answer that came first."
)
def by_bincount(answers):
    return torch.stack([row.bincount().argmax() for row in answers])


@mistake("This is the largest answer. The one that is given most often is wanted.")
def the_largest(answers):
    return answers.max(1).values


@mistake("This is the last sample of each question. Count the votes of all of them.")
def the_last_sample(answers):
    return answers[:, -1]


@mistake("This is the mean. Answers are names here, and 3 is not between 2 and 4. Count how often each is given.")
def the_mean(answers):
    return answers.double().mean(1).round().long()


@mistake("This is the answer with the *fewest* votes.")
def the_rarest(answers):
    return torch.tensor([min(row, key=row.count) for row in answers.tolist()])


@mistake(
    "This asks for more than half of the votes, and takes the first sample where no answer has them. The most votes "
    "win, also if they are fewer than half."
)
def more_than_half(answers):
    rows = answers.tolist()
    return torch.tensor([next((a for a in row if 2 * row.count(a) > len(row)), row[0]) for row in rows])


@mistake(
    "This is the place of the winner among the *different* answers, which `unique` has sorted. Return the answer that "
    "stands there, and mind that in a tie the first sample wins."
)
def place_among_the_different(answers):
    return torch.stack([row.unique(return_counts=True)[1].argmax() for row in answers])


@mistake(
    "The answers are all fetched from the first question. Each question has its own row: `gather(1, ...)` takes from "
    "each row the place that is asked for."
)
def from_the_first_question(answers):
    return answers[0, (answers[:, :, None] == answers[:, None, :]).sum(2).argmax(1)]


@mistake(
    "In a tie this takes the answer that *reaches* the most votes first, as a running count finds it: 1 in 3, 1, 1, 3. "
    "Take the one that was given first: count all votes before you choose."
)
def first_to_reach_the_most(answers):
    winners = []
    for row in answers.tolist():
        votes, winner = Counter(), row[0]
        for answer in row:
            votes[answer] += 1
            if votes[answer] > votes[winner]:
                winner = answer
        winners.append(winner)
    return torch.tensor(winners)


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
        "Each sample now has its number of votes. `argmax(1)` gives the *place* of the first of the largest; the "
        "answer itself still has to be fetched from there.",
    ),
    reference=majority_vote,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Many samples, one answer",
)
