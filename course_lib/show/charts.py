"""Curves and bars, labelled directly, with the chance level drawn in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Real
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from course_lib.show.drawing import describe, level, line_in_words, short, thinned
from course_lib.show.theme import DASHES, INK, MARKERS, PALETTE
from course_lib.tables import formatted

SIZE = 10  # points; at 100 px an inch this is 14 px on the page
CHANCE = {"color": INK, "linewidth": 1, "linestyle": (0, (4, 3))}


def axes(width: float = 6.4, height: float = 3.6, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """Create a figure and its axes in the course's style, for a plot that no other function here draws.

    Args:
        width: The width in inches.
        height: The height in inches.
        rows: The number of rows of axes.
        columns: The number of columns of axes.

    Returns:
        The figure and its axes; an array of axes if there are several.
    """
    with rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        fig = Figure(figsize=(width, height), layout="constrained")
        grid = fig.subplots(rows, columns, squeeze=False)
    for ax in grid.flat:
        ax.tick_params(labelsize=SIZE - 1)
    return fig, grid[0, 0] if rows == columns == 1 else grid


def array(values: Any) -> np.ndarray:
    """Convert a list, an array or a tensor (on any device, with or without gradients) to a NumPy array of floats."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    return np.asarray(values, dtype=float)


def curves(
    series: Mapping[str, Any],
    *,
    xlabel: str,
    ylabel: str,
    chance: float | None = None,
    chance_label: str = "chance",
    xscale: str = "linear",
    yscale: str = "linear",
    xticks: Sequence[float] | None = None,
    ylim: tuple[float, float] | None = None,
    markers: bool | None = None,
) -> Figure:
    """Plot lines of one quantity over another, each labelled at its right end, its last point that can be drawn.

    Args:
        series: The data of each line, {label: ys} or {label: (xs, ys)}. For ys of shape "seeds points" the mean and the
            range over seeds are drawn.
        xlabel: The quantity on the horizontal axis, with its unit.
        ylabel: The quantity on the vertical axis, with its unit.
        chance: A level to draw as a labelled dashed line (the accuracy of guessing, a known ceiling).
        chance_label: The label of that level.
        xscale: "linear" or "log".
        yscale: "linear" or "log".
        xticks: The only ticks on the horizontal axis.
        ylim: The lowest and the highest value on the vertical axis.
        markers: Whether to mark every point; by default only on lines with at most 20 points.

    Raises:
        ValueError: If there are no series, or the x and y of one do not match.
    """
    if not series:
        raise ValueError("curves() got no series; pass {label: ys} or {label: (xs, ys)}.")
    fig, ax = axes()
    ax.set_prop_cycle(color=PALETTE, linestyle=DASHES, marker=MARKERS)
    for label, given in series.items():
        xs, ys = points(label, given)
        (line,) = ax.plot(xs, ys.mean(0), linewidth=1.8, markersize=5)
        if not (len(xs) <= 20 if markers is None else markers):
            line.set_marker("")
        if len(ys) > 1:
            ax.fill_between(xs, ys.min(0), ys.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    lines = dict(zip(series, ax.lines, strict=True))
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale)
    if xticks is not None:
        ax.set_xticks(xticks, [f"{x:,g}" for x in xticks])
        ax.minorticks_off()
    if ylim is not None:
        ax.set_ylim(*ylim)
    if chance is not None:
        ax.axhline(chance, **CHANCE, zorder=0)
    ax.autoscale_view()  # which matplotlib would put off until it draws
    if xscale == "log" and xticks is None:
        write_numbers_out(ax.xaxis)
    if yscale == "log":
        write_numbers_out(ax.yaxis)
    ends = [(label, line.get_color(), end_of(ax, *line.get_data())) for label, line in lines.items()]
    if chance is not None:
        _, height = end_of(ax, ax.get_xlim()[:1], (chance,))
        ends.append((f"{chance_label} {chance:.3g}", INK, (1.0, height)))
    name_at_end(fig, ax, ends)
    given = {label: points(label, of) for label, of in series.items()}
    words = [line_in_words(label, xs, ys.mean(0)) for label, (xs, ys) in given.items()]
    words += [] if chance is None else [f"dashed line, {chance_label}: {chance:.3g}"]
    data = {
        "kind": "curves",
        "xlabel": xlabel,
        "ylabel": ylabel,
        "xscale": xscale,
        "yscale": yscale,
        "xticks": None if xticks is None else [float(x) for x in xticks],
        "ylim": [short(y) for y in ax.get_ylim()],
        "chance": level(chance_label, chance),
        "series": [line_as_data(label, xs, ys) for label, (xs, ys) in given.items()],
    }
    return describe(fig, f"Curves of {ylabel} over {xlabel}. {'; '.join(words)}.", data)


