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


@alternative
def by_loops(right):
    count = 0
    for row in right.tolist():
        whole = True
        for token in row:
            if not token:
                whole = False
        if whole:
            count += 1
    return count / len(right)


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
    "This is 1 if everything is right, else 0. Each row is an answer: look at one row at a time, `dim=1`, and take the "
    "mean over the rows. (If you have written `//`: it rounds down.)"
)
def whole_table(right):
    return float(right.all())


@mistake("This is the number of right answers; return their share.")
def number_instead_of_share(right):
    return right.all(dim=1).float().sum().item()


@mistake("The number of right answers is divided by the number of all tokens. Divide by the number of answers.")
def divided_by_the_tokens(right):
    return right.all(dim=1).sum().item() / right.numel()


@mistake("The number of right answers is divided by the length of an answer. Divide by the number of answers.")
def divided_by_the_length(right):
    return right.all(dim=1).sum().item() / right.shape[1]


@mistake(
    "Only the first answer was looked at. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_answer_alone(right):
    return right[0].all().item() / len(right)


@mistake(
    "This is what the share *would* be if each token were right by chance, whatever the others are. Count the answers "
    "that are right throughout."
)
def power_of_the_token_accuracy(right):
    return right.float().mean().item() ** right.shape[1]


@mistake(
    "This multiplies the shares at each place, which would be right if the tokens did not depend on each other. Count "
    "the answers that are right throughout."
)
def product_over_the_places(right):
    return right.float().mean(0).prod().item()


@mistake("This has True or False for each answer, and they are right. One step more: which share of them is True?")
def one_for_each_answer(right):
    return right.all(dim=1)


@mistake("This is in percent. A share lies between 0 and 1.")
def percent(right):
    return 100 * exact_match(right)


@mistake("This is the share of answers with a mistake. The share of right ones is 1 minus that.")
def share_of_wrong_answers(right):
    return 1 - exact_match(right)


@mistake("This looks at the first token of each answer alone. All of its tokens have to be right.")
def first_token(right):
    return right[:, 0].float().mean().item()


@mistake("This looks at the last token of each answer alone. All of its tokens have to be right.")
def last_token(right):
    return right[:, -1].float().mean().item()


@mistake("Here it is enough that more than half of the tokens of an answer are right. All of them have to be.")
def most_tokens(right):
    return (right.float().mean(1) > 0.5).float().mean().item()


@mistake("This is right for answers of 3 tokens, and they may have any length: compare with no list of that length.")
def of_three_tokens(right):
    return sum(row == [True, True, True] for row in right.tolist()) / len(right)


@mistake(
    "This counts the right tokens up to the first wrong one. An answer counts once, and only if no token of it is "
    "wrong."
)
def tokens_up_to_a_wrong_one(right):
    return right.int().cumprod(1).sum().item() / len(right)


EXERCISE = Exercise(
    id="exact_match",
    title="Right or wrong",
    points=1,
    minutes=4,
    difficulty=1,
    kind="code",
    hints=(
        "A row is right if all of it is. What does `all` do along an axis?",
        "`right.all(dim=1)` has one True or False for each answer. Which share of them is True? A mean wants numbers, "
        "1 and 0: `.float()` makes them.",
    ),
    reference=exact_match,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Right or wrong, or part by part",
)
