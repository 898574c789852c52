"""What the live explorers share: sliders over lists of values, and a view that is redrawn in the style of the twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets

from course_lib.show.twin import style

WIDE = {"width": "34em", "max_width": "100%"}


def pick(label: str, names: Sequence[str], start: int, label_width: str = "initial") -> ipywidgets.SelectionSlider:
    """A slider whose value is a place in the list. label_width: the same for all, where there are several."""
    return ipywidgets.SelectionSlider(
        options=[(name, i) for i, name in enumerate(names)],
        value=start,
        description=label,
        style={"description_width": label_width},
        layout=ipywidgets.Layout(**WIDE),
    )


def panel(kind: str, title: str, controls: Sequence[Any], draw: Callable[[], str]) -> ipywidgets.VBox:
    """The title, the controls and what `draw` makes of them, again whenever one of them changes."""
    view = ipywidgets.HTML()

    def redraw(*_: Any) -> None:
        view.value = f'<div class="course-explorer live {kind}"><style>{style()}</style>{draw()}</div>'

    redraw()
    for control in controls:
        control.observe(redraw, "value")
    return ipywidgets.VBox([ipywidgets.HTML(f"<strong>{escape(title)}</strong>"), *controls, view])
