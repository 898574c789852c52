"""Colours that stay legible on a white page and on a dark one; tests/test_show.py computes that they do."""

from __future__ import annotations

from matplotlib.colors import LinearSegmentedColormap

# No grey reaches 4.5:1 on white and on #121212 at once (the best possible is 4.33:1). So an image is drawn in
# middle tones for a white page, readable anywhere, and a page that knows it is dark mirrors its lightness:
DARK_FILTER = "invert(1) hue-rotate(180deg) brightness(1.2)"

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
