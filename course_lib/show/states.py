"""One slider over states computed in advance, each with maps, numbers and a sentence: live, and on the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import ipywidgets
import numpy as np
from jaxtyping import Float
from matplotlib.colors import Colormap, to_hex
from PIL import Image

from course_lib.show import live
from course_lib.show.charts import array
from course_lib.show.display import display_bundle, required_text
from course_lib.show.theme import DIVERGING, RAMP
from course_lib.show.twin import frame, slide
from course_lib.tables import cell_text

LEVELS = 65  # steps of a colour scale: an odd number, so that 0 has one of its own

Matrix = Float[np.ndarray, "rows columns"]


def slider(
    label: str,
    values: Sequence[Any],
    *,
    title: str,
    maps: Mapping[str, Sequence[Any]] | None = None,
    numbers: Mapping[str, Sequence[Any]] | None = None,
    text: Sequence[str] | None = None,
    fmt: str | Mapping[str, str] | None = None,
    limit: float | None = None,
    start: int = 0,
) -> None:
    """Let the reader choose one of `values`, and show what belongs to it.

    label: what the values are, such as "Rank". start: the place of the value that is shown first.
    maps: {what it shows: a matrix for each value}, Float "rows columns"; None where a value has none. All are coloured
    by one scale, from 0 or from -limit to limit; by default `limit` is the largest size of a number in them.
    numbers: {name: a number or a short text for each value}. fmt: for floats, or {name: format}, as in `table`.
    text: a sentence for each value that says what the maps show, also to those who cannot see them.
    Raises ValueError when something is not there for each value, when maps come without `text`, or the page would
    exceed 300 KB.
    """
    title = required_text(title, "A slider")
    matrices = {name: [None if m is None else array(m) for m in row] for name, row in (maps or {}).items()}
    check(values, matrices, numbers or {}, text, start)
    names = [cell_text(value) for value in values]
    texts = list(text) if text is not None else [""] * len(names)
    scale = Scale(matrices, limit)
    states = []
    for i, name in enumerate(names):
        there = {what: matrix for what, row in matrices.items() if (matrix := row[i]) is not None}
        pictures = "".join(scale.picture(what, matrix, f"{what}, {label} {name}") for what, matrix in there.items())
        lines = {
            what: cell_text(row[i], fmt.get(what) if isinstance(fmt, Mapping) else fmt)
            for what, row in (numbers or {}).items()
        }
        states.append(state(pictures, lines, texts[i]))
    body = "\n".join(
        [
            f'<div class="controls">{slide("state", names, start, label)}</div>',
            '<div data-role="states" aria-live="polite">',
            *(f"<div{'' if i == start else ' hidden'}>{shown}</div>" for i, shown in enumerate(states)),
            "</div>",
            scale.legend(),
        ]
    )
    view = widgets(label, names, [shown + scale.legend() for shown in states], title, start)._repr_mimebundle_()
    display_bundle(
        {**view, "text/html": frame("states", title, body), "text/plain": f"[{title}: {label} {', '.join(names)}]"},
    )


def check(
    values: Sequence[Any],
    maps: Mapping[str, Sequence[Matrix | None]],
    numbers: Mapping[str, Sequence[Any]],
    text: Sequence[str] | None,
    start: int,
) -> None:
    if not 0 <= start < len(values):
        raise ValueError(f"slider(): start={start} is no place in a list of {len(values)} values.")
    if maps and text is None:
        raise ValueError("slider(): pass text=[...], a sentence for each value that says what the maps show.")
    rows = [*maps.items(), *numbers.items(), *([] if text is None else [("text", text)])]
    if not rows:
        raise ValueError("slider() needs maps, numbers or text to show.")
    for name, row in rows:
        if len(row) != len(values):
            raise ValueError(f"slider(): {name!r} has {len(row)} entries for {len(values)} values.")
    for name, matrices in maps.items():
        for matrix in matrices:
            if matrix is not None and (matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all()):
                raise ValueError(
                    f"slider(): a map of {name!r} has the shape {matrix.shape}; pass rows x columns of finite numbers."
                )


class Scale:
    """The one colour scale of all maps: from nothing to a hue, or with negative numbers to a hue on either side."""

    def __init__(self, maps: Mapping[str, Sequence[Matrix | None]], limit: float | None) -> None:
        there = [matrix for row in maps.values() for matrix in row if matrix is not None]
        self.colours: Colormap = DIVERGING if any(matrix.min() < 0 for matrix in there) else RAMP
        self.limit = max((float(np.abs(matrix).max()) for matrix in there), default=0.0) if limit is None else limit
        self.low = -self.limit if self.colours is DIVERGING else 0.0
        self.used = bool(there)

    def picture(self, what: str, matrix: Matrix, alt: str) -> str:
        """One map as a picture with a dot for each number, which the page enlarges."""
        share = (matrix - self.low) / ((self.limit - self.low) or 1)
        image = Image.fromarray(np.round(np.clip(share, 0, 1) * (LEVELS - 1)).astype(np.uint8))
        image.putpalette((self.colours(np.linspace(0, 1, LEVELS))[:, :3] * 255).round().astype(np.uint8).tobytes())
        png = BytesIO()
        image.save(png, format="png", optimize=True)
        rows, columns = matrix.shape
        data = base64.b64encode(png.getvalue()).decode("ascii")
        return (
            f'<figure><figcaption>{escape(what)}</figcaption><img class="dark-light" width="{columns}" height="{rows}" '
            f'alt="{escape(alt)}" src="data:image/png;base64,{data}"></figure>'
        )

    def legend(self) -> str:
        if not self.used:
            return ""
        stops = ",".join(to_hex(self.colours(level)) for level in np.linspace(0, 1, 9))
        low = f"−{cell_text(self.limit)}" if self.low else "0"
        return (
            f'<p class="scale"><span>{low}</span>'
            f'<i style="background: linear-gradient(to right,{stops})"></i><span>{cell_text(self.limit)}</span></p>'
        )


def state(pictures: str, numbers: Mapping[str, str], text: str) -> str:
    """What is shown for one value."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(number)}</dd>" for name, number in numbers.items())
    return (
        (f'<p class="said">{escape(text)}</p>' if text else "")
        + (f"<dl>{lines}</dl>" if lines else "")
        + (f'<div class="maps">{pictures}</div>' if pictures else "")
    )


def widgets(label: str, names: Sequence[str], states: Sequence[str], title: str, start: int) -> ipywidgets.VBox:
    """The slider, and what it chooses."""
    control = live.pick(label, names, start)
    return live.panel("states", title, [control], lambda: states[control.value])
