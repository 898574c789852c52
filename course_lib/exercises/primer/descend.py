"""Gradient descent: a table of scores learns which symbol follows which."""

import torch
import torch.nn.functional as F

from course_lib.exercises.spec import (
    Case,
    Exercise,
    WrongAnswer,
    alternative,
    alternatives_in,
    mistake,
    mistakes_in,
)


def descend(scores, inputs, targets, lr, steps):
    scores = scores.clone().requires_grad_()
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(scores[inputs], targets)
        loss.backward()
        with torch.no_grad():
            scores -= lr * scores.grad
        scores.grad = None
        losses.append(loss.item())
    return scores.detach(), losses


def cases(rng):
    def drawn(n_symbols, n_pairs, lr, steps):
        scores = torch.randn(n_symbols, n_symbols, generator=rng, dtype=torch.float64)
        inputs, targets = torch.randint(n_symbols, (2, n_pairs), generator=rng)
        return scores, inputs, targets, lr, steps

    return [
        Case("one step", drawn(3, 5, 0.5, 1)),
        Case("two steps", drawn(4, 6, 1.0, 2)),
        Case("five steps", drawn(4, 20, 2.0, 5)),
    ]


def run_case(subject, scores, inputs, targets, lr, steps):
    """The table and the losses; a tensor equals its number, so tensors are refused here."""
    answer = subject(scores, inputs, targets, lr, steps)
    losses = answer[1] if isinstance(answer, (list, tuple)) and len(answer) == 2 else None
    if isinstance(losses, (list, tuple)) and any(isinstance(loss, torch.Tensor) for loss in losses):
        raise WrongAnswer(
            "the losses are still tensors, each with all that was recorded to compute it, and the plot of the lab "
            "cannot draw them. `loss.item()` is the Python number."
        )
    return answer


@alternative
def with_autograd_grad(scores, inputs, targets, lr, steps):
    losses = []
    for _ in range(steps):
        scores = scores.detach().requires_grad_()
        loss = F.cross_entropy(scores[inputs], targets)
        (gradient,) = torch.autograd.grad(loss, scores)
        scores = scores - lr * gradient
        losses.append(loss.item())
    return scores.detach(), losses


@alternative
def with_an_optimizer(scores, inputs, targets, lr, steps):
    parameter = torch.nn.Parameter(scores.clone())
    optimizer = torch.optim.SGD([parameter], lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(parameter[inputs], targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return parameter.data, losses


def followed(scores, inputs, targets, lr, steps, keep=0.0, sign=-1.0):
    """Descent with a share of the earlier gradients kept, or with another sign."""
    losses, gradient = [], torch.zeros_like(scores)
    for _ in range(steps):
        leaf = scores.detach().requires_grad_()
        loss = F.cross_entropy(leaf[inputs], targets)
        gradient = keep * gradient + torch.autograd.grad(loss, leaf)[0]
        scores = scores + sign * lr * gradient
        losses.append(loss.item())
    return scores.detach(), losses


@mistake(
    "The fault is still there. The first step is right, the second is not: what is different when it begins?",
    given=True,
)
def gradients_pile_up(scores, inputs, targets, lr, steps):
    return followed(scores, inputs, targets, lr, steps, keep=1.0)


@mistake("This climbs: the gradient points up, where the loss grows. Subtract it.")
def climbs(scores, inputs, targets, lr, steps):
    return followed(scores, inputs, targets, lr, steps, sign=1.0)


@mistake(
    "The scores never change. Either nothing is subtracted from them, or the gradient is 0 by then: empty it when the "
    "step is done, not between `backward` and the step."
)
def never_changes(scores, inputs, targets, lr, steps):
    return followed(scores, inputs, targets, lr, steps, sign=0.0)


@mistake("The learning rate is left out: the step is `lr * scores.grad`.")
def no_learning_rate(scores, inputs, targets, lr, steps):
    return followed(scores, inputs, targets, 1.0, steps)


@mistake(
    "The loss is the sum over the pairs here, so a step is as many times as long as there are pairs. Take their mean, "
    "as `F.cross_entropy` does by itself."
)
def sum_over_the_pairs(scores, inputs, targets, lr, steps):
    learned, losses = followed(scores, inputs, targets, lr * len(inputs), steps)
    return learned, [len(inputs) * loss for loss in losses]


@mistake("The losses are one step late: note the loss that was computed before the step.")
def one_step_late(scores, inputs, targets, lr, steps):
    learned, losses = followed(scores, inputs, targets, lr, steps)
    return learned, [*losses[1:], F.cross_entropy(learned[inputs], targets).item()]


COMPUTED_ONCE = (
    "Every step goes where the first one went: the gradient was computed once, before the loop. The scores change with "
    "each step, so loss and gradient have to be computed anew inside it."
)


@mistake(COMPUTED_ONCE)
def gradient_computed_once(scores, inputs, targets, lr, steps):
    gradient = scores - followed(scores, inputs, targets, 1.0, 1)[0]
    tables = [scores - step * lr * gradient for step in range(steps + 1)]
    return tables[-1], [F.cross_entropy(table[inputs], targets).item() for table in tables[:-1]]


@mistake(COMPUTED_ONCE)
def computed_once(scores, inputs, targets, lr, steps):
    learned, losses = followed(scores, inputs, targets, lr, 1)
    return scores + steps * (learned - scores), steps * losses


@mistake("Rows and columns are swapped: row `inputs[i]` of the table holds the scores for what follows that symbol.")
def swapped(scores, inputs, targets, lr, steps):
    return followed(scores, targets, inputs, lr, steps)


EXERCISE = Exercise(
    id="descend",
    title="Gradient descent, with a fault",
    points=2,
    minutes=8,
    difficulty=2,
    kind="debug",
    hints=(
        "Print `scores.grad` after the first `backward` and after the second. Is the second what the new scores "
        "alone would give?",
        "`backward` adds to the `.grad` that is there already, so each step uses the gradients of all steps before "
        "it, too. It has to be emptied once in each round: when is it no longer needed?",
    ),
    reference=descend,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("torch.optim",),
    see="Primer, One step, a hundred steps",
)
