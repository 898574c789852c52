"""Tables as HTML and as plain text, and numbers as people read them; nothing beyond the standard library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
.course-table .center {text-align: center}
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


def html_table(names: Sequence[str], rows: Sequence[Sequence[str]], caption: str | None, align: Sequence[str]) -> str:
    """A table as HTML, whose look is in TABLE_STYLE.

    Args:
        names: What the columns are called.
        rows: The cells of each row as text; the first one names the row.
        caption: A line above the table.
        align: "left", "right" or "center" for each column.
    """
    head = "".join(f'<th scope="col" class="{a}">{escape(name)}</th>' for name, a in zip(names, align, strict=True))
    body = ""
    for first, *rest in rows:
        cells = "".join(f'<td class="{a}">{escape(text)}</td>' for text, a in zip(rest, align[1:], strict=True))
        body += f'<tr><th scope="row" class="{align[0]}">{escape(first)}</th>{cells}</tr>'
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    # The box scrolls sideways on a phone, so it has to be reachable from the keyboard.
    return (
        f'<div class="course-table" role="group" tabindex="0" aria-label="{escape(caption or "Table")}">'
        f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def text_table(names: Sequence[str], rows: Sequence[Sequence[str]], caption: str | None, align: Sequence[str]) -> str:
    """A table as lines of plain text with aligned columns. Arguments as in `html_table`."""
    lines = [list(names), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    mark = {"left": "<", "right": ">", "center": "^"}
    out = [
        "  ".join(f"{text:{mark[a]}{w}}" for text, a, w in zip(line, align, widths, strict=True)).rstrip()
        for line in lines
    ]
    out.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(([caption, ""] if caption else []) + out)
