"""Ridge regression: the best prediction of a linear function that was drawn at random and seen through noise."""

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer, alternative, alternatives_in, mistake, mistakes_in


def ridge(inputs, outputs, penalty):
    gram = inputs.mT @ inputs + penalty * torch.eye(inputs.shape[-1], dtype=inputs.dtype)
    return torch.linalg.solve(gram, inputs.mT @ outputs[..., None])[..., 0]


def cases(rng):
    def examples(batch, k, d):
        inputs = torch.randn(batch, k, d, generator=rng)
        weights = torch.randn(batch, d, generator=rng)
        return inputs, (inputs @ weights[..., None])[..., 0] + 0.5 * torch.randn(batch, k, generator=rng)

    return [
        Case("by hand: one example", (torch.tensor([[[2.0]]]), torch.tensor([[3.0]]), 2.0), expected=torch.ones(1, 1)),
        Case("one example in two dimensions", (*examples(4, 1, 2), 0.25)),
        Case("8 examples in two dimensions", (*examples(5, 8, 2), 0.25)),
        Case("6 examples in three dimensions, a large penalty", (*examples(3, 6, 3), 4.0)),
        # Last, since here a wrong matrix may have no inverse: a number tells a mistake better than an error does.
        Case("no examples", (torch.zeros(3, 0, 2), torch.zeros(3, 0), 0.25), expected=torch.zeros(3, 2)),
    ]


def run_case(subject, inputs, outputs, penalty):
    found = subject(inputs, outputs, penalty)
    if isinstance(found, torch.Tensor) and found.dtype == torch.float64:
        raise WrongAnswer("w is of type torch.float64. Return it in the type of the inputs: `w.to(inputs.dtype)`.")
    return found


@alternative
def one_row_at_a_time(inputs, outputs, penalty):
    rows = []
    for x, y in zip(inputs, outputs, strict=True):
        rows.append(torch.linalg.inv(x.T @ x + penalty * torch.eye(x.shape[1])) @ (x.T @ y))
    return torch.stack(rows)


@alternative
def by_more_examples(inputs, outputs, penalty):
    # Least squares, with one made-up example for each axis: input sqrt(penalty) along it, output 0.
    batch, _, d = inputs.shape
    extra = (penalty**0.5 * torch.eye(d)).expand(batch, d, d)
    x = torch.cat([inputs, extra], dim=1)
    y = torch.cat([outputs, torch.zeros(batch, d)], dim=1)
    return (torch.linalg.pinv(x) @ y[..., None])[..., 0]


@mistake(
    "This is least squares: the penalty is missing. Add it to the diagonal before you solve, or one noisy example "
    "decides everything."
)
def least_squares(inputs, outputs, penalty):
    return (torch.linalg.pinv(inputs) @ outputs[..., None])[..., 0]


ON_ALL_ENTRIES = (
    "The penalty is on all entries of the matrix here. It belongs on the diagonal alone: `penalty * torch.eye(d)`."
)


@mistake(ON_ALL_ENTRIES)
def on_all_entries_solved(inputs, outputs, penalty):  # without examples it has no inverse
    return torch.linalg.solve(inputs.mT @ inputs + penalty, inputs.mT @ outputs[..., None])[..., 0]


@mistake(ON_ALL_ENTRIES)
def on_all_entries(inputs, outputs, penalty):
    return (torch.linalg.pinv(inputs.mT @ inputs + penalty) @ inputs.mT @ outputs[..., None])[..., 0]


PENALTY_FOR_EACH_EXAMPLE = (
    "The penalty counts once for each example here, as if the mean over the examples were taken and not the sum. It "
    "belongs in once, beside the sum: with more examples it has to weigh less."
)


@mistake(PENALTY_FOR_EACH_EXAMPLE)
def means_over_the_examples(inputs, outputs, penalty):  # without examples they are not numbers
    n, d = inputs.shape[1:]
    gram = inputs.mT @ inputs / n + penalty * torch.eye(d)
    return torch.linalg.solve(gram, inputs.mT @ outputs[..., None] / n)[..., 0]


@mistake(PENALTY_FOR_EACH_EXAMPLE)
def penalty_for_each_example(inputs, outputs, penalty):
    return ridge(inputs, outputs, penalty * max(inputs.shape[1], 1))


@mistake(
    "The penalty counts half here. The derivative of penalty * |w|^2 is 2 * penalty * w, and that of the errors has a "
    "2 as well, so both go."
)
def half_the_penalty(inputs, outputs, penalty):
    return ridge(inputs, outputs, penalty / 2)


@mistake("The penalty is subtracted here, so w gets larger instead of smaller. Look at its sign again.")
def minus_the_penalty(inputs, outputs, penalty):
    return ridge(inputs, outputs, -penalty)


@mistake("All rows have the same w here. Each row has a function of its own: use only the examples of that row.")
def all_rows_pooled(inputs, outputs, penalty):
    w = ridge(inputs.flatten(0, 1)[None], outputs.flatten()[None], penalty)
    return w.expand(len(inputs), -1).clone()


