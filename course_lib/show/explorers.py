"""The base of all explorers: one piece of HTML with plain JavaScript, which works wherever HTML does."""

from __future__ import annotations

from typing import Any

import jinja2

from course_lib.show.display import read_text, required_text

LIMIT = 300_000  # bytes of one explorer, all included

ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("course_lib", "show"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
ENVIRONMENT.globals["read_text"] = read_text


def explorer_html(kind: str, title: str, **values: Any) -> str:
    """Render the HTML of one explorer; the same values give the same HTML.

    Args:
        kind: The name of its template and its JavaScript: "attention" for `attention.html` and `attention.js`.
        title: A heading for the explorer.
        values: The variables of its template; `data` is passed to its JavaScript as JSON.

    Raises:
        ValueError: If there is no title, or the HTML exceeds LIMIT.
    """
    title = required_text(title, "An explorer")
    html = ENVIRONMENT.get_template(f"{kind}.html").render(kind=kind, title=title, **values)
    size = len(html.encode())
    if size > LIMIT:
        raise ValueError(
            f"{title}: {size / 1000:.0f} KB exceed the {LIMIT // 1000} KB that an explorer may take on the page; pass "
            "fewer states, or smaller ones."
        )
    return html
