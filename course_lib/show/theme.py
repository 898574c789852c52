"""Colours that stay legible on a white page and on a dark one, and the arithmetic that shows it."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb

# No grey reaches 4.5:1 on white and on #121212 at once (the best possible is 4.33:1). So a picture is drawn in
# middle tones for a white page, readable anywhere, and a page that knows it is dark mirrors its lightness:
DARK_FILTER = "invert(1) hue-rotate(180deg) brightness(1.2)"

LIGHT_PAGE = "#ffffff"
# What a figure meets in the wild: the book's dark theme, plain dark, JupyterLab, VS Code, Colab.
DARK_PAGES = ("#14181d", "#121212", "#111111", "#1f1f1f", "#383838")

INK = "#737373"  # text, axes, controls
# Okabe and Ito's colour-blind-safe hues, darkened until text in them passes 4.5:1 on white.
PALETTE = ("#0072b2", "#c24e00", "#007a5a", "#a3478a", "#8a6a00", "#5b5bd6")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1.5)), (0, (8, 3)))  # so colour is never alone
MARKERS = ("o", "s", "^", "D", "v", "P")

# Opaque ramps, nearly white to a hue, so that a cell looks the same whatever page lies behind it.
RAMP = LinearSegmentedColormap.from_list("course", ["#f3f6f9", "#9cc6e3", "#0072b2"])
DIVERGING = LinearSegmentedColormap.from_list("course_both", ["#c24e00", "#edb48e", "#f3f6f9", "#9cc6e3", "#0072b2"])
# The same, ending earlier: black numbers in these cells pass 4.5:1, and so do their mirrored ones.
PALE = LinearSegmentedColormap.from_list("course_pale", ["#f6f8fa", "#76b5df"])
PALE_DIVERGING = LinearSegmentedColormap.from_list("course_diverging", ["#efa878", "#f6f6f6", "#76b5df"])

Colour = str | tuple[float, float, float] | tuple[float, float, float, float]


def luminance(colour: Colour) -> float:
    """Relative luminance of a colour, 0 to 1 (WCAG 2.2, definition of relative luminance)."""
    channels = np.asarray(to_rgb(colour), dtype=float)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2, success criterion 1.4.3)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mirrored(colour: Colour) -> str:
    """The colour that a dark page shows in place of `colour`: DARK_FILTER, computed (Filter Effects Module Level 1)."""
    half_turn = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]])
    turned = np.clip(half_turn @ (1 - np.asarray(to_rgb(colour), dtype=float)), 0, 1)
    return to_hex(np.clip(1.2 * turned, 0, 1))
