"""The loss that a run had reached after so many seconds, read from its curve."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def loss_after(steps, losses, steps_per_second, seconds):
    step = steps_per_second * seconds
    for i in range(len(steps) - 1):
        if steps[i] <= step <= steps[i + 1]:
            share = (step - steps[i]) / (steps[i + 1] - steps[i])
            return losses[i] + share * (losses[i + 1] - losses[i])
    return None


def cases(rng):
    steps = [0, 50, 100, 200, 400]
    losses = [7.6 - 0.8 * i - 0.1 * float(torch.rand((), generator=rng)) for i in range(len(steps))]
    rate = 5 + float(torch.rand((), generator=rng))
    by_hand = [8.0, 6.0, 5.0]
    first, second, third = fall = (torch.tensor(by_hand) + torch.rand(3, generator=rng)).tolist()
    return [
        Case("half way between two points", ([0, 100, 200], by_hand, 10.0, 15.0), expected=5.5),
        Case("a quarter of the way", ([0, 100, 200], fall, 5.0, 5.0), expected=0.75 * first + 0.25 * second),
        Case("three quarters of the way", ([0, 100, 200], fall, 5.0, 15.0), expected=0.25 * first + 0.75 * second),
        Case("exactly on a point", ([0, 100, 200], fall, 4.0, 25.0), expected=second),
        Case("at the start", ([0, 100, 200], fall, 10.0, 0.0), expected=first),
        Case("at the very end", ([0, 100, 200], fall, 10.0, 20.0), expected=third),
        Case("the run was over before that", ([0, 100, 200], by_hand, 10.0, 20.1), expected=None),
        Case("before the first measurement", ([50, 100, 200], by_hand, 10.0, 4.0), expected=None),
        Case("points that are not equally far apart", (steps, losses, rate, 55.0)),
        Case("the same run on a slower machine", (steps, losses, rate / 2, 55.0)),
    ]


@alternative
def with_seconds_on_the_axis(steps, losses, steps_per_second, seconds):
    times = [step / steps_per_second for step in steps]
    if not times[0] <= seconds <= times[-1] + 1e-12:
        return None
    right = next(i for i, time in enumerate(times) if time >= seconds - 1e-12)
    if right == 0:
        return losses[0]
    left = right - 1
    share = (seconds - times[left]) / (times[right] - times[left])
    return (1 - share) * losses[left] + share * losses[right]


@alternative
def from_the_left(steps, losses, steps_per_second, seconds):
    step = steps_per_second * seconds
    if step < steps[0] or step > steps[-1]:
        return None
    found = losses[0]
    for i in range(1, len(steps)):
        slope = (losses[i] - losses[i - 1]) / (steps[i] - steps[i - 1])
        found += slope * min(max(step - steps[i - 1], 0), steps[i] - steps[i - 1])
    return found


def reached(steps, losses, step):
    """The loss at a step, on a straight line between two points; None outside of the curve."""
    for left, right, before, after in zip(steps, steps[1:], losses, losses[1:], strict=False):
        if left <= step <= right:
            return before + (step - left) / (right - left) * (after - before)
    return None


@mistake(
    "This reads the curve at `seconds` as if it were a step. The run makes `steps_per_second` of them in a second."
)
def seconds_as_steps(steps, losses, steps_per_second, seconds):
    return reached(steps, losses, seconds)


@mistake("The step is steps per second *times* seconds, not divided by it.")
def divided(steps, losses, steps_per_second, seconds):
    return reached(steps, losses, seconds / steps_per_second)


@mistake(
    "Where the curve has no point, this takes the loss of the last point before. Draw a straight line from there to "
    "the next point, and read it off."
)
def the_point_before(steps, losses, steps_per_second, seconds):
    step = steps_per_second * seconds
    if not steps[0] <= step <= steps[-1]:
        return None
    return [loss for at, loss in zip(steps, losses, strict=True) if at <= step][-1]


@mistake(
    "Where the curve has no point, this takes the next one: a loss that the run had not reached yet. Draw a straight "
    "line between the two points."
)
def the_next_point(steps, losses, steps_per_second, seconds):
    step = steps_per_second * seconds
    if not steps[0] <= step <= steps[-1]:
        return None
    return next(loss for at, loss in zip(steps, losses, strict=True) if at >= step)


@mistake("This takes the nearest point of the curve. Draw a straight line between the two points around it.")
def the_nearest_point(steps, losses, steps_per_second, seconds):
    step = steps_per_second * seconds
    if not steps[0] <= step <= steps[-1]:
        return None
    return min(zip(steps, losses, strict=True), key=lambda point: abs(point[0] - step))[1]


@mistake(
    "The two ends of the curve were measured as well. Only *before* the first point and *after* the last is the answer "
    "None: compare with `<` and `>`, not with `<=` and `>=`."
)
def ends_left_out(steps, losses, steps_per_second, seconds):
    step = steps_per_second * seconds
    return reached(steps, losses, step) if steps[0] < step < steps[-1] else None


@mistake(
    "The two weights are exchanged: near the left point, the loss should be near that of the left point. A quarter of "
    "the way has three quarters of the left loss."
)
def weights_exchanged(steps, losses, steps_per_second, seconds):
    step = steps_per_second * seconds
    for left, right, before, after in zip(steps, steps[1:], losses, losses[1:], strict=False):
        if left <= step <= right:
            return after + (step - left) / (right - left) * (before - after)
    return None


@mistake(
    "The step is rounded to a whole number before the curve is read. On a straight line there are parts of a step."
)
def whole_steps(steps, losses, steps_per_second, seconds):
    return reached(steps, losses, int(steps_per_second * seconds))


@mistake(
    "Outside of the curve this gives the loss of its first or last point. Nobody measured that: a run that was over "
    "would perhaps have got better. The answer there is None."
)
def ends_go_on(steps, losses, steps_per_second, seconds):
    step = min(max(steps_per_second * seconds, steps[0]), steps[-1])
    return reached(steps, losses, step)


@mistake(
    "The points are not equally far apart: the share of the way is counted between the two points around the step."
)
def equal_distances(steps, losses, steps_per_second, seconds):
    step = steps_per_second * seconds
    if not steps[0] <= step <= steps[-1]:
        return None
    place = (step - steps[0]) / (steps[-1] - steps[0]) * (len(steps) - 1)
    left = min(int(place), len(steps) - 2)
    return losses[left] + (place - left) * (losses[left + 1] - losses[left])


EXERCISE = Exercise(
    id="loss_after",
    title="The loss after so many seconds",
    points=1,
    minutes=10,
    difficulty=1,
    kind="code",
    hints=(
        "At which step was the run after these seconds? Find the two points of the curve around this step. If "
        "there are none, nobody knows.",
        "Look for the i with `steps[i] <= step <= steps[i + 1]`. Which share of the way from the one to the other "
        "has the run gone? The loss has gone the same share of its own way, from `losses[i]` to the next.",
    ),
    reference=loss_after,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, Per step and per second",
)
