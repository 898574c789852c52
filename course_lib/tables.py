"""Tables as HTML and as plain text, and numbers as people read them; nothing beyond the standard library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

TABLE_STYLE = """<style>
html .bd-content div.cell_output .text_html:has(.course-table)
{background: none !important; color: inherit !important; padding: 0 !important}
.course-table {overflow-x: auto}
.course-table table {border-collapse: collapse; font-variant-numeric: tabular-nums; color: inherit; margin: 0.5rem 0}
.course-table caption {caption-side: top; text-align: left; font-weight: 600; padding: 0.25rem 0.6rem; color: inherit}
.course-table th, .course-table td {padding: 0.25rem 0.6rem; background: none; color: inherit; border: 0;
border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent)}
.course-table thead th {border-bottom-width: 2px}
.course-table .left {text-align: left} .course-table .right {text-align: right}
</style>"""


def plain(value: Any) -> Any:
    """The Python number, or truth value, in a tensor or array of one; anything else as it is."""
    return value.item() if hasattr(value, "item") else value


def is_number(value: Any) -> bool:
    """Whether a plain value is a number; True and False are not."""
    return not isinstance(value, str | bool) and hasattr(value, "__float__")


def alignment(values: Iterable[Any]) -> str:
    """How to align a column: "right" where all its values are numbers, otherwise "left"."""
    values = [plain(value) for value in values if value is not None]
    return "right" if values and all(is_number(value) for value in values) else "left"


def cell_text(value: Any, fmt: str | None = None) -> str:
    """Write a cell as text.

    Args:
        value: A number, a tensor or array of one, a text, or None.
        fmt: The format of a float, such as ".1%". By default three decimals below 1, two below 100, one below 1,000,
            and none or powers of ten beyond.

    Returns:
        Whole numbers with separators, and a dash for None and NaN.
    """
    value = plain(value)
    if value is None:
        return "–"
    if not is_number(value):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    number = float(value)
    if fmt:
        return f"{number:{fmt}}"
    if number != number:
        return "–"
    size = abs(number)
    if size == 0 or 0.001 <= size < 1000:
        return f"{number:.{3 if size < 1 else 2 if size < 100 else 1}f}"
    return f"{number:,.0f}" if 1000 <= size < 1e7 else f"{number:.2e}"


@dataclass(frozen=True)
class Table:
    """A table whose look on a page is in TABLE_STYLE.

    Attributes:
        columns: What the columns are called.
        rows: The cells of each row as text; the first one names the row.
        align: "left" or "right" for each column.
        caption: A line above the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: Sequence[str]
    caption: str = ""

    def to_html(self) -> str:
        """The table as HTML."""
        head = "".join(
            f'<th scope="col" class="{align}">{escape(name)}</th>'
            for name, align in zip(self.columns, self.align, strict=True)
        )
        body = ""
        for first, *rest in self.rows:
            cells = "".join(
                f'<td class="{align}">{escape(text)}</td>' for text, align in zip(rest, self.align[1:], strict=True)
            )
            body += f'<tr><th scope="row" class="{self.align[0]}">{escape(first)}</th>{cells}</tr>'
        title = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        # The box scrolls sideways on a phone, so it has to be reachable from the keyboard.
        return (
            f'<div class="course-table" role="group" tabindex="0" aria-label="{escape(self.caption or "Table")}">'
            f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def to_text(self) -> str:
        """The table as lines of plain text with aligned columns."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        marks = [{"left": "<", "right": ">"}[align] for align in self.align]
        lines = [self.columns, ["-" * width for width in widths], *self.rows]
        text = "\n".join(
            "  ".join(f"{cell:{mark}{width}}" for cell, mark, width in zip(line, marks, widths, strict=True)).rstrip()
            for line in lines
        )
        return f"{self.caption}\n\n{text}" if self.caption else text
