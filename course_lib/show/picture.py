"""One transparent picture, legible in both themes, with its description."""

from __future__ import annotations

import base64
import struct
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text
from PIL import Image

from course_lib.show.display import display_bundle, required_text
from course_lib.show.png import palette_png
from course_lib.show.theme import DARK_FILTER, INK

CSS_DPI = 100  # a figure 6.4 inches wide is 640 px wide on the page
SHARPNESS = 2  # picture dots per CSS pixel

# The first rule lets the page show through where a theme would put a light box behind every output.
STYLE = f"""<style>
html .bd-content div.cell_output .text_html:has(.course-figure)
{{background: none !important; color: inherit !important; padding: 0 !important}}
figure.course-figure {{display: block; margin: 0.5rem 0; color: inherit; text-align: left !important}}
.course-figure img {{display: block; margin: 0; max-width: 100%; height: auto; background: none !important}}
figure.course-figure figcaption
{{font-size: 0.9em; font-weight: normal; margin-top: 0.25rem; color: inherit !important;
text-align: left !important}}
html[data-theme="dark"] .course-figure img, html[theme="dark"] .course-figure img,
body[data-jp-theme-light="false"] .course-figure img, body.vscode-dark .course-figure img
{{filter: {DARK_FILTER} !important}}
@media print {{.course-figure img {{filter: none !important}}}}
</style>"""


def figure(fig: Figure, *, alt: str, caption: str | None = None) -> None:
    """Show a matplotlib figure as one picture with a description, and close it.

    alt: what a reader who cannot see the picture should learn from it, in a sentence or two.
    caption: a line under the picture, for everybody.
    Black text and axes become a middle grey, since the page behind may be dark.
    Raises ValueError when `alt` is missing or empty.
    """
    alt = required_text(alt, "A figure")
    soften_black(fig)
    png = render(fig)
    pyplot.close(fig)
    width, height = (round(side / SHARPNESS) for side in png_size(png))
    text = base64.b64encode(png).decode("ascii")
    picture = f'<img src="data:image/png;base64,{text}" width="{width}" height="{height}" alt="{escape(alt)}">'
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    display_bundle(
        {
            "text/html": f'{STYLE}<figure class="course-figure">{picture}{below}</figure>',
            "image/png": text,
            "text/plain": f"[Figure: {alt}]" + (f"\n{caption}" if caption else ""),
        },
        {"image/png": {"width": width, "height": height, "alt": alt}},
    )


def render(fig: Figure) -> bytes:
    """The figure as a transparent PNG; the same figure gives the same bytes."""
    drawn = BytesIO()
    fig.savefig(drawn, format="png", dpi=CSS_DPI * SHARPNESS, transparent=True, bbox_inches="tight", pad_inches=0.05)
    return palette_png(np.asarray(Image.open(drawn).convert("RGBA")))


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in dots, read from the header of a PNG."""
    return struct.unpack(">II", png[16:24])


def soften_black(fig: Figure) -> None:
    """Recolour the black text, axes and ticks that matplotlib draws by default; text marked "on-cell" stays black."""
    for text in fig.findobj(Text):
        if isinstance(text, Text) and is_black(text.get_color()) and text.get_gid() != "on-cell":
            text.set_color(INK)
    for line in fig.findobj(Line2D):
        if isinstance(line, Line2D) and is_black(line.get_color()):
            line.set_color(INK)
            line.set_markeredgecolor(INK)
    for spine in fig.findobj(Spine):
        if isinstance(spine, Spine) and is_black(spine.get_edgecolor()):
            spine.set_edgecolor(INK)


def is_black(colour: Any) -> bool:
    return to_rgba(colour)[:3] == (0.0, 0.0, 0.0)
