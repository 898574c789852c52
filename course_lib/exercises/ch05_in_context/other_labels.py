"""A control whose context says nothing about the function that is asked for."""

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer, alternative, alternatives_in, mistake, mistakes_in


def other_labels(outputs, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(outputs), generator=generator)  # a circle: each row gets the labels of the next one
    shown = torch.empty_like(outputs)
    shown[order] = outputs[order.roll(-1)]
    return shown


def cases(rng):
    def labels(batch, n):
        return torch.randn(batch, n, generator=rng)

    return [
        Case("two rows, seed 2", (labels(2, 4), 2)),
        Case("5 rows of 3 labels, seed 0", (labels(5, 3), 0)),
        Case("5 rows of 3 labels, seed 1", (labels(5, 3), 1)),
        Case("64 rows of 8 labels, another seed", (labels(64, 8), int(torch.randint(2, 10**6, (1,), generator=rng)))),
    ]


def run_case(subject, outputs, seed):
    """Compare what kind of labels they are, not which: any choice of that kind is right."""
    shown = subject(outputs, seed)
    if not isinstance(shown, torch.Tensor) or shown.shape != outputs.shape:
        came = (
            tuple(shown.shape) if isinstance(shown, torch.Tensor) else "None" if shown is None else type(shown).__name__
        )
        raise WrongAnswer(f"return a tensor of the shape of `outputs`, {tuple(outputs.shape)}; {came} came back.")
    if shown.dtype != outputs.dtype:
        raise WrongAnswer(f"the labels are of type {outputs.dtype}; leave them so.")
    return seen_from_outside(shown, outputs)


def seen_from_outside(shown, outputs):
    """Describe the choice, not its numbers: two answers with the same fault may have drawn others at random."""
    if not torch.equal(shown.flatten().sort().values, outputs.flatten().sort().values):
        if not shown.any():
            return "all are 0"
        return "some are missing" if torch.isin(shown, outputs).all() else "new numbers"
    own = (shown.sort(1).values == outputs.sort(1).values).all(1)
    if own.all() and not torch.equal(shown, outputs):
        return "a row's own, in another order"
    if own.any():
        return "a row keeps its own"
    if not (shown[:, None] == outputs).all(2).any(1).all():
        return "labels of several rows, or out of order"
    return "whole rows of others"


@alternative
def the_row_before(outputs, seed):
    return outputs.roll(1, dims=0)


@alternative
def until_none_is_in_place(outputs, seed):
    torch.manual_seed(seed)
    while True:
        order = torch.randperm(len(outputs))
        if (order != torch.arange(len(outputs))).all():
            return outputs[order]


OWN_LABELS = (
    "At least one row keeps its own labels. A control that is shown the true labels is no control. A random order of "
    "the rows often leaves one in its place: draw again until none is, or shift all rows by one."
)


@mistake(OWN_LABELS)
def unchanged(outputs, seed):
    return outputs.clone()


@mistake(
    "Each row keeps its own labels, in another order. They still say something: the mean of the labels is about w "
    "times the mean of the inputs, whatever the order. Take the labels of another row."
)
def mixed_within_the_row(outputs, seed):
    return outputs.roll(1, dims=1)


@mistake(
    "These numbers are not those of `outputs`. The control then differs in more than one way: its labels may be of no "
    "function, and are distributed differently. Show labels that are there, each once."
)
def new_numbers(outputs, seed):
    return torch.randn(outputs.shape, generator=torch.Generator().manual_seed(seed)).to(outputs)


@mistake(
    "All labels are 0 here, so this control looks like nothing the model was trained on. Show true labels of others."
)
def no_labels(outputs, seed):
    return torch.zeros_like(outputs)


@mistake(
    "The labels of a row come from several rows here, or are in another order. Then they are not of one function. "
    "Exchange whole rows, so that the control differs in one thing alone: whose labels they are."
)
def mixed_over_all(outputs, seed):
    # One circle through all labels, column by column: hardly any stays in its row.
    return torch.cat([outputs[:, :1].roll(1, dims=0), outputs[:, 1:].roll(-1, dims=0)], dim=1).roll(1, dims=1)


@mistake(OWN_LABELS)
def one_in_place(outputs, seed):
    return torch.cat([outputs[:1], outputs[1:].roll(1, dims=0)]) if len(outputs) > 2 else outputs.roll(1, dims=0)


@mistake("Some labels are shown twice or more, and others are missing. Show every label once.")
def one_row_for_all(outputs, seed):
    return outputs[:1].expand_as(outputs).clone()


@mistake(OWN_LABELS)
def rows_at_random(outputs, seed):
    return outputs[torch.randperm(len(outputs), generator=torch.Generator().manual_seed(seed))]


@mistake(
    "With an odd number of rows the one in the middle keeps its own labels. A control that is shown the true labels is "
    "no control: shift the rows, in place of turning their order round."
)
def rows_turned_round(outputs, seed):
    return outputs.flip(0)


EXERCISE = Exercise(
    id="other_labels",
    title="The control: somebody else's labels",
    points=2,
    minutes=10,
    difficulty=2,
    kind="design",
    hints=(
        "What makes a row's labels useful is that they belong to the function that is asked for. Exchange whole rows "
        "of labels, and see to it that none stays in its place.",
        "Think of the rows as standing in a circle, and each hands its labels to its neighbour. Which function of "
        "torch turns a tensor along an axis, and along which axis do the rows stand?",
    ),
    reference=other_labels,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, Does it read the labels?",
)
