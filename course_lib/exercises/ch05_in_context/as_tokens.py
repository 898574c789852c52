"""Examples as a row of tokens, found from code that shows each question its own answer."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def as_tokens(inputs, outputs):
    batch, n, d = inputs.shape
    tokens = torch.zeros(batch, 2 * n, d + 1)
    tokens[:, 0::2, 1:] = inputs
    tokens[:, 1::2, 0] = outputs
    return tokens


def cases(rng):
    def examples(batch, n, d):
        return torch.randn(batch, n, d, generator=rng), torch.randn(batch, n, generator=rng)

    return [
        Case(
            "by hand: two examples",
            (torch.tensor([[[3.0], [4.0]]]), torch.tensor([[5.0, 6.0]])),
            expected=torch.tensor([[[0.0, 3.0], [5.0, 0.0], [0.0, 4.0], [6.0, 0.0]]]),
        ),
        Case("one example in two dimensions", examples(3, 1, 2)),
        Case("8 examples in two dimensions", examples(4, 8, 2)),
        Case("5 examples in three dimensions", examples(2, 5, 3)),
    ]


@alternative
def by_stacking(inputs, outputs):
    asked = torch.cat([torch.zeros_like(outputs)[..., None], inputs], dim=-1)
    answered = torch.cat([outputs[..., None], torch.zeros_like(inputs)], dim=-1)
    return torch.stack([asked, answered], dim=2).flatten(1, 2)


@alternative
def one_by_one(inputs, outputs):
    batch, n, d = inputs.shape
    tokens = torch.zeros(batch, 2 * n, d + 1)
    for row in range(batch):
        for i in range(n):
            tokens[row, 2 * i, 1:] = inputs[row, i]
            tokens[row, 2 * i + 1, 0] = outputs[row, i]
    return tokens


@mistake(
    "The fault is still there: the token of an input holds its own label too. Look at slot 0 of the even tokens: it "
    "has to be 0.",
    given=True,
)
def label_in_both(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 0::2, 0] = outputs
    return tokens


@mistake(
    "The last question is repaired, and the ones before still hold their own labels. The model is trained on all of "
    "them, and would learn to copy: slot 0 of every even token has to be 0."
)
def the_last_question_alone(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 0::2, 0] = outputs
    tokens[:, -2, 0] = 0
    return tokens


@mistake(
    "The label is moved into the token of the input, so the question still holds its answer. Move it out: the label is "
    "in slot 0 of the token *after* its input."
)
def label_in_the_question(inputs, outputs):
    tokens = as_tokens(inputs, 0 * outputs)
    tokens[:, 0::2, 0] = outputs
    return tokens


@mistake(
    "Each label comes one token before its input, so the model has read the answer when it is asked. The input comes "
    "first, its label right after it."
)
def label_first(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    return tokens.view(len(tokens), -1, 2, tokens.shape[-1]).flip(2).flatten(1, 2)


@mistake(
    "No label is left in the tokens, so there is nothing to learn from. The labels of *earlier* examples have to be "
    "seen: each in the token after its input."
)
def no_labels(inputs, outputs):
    return as_tokens(inputs, 0 * outputs)


@mistake(
    "The token of an input holds the label of the example before it. That is no leak, but this label is in the token "
    "before already: leave slot 0 of an input at 0."
)
def the_label_before(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 2::2, 0] = outputs[:, :-1]
    return tokens


@mistake("All inputs come first here, then all labels. Take turns: x1, y1, x2, y2.")
def inputs_then_labels(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    return torch.cat([tokens[:, 0::2], tokens[:, 1::2]], dim=1)


@mistake(
    "The label is in the last slot here. It was in slot 0, before the numbers of the input, and that was no fault."
)
def label_in_the_last_slot(inputs, outputs):
    return as_tokens(inputs, outputs).roll(-1, dims=-1)


@mistake(
    "The token of a label holds its input as well. Then the model need not find out to which input a label belongs: "
    "the other slots of a label's token are 0."
)
def input_in_both(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 1::2, 1:] = inputs
    return tokens


@mistake("Every slot of a label's token holds the label. It belongs in slot 0 alone; the slots of the input are 0.")
def label_in_every_slot(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 1::2] = outputs[..., None]
    return tokens


@mistake(
    "The first question is repaired, and the ones after it still hold their own labels. The model is trained on all of "
    "them, and would learn to copy: slot 0 of every even token has to be 0."
)
def the_first_question_alone(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 2::2, 0] = outputs[:, 1:]
    return tokens


@mistake(
    "The last label is left out. It comes behind its question, so it gives nothing away: every input is followed by "
    "its label."
)
def last_label_left_out(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, -1] = 0
    return tokens


@mistake(
    "The labels are in the order y1, y2, ..., y1, y2, ... here, one in each token. Every label belongs to one token, "
    "the one after its input."
)
def all_labels_twice_in_a_row(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, :, 0] = outputs.repeat(1, 2)
    return tokens


@mistake("The label is in slot 1, the place of the first input. It belongs in slot 0.")
def label_in_slot_1(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 1::2, :2] = tokens[:, 1::2, :2].flip(-1)
    return tokens


@mistake(
    "The examples lie over each other: example i has two tokens, so it begins at token 2 * i, and its label is at 2 * "
    "i + 1."
)
def examples_overlap(inputs, outputs):
    batch, n, d = inputs.shape
    tokens = torch.zeros(batch, 2 * n, d + 1)
    for i in range(n):
        tokens[:, i, 1:] = inputs[:, i]
        tokens[:, i + 1, 0] = outputs[:, i]
    return tokens


@mistake("Each input is followed by the label of another example. The label of example i comes right after input i.")
def label_of_the_example_before(inputs, outputs):
    return as_tokens(inputs, outputs.roll(1, dims=1))


@mistake("Only the first label is there. Every input is followed by its label: the tokens 1, 3, 5 and so on, `1::2`.")
def first_label_alone(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 3::2] = 0
    return tokens


@mistake(
    "The first question still holds its own label. Slot 0 of every even token has to be 0, that of token 0 as well."
)
def the_first_question_leaks(inputs, outputs):
    tokens = as_tokens(inputs, outputs)
    tokens[:, 0, 0] = outputs[:, 0]
    return tokens


EXERCISE = Exercise(
    id="as_tokens",
    title="Examples as tokens, with a fault",
    points=2,
    minutes=8,
    difficulty=1,
    kind="debug",
    hints=(
        "Print `faulty_tokens` of two examples, as in the case by hand. The model answers at the even tokens. What "
        "does it know there?",
        "One line of `faulty_tokens` fills slot 0 of all tokens. Which of the tokens may have a label in it? A slice "
        "with a step of 2 takes every other one; see where it begins.",
    ),
    reference=as_tokens,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, A risk that is too good",
)
