"""Policies by their two rates: how often they refuse those who mean harm, and how often the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from course_lib.show.charts import CHANCE, SIZE, array, axes
from course_lib.show.drawing import describe
from course_lib.show.theme import INK, MARKERS, PALETTE


def refusal_plane(policies: Mapping[str, tuple[float, float]], best: Any) -> Figure:
    """Draw policies as points, the false refusal across and the refusal upwards, beside the frontier and chance.

    Args:
        policies: {label: (refusal, false refusal)}.
        best: The points of the frontier, (false refusal, refusal) in each row, from (0, 0) to (1, 1).
    """
    frontier = array(best)
    free = max(y for x, y in frontier if x < 1e-6)  # the most that can be refused without a mistake
    full = min(x for x, y in frontier if y > 0.9999)  # the fewest false refusals when all of the harmful are refused
    fig, ax = axes(height=4.2)
    ax.plot(*frontier.T, color=INK, linewidth=1.8)
    ax.annotate("the best possible", (full + 0.03, 0.985), color=INK, va="top")
    ax.plot([0, 1], [0, 1], **CHANCE)
    ax.annotate("chance", (0.62, 0.56), color=INK)
    for i, (label, (refusal, false_refusal)) in enumerate(policies.items()):
        style = {"color": PALETTE[i % len(PALETTE)], "markersize": 8, "label": label}
        ax.plot(false_refusal, refusal, MARKERS[i % len(MARKERS)], **style)
    ax.set(xlabel="false refusal of the benign", ylabel="refusal of the harmful", xlim=(-0.03, 1.03))
    ax.legend(loc="lower right", frameon=False, fontsize=SIZE - 1, labelcolor="linecolor")
    words = [
        "False refusals across, refusals upwards",
        f"The frontier begins at 0 and {free:.2f}; from {full:.2f} on it is 1",
        *(f"{label}: {false:.2f} and {refusal:.2f}" for label, (refusal, false) in policies.items()),
    ]
    return describe(fig, f"{'. '.join(words)}.")
