"""Messages to a learner: as text for a terminal and a screen reader, as HTML for Jupyter."""

from __future__ import annotations

import html
import itertools
import re
import sys

from course_lib.grader.exam import Outcome, Result

# Borders and words only, no colours: legible in light and dark mode, on the page and in the notebook.
_STYLE = "border-left: 4px solid currentColor; padding: 0.2em 0 0.2em 1em; margin: 0.5em 0"
_BOX = f'<div role="status" style="{_STYLE}">{{}}</div>'


def result_lines(result: Result, hints: int = 0) -> list[str]:
    """Return the message about a result, one paragraph per line; lines that start with two spaces list the checks."""
    exercise, total = result.exercise, len(result.checks)
    if result:
        return [f"{exercise.id}: all {total} visible checks passed; grading uses fresh numbers."]
    if result.problem:
        return [f"{exercise.id}: {result.problem}."]
    if result.outcome is Outcome.NOT_STARTED:
        lines = [f"{exercise.id}: not started yet."]
    else:
        lines = [f"{exercise.id}: not right yet; {sum(result.checks.values())} of {total} visible checks passed."]
        lines += [f"  {'passed' if passed else 'wrong '}  {name}" for name, passed in result.checks.items()]
        lines += [line for line in (result.mistake, result.diagnosis) if line]
    lines += [f"{'Hint' if n == 0 else 'Second hint'}: {hint}" for n, hint in enumerate(exercise.hints[:hints])]
    return [*lines, f"Where to read: {exercise.see}{'' if exercise.see.endswith('?') else '.'}"]


def with_code(text: str) -> str:
    """Return a text as safe HTML: escaped, then with text in backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def as_html(lines: list[str]) -> str:
    """Return the lines as safe HTML: escaped, with text in backticks set as code."""
    parts = [f"<p><strong>{with_code(lines[0])}</strong></p>"]
    for listed, group in itertools.groupby(lines[1:], key=lambda line: line.startswith("  ")):
        tag = "li" if listed else "p"
        text = "".join(f"<{tag}>{with_code(line.strip())}</{tag}>" for line in group)
        parts.append(f"<ul>{text}</ul>" if listed else text)
    return _BOX.format("".join(parts))


def show(lines: list[str]) -> None:
    """Show the lines once: as HTML in a notebook, as text elsewhere."""
    text = "\n".join(lines)
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython.display import display

        display({"text/plain": text, "text/html": as_html(lines)}, raw=True)
    else:
        print(text)
