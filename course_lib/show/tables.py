"""Tables that read well on the page, in a terminal and aloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.show.display import display_bundle, shown
from course_lib.tables import TABLE_STYLE, Table, alignment, cell_text


def table(
    rows: Sequence[Sequence[Any]],
    columns: Sequence[str],
    *,
    caption: str | None = None,
    fmt: str | Mapping[str, str] | None = None,
    key: str | None = None,
) -> None:
    """Show rows as a table; the first column names the rows, numbers are aligned right and text left.

    Args:
        rows: The cells of each row.
        columns: The names of the columns.
        caption: A line above the table.
        fmt: A format for every float (".1%"), or {column: format}. By default three decimals below 1, two below 100,
            one below 1,000, and none or powers of ten beyond.
        key: The name by which a page of the book shows this table, as of a record: "recall.models".

    Raises:
        ValueError: If a row does not have as many cells as there are columns, or the key is malformed.
    """
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            raise ValueError(f"table(): row {number} has {len(row)} cells for {len(columns)} columns.")
    formats = [fmt.get(name) if isinstance(fmt, Mapping) else fmt for name in columns]
    texts = [[cell_text(value, form) for value, form in zip(row, formats, strict=True)] for row in rows]
    align = [alignment(row[i] for row in rows) for i in range(len(columns))]
    made = Table(columns, texts, align, caption or "")
    data = {"kind": "table", "columns": list(columns), "rows": texts, "align": align, "caption": caption or ""}
    display_bundle({"text/html": TABLE_STYLE + made.to_html(), "text/plain": made.to_text()}, shown(key, data))
