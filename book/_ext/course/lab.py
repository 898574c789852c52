"""The frame of a lab's page: where to run it, what it cost, hints and solutions; and the credits of the data.

`{lab} slug` stands below the title of a lab's page (the builder puts it there); `{launch} slug` gives the same buttons
anywhere else. `{solution} id` folds out the hints and the reference of an exercise. `{costs}` is the table of what
every lab costs, `{credits}` that of the data.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from course_lib.exercises import is_student_version
from course_lib.site.configure import configured
from course_lib.site.paths import Project
from course_lib.site.solve import solution_source

from .staged import read


def raw(html: str) -> nodes.raw:
    return nodes.raw("", html, format="html")


class CourseDirective(SphinxDirective):
    def measured(self, lab: str) -> dict[str, Any] | None:
        """What the run of a lab cost; None when this build has not run it."""
        return read(self.env, "labs.json").get(lab)

    def parsed(self, markdown: str) -> list[nodes.Node]:
        holder = nodes.Element()
        self.state.nested_parse(StringList(markdown.splitlines(), source="course"), self.content_offset, holder)
        return list(holder.children)


class LaunchDirective(CourseDirective):
    """Buttons: Colab and Binder where a repository is set, and the notebook to download."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return [raw(f'<nav class="launch" aria-label="Run this lab">{"".join(self.buttons())}</nav>')]

    def buttons(self) -> list[str]:
        lab = self.arguments[0]
        file = f"labs/{lab}.ipynb"
        repository = configured(self.env.srcdir)
        up = "../" * self.env.docname.count("/")
        links = [(f"{up}{file}", "Download the notebook", " download")]
        if repository and repository.on_github:
            links = [
                (repository.colab(file), "Open in Colab", ""),
                (repository.binder(file), "Open on Binder", ""),
                *links,
            ]
        return [f'<a class="launch-button" href="{escape(url)}"{extra}>{text}</a>' for url, text, extra in links]


class LabDirective(LaunchDirective):
    """The buttons, and what the run cost whose outputs are on the page."""

    def run(self) -> list[nodes.Node]:
        lab = self.measured(self.arguments[0])
        note = "Not run in this build, so it is shown without results."
        if lab:
            cost = f"{lab['cpu_seconds']:.0f} CPU-seconds and {lab['peak_mb']:.0f} MB of memory"
            by = "for the full course" if is_student_version() else "by this build"
            note = f"Results as run {by}: {cost} ({lab['preset']} preset, commit {lab['commit']})."
        lines = [lab["due"] if lab else "", note]
        return [*super().run(), *(raw(f'<p class="lab-cost">{escape(line)}</p>') for line in lines if line)]


class SolutionDirective(CourseDirective):
    """Two hints and the reference, each folded away, and a note that the page's outputs are the reference's."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from course_lib.exercises import find

        exercise = find(self.arguments[0])
        out = nodes.container(classes=["solution"])
        if self.measured(self.env.docname.rpartition("/")[2]) and not exercise.stored:
            out += raw("<p>This page was run with the solution below.</p>")  # not a paragraph that describes the page
        for summary, hint in zip(("A hint", "Another hint"), exercise.hints, strict=False):
            out += self.fold(summary, self.parsed(hint))
        if exercise.stored:  # a student version
            return [out]
        code = nodes.literal_block(text := solution_source(exercise), text, language="python")
        out += self.fold("A solution", [code])
        return [out]

    def fold(self, summary: str, content: list[nodes.Node]) -> list[nodes.Node]:
        return [raw(f"<details><summary>{summary}</summary>"), *content, raw("</details>")]


class CostsDirective(CourseDirective):
    """A table of the labs in reading order: exercises, points and minutes, and what this build measured of the run."""

    def run(self) -> list[nodes.Node]:
        from course_lib import exercises

        rows, total = [], {"minutes": 0, "cpu_seconds": 0.0}
        for slug in Project(Path(self.env.srcdir)).lab_slugs():
            known = slug in exercises.labs()  # a lab may have no exercises
            asked, title = (exercises.of_lab(slug), exercises.lab(slug).title) if known else ([], slug)
            minutes, points = sum(e.minutes for e in asked), sum(e.points for e in asked)
            total["minutes"] += minutes
            row = f"| [{title}](../labs/{slug}.ipynb) | {minutes} "
            if cost := self.measured(slug):
                total["cpu_seconds"] += cost["cpu_seconds"]
                row += f"| {cost['cpu_seconds'] / 60:.1f} | {cost['peak_mb'] / 1000:.1f} "
            else:
                row += "| not run in this build | "
            rows.append(f"{row}| {len(asked)} | {points} |")
        hours = f"about {total['minutes'] / 60:.0f} hours"
        head = [
            "| Lab | Exercises, minutes | Computing, minutes | Memory, GB | Exercises | Points |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        foot = f"| **all** | **{hours}** | **{total['cpu_seconds'] / 60:.0f}** | | | |"
        return self.parsed("\n".join([*head, *rows, foot]))


class CreditsDirective(CourseDirective):
    """Whose work the data and models are, from the registry of data."""

    def run(self) -> list[nodes.Node]:
        from course_lib.data.packages.fetching import credits

        return self.parsed(credits())


def setup(app: Sphinx) -> None:
    directives: dict[str, Any] = {
        "launch": LaunchDirective,
        "lab": LabDirective,
        "solution": SolutionDirective,
        "costs": CostsDirective,
        "credits": CreditsDirective,
    }
    for name, directive in directives.items():
        app.add_directive(name, directive)
