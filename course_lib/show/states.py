"""One slider over states computed in advance, each with maps, numbers and a sentence."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex

from course_lib.show.charts import array
from course_lib.show.display import display_bundle
from course_lib.show.explorers import explorer_html
from course_lib.show.png import palette_png
from course_lib.show.theme import DIVERGING, RAMP
from course_lib.tables import cell_text

LEVELS = 65  # steps of a colour scale: an odd number, so that 0 has one of its own

Maps = Mapping[str, Sequence[Float[np.ndarray, "rows columns"] | None]]


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
    """Show a slider with which the reader chooses one of `values`, and the maps, numbers and text for that value.

    Args:
        label: What the values are, such as "Rank".
        values: The values to choose from.
        title: A heading for the slider.
        maps: {name of the map: a matrix for each value}, Float "rows columns"; None for a value without a map.
        numbers: {name: a number or a short text for each value}.
        text: A sentence for each value that says what the maps show, also for readers who cannot see them.
        fmt: The format of the numbers, or {name: format}, as in `table`.
        limit: The end of the one colour scale of all maps, on either side of 0 if any number is negative; by default
            the largest absolute value in the maps.
        start: The index of the value that is shown first.

    Raises:
        ValueError: If something is missing for a value, there are maps but no `text`, or the HTML exceeds 300 KB.
    """
    numbers = numbers or {}
    matrices = {name: [None if m is None else array(m) for m in row] for name, row in (maps or {}).items()}
    check(values, matrices, numbers, text, start)
    there = [matrix for row in matrices.values() for matrix in row if matrix is not None]
    high = max((float(np.abs(matrix).max()) for matrix in there), default=0.0) if limit is None else limit
    low, ramp = (-high, DIVERGING) if any(matrix.min() < 0 for matrix in there) else (0.0, RAMP)
    colours = ScalarMappable(Normalize(low, high, clip=True), ramp.resampled(LEVELS))
    states = []
    for i in range(len(values)):
        pictures = []
        for name, row in matrices.items():
            if (matrix := row[i]) is not None:
                png = base64.b64encode(palette_png(colours.to_rgba(matrix, bytes=True))).decode("ascii")
                pictures.append({"name": name, "rows": len(matrix), "columns": len(matrix[0]), "png": png})
        formats = {name: fmt.get(name) if isinstance(fmt, Mapping) else fmt for name in numbers}
        lines = {name: cell_text(row[i], formats[name]) for name, row in numbers.items()}
        states.append({"text": text[i] if text else "", "numbers": lines, "maps": pictures})
    names = [cell_text(value) for value in values]
    scale = {
        "low": f"−{cell_text(high)}" if low else "0",
        "high": cell_text(high),
        "colours": [to_hex(ramp(share)) for share in np.linspace(0, 1, 9)],
    }
    html = explorer_html(
        "states", title, label=label, names=names, start=start, states=states, scale=scale if there else None
    )
    display_bundle({"text/html": html, "text/plain": f"[{title}: {label} {', '.join(names)}]"})


def check(
    values: Sequence[Any],
    maps: Mapping[str, Sequence[np.ndarray | None]],
    numbers: Mapping[str, Sequence[Any]],
    text: Sequence[str] | None,
    start: int,
) -> None:
    """Check the arguments of `slider`.

    Raises:
        ValueError: If they do not match.
    """
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
