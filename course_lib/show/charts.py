"""Curves and bars with their labels written beside them, and the chance level drawn in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from course_lib.show.theme import DASHES, INK, MARKERS, PALETTE

SIZE = 10  # points; at 100 px an inch this is 14 px on the page


def axes(width: float = 6.4, height: float = 3.6, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure and its axes in the course's style, for a plot that no other function here draws. Sizes in inches."""
    fig = Figure(figsize=(width, height), layout="constrained")
    grid = fig.subplots(rows, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_facecolor("none")
        ax.tick_params(colors=INK, labelsize=SIZE - 1)
        ax.xaxis.label.set(color=INK, size=SIZE)
        ax.yaxis.label.set(color=INK, size=SIZE)
        for side, spine in ax.spines.items():
            spine.set(edgecolor=INK, linewidth=0.8, visible=side in ("left", "bottom"))
    return fig, grid[0, 0] if rows == columns == 1 else grid


def entitle(ax: Axes, title: str | None, pad: float = 8) -> None:
    if title:
        ax.set_title(title, loc="left", color=INK, size=SIZE + 1, pad=pad)


def array(values: Any) -> np.ndarray:
    """Numbers from a list, an array or a tensor, on any device, with or without gradients."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    return np.asarray(values, dtype=float)


def curves(
    series: Mapping[str, Any],
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    chance: float | None = None,
    chance_label: str = "chance",
    xscale: str = "linear",
    yscale: str = "linear",
    xticks: Sequence[float] | None = None,
    ylim: tuple[float, float] | None = None,
    markers: bool | None = None,
) -> Figure:
    """Lines of one quantity over another, each named at its right end: at its last point that can be drawn.

    series: {label: ys} or {label: (xs, ys)}; ys of shape "seeds points" draws the mean and the range over seeds.
    chance: a level to draw as a dashed line and name (accuracy of guessing, a known ceiling).
    xscale, yscale: "linear" or "log".
    markers: draw every point; by default when a line has at most 20.
    Raises ValueError for no series, and for one whose x and y do not fit each other.
    """
    if not series:
        raise ValueError("curves() got no series; pass {label: ys} or {label: (xs, ys)}.")
    fig, ax = axes()
    ends = []
    for i, (label, given) in enumerate(series.items()):
        xs, ys = points(label, given)
        colour = PALETTE[i % len(PALETTE)]
        show_points = markers if markers is not None else len(xs) <= 20
        ax.plot(
            xs,
            ys.mean(0),
            color=colour,
            linewidth=1.8,
            linestyle=DASHES[i % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)] if show_points else None,
            markersize=5,
        )
        if len(ys) > 1:
            ax.fill_between(xs, ys.min(0), ys.max(0), color=colour, alpha=0.2, linewidth=0)
        ends.append((label, colour, *last_drawn(xs, ys.mean(0), xscale == "log", yscale == "log")))
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale)
    if xticks is not None:
        ax.set_xticks(xticks, [f"{x:g}" for x in xticks])
        ax.minorticks_off()
    if ylim is not None:
        ax.set_ylim(*ylim)
    entitle(ax, title)
    if chance is not None:
        ax.axhline(chance, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        ends.append((f"{chance_label} {chance:.3g}", INK, None, chance))
    name_at_end(ax, ends, fig.get_figheight())
    return fig


def points(label: str, given: Any) -> tuple[np.ndarray, np.ndarray]:
    """xs of shape "points" and ys of shape "seeds points" from what the caller passed for one label."""
    xs, ys = given if isinstance(given, tuple) and len(given) == 2 else (None, given)
    ys = np.atleast_2d(array(ys))
    xs = np.arange(ys.shape[1]) if xs is None else array(xs)
    if xs.ndim != 1 or ys.shape[1] != len(xs) or len(xs) == 0:
        raise ValueError(f"curves(): {label!r} has xs of shape {xs.shape} and ys of shape {ys.shape}.")
    return xs, ys


def last_drawn(xs: np.ndarray, ys: np.ndarray, log_x: bool, log_y: bool) -> tuple[float | None, float | None]:
    """The last point of a line that can be drawn: finite, and above 0 on a "log" axis; two None where there is none."""
    there = np.isfinite(xs) & np.isfinite(ys) & ((xs > 0) | (not log_x)) & ((ys > 0) | (not log_y))
    return (float(xs[there][-1]), float(ys[there][-1])) if there.any() else (None, None)


def name_at_end(ax: Axes, ends: Sequence[tuple[str, str, float | None, float | None]], height: float) -> None:
    """Write each label to the right of its line, moved apart where they would overlap.

    ends: (label, colour, x, y); no x for a line across, no y for one that is not there, which is named at the bottom.
    What ends outside the picture is named at its edge.
    """
    to_axes = ax.transData + ax.transAxes.inverted()
    left, bottom = ax.get_xlim()[0], ax.get_ylim()[0]
    tips = []
    for *_, x, y in ends:
        across, up = np.clip(to_axes.transform((left if x is None else x, bottom if y is None else y)), 0, 1)
        tips.append((1.0 if x is None else float(across), float(up)))
    wanted = [up for _, up in tips]
    gap = 1.45 * SIZE / 72 / (height * 0.78)  # a line of text, in axes heights
    for i, y in zip(order(wanted), spread(sorted(wanted), gap), strict=True):
        label, colour, *_ = ends[i]
        ax.annotate(
            label,
            tips[i],
            xytext=(1.045, y),
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


def order(values: Sequence[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda i: values[i])


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Sorted heights, moved as little as possible until neighbours are `gap` apart."""
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
    title: str | None = None,
    controls: Sequence[str] = (),
    role: str = "control",
    chance: float | None = None,
    chance_label: str = "chance",
    xlim: tuple[float, float] | None = None,
    fmt: str = ".3g",
) -> Figure:
    """Horizontal bars with their numbers; the bars named in `controls` are hollow, chance is a dashed line.

    values: {label: value}, or {label: (value, low, high)} to draw an interval.
    role: what is written behind the name of a hollow bar.
    """
    unknown = [name for name in controls if name not in values]
    if not values or unknown:
        raise ValueError(f"bars(): no bar is named {', '.join(unknown)}." if unknown else "bars() got no values.")
    fig, ax = axes(height=0.9 + 0.42 * len(values) + (0.25 if title else 0))
    for row, (label, given) in enumerate(values.items()):
        value, low, high = (float(v) for v in (given if isinstance(given, tuple | list) else (given, given, given)))
        hollow = label in controls
        ax.barh(
            row,
            value,
            height=0.62,
            color="none" if hollow else PALETTE[0],
            edgecolor=PALETTE[1] if hollow else PALETTE[0],
            hatch="///" if hollow else None,
            linewidth=1.2,
        )
        if high > low:
            ax.plot([low, high], [row, row], color=INK, linewidth=1.5, marker="|", markersize=7)
        ax.annotate(
            f"{value:{fmt}}",
            (max(value, high, 0.0), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            size=SIZE,
            color=PALETTE[1] if hollow else PALETTE[0],
        )
    ax.set_yticks(range(len(values)), [f"{k} ({role})" if k in controls else k for k in values], size=SIZE)
    ax.set(xlabel=xlabel, ylim=(len(values) - 0.5, -0.5))
    ax.set_xlim(*xlim) if xlim else ax.margins(x=0.12)
    if fmt.endswith("%"):
        ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.tick_params(axis="y", length=0)
    if chance is not None:
        ax.axvline(chance, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        ax.annotate(
            f"{chance_label} {chance:{fmt}}",
            (chance, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            size=SIZE - 1,
            color=INK,
        )
    entitle(ax, title, pad=18 if chance is not None else 8)
    return fig
