"""A counter that looks up a symbol among labelled examples: the share of its labels that are 1."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def vote(symbols, labels, query):
    same = symbols == query[:, None]
    ones = (same & (labels == 1)).sum(1)
    shown = same.sum(1)
    return torch.where(shown > 0, ones / shown, 0.5)


def cases(rng):
    def rows(batch, n, kinds):
        # Few kinds of symbols, so that most are shown several times and some not at all.
        symbols = torch.randint(kinds, (batch, n), generator=rng)
        return symbols, torch.randint(2, (batch, n), generator=rng), torch.randint(kinds, (batch,), generator=rng)

    return [
        Case(
            "by hand: 7 is shown with the labels 1, 0, 1",
            (torch.tensor([[7, 3, 7, 7]]), torch.tensor([[1, 0, 0, 1]]), torch.tensor([7])),
            expected=torch.tensor([2 / 3]),
        ),
        Case(
            "a symbol that is not shown",
            (torch.tensor([[4, 3, 5]]), torch.tensor([[1, 1, 1]]), torch.tensor([7])),
            expected=torch.tensor([0.5]),
        ),
        Case("16 rows of 8 examples, 4 symbols", rows(16, 8, 4)),
        Case("16 rows of 5 examples, 6 symbols", rows(16, 5, 6)),
        Case("8 rows of 30 examples, 3 symbols", rows(8, 30, 3)),
    ]


@alternative
def row_by_row(symbols, labels, query):
    shares = []
    for shown, marks, asked in zip(symbols.tolist(), labels.tolist(), query.tolist(), strict=True):
        found = [mark for symbol, mark in zip(shown, marks, strict=True) if symbol == asked]
        shares.append(sum(found) / len(found) if found else 0.5)
    return torch.tensor(shares)


@alternative
def with_a_filled_gap(symbols, labels, query):
    same = (symbols == query.unsqueeze(1)).float()
    return ((same * labels).sum(1) / same.sum(1)).nan_to_num(0.5)


@mistake("All examples are counted here. Only those with the symbol that is asked say anything about it.")
def all_examples(symbols, labels, query):
    return labels.float().mean(1)


@mistake("A symbol that is not shown gets `nan`, from 0 / 0. Nothing is known of it: give it 0.5.")
def nothing_by_nothing(symbols, labels, query):
    same = (symbols == query[:, None]).float()
    return (same * labels).sum(1) / same.sum(1)


@mistake(
    "A symbol that is not shown gets 0 here, as if it were surely of label 0. Nothing is known of it: give it 0.5."
)
def zero_for_nothing(symbols, labels, query):
    same = (symbols == query[:, None]).float()
    return (same * labels).sum(1) / same.sum(1).clamp(min=1)


OF_ALL_EXAMPLES = (
    "This divides by the number of all examples. Divide by the number of those with the symbol that is asked; where "
    "there are none, it is 0.5."
)


@mistake(OF_ALL_EXAMPLES)
def of_all_examples_and_zero_for_nothing(symbols, labels, query):
    return ((symbols == query[:, None]) & (labels == 1)).float().mean(1)


@mistake(OF_ALL_EXAMPLES)
def of_all_examples(symbols, labels, query):
    same = (symbols == query[:, None]).float()
    return torch.where(same.sum(1) > 0, (same * labels).mean(1), 0.5)


ONE_ALONE = "This looks at one example with the symbol only. Its label may be the wrong one: count all of them."


@mistake(ONE_ALONE)
def the_last_one(symbols, labels, query):
    return the_first_one.solution(symbols.flip(1), labels.flip(1), query)


@mistake(ONE_ALONE)
def the_first_one(symbols, labels, query):
    same = symbols == query[:, None]
    first = labels.gather(1, same.int().argmax(1, keepdim=True))[:, 0].float()
    return torch.where(same.any(1), first, 0.5)


@mistake("This is the answer, 0 or 1. The share of ones is wanted, which also says how sure the vote is.")
def the_answer(symbols, labels, query):
    share = vote(symbols, labels, query)
    return torch.where(share == 0.5, share, share.round())


@mistake("This is the share of zeros. Count the ones.")
def share_of_zeros(symbols, labels, query):
    return 1 - vote(symbols, labels, query)


@mistake("This is the number of ones. Divide it by the number of examples with the symbol: the share is asked for.")
def how_many_ones(symbols, labels, query):
    return ((symbols == query[:, None]) & (labels == 1)).sum(1).float()


@mistake(
    "This is the other way round: of the examples with label 1, the share that has the symbol. Divide by the number of "
    "examples with the *symbol*, whatever their label."
)
def share_of_the_ones(symbols, labels, query):
    ones = labels == 1
    both = (ones & (symbols == query[:, None])).sum(1)
    return torch.where(ones.sum(1) > 0, both / ones.sum(1), 0.5)


@mistake(
    "One more example of each label is counted than is there. That would be a cautious guess; the plain share is asked "
    "for, and 0.5 only where the symbol is not shown."
)
def one_more_of_each(symbols, labels, query):
    same = symbols == query[:, None]
    return ((same & (labels == 1)).sum(1) + 1) / (same.sum(1) + 2)


@mistake("The ones are divided by the zeros. A share is a part of the whole: divide by ones and zeros together.")
def ones_by_zeros(symbols, labels, query):
    same = symbols == query[:, None]
    ones, zeros = ((same & (labels == label)).sum(1) for label in (1, 0))
    return torch.where(same.any(1), ones / zeros, 0.5)


ANSWER_AND_0 = "This is the answer, and 0 in a tie. The share of ones is wanted, which also says how sure the vote is."


@mistake(ANSWER_AND_0)
def the_answer_and_0_in_a_tie_if_shown(symbols, labels, query):
    shown = (symbols == query[:, None]).any(1)
    return torch.where(shown, the_answer_and_0_in_a_tie.solution(symbols, labels, query), 0.5)


@mistake("This is the answer, and 1 in a tie. The share of ones is wanted, which also says how sure the vote is.")
def the_answer_and_1_in_a_tie_if_shown(symbols, labels, query):
    shown = (symbols == query[:, None]).any(1)
    return torch.where(shown, (vote(symbols, labels, query) >= 0.5).float(), 0.5)


@mistake(ANSWER_AND_0)
def the_answer_and_0_in_a_tie(symbols, labels, query):
    return (vote(symbols, labels, query) > 0.5).float()


@mistake(
    "A symbol that is not shown gets 1 here, as if it were surely of label 1. Nothing is known of it: give it 0.5."
)
def one_for_nothing(symbols, labels, query):
    return torch.where((symbols == query[:, None]).any(1), vote(symbols, labels, query), 1.0)


@mistake(
    "This is the share of the examples that have the symbol. Among *these*, the share with the label 1 is asked for."
)
def share_of_the_symbol(symbols, labels, query):
    return (symbols == query[:, None]).float().mean(1)


EXERCISE = Exercise(
    id="vote",
    title="A vote among the examples",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "`symbols == query[:, None]` says which examples show the symbol that is asked. How many are there, and how "
        "many of them have the label 1?",
        "`same.sum(1)` counts the examples that show the symbol. How do you count those of them that have the label "
        "1? Where none is shown, 0 / 0 gives `nan`: `torch.where` takes one of two numbers, row by row.",
    ),
    reference=vote,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, A label that is sometimes wrong",
)
