"""Bars and curves of recorded data as HTML, in the page's own colours; `chart.css` has their look.

All positions are shares of the plot, so that a chart is as wide as its column and its letters keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from course_lib.tables import formatted

from .number import SUPERSCRIPT

LINE_OF_TEXT = 0.075  # of the height of a plot of curves
LETTERS_IN_LINE = 20  # of a name beside it
N_COLOURS = 6  # in chart.css, as in course_lib.show.theme


@dataclass(frozen=True)
class Axis:
    """One axis of a chart: the values at its ends, linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value stands: 0 at the low end, 1 at the high one; beyond them at the end."""
        low, high, value = (math.log(max(x, 1e-300)) if self.log else x for x in (self.low, self.high, value))
        return min(1.0, max(0.0, (value - low) / ((high - low) or 1)))

    def ticks(self) -> list[float]:
        from matplotlib.ticker import LogLocator, MaxNLocator

        few = self.log and self.high < 200 * self.low  # decades: then 2 and 5 are ticks as well
        log = LogLocator(subs=(1, 2, 5) if few else (1,), numticks=6)
        locator = log if self.log else MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
        slack = 1e-9 * (self.high - self.low)
        return [
            x
            for x in map(float, locator.tick_values(self.low, self.high))
            if self.low - slack <= x <= self.high + slack
        ]

    def text(self, tick: float) -> str:
        """A tick as text; on a logarithmic axis that goes far from 1 as a power of ten, for which there is room."""
        far = self.log and max(abs(math.log10(max(end, 1e-300))) for end in (self.low, self.high)) > 5
        power = round(math.log10(tick)) if far and tick > 0 else 0
        if abs(power) > 3 and math.isclose(tick, 10.0**power):
            return "10" + str(power).translate(SUPERSCRIPT)
        return signed(f"{tick:,g}")


def percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def signed(text: str) -> str:
    return text.replace("-", "\u2212")


# Bars


def bars(rows: Iterable[str]) -> str:
    return f'<div class="bars">{"".join(rows)}</div>'


def bar(
    name: str, text: str, value: float | None, axis: Axis, kind: str, span: tuple[float, float] | None = None
) -> str:
    """One row: its name (HTML), its bar from zero, its number. `kind` is "value", "control" or "chance"."""
    inside = ""
    if value is not None:
        zero, end = axis.share(0.0), axis.share(value)
        left, width = (end, 0.0) if kind == "chance" else (min(zero, end), abs(end - zero))
        inside = f'<span class="bars-bar" style="left:{percent(left)};width:{percent(width)}"></span>'
    if span:
        low, high = map(axis.share, span)
        inside += f'<span class="bars-span" style="left:{percent(low)};width:{percent(high - low)}"></span>'
    return (
        f'<div class="bars-row" data-kind="{kind}"><span class="bars-name">{name}</span>'
        f'<span class="bars-track">{inside}</span><span class="bars-value">{escape(text)}</span></div>'
    )


def recorded_bars(data: Mapping[str, Any]) -> str:
    """The bars that a lab drew, with its control and its chance level."""
    low, high = data["xlim"]
    chance = data["chance"]
    axis = Axis(min(low, 0.0), high)
    rows = []
    for row in data["bars"]:
        name = escape(row["label"]) + (
            f' <span class="bars-role">{escape(data["role"])}</span>' if row["control"] else ""
        )
        span = (row["low"], row["high"]) if "low" in row else None
        rows.append(
            bar(
                name,
                number(row["value"], data["fmt"]),
                row["value"],
                axis,
                "control" if row["control"] else "value",
                span,
            )
        )
    if chance:
        rows.append(bar(escape(chance["label"]), number(chance["value"], data["fmt"]), chance["value"], axis, "chance"))
    return f'<div class="bars-label">{escape(data["xlabel"])}</div>{bars(rows)}'


def number(value: float | None, fmt: str) -> str:
    return "–" if value is None else signed(formatted(value, fmt))


# Curves


def axes_of(data: Mapping[str, Any]) -> tuple[Axis, Axis]:
    xs = [x for line in data["series"] for x in line["x"] if x is not None and (x > 0 or data["xscale"] != "log")]
    low, high = data["ylim"]
    return Axis(min(xs), max(xs), data["xscale"] == "log"), Axis(low, high, data["yscale"] == "log")


def curves(data: Mapping[str, Any], hidden: Sequence[str] = ()) -> str:
    """The curves that a lab drew, with its chance line. Those in `hidden` have the class `after`."""
    x, y = axes_of(data)
    marks, ends = [], []
    ticks = data["xticks"] or x.ticks()
    marks += [f'<path class="grid" d="M0 {at(1 - y.share(tick))}H1000"/>' for tick in y.ticks()]
    if data["chance"]:
        level = 1 - y.share(data["chance"]["value"])
        marks.append(f'<path class="chance" d="M0 {at(level)}H1000"/>')
        ends.append((1 - level, "chance", f"{data['chance']['label']} {data['chance']['value']:.3g}", False))
    for index, line in enumerate(data["series"]):
        style, off = f"line-{index % N_COLOURS}", line["label"] in hidden
        later = " after" if off else ""
        points = [(x.share(a), 1 - y.share(b)) for a, b in zip(line["x"], line["y"], strict=True) if None not in (a, b)]
        if "low" in line:
            edge = [(x.share(a), 1 - y.share(b)) for a, b in zip(line["x"], line["high"], strict=True) if b is not None]
            back = [(x.share(a), 1 - y.share(b)) for a, b in zip(line["x"], line["low"], strict=True) if b is not None]
            marks.append(f'<path class="range {style}{later}" d="{path([*edge, *reversed(back)])}Z"/>')
        marks.append(f'<path class="line {style}{later}" d="{path(points)}"/>')
        if len(points) <= 20:
            dots = "".join(f"M{at(a)} {at(b)}h0" for a, b in points)
            marks.append(f'<path class="dots {style}{later}" d="{dots}"/>')
        if points:
            ends.append((1 - points[-1][1], f"{style}{later}", line["label"], off))
    ends.sort()
    from course_lib.show.charts import spread  # only here, since it imports matplotlib

    heights = spread([end[0] for end in ends], LINE_OF_TEXT)
    keyed = " keyed" if crowded([end[2] for end in ends], heights) else ""
    names = "".join(
        f'<span class="curves-name {style}" style="bottom:{percent(height)}">{escape(label)}</span>'
        for (_, style, label, _), height in zip(ends, heights, strict=True)
    )
    keys = "".join(f'<li class="{style}">{escape(label)}</li>' for _, style, label, _ in reversed(ends))
    across = "".join(f'<span class="curves-x" style="left:{percent(x.share(t))}">{x.text(t)}</span>' for t in ticks)
    up = "".join(f'<span class="curves-y" style="bottom:{percent(y.share(t))}">{y.text(t)}</span>' for t in y.ticks())
    drawing = f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">{"".join(marks)}</svg>'
    return (
        f'<div class="curves{keyed}"><div class="curves-ylabel">{escape(data["ylabel"])}</div>'
        f'<div class="curves-plot">{drawing}{across}{up}{names}</div>'
        f'<div class="curves-xlabel">{escape(data["xlabel"])}</div>'
        f'<ul class="curves-keys" aria-hidden="true">{keys}</ul></div>'
    )


def crowded(names: Sequence[str], heights: Sequence[float]) -> bool:
    """Whether names beside the plot would cover each other, since some take more than one line."""
    lines = [math.ceil(len(name) / LETTERS_IN_LINE) for name in names]
    room = [(above - below) / LINE_OF_TEXT for below, above in pairwise(heights)]
    return any(free < (a + b) / 2 - 0.1 for free, (a, b) in zip(room, pairwise(lines), strict=True))


def at(share: float) -> str:
    return f"{1000 * share:.1f}"


def path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{at(a)} {at(b)}" for a, b in points) if points else "M0 0"
