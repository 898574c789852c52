"""Outputs on a page like the book's, in each theme, a real browser that opens it, and the contrast of colours."""

import contextlib

import numpy as np
from matplotlib.colors import to_hex, to_rgb

PAPER = {"light": "#ffffff", "dark": "#14181d"}
# What a figure meets in the wild: the book's dark theme, plain dark, JupyterLab, VS Code, Colab.
DARK_PAGES = ("#14181d", "#121212", "#111111", "#1f1f1f", "#383838")

# What the book's theme does to outputs, captions and pictures when it is dark.
THEME = """
html[data-theme=dark] .bd-content div.cell_output .text_html:not(:has(table.dataframe))
{background: #ced6dd; color: #222832; padding: .5rem}
html[data-theme=dark] .bd-content div.cell_output img {background: #ced6dd; padding: .5rem}
html[data-theme=dark] img:not(.only-dark,.dark-light) {filter: brightness(.8) contrast(1.2)}
.bd-content figure figcaption {color: #48566b; font-weight: 300}
"""


def write_pages(folder, outputs):
    """Write a page in each theme that holds these pieces of HTML as outputs of cells, and return the folder."""
    for theme, ground in PAPER.items():
        ink = "#222832" if theme == "light" else "#ced6dd"
        (folder / f"{theme}.html").write_text(
            f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8"><title>t</title>'
            f'<meta name="viewport" content="width=device-width"><style>{THEME}</style>'
            f'<body style="background:{ground};color:{ink}"><main class="bd-content">'
            + "".join(f'<div class="cell_output"><div class="text_html">{output}</div></div>' for output in outputs),
            encoding="utf-8",
        )
    return folder


@contextlib.contextmanager
def opened(browser, path, **options):
    """The page in a new tab; when it is closed, it must have met no error and asked for nothing but itself."""
    page = browser.new_page(**({"viewport": {"width": 800, "height": 900}} | options))
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri())
    yield page
    assert errors == []
    # The page itself and pictures inside it; nothing else, from anywhere.
    assert [url for url in requests if not url.startswith("data:")] == [page.url]
    page.close()


def luminance(colour):
    """Relative luminance of a colour, 0 to 1 (WCAG 2.2, definition of relative luminance)."""
    channels = np.asarray(to_rgb(colour), dtype=float)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def colours(element):
    """The colours of an element's ground and of its text, as the browser lays them over the page's; from 0 to 1."""
    drawn = element.evaluate(
        """e => { const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            c.fillStyle = getComputedStyle(document.body).backgroundColor; c.fillRect(0, 0, 1, 1);
            return ['backgroundColor', 'color'].map((part) => {
                c.fillStyle = getComputedStyle(e)[part]; c.fillRect(0, 0, 1, 1);
                return [...c.getImageData(0, 0, 1, 1).data];
            }); }"""
    )
    return [tuple(value / 255 for value in colour[:3]) for colour in drawn]


def contrast(one, other):
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2, success criterion 1.4.3)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mirrored(colour):
    """The colour that a dark page shows in place of `colour`: DARK_FILTER, computed (Filter Effects Module Level 1)."""
    half_turn = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]])
    turned = np.clip(half_turn @ (1 - np.asarray(to_rgb(colour), dtype=float)), 0, 1)
    return to_hex(np.clip(1.2 * turned, 0, 1))
