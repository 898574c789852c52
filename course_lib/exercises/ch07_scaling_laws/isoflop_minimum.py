"""The best size at one budget, found from code that fits its parabola over the wrong scale."""

import numpy as np
import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def isoflop_minimum(n, loss):
    x = n.log()
    columns = torch.stack([x**2, x, torch.ones_like(x)], dim=1)
    a, b, _ = torch.linalg.lstsq(columns, loss[:, None]).solution.flatten()
    return (-b / (2 * a)).exp()


def cases(rng):
    def number(low, high):
        return low + (high - low) * torch.rand((), generator=rng, dtype=torch.float64).item()

    def parabola(n_sizes, low, high, noise):
        x = torch.linspace(low, high, n_sizes, dtype=torch.float64) + 0.2 * torch.rand(
            n_sizes, generator=rng, dtype=torch.float64
        )
        best = number(low + 1, high - 1)
        loss = 2 + number(0.05, 0.2) * (x - best) ** 2
        loss = loss + noise * torch.randn(n_sizes, generator=rng, dtype=torch.float64)
        return (x.exp(), loss), torch.tensor(best, dtype=torch.float64).exp()

    by_hand = (
        torch.tensor([1.0, 4, 16], dtype=torch.float64),
        torch.tensor([3.0, 2, 3], dtype=torch.float64),
    )
    small, best_small = parabola(6, 8, 12, 0.0)
    large, best_large = parabola(9, 17, 23, 0.0)
    return [
        Case("by hand: sizes 1, 4, 16", by_hand, expected=torch.tensor(4.0, dtype=torch.float64)),
        Case("6 small models, without noise", small, expected=best_small),
        Case("9 large models, without noise", large, expected=best_large),
        Case("7 small models, with noise", parabola(7, 8, 12, 0.01)[0]),
        Case("8 large models, with noise", parabola(8, 17, 22, 0.01)[0]),
    ]


@alternative
def in_doublings(n, loss):
    doublings = torch.log2(n)
    powers = torch.stack([doublings**k for k in range(3)], dim=1)
    _, b, a = torch.linalg.pinv(powers) @ loss
    return 2 ** (-b / (2 * a))


@alternative
def around_the_middle(n, loss):
    middle = n.log().mean()
    x = n.log() - middle
    columns = torch.stack([torch.ones_like(x), x, x * x])
    _, b, a = torch.linalg.solve(columns @ columns.T, columns @ loss)
    return torch.exp(middle - b / (2 * a))


@alternative
def by_polyfit(n, loss):
    a, b, _ = np.polyfit(np.log(n.numpy()), loss.numpy(), 2)
    return torch.tensor(np.exp(-b / (2 * a)))


@mistake(
    "The fault is still there: this parabola is fitted over the sizes themselves, where the largest few decide. On the "
    "logarithm of the size, equal steps are equal factors.",
    given=True,
)
def over_the_sizes(n, loss):
    scale = n.mean()
    columns = torch.stack([(n / scale) ** 2, n / scale, torch.ones_like(n)], dim=1)
    a, b, _ = torch.linalg.lstsq(columns, loss[:, None]).solution[:, 0]
    return scale * -b / (2 * a)


@mistake("This is the logarithm of the best size. Take `exp` of it.")
def still_a_logarithm(n, loss):
    return isoflop_minimum(n, loss).log()


@mistake("This is the best of the sizes that were tried. The minimum of the curve may lie between two of them.")
def best_tried(n, loss):
    return n[loss.argmin()]


@mistake("The vertex of a x² + b x + c is at -b / (2 a). Here the 2 is missing.")
def without_the_two(n, loss):
    return isoflop_minimum(n, loss) ** 2


@mistake("The sign of the vertex is wrong: it is at *minus* b / (2 a).")
def wrong_sign(n, loss):
    return 1 / isoflop_minimum(n, loss)