@mistake("The penalty is squared here. It is passed as noise^2 / scale^2 already.")
def penalty_squared(inputs, outputs, penalty):
    return ridge(inputs, outputs, penalty**2)


@mistake(
    "This divides by the penalty, or by the sum of squares and the penalty along each axis alone. The axes of the "
    "inputs are not independent of each other: solve with the whole matrix X'X."
)
def axis_by_axis(inputs, outputs, penalty):
    return (inputs * outputs[..., None]).sum(1) / ((inputs**2).sum(1) + penalty)


@mistake("This is X'y alone, a step along the gradient. Solve (X'X + penalty) w = X'y for w.")
def moment_alone(inputs, outputs, penalty):
    return (inputs * outputs[..., None]).sum(1)


@mistake(
    "The penalty is multiplied by the number of examples here. It counts once: with more examples, it should matter "
    "less and less."
)
def penalty_times_the_examples(inputs, outputs, penalty):
    return ridge(inputs, outputs, penalty * inputs.shape[1])


@mistake("This adds the root of the penalty. Add the penalty itself: it is noise^2 / scale^2 already, and no length.")
def root_of_the_penalty(inputs, outputs, penalty):
    return ridge(inputs, outputs, penalty**0.5)


@mistake(
    "The penalty counts twice here. The derivative of penalty * |w|^2 is 2 * penalty * w, and that of the errors has a "
    "2 as well, so both go."
)
def twice_the_penalty(inputs, outputs, penalty):
    return ridge(inputs, outputs, penalty * 2)


@mistake(
    "These are weights of the *examples*: the matrix is XX', which has a row for each example. w has a number for each "
    "input: the matrix is X'X, `inputs.mT @ inputs`."
)
def weights_of_the_examples(inputs, outputs, penalty):
    n = inputs.shape[1]
    return torch.linalg.solve(inputs @ inputs.mT + penalty * torch.eye(n), outputs[..., None])[..., 0]


@mistake(
    "Each X'y is divided by one number, the sum of all squares and the penalty. That is right in one dimension. In "
    "several, the sum of squares becomes the matrix X'X, and dividing becomes solving."
)
def divided_by_one_number(inputs, outputs, penalty):
    return (inputs * outputs[..., None]).sum(1) / ((inputs**2).sum((1, 2)) + penalty)[:, None]


@mistake(
    "`1 / matrix` divides entry by entry, and is no inverse. `torch.linalg.inv` is, and `torch.linalg.solve` needs "
    "none."
)
def one_over_each_entry(inputs, outputs, penalty):
    gram = inputs.mT @ inputs + penalty * torch.eye(inputs.shape[-1])
    return (1 / gram @ (inputs.mT @ outputs[..., None]))[..., 0]


@mistake(
    "This multiplies X'y by the matrix. The equation is (X'X + penalty) w = X'y: solve it for w, which in one "
    "dimension would be dividing."
)
def multiplied_instead_of_solved(inputs, outputs, penalty):
    gram = inputs.mT @ inputs + penalty * torch.eye(inputs.shape[-1])
    return (gram @ (inputs.mT @ outputs[..., None]))[..., 0]


EXAMPLE_BY_EXAMPLE = (
    "Each example gives a w of its own here. One w has to fit all examples of a row: add up X'X and X'y over the "
    "examples first, then solve."
)


@mistake(EXAMPLE_BY_EXAMPLE)
def example_by_example(inputs, outputs, penalty):
    return (inputs * outputs[..., None] / (inputs**2 + penalty)).sum(1)


@mistake(EXAMPLE_BY_EXAMPLE)
def mean_of_the_examples(inputs, outputs, penalty):
    return (inputs * outputs[..., None] / (inputs**2 + penalty)).mean(1)


@mistake("This adds 1 / penalty. The larger the penalty, the smaller w has to be: add the penalty itself.")
def one_over_the_penalty(inputs, outputs, penalty):
    return ridge(inputs, outputs, 1 / penalty)


@mistake("The identity is added without the penalty. Multiply it: `penalty * torch.eye(d)`.")
def identity_alone(inputs, outputs, penalty):
    return ridge(inputs, outputs, 1.0)


EXERCISE = Exercise(
    id="ridge",
    title="The best guess of a noisy line",
    points=2,
    minutes=12,
    difficulty=2,
    kind="derive",
    hints=(
        "Set the derivative of the sum to 0. In one dimension: what is w? In several, the sum of squares becomes the "
        "matrix X'X, and dividing becomes `torch.linalg.solve`.",
        "The derivative is 2 X'(X w - y) + 2 penalty w. Bring all that multiplies w to one side: it is a matrix, and "
        "the penalty stands on its diagonal. `torch.linalg.solve(matrix, column)` solves for a whole batch; "
        "`outputs[..., None]` makes columns.",
    ),
    reference=ridge,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, The best that anybody could do",
)
