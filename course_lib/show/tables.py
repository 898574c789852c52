"""Tables that read well on the page, in a terminal and aloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.show.display import display_bundle
from course_lib.tables import TABLE_STYLE, Table, alignment, cell_text


def table(
    rows: Sequence[Sequence[Any] | Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    caption: str | None = None,
    fmt: str | Mapping[str, str] | None = None,
) -> None:
    """Show rows as a table; the first column names the rows, numbers go right and text left.

    Args:
        rows: Sequences in the order of `columns`, or dicts (then `columns` chooses and orders the keys).
        columns: What the columns are called.
        caption: A line above the table.
        fmt: A format for every float (".1%"), or {column: format}. By default three decimals below 1, two below 100,
            one below 1,000, and none or powers of ten beyond.

    Raises:
        ValueError: A row does not fit the columns.
    """
    rows = list(rows)
    if columns is None:
        if not rows or not isinstance(rows[0], Mapping):
            raise ValueError("table() needs columns=[...] unless its rows are dicts.")
        columns = list(rows[0])
    names = [str(name) for name in columns]
    cells = [[row.get(name) for name in columns] if isinstance(row, Mapping) else list(row) for row in rows]
    for number, row in enumerate(cells):
        if len(row) != len(names):
            raise ValueError(f"table(): row {number} has {len(row)} cells for {len(names)} columns.")
    formats = [fmt.get(name) if isinstance(fmt, Mapping) else fmt for name in names]
    texts = [[cell_text(value, form) for value, form in zip(row, formats, strict=True)] for row in cells]
    align = [alignment(row[i] for row in cells) for i in range(len(names))]
    shown = Table(names, texts, align, caption or "")
    display_bundle({"text/html": TABLE_STYLE + shown.to_html(), "text/plain": shown.to_text()})
