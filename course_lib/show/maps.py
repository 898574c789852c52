"""Attention as pictures: one head, several heads, and tables of heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from course_lib.show.charts import SIZE, array, axes, entitle
from course_lib.show.theme import INK, PALE, PALE_DIVERGING, RAMP

CELL = 0.3  # inches


def attention_map(
    weights: Any,
    query_labels: Sequence[str],
    key_labels: Sequence[str] | None = None,
    *,
    title: str | None = None,
    numbers: bool | None = None,
) -> Figure:
    """One head: rows are the tokens that look (queries), columns what they look at (keys), blue is weight.

    weights: Float "query key", numbers from 0 to 1. Cells above the diagonal stay blank when all of them are 0.
    key_labels: the query labels by default.
    numbers: write the weight into each cell; by default up to 8 keys.
    Raises ValueError when the labels do not fit the weights.
    """
    weights, key_labels = checked(weights, query_labels, key_labels)
    n_query, n_key = weights.shape
    weights = blank_future(weights)
    numbers = n_key <= 8 if numbers is None else numbers
    cell = 0.42 if numbers else CELL
    fig, ax = axes(width=1.6 + cell * n_key, height=1.2 + cell * max(n_query, 3))
    image = draw(ax, weights, query_labels, key_labels, cmap=PALE if numbers else RAMP)
    ax.set(xlabel="looks at (key)", ylabel="token (query)")
    entitle(ax, title)
    if numbers:
        write_numbers(ax, weights, ".2f")
    else:
        scale(fig, image, ax, "weight")
    return fig


def attention_grid(
    weights: Mapping[str, Any],
    query_labels: Sequence[str],
    key_labels: Sequence[str] | None = None,
    *,
    title: str | None = None,
    columns: int = 3,
) -> Figure:
    """Several heads side by side, on one scale: {name of the head: Float "query key"}.

    Bool tables are masks: every cell is drawn with its border, True in blue, and there is no scale.
    """
    if not weights:
        raise ValueError("attention_grid() got no heads; pass {name: weights}.")
    columns = min(columns, len(weights))
    masks = all(str(getattr(table, "dtype", "")).endswith("bool") for table in weights.values())
    rows = -(-len(weights) // columns)
    n_query = len(query_labels)
    n_key = len(key_labels) if key_labels is not None else n_query
    cell = min(CELL, 6.0 / (columns * n_key + 2))
    fig, grid = axes(0.8 + columns * (cell * n_key + 0.15), 0.8 + rows * (cell * n_query + 0.3), rows, columns)
    size = float(np.clip(cell * 72 * 0.8, 5, SIZE - 1))
    for i, ax in enumerate(np.array(grid, dtype=object).flat):
        if i >= len(weights):
            ax.remove()
            continue
        name = list(weights)[i]
        matrix, keys = checked(weights[name], query_labels, key_labels)
        bottom = i + columns >= len(weights)
        labels = query_labels if i % columns == 0 else None, keys if bottom else None
        image = draw(ax, matrix if masks else blank_future(matrix), *labels, RAMP, size=size, bordered=masks)
        ax.set_title(name, size=SIZE - 1, color=INK)
    if title:
        fig.suptitle(title, color=INK, size=SIZE + 1)
    if not masks:
        scale(fig, image, list(fig.axes), "weight")
    return fig


def heatmap(
    table: Any,
    *,
    xlabel: str = "head",
    ylabel: str = "layer",
    columns: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    title: str | None = None,
    label: str | None = None,
    fmt: str = ".2f",
    diverging: bool = False,
    numbers: bool = True,
) -> Figure:
    """A table of numbers as coloured cells with the number in each: heads by layers, say.

    table: Float "rows columns"; a NaN cell stays blank.
    label: what the numbers are, written beside the scale, or after the title where numbers make a scale needless.
    diverging: orange below zero, blue above, white at zero.
    Raises ValueError for a table that has not two axes, or names that are not as many as its rows and columns.
    """
    table = array(table)
    if table.ndim != 2:
        raise ValueError(f"heatmap() draws a table of two axes, not shape {tuple(table.shape)}.")
    n_rows, n_columns = table.shape
    names = list(rows or map(str, range(n_rows))), list(columns or map(str, range(n_columns)))
    if (len(names[0]), len(names[1])) != table.shape:
        raise ValueError(
            f"heatmap(): {len(names[0])} x {len(names[1])} names do not fit a table of {n_rows} x {n_columns}."
        )
    longest = max(map(len, names[1]))
    turn = longest > 12 or longest * n_columns > 60
    digits = max(len(f"{value:{fmt}}") for value in table.flat) if numbers else 1
    width = 0.085 * max(digits, 0 if turn else longest) + 0.14
    fig, ax = axes(1.7 + width * n_columns, 1.3 + 0.24 * n_rows)
    top = float(np.nanmax(np.abs(table))) or 1.0
    low, high = (-top, top) if diverging else (min(0.0, float(np.nanmin(table))), float(np.nanmax(table)) or 1.0)
    cmap = PALE_DIVERGING if diverging else PALE if numbers else RAMP
    image = draw(ax, table, *names, cmap, low, high, aspect="auto", turn=turn)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if numbers:
        write_numbers(ax, table, fmt)
        entitle(ax, f"{title} ({label})" if title and label else title or label)
    else:
        scale(fig, image, ax, label)
        entitle(ax, title)
    return fig


def checked(weights: Any, queries: Sequence[str], keys: Sequence[str] | None) -> tuple[np.ndarray, Sequence[str]]:
    weights, keys = array(weights), queries if keys is None else keys
    if weights.shape != (len(queries), len(keys)):
        raise ValueError(
            f"Weights of shape {tuple(weights.shape)} do not fit {len(queries)} query labels and {len(keys)} key "
            "labels; pass one head's matrix, queries first."
        )
    return weights, keys


def blank_future(weights: np.ndarray) -> np.ndarray:
    """The weights with NaN above the diagonal, when nobody looks there."""
    square = weights.ndim == 2 and weights.shape[0] == weights.shape[1] > 1
    if not square or np.any(np.triu(weights, 1)):
        return weights
    return np.where(np.tri(len(weights), dtype=bool), weights, np.nan)


def draw(
    ax: Axes,
    cells: np.ndarray,
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    cmap: Any,
    low: float = 0.0,
    high: float = 1.0,
    aspect: Literal["equal", "auto"] = "equal",
    turn: bool | None = None,
    size: float = SIZE - 1,
    bordered: bool = False,
) -> AxesImage:
    """The cells as an image with a label for every row and column, or none where labels are None; NaN stays blank."""
    image = ax.imshow(
        np.ma.masked_invalid(cells),
        cmap=cmap,
        vmin=low,
        vmax=high,
        aspect=aspect,
        interpolation="nearest",
    )
    visible = [label_text(name) for name in rows or ()], [label_text(name) for name in columns or ()]
    ax.set_yticks(range(len(visible[0])), visible[0], size=size, color=INK)
    turn = max(map(len, visible[1]), default=0) > 2 if turn is None else turn
    ax.set_xticks(range(len(visible[1])), visible[1], size=size, color=INK, rotation=90 if turn else 0)
    if bordered:
        ax.set_xticks(np.arange(0.5, cells.shape[1] - 1), minor=True)
        ax.set_yticks(np.arange(0.5, cells.shape[0] - 1), minor=True)
        ax.grid(which="minor", color=RAMP(0.5), linewidth=0.8)
    ax.tick_params(length=0, which="both")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def label_text(token: str) -> str:
    """A token as it can be read: white space made visible, dollar signs not taken for mathematics."""
    token = str(token).replace("\n", "↵").replace("\t", "→").replace("$", r"\$")
    return token if token.strip() else "␣" * max(len(token), 1)


def write_numbers(ax: Axes, cells: np.ndarray, fmt: str) -> None:
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            ax.text(
                column, row, f"{value:{fmt}}", ha="center", va="center", size=SIZE - 2, color="black", gid="on-cell"
            )


def scale(fig: Figure, image: AxesImage, where: Axes | list[Axes], label: str | None) -> None:
    bar = fig.colorbar(image, ax=where, shrink=0.7, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, labelsize=SIZE - 2, length=0)
    if label:
        bar.set_label(label, color=INK, size=SIZE - 1)
