"""Messages to a learner: as text for a terminal and a screen reader, as HTML for Jupyter."""

from __future__ import annotations

import html
import itertools
import re
import sys
from pathlib import Path

from course_lib.exercises.spec import Exercise
from course_lib.grader.exam import Outcome, Result

PASSED, WRONG, OPEN = "✓", "✗", "○"  # beside the words, so that a glance tells them apart
# Marks, borders and words only, no colours: legible in light and dark mode, on the page and in the notebook.
_BOX = (
    '<div role="status" style="border-left: {border} currentColor; padding: 0.2em 0 0.2em 1em; margin: 0.5em 0">'
    "{content}</div>"
)
WHERE = "Where to read: "
ROOT = Path(__file__).resolve().parent.parent.parent  # of a checkout, which has the book; installed, there is none
_PAPERS = {
    "Vaswani et al. 2017": "https://arxiv.org/abs/1706.03762",
    "Su et al. 2021": "https://arxiv.org/abs/2104.09864",
    "Press et al. 2021": "https://arxiv.org/abs/2108.12409",
}


def result_lines(result: Result, hints: int = 0) -> list[str]:
    """Return the message about a result, one paragraph per line; lines that start with two spaces list the checks.

    Args:
        result: The result.
        hints: How many hints to add if it is wrong. An exercise that nobody has begun gets none.
    """
    exercise, total = result.exercise, len(result.checks)
    if result:
        found = [f"{PASSED} {exercise.id}: all {total} visible checks passed; grading uses fresh numbers."]
        if result.avoided:
            names = ", ".join(f"`{name}`" for name in result.avoided)
            found.append(f"But it calls {names}, and the point of the exercise is to do without. Try it by hand!")
        return found
    if result.problem:
        return [f"{WRONG} {exercise.id}: {result.problem}."]
    if result.outcome is Outcome.NOT_STARTED:
        lines = [f"{OPEN} {exercise.id}: not started yet."]
    else:
        right = sum(result.checks.values())
        lines = [f"{WRONG} {exercise.id}: not right yet; {right} of {total} visible checks passed."]
        for name, ok in result.checks.items():
            word = f"{PASSED} passed" if ok else f"{OPEN} not run" if name in result.not_run else f"{WRONG} wrong "
            lines.append(f"  {word.ljust(9 if result.not_run else 8)}  {name}")
        lines += [line for line in (result.mistake, result.diagnosis) if line]
        lines += [f"The call: {result.call}"] if result.call else []
        lines += hint_lines(exercise, hints if _hints_fit(result) else 0)
    return [*lines, f"{WHERE}{exercise.see}{'' if exercise.see.endswith('?') else '.'}"]


def _hints_fit(result: Result) -> bool:
    """Whether hints speak of what is wrong: with given code, of its fault alone, which may have been mended."""
    given = [mistake.message for mistake in result.exercise.mistakes if mistake.given]
    return not given or result.mistake in given or (result.mistake is None and result.crashed)


def hint_lines(exercise: Exercise, hints: int) -> list[str]:
    """Return the first hints of an exercise, one per line."""
    return [f"{'Hint' if n == 0 else 'Second hint'}: {hint}" for n, hint in enumerate(exercise.hints[:hints])]


def address(see: str, site: str | None = None) -> str | None:
    """Return the address of what an exercise's `see` names: a paper, or a heading of the book; None if it has none.

    Args:
        see: What it names.
        site: The address of the built pages, "" if there is none; None for the sources of the book, which are where
            `course configure --repository` says.
    """
    place, _, heading = see.partition(", ")
    if place in _PAPERS:
        return _PAPERS[place]
    config = ROOT / "_config.yml"
    chapter = re.fullmatch(r"Chapter (\d+)", place)
    name = f"ch{int(chapter[1]):02}_*.md" if chapter else f"{place.lower()}*.md"  # capstone_*.md, primer.md
    settings = config.read_text(encoding="utf8") if config.is_file() else ""
    repository = re.search(r'url: "(https://[^"]+)"\s+branch: "([^"]+)"', settings)
    if not (repository if site is None else site):
        return None
    for page in sorted((ROOT / "book").glob(name)):
        if re.search(rf"^#+ {re.escape(heading)}$", page.read_text(encoding="utf8"), re.MULTILINE):
            anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            if repository and site is None:
                return f"{repository[1]}/blob/{repository[2]}/book/{page.name}#{anchor}"
            return f"{site}/book/{page.stem}.html#{anchor}"
    return None


def with_code(text: str) -> str:
    """Return a text as safe HTML: escaped, then with text in backticks set as code, and *text* in italics."""

    def marked(found: re.Match[str]) -> str:
        return f"<code>{found[1]}</code>" if found[1] else f"<em>{found[2]}</em>"

    return re.sub(r"`([^`]+)`|(?<![\w*])\*(?=\S)([^*`\n]+)(?<=\S)\*(?![\w*])", marked, html.escape(text))


def as_html(lines: list[str]) -> str:
    """Return the lines as safe HTML: escaped, with text in backticks set as code."""
    first = f"<strong>{with_code(lines[0])}</strong>"
    parts = [f"<p>{first}</p>"]
    for listed, group in itertools.groupby(lines[1:], key=lambda line: line.startswith("  ")):
        tag = "li" if listed else "p"
        text = "".join(f"<{tag}>{_line(line.strip())}</{tag}>" for line in group)
        parts.append(f"<ul>{text}</ul>" if listed else text)
    return _BOX.format(border="4px solid" if lines[0].startswith(PASSED) else "4px dashed", content="".join(parts))


def _line(text: str) -> str:
    """Return a line as HTML: what is wrong is bold, and where to read is a link if it has an address."""
    text = re.sub(r"^(\S (?:passed|wrong|not run)) +", r"\1: ", text)  # HTML keeps no columns
    if text.startswith(WRONG):
        return f"<strong>{with_code(text)}</strong>"
    see = text.removeprefix(WHERE)
    if see != text and (url := address(see.removesuffix("."))):
        return f'{WHERE}<a href="{html.escape(url)}">{with_code(see)}</a>'
    return with_code(text)


def show(lines: list[str]) -> None:
    """Show the lines once: as HTML in a notebook, as text elsewhere."""
    text = "\n".join(lines)
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython.display import display

        display({"text/plain": text, "text/html": as_html(lines)}, raw=True)
    else:
        print(text)
