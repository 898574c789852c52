"""Tables that read well on the page, in a terminal and aloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from course_lib.show.display import display_bundle

STYLE = """<style>
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


def table(
    rows: Sequence[Sequence[Any] | Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    caption: str | None = None,
    align: Sequence[str] | None = None,
    fmt: str | Mapping[str, str] | None = None,
) -> None:
    """Show rows as a table; the first column names the rows.

    rows: sequences in the order of `columns`, or dicts (then `columns` chooses and orders the keys).
    align: "left", "right" or "center" for each column; by default numbers go right and text left.
    fmt: a format for every float (".1%"), or {column: format}. By default three decimals below 1, two below 100, one
    below 1,000, and none or powers of ten beyond.
    Raises ValueError when a row does not fit the columns.
    """
    names, cells = arranged(rows, columns)
    texts = [
        [say(value, fmt.get(name) if isinstance(fmt, Mapping) else fmt) for name, value in zip(names, row, strict=True)]
        for row in cells
    ]
    align = list(align) if align is not None else [side(row[i] for row in cells) for i in range(len(names))]
    if len(align) != len(names) or set(align) - {"left", "right", "center"}:
        raise ValueError(f"table(): align needs left, right or center for each of the {len(names)} columns.")
    display_bundle(
        {
            "text/html": STYLE + as_html(names, texts, caption, align),
            "text/plain": as_text(names, texts, caption, align),
        }
    )


def arranged(rows: Sequence[Any], columns: Sequence[str] | None) -> tuple[list[str], list[list[Any]]]:
    rows = list(rows)
    if columns is None:
        if not rows or not isinstance(rows[0], Mapping):
            raise ValueError("table() needs columns=[...] unless its rows are dicts.")
        columns = list(rows[0])
    cells = [[row.get(name) for name in columns] if isinstance(row, Mapping) else list(row) for row in rows]
    for number, row in enumerate(cells):
        if len(row) != len(columns):
            raise ValueError(f"table(): row {number} has {len(row)} cells for {len(columns)} columns.")
    return [str(name) for name in columns], cells


def plain(value: Any) -> Any:
    """The Python number, or truth value, in a tensor or array of one."""
    return value.item() if hasattr(value, "item") else value


def is_number(value: Any) -> bool:
    return not isinstance(value, str | bool) and hasattr(value, "__float__")


def side(values: Any) -> str:
    values = [plain(value) for value in values if value is not None]
    return "right" if values and all(is_number(value) for value in values) else "left"


def say(value: Any, fmt: str | None = None) -> str:
    """A cell as text: counts with separators, other numbers rounded as in `table`, a missing one or NaN as a dash."""
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


def as_html(names: Sequence[str], texts: Sequence[Sequence[str]], caption: str | None, align: Sequence[str]) -> str:
    head = "".join(f'<th scope="col" class="{a}">{escape(name)}</th>' for name, a in zip(names, align, strict=True))
    body = ""
    for first, *rest in texts:
        body += f'<tr><th scope="row" class="{align[0]}">{escape(first)}</th>'
        body += (
            "".join(f'<td class="{a}">{escape(text)}</td>' for text, a in zip(rest, align[1:], strict=True)) + "</tr>"
        )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    # The box scrolls sideways on a phone, so it has to be reachable from the keyboard.
    return (
        f'<div class="course-table" role="group" tabindex="0" aria-label="{escape(caption or "Table")}">'
        f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def as_text(names: Sequence[str], texts: Sequence[Sequence[str]], caption: str | None, align: Sequence[str]) -> str:
    lines = [list(names), *map(list, texts)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    mark = {"left": "<", "right": ">", "center": "^"}
    out = [
        "  ".join(f"{text:{mark[a]}{w}}" for text, a, w in zip(line, align, widths, strict=True)).rstrip()
        for line in lines
    ]
    out.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(([caption, ""] if caption else []) + out)
