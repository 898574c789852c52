"""Tables as HTML and as plain text, with numbers formatted for reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

HERE = Path(__file__).parent
TABLE_STYLE = f"<style>{(HERE / 'table.css').read_text('utf-8')}</style>"
TEMPLATE = jinja2.Template((HERE / "table.html").read_text("utf-8"), autoescape=True, trim_blocks=True)


def plain(value: Any) -> Any:
    """Return the Python number or bool in a tensor or array with one element; return anything else unchanged."""
    return value.item() if hasattr(value, "item") else value


def is_number(value: Any) -> bool:
    """Return whether a plain value is a number; True and False are not."""
    return not isinstance(value, str | bool) and hasattr(value, "__float__")


def alignment(values: Iterable[Any]) -> str:
    """Return the alignment of a column: "right" if all its values are numbers, otherwise "left"."""
    values = [plain(value) for value in values if value is not None]
    return "right" if values and all(is_number(value) for value in values) else "left"


def formatted(number: float, fmt: str) -> str:
    """Format a number; one that is rounded to zero has no minus."""
    sign = fmt[:1] if fmt[:1] in ("+", "-", " ") else ""
    return format(float(number), f"{sign}z{fmt.removeprefix(sign)}")


def cell_text(value: Any, fmt: str | None = None) -> str:
    """Format the value of a cell as text.

    Args:
        value: A number, a tensor or array with one element, a text, or None.
        fmt: The format of a float, such as ".1%". By default three decimals below 1, two below 100, one below 1,000,
            and none or powers of ten beyond.

    Returns:
        The text: whole numbers with thousands separators, and a dash for None and NaN.
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
        return formatted(number, fmt)
    if number != number:
        return "–"
    size = abs(number)
    if size == 0 or 0.001 <= size < 1000:
        return f"{number:.{3 if size < 1 else 2 if size < 100 else 1}f}"
    return f"{number:,.0f}" if 1000 <= size < 1e7 else f"{number:.2e}"


@dataclass(frozen=True)
class Table:
    """A table of texts; TABLE_STYLE holds its style on a page.

    Attributes:
        columns: The names of the columns.
        rows: The cells of each row as text; the first one names the row.
        align: "left" or "right" for each column.
        caption: A line above the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: Sequence[str]
    caption: str = ""

    def to_html(self) -> str:
        """Render the table as HTML."""
        return TEMPLATE.render(table=self)

    def to_text(self) -> str:
        """Render the table as plain text with aligned columns."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        marks = [{"left": "<", "right": ">"}[align] for align in self.align]
        lines = [self.columns, ["-" * width for width in widths], *self.rows]
        text = "\n".join(
            "  ".join(f"{cell:{mark}{width}}" for cell, mark, width in zip(line, marks, widths, strict=True)).rstrip()
            for line in lines
        )
        return f"{self.caption}\n\n{text}" if self.caption else text
