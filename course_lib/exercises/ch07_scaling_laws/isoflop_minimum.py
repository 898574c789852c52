"""The best size at one budget, found from code that fits its parabola over the wrong scale."""

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


@mistake(
    "The fault is still there: this parabola is fitted over the sizes themselves, where the largest few decide. On the "
    "logarithm of the size, equal steps are equal factors."
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
        "Fit the parabola over `n.log()`, and return `exp` of its vertex.",
    ),
    reference=isoflop_minimum,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, One budget, many sizes",
)
