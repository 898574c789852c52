"""Messages for a learner: as text for a terminal and a screen reader, as HTML for Jupyter."""

from __future__ import annotations

import html
import re
import sys

from course_lib.grader.exam import Verdict

# Borders and words only, no colours: legible in light and dark, on the page and in the notebook.
_STYLE = "border-left: 4px solid currentColor; padding: 0.2em 0 0.2em 1em; margin: 0.5em 0"
_BOX = f'<div role="status" style="{_STYLE}">{{}}</div>'


def verdict_lines(verdict: Verdict, hints: int = 0) -> list[str]:
    """What a learner is told, one paragraph a line; lines that start with two spaces are the list of checks."""
    exercise, total = verdict.exercise, len(verdict.passed)
    if verdict:
        return [f"{exercise.id}: all {total} visible checks passed; grading uses fresh numbers."]
    if verdict.started:
        lines = [f"{exercise.id}: not right yet; {sum(verdict.passed)} of {total} visible checks passed."]
        lines += [
            f"  {'passed' if ok else 'wrong '}  {c.name}" for c, ok in zip(verdict.cases, verdict.passed, strict=True)
        ]
        lines += [line for line in (verdict.mistake, verdict.diagnosis) if line]
    else:
        lines = [f"{exercise.id}: not started yet."]
    lines += [f"{'Hint' if n == 0 else 'Second hint'}: {hint}" for n, hint in enumerate(exercise.hints[:hints])]
    return [*lines, f"Where to read: {exercise.see}{'' if exercise.see.endswith('?') else '.'}"]


def with_code(text: str) -> str:
    """A text as safe HTML: escaped, and then `code` set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def as_html(lines: list[str]) -> str:
    """The same lines as HTML, escaped, with `code` set as code."""
    parts, items = [], []
    for n, line in enumerate(lines):
        safe = with_code(line.strip())
        if line.startswith("  "):
            items.append(f"<li>{safe}</li>")
            continue
        if items:
            parts.append(f"<ul>{''.join(items)}</ul>")
            items = []
        parts.append(f"<p>{f'<strong>{safe}</strong>' if n == 0 else safe}</p>")
    return _BOX.format("".join([*parts, f"<ul>{''.join(items)}</ul>" if items else ""]))


def show(lines: list[str]) -> None:
    """Show the lines once: as HTML in a notebook, as text elsewhere."""
    text = "\n".join(lines)
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython.display import display

        display({"text/plain": text, "text/html": as_html(lines)}, raw=True)
    else:
        print(text)
