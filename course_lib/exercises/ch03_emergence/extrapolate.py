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
        "`x, y = sizes - sizes.mean(), values - values.mean()`, `slope = (x * y).sum() / (x * x).sum()`, then "
        "`values.mean() + slope * (size - sizes.mean())`.",
    ),
    reference=extrapolate,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Could it have been predicted?",
)
