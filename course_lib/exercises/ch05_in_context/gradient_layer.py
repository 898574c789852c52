"""A layer of linear attention whose weights make one step of gradient descent (von Oswald et al. 2022)."""

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer, alternative, alternatives_in, mistake, mistakes_in


def gradient_layer(d, rate):
    inputs_alone = torch.eye(d + 1)
    inputs_alone[0, 0] = 0
    value = torch.zeros(d + 1, d + 1)
    value[0, 0] = rate
    return [inputs_alone, inputs_alone.clone(), value]


def cases(rng):
    def examples(n, d):
        return torch.randn(n, d + 1, generator=rng).tolist(), torch.randn(d, generator=rng).tolist()

    def step(scale):
        return round(scale * (1 + torch.rand((), generator=rng).item()), 4)

    return [
        Case("by hand", (1, 0.1, [[3.0, 1.0], [5.0, 2.0]], [2.0])),
        Case("8 examples in two dimensions", (2, step(0.1), *examples(8, 2))),
        Case("one example in three dimensions, a larger step", (3, step(0.4), *examples(1, 3))),
        Case("20 examples in four dimensions", (4, step(0.02), *examples(20, 4))),
    ]


def run_case(subject, d, rate, examples, query):
    """Compare what the layer does, not its matrices: keys and queries may be turned together, or scaled."""
    matrices = subject(d, rate)
    if not isinstance(matrices, list | tuple) or len(matrices) != 3:
        raise WrongAnswer("return a list of three matrices: for the query, for the keys, for the values.")
    for matrix in matrices:
        if not isinstance(matrix, torch.Tensor) or matrix.shape != (d + 1, d + 1):
            raise WrongAnswer(f"each matrix has the shape ({d + 1}, {d + 1}): a token holds a label and {d} inputs.")
        if matrix.dtype != torch.float32:
            raise WrongAnswer(f"the matrices are of type torch.float32, not {matrix.dtype}.")
    to_query, to_key, to_value = matrices
    tokens, asked = torch.tensor(examples), to_query @ torch.tensor([0.0, *query])
    added = (tokens @ to_value.T).T @ (tokens @ to_key.T @ asked)  # no softmax
    return {"what the layer adds": added}


@alternative
def entry_by_entry(d, rate):
    query, key, value = (torch.zeros(d + 1, d + 1) for _ in range(3))
    for i in range(1, d + 1):
        query[i, i] = 1
        key[i, i] = 1
    value[0, 0] = rate
    return [query, key, value]


@alternative
def the_step_in_the_key(d, rate):
    key = torch.diag(torch.tensor([0.0] + [rate] * d))
    value = torch.zeros(d + 1, d + 1)
    value[0, 0] = 1
    return [torch.eye(d + 1), key, value]  # slot 0 of the query is 0 anyway


@alternative
def turned_together(d, rate):
    # Any orthogonal matrix for both, here one that reverses the order of the inputs.
    turn = torch.zeros(d + 1, d + 1)
    turn[1:, 1:] = torch.eye(d).flip(0)
    value = torch.zeros(d + 1, d + 1)
    value[0, 0] = rate
    return [turn, turn.clone(), value]


@alternative
def the_labels_in_the_key(d, rate):
    # The question has 0 in slot 0, so a label in the key is multiplied by 0.
    value = torch.zeros(d + 1, d + 1)
    value[0, 0] = rate
    return [torch.eye(d + 1), torch.eye(d + 1), value]


@mistake(
    "The sign is wrong: this steps uphill. From w = 0 the error of an example is y, and the step is + rate * y * x."
)
def uphill(d, rate):
    query, key, value = gradient_layer(d, rate)
    return [query, key, -value]


@mistake("The size of the step is missing: multiply the values (or the keys) by `rate`.")
def without_the_rate(d, rate):
    return gradient_layer(d, 1.0)


@mistake("The step is twice as long here: with half the squared error, the 2 of the derivative is gone.")
def twice_as_long(d, rate):
    return gradient_layer(d, 2 * rate)


@mistake("`rate` is in two matrices here, so the step has the size rate squared. Put it into one of them.")
def the_rate_twice(d, rate):
    return gradient_layer(d, rate**2)


@mistake(
    "The values hold the inputs too, so the layer changes the question: slots 1 to d of what it adds have to be 0. The "
    "value matrix has a single number that is not 0."
)
def values_hold_all(d, rate):
    query, key, _ = gradient_layer(d, rate)
    return [query, key, rate * torch.eye(d + 1)]


@mistake(
    "The values hold the inputs, and the label is lost. What should be summed up is y, weighted by how alike the "
    "inputs are: y belongs into the value, x into key and query."
)
def values_hold_the_inputs(d, rate):
    query, key, _ = gradient_layer(d, rate)
    return [query, key, rate * query]


@mistake(
    "The scores are divided by sqrt(d + 1) here, as in softmax attention. Linear attention has no such division: the "
    "size of the step is `rate` alone."
)
def divided_by_the_root(d, rate):
    return gradient_layer(d, rate / (d + 1) ** 0.5)


