"""Policies by what they earn and how far they have moved: mean reward over the KL from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from course_lib.show.charts import axes
from course_lib.show.drawing import describe
from course_lib.show.theme import DASHES, INK, MARKERS, PALETTE

Points = Sequence[tuple[float, float]]  # (KL in nats, mean reward) of each policy


def reward_plane(
    exact: Mapping[str, Points],
    trained: Mapping[str, Points],
    best: Mapping[str, tuple[float, float]] | None = None,
    *,
    xlim: tuple[float, float] | None = None,
    legend: str = "lower right",
) -> Figure:
    """Draw exact curves of mean reward over the KL from the reference as lines, and trained policies as points.

    A single curve is drawn in the colour of the axes; several have the colours of the trained policies, in order.

    Args:
        exact: {label: (KL, reward) along the curve}.
        trained: {label: (KL, reward) of its policies}; the description has all points of each.
        best: {label: (KL, reward)} of policies that are drawn as stars.
        xlim: The ends of the horizontal axis.
        legend: Where the legend stands, as matplotlib says it.
    """
    fig, ax = axes()
    words = ["Mean reward over the KL from the reference, in nats"]
    for i, (label, line) in enumerate(exact.items()):
        alone = len(exact) == 1
        colour, dashes = (INK, "--") if alone else (PALETTE[i], DASHES[i])
        ax.plot(*zip(*line, strict=True), color=colour, linestyle=dashes, linewidth=1.2 if alone else 1.6, label=label)
        (near, low), (away, high), top = line[0], line[-1], max(y for _, y in line)
        words.append(
            f"{label}: from {low:.2f} at {near:.2f} nats to {high:.2f} at {away:.2f}, its highest point {top:.2f}"
        )
    for i, (label, dots) in enumerate(trained.items()):
        ax.plot(*zip(*dots, strict=True), MARKERS[i], color=PALETTE[i], markersize=6, label=label)
        words.append(f"{label}: {', '.join(f'{y:.2f} at {x:.2f} nats' for x, y in dots)}")
    for label, (x, y) in (best or {}).items():
        ax.plot(x, y, "*", color=INK, markersize=14, label=label)
        words.append(f"{label}: {y:.2f} at {x:.2f} nats")
    ax.set(xlabel="KL from the reference, in nats", ylabel="mean reward", xlim=xlim)
    ax.legend(frameon=False, labelcolor=INK, loc=legend)
    return describe(fig, f"{'. '.join(words)}.")
