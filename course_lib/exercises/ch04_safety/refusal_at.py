"""How much can be refused rightly when only so much may be refused wrongly: the height of the frontier at a limit."""

import itertools

import torch

from course_lib.exercises.ch04_safety.frontier import frontier
from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def refusal_at(points, limit):
    below = int((points[:, 0] <= limit).sum()) - 1
    x, y = points[below].tolist()
    if below == len(points) - 1:
        return y
    next_x, next_y = points[below + 1].tolist()
    return y + (next_y - y) * (limit - x) / (next_x - x)


def cases(rng):
    steep = torch.tensor([[0.0, 0.0], [0.0, 0.25], [0.0, 0.5], [0.25, 0.875], [1.0, 1.0]])
    place, limit = (0.05 + torch.rand(2, generator=rng) * torch.tensor([0.15, 0.6])).tolist()
    return [
        Case("no false refusal is allowed", (steep, 0.0), expected=0.5),
        Case("halfway between two points", (steep, 0.125), expected=0.6875),
        Case("somewhere between them", (steep, place), expected=0.5 + 1.5 * place),
        Case("exactly at a point", (steep, 0.25), expected=0.875),
        Case("everything is allowed", (steep, 1.0), expected=1.0),
        Case("a limit of 0.3 on a random frontier", (frontier(torch.rand(9, generator=rng)), 0.3)),
        Case("a random limit", (frontier(torch.rand(14, generator=rng)), limit)),
        Case("a random limit below 0.2", (frontier(torch.rand(12, generator=rng)), place)),
    ]


@alternative
def by_the_best_of_all_lines(points, limit):
    points = points.tolist()
    best = max(y for x, y in points if x <= limit)
    for x, y in points:
        for x2, y2 in points:
            if x <= limit < x2:
                best = max(best, y + (y2 - y) * (limit - x) / (x2 - x))
    return best


@alternative
def piece_by_piece(points, limit):
    points = points.tolist()
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        if x <= limit < next_x:
            return y + (next_y - y) * (limit - x) / (next_x - x)
    return points[-1][1]


@mistake(
    "This is the last point within the limit. More can be had: refuse the next request too, but only now and then. "
    "That reaches every point of the straight line to the next point."
)
def last_point_within(points, limit):
    return points[points[:, 0] <= limit][-1, 1].item()


@mistake(
    "This is the first point at the limit or beyond it, where more may be refused falsely than is allowed. Go along "
    "the straight line only as far as the limit."
)
def first_point_beyond(points, limit):
    return points[points[:, 0] >= limit][0, 1].item()


@mistake(
    "This is the height of the nearest point, which may be beyond the limit. Find the points on either side of the "
    "limit, and go along the straight line between them."
)
def nearest_point(points, limit):
    return points[(points[:, 0] - limit).abs().argmin(), 1].item()


@mistake("The columns are exchanged. x, the false refusal, is column 0, and the limit is a limit on x.")
def columns_exchanged(points, limit):
    return refusal_at(points.flip(1), limit)


@mistake(
    "Several points may have the same x. Take the highest of them: even when no false refusal at all is allowed, some "
    "requests can be refused."
)
def lowest_of_equal_x(points, limit):
    below = int((points[:, 0] < limit).sum()) - 1
    if below < 0:
        return points[0, 1].item()
    x, y = points[below].tolist()
    next_x, next_y = points[below + 1].tolist()
    return y + (next_y - y) * (limit - x) / (next_x - x)


@mistake(
    "Several points have the same x here, and your piece of the frontier goes straight up: 0 / 0 is nan. Begin at the "
    "*last* point whose x is within the limit, and the next one lies to the right of it."
)
def first_piece_that_holds_the_limit(points, limit):
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        if x <= limit <= next_x:
            return float(y + (next_y - y) * (limit - x) / (next_x - x))
    return points[-1, 1].item()


@mistake(
    "This is the last point *before* the limit. A point exactly at the limit is allowed; and more can be had: go along "
    "the straight line to the next point, as far as the limit."
)
def last_point_before(points, limit):
    before = points[points[:, 0] < limit]
    return before[-1, 1].item() if len(before) else 0.0


