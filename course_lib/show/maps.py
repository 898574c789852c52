"""Attention maps: one head, several heads, and tables of heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from course_lib.show.charts import SIZE, array, axes
from course_lib.show.drawing import describe, map_in_words
from course_lib.show.theme import PALE, RAMP

CELL = 0.3  # inches


def attention_map(weights: Any, query_labels: Sequence[str], key_labels: Sequence[str] | None = None) -> Figure:
    """Draw the attention map of one head: rows are queries, columns are keys, and blue is weight.

    With at most 8 keys, the weights are written into their cells.

    Args:
        weights: The attention weights, Float "query key", from 0 to 1. Cells above the diagonal stay blank if all of
            them are 0.
        query_labels: The tokens of the queries.
        key_labels: The tokens of the keys; the query labels by default.

    Raises:
        ValueError: If the labels do not match the weights.
    """
    key_labels = query_labels if key_labels is None else key_labels
    weights = blank_future(checked(weights, query_labels, key_labels))
    numbers = len(key_labels) <= 8
    cell = 0.42 if numbers else CELL
    fig, ax = axes(width=1.6 + cell * len(key_labels), height=1.2 + cell * max(len(query_labels), 3))
    image = draw(ax, weights, query_labels, key_labels, numbers=numbers)
    ax.set(xlabel="looks at (key)", ylabel="token (query)")
    if not numbers:
        scale(fig, image, ax, "weight")
    return describe(fig, f"{map_in_words('An attention map', weights, query_labels, key_labels)}.")


def attention_grid(
    weights: Mapping[str, Any], query_labels: Sequence[str], key_labels: Sequence[str] | None = None
) -> Figure:
    """Draw the attention maps of several heads side by side, on one scale.

    Args:
        weights: The attention weights by the name of the head, Float "query key", from 0 to 1. Bool tables are masks:
            every cell is drawn with its border, True in blue, and there is no scale.
        query_labels: The tokens of the queries.
        key_labels: The tokens of the keys; the query labels by default.

    Raises:
        ValueError: If there are no heads, or the labels do not match one.
    """
    if not weights:
        raise ValueError("attention_grid() got no heads; pass {name: weights}.")
    key_labels = query_labels if key_labels is None else key_labels
    masks = all(str(getattr(table, "dtype", "")).endswith("bool") for table in weights.values())
    columns = min(3, len(weights))
    rows = -(-len(weights) // columns)
    cell = min(CELL, 6.0 / (columns * len(key_labels) + 2))
    width, height = cell * len(key_labels) + 0.15, cell * len(query_labels) + 0.3
    fig, grid = axes(0.8 + columns * width, 0.8 + rows * height, rows, columns)
    panels = np.ravel(grid)
    for ax in panels[len(weights) :]:
        ax.remove()
    for i, (ax, (name, table)) in enumerate(zip(panels, weights.items(), strict=False)):
        matrix = checked(table, query_labels, key_labels)
        left, bottom = i % columns == 0, i + columns >= len(weights)
        labels = query_labels if left else (), key_labels if bottom else ()
        image = draw(ax, matrix if masks else blank_future(matrix), *labels, size=np.clip(cell * 72 * 0.8, 5, SIZE - 1))
        ax.set_title(name, size=SIZE - 1)
        if masks:
            ax.set_xticks(np.arange(0.5, matrix.shape[1] - 1), minor=True)
            ax.set_yticks(np.arange(0.5, matrix.shape[0] - 1), minor=True)
            ax.grid(which="minor", color=RAMP(0.5), linewidth=0.8)
    if not masks:
        scale(fig, image, list(fig.axes), "weight")
    words = [map_in_words(name, array(table), query_labels, key_labels) for name, table in weights.items()]
    if masks:
        words = [f"{name}: {array(table).mean():.0%} of the cells are true" for name, table in weights.items()]
    kind = "Masks" if masks else "Attention maps"
    return describe(fig, f"{kind} of {len(query_labels)} queries. {'; '.join(words)}.")


def heatmap(
    table: Any,
    *,
    xlabel: str = "head",
    ylabel: str = "layer",
    columns: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    label: str | None = None,
    numbers: bool = True,
) -> Figure:
    """Draw a table of numbers as coloured cells with the number in each, for example heads by layers.

    Args:
        table: The numbers, Float "rows columns"; a NaN cell stays blank.
        xlabel: The label of the horizontal axis.
        ylabel: The label of the vertical axis.
        columns: The names of the columns; their indices by default.
        rows: The names of the rows; their indices by default.
        label: What the numbers are, written beside the scale, or above if numbers in the cells make a scale
            unnecessary.
        numbers: Whether to write the number into each cell.

    Raises:
        ValueError: If the table does not have two axes, or the names do not match the rows and columns.
    """
    table = array(table)
    if table.ndim != 2:
        raise ValueError(f"heatmap() draws a table of two axes, not shape {tuple(table.shape)}.")
    n_rows, n_columns = table.shape
    rows, columns = rows or list(map(str, range(n_rows))), columns or list(map(str, range(n_columns)))
    if (len(rows), len(columns)) != table.shape:
        raise ValueError(f"heatmap(): {len(rows)} x {len(columns)} names do not fit a table of {n_rows} x {n_columns}.")
    longest = max(map(len, columns))
    turn = longest > 12 or longest * n_columns > 60
    digits = max(len(f"{value:.2f}") for value in table.flat) if numbers else 1
    width = 0.085 * max(digits, 0 if turn else longest) + 0.14
    fig, ax = axes(1.7 + width * n_columns, 1.3 + 0.24 * n_rows)
    low, high = min(0.0, float(np.nanmin(table))), float(np.nanmax(table)) or 1.0
    image = draw(ax, table, rows, columns, low, high, numbers=numbers, aspect="auto", turn=turn)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if not numbers:
        scale(fig, image, ax, label)
    elif label:
        ax.set_title(label, loc="left", size=SIZE + 1, pad=8)
    words = f"A table of {label or 'numbers'}: {n_rows} rows ({ylabel}) by {n_columns} columns ({xlabel})"
    for word, at in (("highest", np.nanargmax), ("lowest", np.nanargmin)) if np.isfinite(table).any() else ():
        row, column = map(int, np.unravel_index(at(table), table.shape))
        words += f", {word} {table[row, column]:.3g} at {rows[row]} and {columns[column]}"
    return describe(fig, f"{words}.")


def checked(weights: Any, queries: Sequence[str], keys: Sequence[str]) -> Float[np.ndarray, "query key"]:
    """Return the weights as an array, after checking that its shape matches the labels."""
    weights = array(weights)
    if weights.shape != (len(queries), len(keys)):
        raise ValueError(
            f"Weights of shape {tuple(weights.shape)} do not fit {len(queries)} query labels and {len(keys)} key "
            "labels; pass one head's matrix, queries first."
        )
    return weights


def blank_future(weights: Float[np.ndarray, "query key"]) -> Float[np.ndarray, "query key"]:
    """Return the weights, with NaN above the diagonal if all of them are 0 there."""
    n_query, n_key = weights.shape
    if n_query != n_key or n_query == 1 or np.triu(weights, 1).any():
        return weights
    return np.where(np.tri(n_query, dtype=bool), weights, np.nan)


def draw(
    ax: Axes,
    cells: Float[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    low: float = 0.0,
    high: float = 1.0,
    *,
    numbers: bool = False,
    aspect: Literal["equal", "auto"] = "equal",
    turn: bool | None = None,
    size: float = SIZE - 1,
) -> AxesImage:
    """Draw cells as an image, with labels for rows and columns unless these are empty; NaN stays blank.

    Args:
        ax: Where to draw.
        cells: The numbers to show as colours.
        rows: The names of the rows.
        columns: The names of the columns.
        low: The number that has the first colour; smaller ones have it too.
        high: The number that has the last colour; larger ones have it too.
        numbers: Whether numbers will be written on the cells; the colours are then pale.
        aspect: "equal" for square cells, "auto" for cells that fill the axes.
        turn: Whether to write the names of columns upwards; by default if one has more than 2 letters.
        size: The size of the labels in points.
    """
    image = ax.imshow(
        np.ma.masked_invalid(cells),
        cmap=PALE if numbers else RAMP,
        vmin=low,
        vmax=high,
        aspect=aspect,
        interpolation="nearest",
    )
    rows, columns = [label_text(name) for name in rows], [label_text(name) for name in columns]
    turn = max(map(len, columns), default=0) > 2 if turn is None else turn
    ax.set_yticks(range(len(rows)), rows, size=size)
    ax.set_xticks(range(len(columns)), columns, size=size, rotation=90 if turn else 0)
    ax.tick_params(length=0, which="both")
    ax.spines[:].set_visible(False)
    if numbers:
        for (row, column), value in np.ndenumerate(cells):
            if np.isfinite(value):
                text = ax.text(column, row, f"{value:.2f}", ha="center", va="center", size=SIZE - 2)
                text.set_gid("on-cell")
    return image


def label_text(token: str) -> str:
    """Return a token as a readable label: white space made visible, dollar signs not taken for mathematics."""
    token = str(token).replace("\n", "↵").replace("\t", "→").replace("$", r"\$")
    return token if token.strip() else "␣" * max(len(token), 1)


def scale(fig: Figure, image: AxesImage, where: Axes | list[Axes], label: str | None) -> None:
    """Draw the colour scale of an image beside it."""
    bar = fig.colorbar(image, ax=where, shrink=0.7, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SIZE - 2, length=0)
    bar.set_label(label or "", size=SIZE - 1)
