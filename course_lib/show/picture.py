"""One transparent image, legible in both themes, with its description."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from typing import Any
from uuid import uuid4

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text
from PIL import Image

from course_lib.show.display import display_bundle, read_text, required_text, shown
from course_lib.show.drawing import drawing_of
from course_lib.show.png import palette_png
from course_lib.show.theme import INK

CSS_DPI = 100  # a figure 6.4 inches wide is 640 px wide on the page
SHARPNESS = 2  # image pixels per CSS pixel


def figure(
    fig: Figure,
    *,
    alt: str | None = None,
    caption: str | None = None,
    key: str | None = None,
    true_colours: bool = False,
) -> None:
    """Show a matplotlib figure as one image with a description, and close it.

    Args:
        fig: The figure; its black text and axes become a middle grey, since the page may be dark.
        alt: What a reader who cannot see the image should learn from it, in a sentence or two. What the functions of
            this room draw describes itself with the measured numbers; a figure of another kind needs it.
        caption: A line under the image, for every reader.
        key: The name by which a page of the book shows this figure, as of a record: "recall.accuracy".
        true_colours: Whether the colours are part of what is shown, as in a coloured picture or a spectrogram. A dark
            page then leaves them as they are, on a light card, where it would mirror the lightness of other figures.

    Raises:
        ValueError: If `alt` is missing where it is needed, or empty, or the key is malformed.
    """
    display_bundle(*_bundle(fig, alt, caption, key, true_colours))


class LiveFigure:
    """A figure that is drawn again in its place, such as a curve that grows while a model trains.

    Create it in the cell that shows it, so that running the cell again begins a new one. On a page of the book the last
    drawing stays.
    """

    def __init__(self) -> None:
        """Take a place for the figure, which appears with the first drawing."""
        self._place = uuid4().hex
        self._drawn = False

    def show(self, fig: Figure, *, alt: str | None = None, caption: str | None = None, key: str | None = None) -> None:
        """Show a figure as `figure` does, in the place of the drawing before it."""
        display_bundle(*_bundle(fig, alt, caption, key), place=self._place, again=self._drawn)
        self._drawn = True


def _bundle(
    fig: Figure, alt: str | None, caption: str | None, key: str | None, true_colours: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Render a figure and close it; return the MIME bundle and metadata of its output."""
    drawing = drawing_of(fig)
    alt = required_text(drawing.alt if drawing and alt is None else alt, "A figure")
    png = render(fig)
    pyplot.close(fig)
    width, height = (round(side / SHARPNESS) for side in Image.open(BytesIO(png)).size)
    text = base64.b64encode(png).decode("ascii")
    picture = f'<img src="data:image/png;base64,{text}" width="{width}" height="{height}" alt="{escape(alt)}">'
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    kind = "course-figure true-colours" if true_colours else "course-figure"
    html = f'<style>{read_text("figure.css")}</style><figure class="{kind}">{picture}{below}</figure>'
    plain = f"[Figure: {alt}]" + (f"\n{caption}" if caption else "")
    return (
        {"text/html": html, "image/png": text, "text/plain": plain},
        {"image/png": {"width": width, "height": height, "alt": alt}}
        | shown(key, {"kind": "picture", "alt": alt, "caption": caption, **((drawing and drawing.data) or {})}),
    )


def render(fig: Figure) -> bytes:
    """Render a figure as a transparent PNG without black; the same figure gives the same bytes."""
    soften_black(fig)
    drawn = BytesIO()
    fig.savefig(drawn, format="png", dpi=CSS_DPI * SHARPNESS, transparent=True, bbox_inches="tight", pad_inches=0.05)
    return palette_png(np.asarray(Image.open(drawn).convert("RGBA")))


def soften_black(fig: Figure) -> None:
    """Recolour the black text, axes and ticks that matplotlib draws by default; text marked "on-cell" stays black."""
    for artist in fig.findobj():
        match artist:
            case Text() if is_black(artist.get_color()) and artist.get_gid() != "on-cell":
                artist.set_color(INK)
            case Line2D() if is_black(artist.get_color()):
                artist.set(color=INK, markeredgecolor=INK)
            case Spine() if is_black(artist.get_edgecolor()):
                artist.set_edgecolor(INK)


def is_black(colour: Any) -> bool:  # matplotlib also keeps arrays, which its ColorType leaves out
    """Return whether a colour is black, however transparent."""
    return to_rgba(colour)[:3] == (0.0, 0.0, 0.0)