def write_numbers_out(axis: Axis) -> None:
    """Write 0.02 and 5,000 at a logarithmic axis, where matplotlib writes powers of ten; not at one of huge numbers."""
    low, high = axis.get_view_interval()
    if low < 1e-4 or high > 1e6:
        return
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axis.set_minor_locator(NullLocator())


def line_as_data(label: str, xs: Real[np.ndarray, " points"], ys: Float[np.ndarray, "seeds points"]) -> dict[str, Any]:
    """Return a line as data: its mean over seeds and, of several, their range."""
    line: dict[str, Any] = {"label": label, "x": thinned(xs), "y": thinned(ys.mean(0))}
    return line | ({"low": thinned(ys.min(0)), "high": thinned(ys.max(0))} if len(ys) > 1 else {})


def points(label: str, given: Any) -> tuple[Real[np.ndarray, " points"], Float[np.ndarray, "seeds points"]]:
    """Return the xs and ys that the caller passed for one label."""
    xs, ys = given if isinstance(given, tuple) and len(given) == 2 else (None, given)
    ys = np.atleast_2d(array(ys))
    xs = np.arange(ys.shape[1]) if xs is None else array(xs)
    if xs.ndim != 1 or ys.shape[1] != len(xs) or len(xs) == 0:
        raise ValueError(f"curves(): {label!r} has xs of shape {xs.shape} and ys of shape {ys.shape}.")
    return xs, ys


def end_of(ax: Axes, xs: Any, ys: Any) -> tuple[float, float]:
    """Return the end of a line in axes coordinates: its last point that can be drawn, clipped to the axes.

    A point can be drawn if it is finite and, on a "log" axis, above 0. A line without such points ends at the lower
    right.
    """
    line = np.array([xs, ys], dtype=float)
    lowest = [[0 if scale == "log" else -np.inf] for scale in (ax.get_xscale(), ax.get_yscale())]
    drawn = line[:, (np.isfinite(line) & (line > lowest)).all(0)]
    if not drawn.size:
        return 1.0, 0.0
    x, y = np.clip((ax.transData - ax.transAxes).transform(drawn[:, -1]), 0, 1)
    return float(x), float(y)