@mistake("The logarithm is to another base than the power that undoes it. Use `log` with `exp`.")
def two_bases(n, loss):
    return isoflop_minimum(n, loss).log10().exp()


def _parabola(x, loss):
    """The coefficients of x**2, x and 1."""
    columns = torch.stack([x**2, x, torch.ones_like(x)], dim=1)
    return torch.linalg.lstsq(columns, loss[:, None]).solution.flatten()


@mistake("The logarithm is to another base than the power that undoes it. `log` goes with `exp`, `log2` with `2**`.")
def doublings_and_exp(n, loss):
    return isoflop_minimum(n, loss).log2().exp()


@mistake(
    "The sizes were divided by their mean before the logarithm, and the result is not multiplied by it. After `exp`, "
    "multiply by `scale`; or leave the scale out."
)
def scale_forgotten(n, loss):
    return isoflop_minimum(n, loss) / n.mean()


@mistake(
    "The vertex is still a logarithm, and it is multiplied by `scale`. Take `exp` of the vertex first: then it is a "
    "size."
)
def scaled_logarithm(n, loss):
    return n.mean() * (isoflop_minimum(n, loss) / n.mean()).log()


@mistake("Here the *loss* is on a logarithmic scale, and the size is not. It is the sizes that lie at equal factors.")
def loss_in_logarithms(n, loss):
    return over_the_sizes.solution(n, loss.log())


@mistake("Both are on a logarithmic scale here. The sizes alone: the loss stays as it is.")
def both_in_logarithms(n, loss):
    return isoflop_minimum(n, loss.log())


@mistake("`-b / 2 * a` multiplies by a. The vertex is at -b / (2 a): keep the brackets.")
def multiplied_by_a(n, loss):
    a, b, _ = _parabola(n.log(), loss)
    return (-b / 2 * a).exp()


@mistake(
    "The coefficients are in another order: `solution` has them as the columns stand. In -b / (2 a), a belongs to x² "
    "and b to x."
)
def other_order(n, loss):
    _, b, a = _parabola(n.log(), loss)
    return (-b / (2 * a)).exp()


@mistake("The parabola has no constant: without the column of ones it goes through 0, wherever the losses are.")
def without_a_constant(n, loss):
    x = n.log()
    a, b = torch.linalg.lstsq(torch.stack([x**2, x], dim=1), loss[:, None]).solution.flatten()
    return (-b / (2 * a)).exp()


@mistake("This is the lowest *loss* of the parabola. The size where it is that low is wanted.")
def the_lowest_loss(n, loss):
    a, b, c = _parabola(n.log(), loss)
    return c - b**2 / (4 * a)


@mistake("This is the middle of the sizes, whatever their losses. Fit a parabola to the losses over `n.log()`.")
def the_middle(n, loss):
    return n.log().mean().exp()


@mistake(
    "This looks at three sizes alone, around the best. With noise the others count too: fit the parabola to all of "
    "them."
)
def three_sizes(n, loss):
    best = int(loss.argmin().clamp(1, len(n) - 2))
    return isoflop_minimum(n[best - 1 : best + 2], loss[best - 1 : best + 2])


@mistake("This is fitted over the root of the size. On the *logarithm* of the size, equal steps are equal factors.")
def over_the_root(n, loss):
    a, b, _ = _parabola(n.sqrt(), loss)
    return (b / (2 * a)) ** 2


EXERCISE = Exercise(
    id="isoflop_minimum",
    title="The lowest point of an isoFLOP curve, with a fault",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "Sizes 1, 4, 16 have the losses 3, 2, 3. From 1 to 4 is as far as from 4 to 16, if you count doublings. What "
        "does the code count?",
        "Which function of n grows by the same step whenever n doubles? Fit the parabola over that. Its vertex is then "
        "such a number too: what brings it back to a size?",
    ),
    reference=isoflop_minimum,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, One budget, many sizes",
)