def between(points, limit, height):
    """The height between the last point within the limit and the next, by a rule of one's own."""
    k = int((points[:, 0] <= limit).sum()) - 1
    return height(*points[k].tolist(), *points[k + 1].tolist()) if k < len(points) - 1 else points[-1, 1].item()


@mistake(
    "This is the middle between two points, wherever the limit lies between them. Go from the first to the second by "
    "the share (limit - x) / (x2 - x) of the way."
)
def always_halfway(points, limit):
    return between(points, limit, lambda x, y, next_x, next_y: (y + next_y) / 2)


@mistake(
    "The way is measured from the wrong end: where the limit lies at the first point, this is the second. The share of "
    "the way that you may go is (limit - x) / (x2 - x)."
)
def from_the_far_end(points, limit):
    return between(points, limit, lambda x, y, next_x, next_y: y + (next_y - y) * (next_x - limit) / (next_x - x))


@mistake("This is how far the line rises from the last point within the limit. Add the height of that point.")
def rise_alone(points, limit):
    return between(points, limit, lambda x, y, next_x, next_y: (next_y - y) * (limit - x) / (next_x - x))


@mistake("The share of the way is (limit - x) divided by the whole way, x2 - x. Here it is not divided.")
def not_divided_by_the_way(points, limit):
    return between(points, limit, lambda x, y, next_x, next_y: y + (next_y - y) * (limit - x))


@mistake(
    "This goes along a line from (0, 0). The line that counts is the one between the two points next to the limit: it "
    "begins at the last point within it."
)
def line_from_the_origin(points, limit):
    return between(points, limit, lambda x, y, next_x, next_y: y * limit / x if x else y)


@mistake(
    "This goes along one line from the first point to the last. The frontier lies above it: take the two points next "
    "to the limit, on either side."
)
def line_from_end_to_end(points, limit):
    (x, y), (last_x, last_y) = points[0].tolist(), points[-1].tolist()
    return y + (last_y - y) * (limit - x) / (last_x - x)


@mistake(
    "Where everything is allowed, nothing comes back: behind the last point there is no next one. The height is that "
    "of the last point then."
)
def nothing_at_the_end(points, limit):
    return refusal_at(points, limit) if limit < points[-1, 0] else None


@mistake(
    "With a limit of 0 your loop finds no piece, and the last point comes back. A point exactly at the limit is "
    "allowed: begin at the last point whose x is at most the limit."
)
def the_end_where_nothing_is_before(points, limit):
    if not (points[:, 0] < limit).any():
        return points[-1, 1].item()
    return refusal_at(points, limit)


@mistake(
    "Several points have the same x, and you take the second of them. Take the *highest*, the last one with this x."
)
def second_of_equal_x(points, limit):
    for (x, y), (next_x, next_y) in itertools.pairwise(points.tolist()):
        if x <= limit <= next_x:
            return next_y if next_x == x else y + (next_y - y) * (limit - x) / (next_x - x)
    return points[-1, 1].item()


@mistake("The slope is upside down. It is how far the line rises, y2 - y, divided by how far it goes, x2 - x.")
def slope_upside_down(points, limit):
    return between(
        points, limit, lambda x, y, next_x, next_y: y + (next_x - x) * (limit - x) / (next_y - y) if next_y > y else y
    )


@mistake(
    "The way is measured from 0. It begins at the last point within the limit: of the way from x to x2, you may go "
    "limit - x."
)
def way_from_0(points, limit):
    return between(points, limit, lambda x, y, next_x, next_y: y + (next_y - y) * limit / next_x)


@mistake(
    "This is the point behind the last one within the limit, so more is refused falsely than is allowed. Go along the "
    "straight line to it only as far as the limit."
)
def next_point(points, limit):
    return between(points, limit, lambda x, y, next_x, next_y: next_y)


EXERCISE = Exercise(
    id="refusal_at",
    title="Within a limit",
    points=2,
    minutes=10,
    difficulty=2,
    kind="code",
    hints=(
        "Find the last point whose x is within the limit. How far is it from there to the next, and how far may you "
        "go?",
        "Of the way from the last point (x, y) within the limit to the next, (x2, y2), you may go the share (limit - "
        "x) / (x2 - x). How far up does that bring you? Behind the last point there is no next.",
    ),
    reference=refusal_at,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, The best that can be had",
)