@mistake(
    "The value matrix has a whole column of `rate`, so the label is added in every slot. Only slot 0 of what the layer "
    "adds may be other than 0: the value matrix has a single number that is not 0."
)
def values_in_a_column(d, rate):
    query, key, value = gradient_layer(d, rate)
    value[:, 0] = rate
    return [query, key, value]


@mistake(
    "The value matrix has a whole row of `rate`, so the inputs are added to the label. Slot 0 of the value is rate * y "
    "alone: the value matrix has a single number that is not 0."
)
def values_in_a_row(d, rate):
    query, key, value = gradient_layer(d, rate)
    value[0] = rate
    return [query, key, value]


@mistake("The slots are in the other order here: slot 0 of a token is the label, slots 1 to d are the inputs.")
def label_in_the_last_slot(d, rate):
    return [matrix.flip(0, 1) for matrix in gradient_layer(d, rate)]


@mistake(
    "All three are the identity. The step has no size then, and the values hold the inputs too. The value matrix has a "
    "single number that is not 0: the one that takes the label, times `rate`."
)
def identity_for_all(d, rate):
    return [torch.eye(d + 1) for _ in range(3)]


@mistake("The step is divided by the number of inputs. Its size is `rate` alone.")
def divided_by_the_inputs(d, rate):
    return gradient_layer(d, rate / d)


@mistake("`rate` is in all three matrices here, so the step has the size rate cubed. Put it into one of them.")
def the_rate_three_times(d, rate):
    return gradient_layer(d, rate**3)


@mistake(
    "A matrix full of ones adds the inputs up: every slot of key and query is their sum. The identity keeps each input "
    "in its own slot, and the product of key and query is x_i . x."
)
def ones_for_the_identity(d, rate):
    _, _, value = gradient_layer(d, rate)
    ones = torch.ones(d + 1, d + 1)
    ones[0] = 0
    return [ones, ones.clone(), value]


@mistake(
    "The value is an input, and the label is lost. The label is in slot 0 of a token, so the number that is not 0 "
    "stands at [0, 0] of the value matrix: from slot 0 into slot 0."
)
def value_of_the_first_input(d, rate):
    query, key, value = gradient_layer(d, rate)
    value[0, :2] = value[0, :2].flip(0)
    return [query, key, value]


@mistake(
    "The value matrix takes the last input into the last slot. The label is in slot 0 of a token, and the prediction "
    "goes into slot 0 too: the number that is not 0 stands at [0, 0]."
)
def value_in_the_last_corner(d, rate):
    query, key, value = gradient_layer(d, rate)
    return [query, key, value.flip(0, 1)]


@mistake(
    "The prediction goes into slot 1, which is the first input. It belongs in slot 0: the number that is not 0 stands "
    "at [0, 0] of the value matrix, row 0 for where it goes, column 0 for where it comes from."
)
def prediction_into_slot_1(d, rate):
    query, key, value = gradient_layer(d, rate)
    value[:2, 0] = value[:2, 0].flip(0)
    return [query, key, value]


ADDS_NOTHING = (
    "The layer adds nothing here. Either V is 0 everywhere, or all scores are 0: then key and query have no slot in "
    "common but slot 0, where the question has a 0. How alike two inputs are is in slots 1 to d: let both hold these. "
    "(And the order is Q, K, V: V comes last.)"
)


@mistake(ADDS_NOTHING)
def values_first(d, rate):
    return gradient_layer(d, rate)[::-1]


@mistake(
    "Only the first input counts in key and query. x_i . x is a sum over all inputs: the identity, in slots 1 to d."
)
def first_input_alone(d, rate):
    _, _, value = gradient_layer(d, rate)
    first = torch.zeros(d + 1, d + 1)
    first[1, 1] = 1
    return [first, first.clone(), value]


@mistake(ADDS_NOTHING)
def labels_in_key_and_query(d, rate):
    _, _, value = gradient_layer(d, rate)
    label = torch.zeros(d + 1, d + 1)
    label[0, 0] = 1
    return [label, label.clone(), value]


@mistake(
    "The scores are divided by sqrt(d) here, as in softmax attention. Linear attention has no such division: the size "
    "of the step is `rate` alone."
)
def divided_by_the_root_of_d(d, rate):
    return gradient_layer(d, rate / d**0.5)


@mistake("The last input is left out of key and query. Slots 1 to d are the inputs; slot 0 is the one to drop.")
def last_input_left_out(d, rate):
    _, _, value = gradient_layer(d, rate)
    others = torch.eye(d + 1)
    others[d, d] = 0
    return [others, others.clone(), value]


EXERCISE = Exercise(
    id="gradient_layer",
    title="Attention that takes a step of gradient descent",
    points=3,
    minutes=15,
    difficulty=3,
    kind="derive",
    hints=(
        "The prediction after the step is a sum over the examples: rate * y_i * (x_i . x). Compare this with what the "
        "layer adds: value_i * (key_i . query). What has to be in the value, what in the key and in the query?",
        "In the value only y counts, times the size of the step, and it goes into slot 0. So how many numbers of V "
        "are not 0, and where? Key and query have to give x_i . x: what does a matrix look like that keeps the inputs "
        "as they are, and drops the label?",
    ),
    reference=gradient_layer,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, Attention can take a step of gradient descent",
)
