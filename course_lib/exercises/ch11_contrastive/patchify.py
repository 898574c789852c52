"""A picture as a row of tokens: its patches (Dosovitskiy et al. 2021, section 3.1)."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def patchify(images, size):
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, height // size, size, width // size, size)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * size * size)


def cases(rng):
    return [
        Case("one grey picture of 4 x 4, patches of 2", (torch.arange(16.0).reshape(1, 1, 4, 4), 2)),
        Case("two pictures in colour, 6 x 6, patches of 3", (torch.randn(2, 3, 6, 6, generator=rng), 3)),
        Case("wider than high: 4 x 8, patches of 2", (torch.randn(2, 3, 4, 8, generator=rng), 2)),
        Case("higher than wide: 9 x 3, patches of 3", (torch.randn(1, 2, 9, 3, generator=rng), 3)),
    ]


@alternative
def by_unfold(images, size):
    return torch.nn.functional.unfold(images, size, stride=size).transpose(1, 2)


@alternative
def by_slices(images, size):
    height, width = images.shape[2:]
    found = []
    for top in range(0, height, size):
        for left in range(0, width, size):
            found.append(images[:, :, top : top + size, left : left + size].flatten(1))
    return torch.stack(found, dim=1)


@mistake(
    "This cuts the row of numbers into equal pieces, as `reshape` alone does. A patch is a square: its rows lie far "
    "apart in memory. Split height and width into two axes each, and move the axes with `permute` before you join them."
)
def reshape_alone(images, size):
    return images.reshape(len(images), -1, images.shape[1] * size * size)


def reordered(images, size, *order):
    """The reference, with the six axes in another order."""
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, height // size, size, width // size, size)
    return grid.permute(order).reshape(batch, -1, channels * size * size)


@mistake(
    "The patches come column by column. They should come as one reads: the top row from left to right, then the next."
)
def column_by_column(images, size):
    return reordered(images, size, 0, 4, 2, 1, 3, 5)


@mistake(
    "In each patch the three colours of a pixel stand together. All of its first channel should come first, then all "
    "of the second: the channels before the rows and columns, as in `images`."
)
def channels_last(images, size):
    return reordered(images, size, 0, 2, 4, 3, 5, 1)


@mistake("Each patch is turned over: its columns are read before its rows. Within a patch, too, read row by row.")
def patches_turned_over(images, size):
    return reordered(images, size, 0, 2, 4, 1, 5, 3)


@mistake(
    "These are not squares: each takes every so many pixels from all over the picture. The first of the two axes that "
    "`height` is split into says which patch, the second says where in it: `height // size, size`, in this order."
)
def spread_over_the_picture(images, size):
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, size, height // size, size, width // size)
    return grid.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, channels * size * size)


@mistake(
    "All patches of the first channel come before those of the second, and then they are joined across patches. The "
    "channels belong *into* each patch: move their axis behind the two that say which patch."
)
def channel_by_channel(images, size):
    return reordered(images, size, 0, 1, 2, 4, 3, 5)


def cut_at(images, size, tops, lefts):
    found = [images[:, :, top : top + size, left : left + size].flatten(1) for top in tops for left in lefts]
    return torch.stack(found, dim=1)


@mistake(
    "The patches overlap: each begins one pixel after the one before. They lie side by side, `size` pixels apart: "
    "`range(0, height, size)`."
)
def one_pixel_apart(images, size):
    height, width = images.shape[2:]
    return cut_at(images, size, range(height - size + 1), range(width - size + 1))


@mistake(
    "Patch number i begins at pixel i here, so the patches overlap, and the rest of the picture is missing. It begins "
    "at pixel `i * size`."
)
def not_times_size(images, size):
    height, width = images.shape[2:]
    return cut_at(images, size, range(height // size), range(width // size))


@mistake(
    "Some patches are written over others, and the last places stay empty. The patch in row i and column j of the grid "
    "is number `i * (width // size) + j`."
)
def places_added(images, size):
    rows, columns = images.shape[2] // size, images.shape[3] // size
    places = {i + j: i * columns + j for i in range(rows) for j in range(columns)}
    patches = patchify(images, size)
    empty = torch.zeros_like(patches[:, 0])
    return torch.stack([patches[:, places[k]] if k in places else empty for k in range(rows * columns)], dim=1)


@mistake("Each patch has its first channel alone. All channels belong into it, one after the other.")
def first_channel_alone(images, size):
    return patchify(images[:, :1], size)


EXERCISE = Exercise(
    id="patchify",
    title="A picture as tokens",
    points=1,
    minutes=8,
    difficulty=2,
    kind="code",
    hints=(
        "Split the height into (which patch, where in it), and the width too. That makes six axes. Which three say "
        "where in a patch a number stands?",
        "One `reshape` splits both: each length becomes two, how many patches fit and `size`, in this order. Before "
        "you join axes, `permute` puts the batch first, then the two that say which patch, then the three that say "
        "where in it.",
    ),
    reference=patchify,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, A picture as tokens",
)
