"""How often answers follow the prompt where prompt and memory disagree, found from code that counts all rows."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def follows(answers, shown, remembered):
    disagree = shown != remembered
    return (answers == shown)[disagree].float().mean()


def cases(rng):
    def rows(n, labels, reads):
        shown, remembered, other = torch.randint(labels, (3, n), generator=rng)
        answers = torch.where(torch.rand(n, generator=rng) < reads, shown, remembered)
        return torch.where(torch.rand(n, generator=rng) < 0.2, other, answers), shown, remembered

    return [
        Case(
            "by hand: two rows of four disagree, and one answer follows",
            (torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 0, 1]), torch.tensor([1, 0, 1, 0])),
            expected=torch.tensor(0.5),
        ),
        Case("50 rows, two labels, a model that mostly reads", rows(50, 2, 0.9)),
        Case("50 rows, two labels, a model that mostly remembers", rows(50, 2, 0.1)),
        Case("80 rows, five labels", rows(80, 5, 0.5)),
        Case("60 rows, three labels", rows(60, 3, 0.7)),
    ]


@alternative
def by_counting(answers, shown, remembered):
    rows = zip(answers.tolist(), shown.tolist(), remembered.tolist(), strict=True)
    found = [answer == label for answer, label, known in rows if label != known]
    return torch.tensor(sum(found) / len(found))


@alternative
def by_weights(answers, shown, remembered):
    weight = (shown != remembered).float()
    return ((answers == shown) * weight).sum() / weight.sum()


@mistake(
    "The fault is still there: rows in which prompt and memory say the same are counted. There, an answer from memory "
    "looks as if it had been read. Keep the rows in which they disagree.",
    given=True,
)
def all_rows(answers, shown, remembered):
    return (answers == shown).float().mean()


@mistake("The right answers are counted, but divided by the number of all rows. Divide by the rows that disagree.")
def of_all_rows(answers, shown, remembered):
    return ((answers == shown) & (shown != remembered)).float().mean()


@mistake("These are the rows in which prompt and memory agree. They cannot tell the two apart: take the others.")
def rows_that_agree(answers, shown, remembered):
    return (answers == shown)[shown == remembered].float().mean()


@mistake("This is how often the answer is the remembered label. The share that follows what is shown is wanted.")
def share_remembered(answers, shown, remembered):
    return (answers == remembered)[shown != remembered].float().mean()


@mistake(
    "With more than two labels an answer may be neither shown nor remembered. It does not follow the prompt: compare "
    "with `shown`, not with `remembered`."
)
def not_remembered(answers, shown, remembered):
    return (answers != remembered)[shown != remembered].float().mean()


@mistake("This is a count. Return the share of the rows that disagree.")
def a_count(answers, shown, remembered):
    return ((answers == shown) & (shown != remembered)).float().sum()


FROM_MEMORY_LEFT_OUT = (
    "This keeps the rows in which the *answer* is not the remembered label, so it throws away just those that were "
    "answered from memory. Keep the rows in which `shown` and `remembered` disagree, whatever the answer."
)


@mistake(FROM_MEMORY_LEFT_OUT)
def from_memory_left_out(answers, shown, remembered):
    return (answers == shown)[(shown != remembered) & (answers != remembered)].float().mean()


@mistake(FROM_MEMORY_LEFT_OUT)
def where_the_answer_is_not_remembered(answers, shown, remembered):
    return (answers == shown)[answers != remembered].float().mean()


@mistake(
    "Answers that are neither shown nor remembered are left out. They do not follow the prompt: divide by all rows in "
    "which the two disagree."
)
def neither_left_out(answers, shown, remembered):
    disagree = shown != remembered
    followed, from_memory = ((answers == label)[disagree].float().sum() for label in (shown, remembered))
    return followed / (followed + from_memory)


@mistake(
    "This is how often the answer is the shown label, less how often it is the remembered one. Keep the rows in which "
    "the two disagree, and take the share of answers that are the shown one."
)
def less_the_remembered(answers, shown, remembered):
    return (answers == shown).float().mean() - (answers == remembered).float().mean()


@mistake(
    "This divides by the number of answers that equal the shown label. Divide by the number of rows that disagree."
)
def of_the_answers_shown(answers, shown, remembered):
    same = answers == shown
    return (same & (shown != remembered)).float().sum() / same.sum()


@mistake("This is how often prompt and memory disagree. *Of those* rows, what share of the answers is the shown label?")
def how_often_they_disagree(answers, shown, remembered):
    return (shown != remembered).float().mean()


EXERCISE = Exercise(
    id="follows",
    title="Does it follow the prompt?, with a fault",
    points=2,
    minutes=8,
    difficulty=2,
    kind="debug",
    hints=(
        "A model that never reads answers from memory. In which rows does its answer look as if it had been read?",
        "`shown != remembered` says in which rows prompt and memory can be told apart. A tensor of True and False in "
        "square brackets keeps the rows where it is True.",
    ),
    reference=follows,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, Flipped labels",
)
