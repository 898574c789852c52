"""Predict the larger model: a straight line of least squares through the smaller ones."""

import math
import statistics

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def extrapolate(sizes, values, size):
    x, y = sizes - sizes.mean(), values - values.mean()
    slope = (x * y).sum() / (x * x).sum()
    return (values.mean() + slope * (size - sizes.mean())).item()


def cases(rng):
    sizes = torch.tensor([4.0, 8.0, 12.0, 20.0])
    uneven, off_the_line = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 3.0, 2.0])
    return [
        Case("points on a line", (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3]), 5.0)),
        Case(
            "3 points off the line, unevenly spaced", (uneven, off_the_line + 0.5 * torch.rand(3, generator=rng), 8.0)
        ),
        Case("4 random values", (sizes, torch.rand(4, generator=rng), 32.0)),
    ]


@alternative
def by_linear_regression(sizes, values, size):
    slope, height = statistics.linear_regression(sizes.tolist(), values.tolist())
    return slope * size + height


@alternative
def point_by_point(sizes, values, size):
    n = len(sizes)
    mean_x = sum(sizes.tolist()) / n
    mean_y = sum(values.tolist()) / n
    above, below = 0.0, 0.0
    for x, y in zip(sizes.tolist(), values.tolist(), strict=True):
        above += (x - mean_x) * (y - mean_y)
        below += (x - mean_x) ** 2
    slope = above / below
    return mean_y + slope * (size - mean_x)


def line_through(first, last, sizes, values, size):
    """The line through two of the points, given by their places, continued to `size`."""
    slope = (values[last] - values[first]) / (sizes[last] - sizes[first])
    return (values[last] + slope * (size - sizes[last])).item()


@mistake("This line goes through the origin; let it have a height of its own as well as a slope.")
def through_the_origin(sizes, values, size):
    return ((sizes * values).sum() / (sizes * sizes).sum() * size).item()


@mistake("This line joins the first point and the last, and ignores those between: fit it to all of them.")
def first_and_last_point(sizes, values, size):
    return line_through(0, -1, sizes, values, size)


@mistake("This continues the last two points; fit the line to all of them.")
def last_two_points(sizes, values, size):
    return line_through(-2, -1, sizes, values, size)


@mistake("This is the mean of the values; the slope is missing.")
def mean_of_the_values(sizes, values, size):
    return values.mean().item()


@mistake("This is a line over the logarithm of the size; take the size itself.")
def over_the_logarithm(sizes, values, size):
    return extrapolate(sizes.log(), values, math.log(size))


def slope_of(sizes, values):
    x, y = sizes - sizes.mean(), values - values.mean()
    return (x * y).sum() / (x * x).sum()


def line_of(slope, sizes, values, size):
    """The line with this slope through the point of the means."""
    return (values.mean() + slope * (size - sizes.mean())).item()


@mistake("The slope is upside down: it says how much the values rise per unit of size. Divide by the sizes' squares.")
def slope_upside_down(sizes, values, size):
    return line_of(1 / slope_of(sizes, values), sizes, values, size)


@mistake("The slope is divided by the squares of the values. It is those of the sizes, over which the line is drawn.")
def divided_by_the_values(sizes, values, size):
    return line_of(slope_of(values, sizes), sizes, values, size)


@mistake("This is the slope alone. The line also has a height: it goes through the point of both means.")
def slope_alone(sizes, values, size):
    return slope_of(sizes, values).item()


@mistake("This is the slope times `size`: a line through the origin. It has to go through the point of both means.")
def without_a_height(sizes, values, size):
    return (slope_of(sizes, values) * size).item()


@mistake(
    "The mean of the values is the height of the line above the *mean* size, and this takes it for that at 0. Count "
    "`size` from the mean size."
)
def from_zero(sizes, values, size):
    return (values.mean() + slope_of(sizes, values) * size).item()


@mistake("Right slope, but the line starts from the first point. It goes through the point of both means.")
def from_the_first_point(sizes, values, size):
    return (values[0] + slope_of(sizes, values) * (size - sizes[0])).item()


@mistake("Right slope, but the line starts from the last point. It goes through the point of both means.")
def from_the_last_point(sizes, values, size):
    return (values[-1] + slope_of(sizes, values) * (size - sizes[-1])).item()


NOT_CENTRED = (
    "The slope is made of sizes and values as they are. Take the mean off the sizes, and off the values, before you "
    "multiply: in both sums."
)


@mistake(NOT_CENTRED)
def not_centred(sizes, values, size):
    return line_of((sizes * values).sum() / (sizes * sizes).sum(), sizes, values, size)


@mistake(NOT_CENTRED)
def not_centred_below(sizes, values, size):
    return line_of(((sizes - sizes.mean()) * values).sum() / (sizes * sizes).sum(), sizes, values, size)


@mistake("Sizes and values are exchanged: the line gives a value for a size.")
def exchanged(sizes, values, size):
    return line_of(slope_of(values, sizes), values, sizes, size)


@mistake(
    "The slope is one spread over the other. That leaves out how closely the values follow the sizes: the products of "
    "both deviations say it."
)
def ratio_of_spreads(sizes, values, size):
    return line_of(values.std() / sizes.std(), sizes, values, size)


UNLIKE = (
    "The two parts of the slope are not alike: one is a sum, and the other a mean. Use sums in both, or means in both."
)


@mistake(UNLIKE)
def mean_over_sum(sizes, values, size):
    return line_of(slope_of(sizes, values) / len(sizes), sizes, values, size)


@mistake(UNLIKE)
def sum_over_mean(sizes, values, size):
    return line_of(slope_of(sizes, values) * len(sizes), sizes, values, size)


@mistake(
    "One of the two sums is divided by n, and the other by n - 1, as `var` does. Use sums in both, or means in both."
)
def mean_over_variance(sizes, values, size):
    x, y = sizes - sizes.mean(), values - values.mean()
    return line_of((x * y).mean() / sizes.var(), sizes, values, size)


@mistake(
    "This is the mean of the slopes from each point to the next. The line of least squares fits all points at once."
)
def mean_of_slopes(sizes, values, size):
    slope = ((values[1:] - values[:-1]) / (sizes[1:] - sizes[:-1])).mean()
    return (values[-1] + slope * (size - sizes[-1])).item()


@mistake("This makes the values grow in proportion to the size, from the last point. A line also has a height.")
def in_proportion(sizes, values, size):
    return (values[-1] * size / sizes[-1]).item()


@mistake("The line goes down where it should go up: the slope is added, times how far `size` is *above* the mean size.")
def sign_flipped(sizes, values, size):
    return line_of(-slope_of(sizes, values), sizes, values, size)


@mistake("This is a parabola. A straight line is asked for: a height and a slope, no square of the sizes.")
def parabola(sizes, values, size):
    powers = torch.stack([sizes**2, sizes, torch.ones_like(sizes)], dim=1).double()
    a, b, c = torch.linalg.lstsq(powers, values.double()[:, None], driver="gelsd").solution.flatten().tolist()
    return a * size**2 + b * size + c


EXERCISE = Exercise(
    id="extrapolate",
    title="Predict the larger model",
    points=2,
    minutes=10,
    difficulty=2,
    kind="code",
    hints=(
        "The line of least squares goes through the point of both means. Its slope is the sum of the products of both "
        "deviations over the sum of the squared deviations of the sizes.",
        "With `x = sizes - sizes.mean()`, and y likewise, the slope is one sum over another. Then begin at the point "
        "of both means: how far is `size` from there, and how much does the line rise on the way?",
    ),
    reference=extrapolate,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Could it have been predicted?",
)