def name_at_end(fig: Figure, ax: Axes, ends: Sequence[tuple[str, str, tuple[float, float]]]) -> None:
    """Write the labels of lines on the right, moved apart if they would overlap.

    Each of `ends` is (label, colour, end in axes coordinates).
    """
    gap = 1.45 * SIZE / 72 / (fig.get_figheight() * 0.78)  # a line of text, in shares of the axes
    ends = sorted(ends, key=lambda end: end[2][1])
    for (label, colour, end), height in zip(ends, spread([end[1] for *_, end in ends], gap), strict=True):
        ax.annotate(
            label,
            end,
            xytext=(1.045, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            size=SIZE,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 3,
                "relpos": (0, 0.5),  # from the label's left end: from the middle it would cross the label below
            },
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move sorted heights apart, as little as possible, until neighbours are `gap` apart."""
    groups: list[tuple[float, int]] = []  # centre, number of labels
    for height in heights:
        groups.append((height, 1))
        while len(groups) > 1:
            (below, m), (above, n) = groups[-2:]
            if above - below >= gap * (m + n) / 2:
                break
            groups[-2:] = [((below * m + above * n) / (m + n), m + n)]
    return [centre + gap * (k - (n - 1) / 2) for centre, n in groups for k in range(n)]


def bars(
    values: Mapping[str, Any],
    *,
    xlabel: str,
    controls: Sequence[str] = (),
    role: str = "control",
    chance: float | None = None,
    chance_label: str = "chance",
    xlim: tuple[float, float] | None = None,
    fmt: str = ".3g",
) -> Figure:
    """Draw horizontal bars with their numbers.

    Args:
        values: The numbers, {label: value}, or {label: (value, low, high)} to draw an interval.
        xlabel: What the numbers are, with their unit.
        controls: The labels of the bars that are drawn hollow.
        role: The word written after the label of a hollow bar.
        chance: A level to draw as a labelled dashed line.
        chance_label: The label of that level.
        xlim: The lowest and the highest value on the axis.
        fmt: The format of the numbers.

    Raises:
        ValueError: If there are no values, or `controls` names a bar that does not exist.
    """
    unknown = [name for name in controls if name not in values]
    if not values or unknown:
        raise ValueError(f"bars(): no bar is named {', '.join(unknown)}." if unknown else "bars() got no values.")
    fig, ax = axes(height=0.9 + 0.42 * len(values))
    spans = {
        label: tuple(map(float, given if isinstance(given, tuple | list) else (given,) * 3))
        for label, given in values.items()
    }
    numbers = []
    for row, (label, (value, low, high)) in enumerate(spans.items()):
        hollow = label in controls
        colour = PALETTE[1] if hollow else PALETTE[0]
        style = {"color": "none", "hatch": "///"} if hollow else {"color": colour}
        ax.barh(row, value, height=0.62, edgecolor=colour, linewidth=1.2, **style)
        if high > low:
            ax.plot([low, high], [row, row], color=INK, linewidth=1.5, marker="|", markersize=7)
        number = ax.annotate(
            formatted(value, fmt),
            (max(value, high, 0.0), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            size=SIZE,
            color=colour,
        )
        numbers.append(number)
    ax.set_yticks(range(len(values)), [f"{k} ({role})" if k in controls else k for k in values], size=SIZE)
    ax.set(xlabel=xlabel, ylim=(len(values) - 0.5, -0.5))
    ax.set_xlim(*xlim) if xlim else ax.margins(x=0.12)
    if fmt.endswith("%"):
        ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.tick_params(axis="y", length=0)
    if chance is not None:
        ax.axvline(chance, **CHANCE)
        ax.annotate(
            f"{chance_label} {formatted(chance, fmt)}",
            (chance, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            size=SIZE - 1,
        )
        keep_clear(fig, ax, numbers, chance)
    rows = [
        {"label": label, "value": short(value), "control": label in controls}
        | ({"low": short(low), "high": short(high)} if high > low else {})
        for label, (value, low, high) in spans.items()
    ]
    words = [
        f"{label}{f' ({role})' if label in controls else ''} {formatted(value, fmt)}"
        for label, (value, *_) in spans.items()
    ]
    words += [] if chance is None else [f"dashed line, {chance_label}: {formatted(chance, fmt)}"]
    data = {
        "kind": "bars",
        "xlabel": xlabel,
        "fmt": fmt,
        "role": role,
        "xlim": [short(x) for x in ax.get_xlim()],
        "chance": level(chance_label, chance),
        "bars": rows,
    }
    return describe(fig, f"Bars of {xlabel}. {'; '.join(words)}.", data)


def keep_clear(fig: Figure, ax: Axes, numbers: Sequence[Annotation], level: float) -> None:
    """Move each number that a vertical line would cross to the right of the line."""
    fig.draw_without_rendering()  # before, nothing has its place
    line, _ = ax.transData.transform((level, 0))
    for number in numbers:
        box = number.get_window_extent()
        if box.x0 < line < box.x1:
            number.xy = (level, number.xy[1])
