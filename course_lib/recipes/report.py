"""A finished run as a page to read: its numbers beside their controls, its loss curves, and where it all came from."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from course_lib.files import write_text
from course_lib.recipes.results import Results
from course_lib.recipes.run import Run
from course_lib.tables import TABLE_STYLE, cell_text, html_table, text_table
from course_lib.train import read_metrics

WIDEST = 8  # columns of numbers; what would need more is told in rows
POINTS = 100  # of a drawn curve: each is the mean of as many steps as that takes

Curve = tuple[list[int], list[float]]  # steps, and what was measured there

PAGE_STYLE = """<style>
:root {color-scheme: light dark}
body {font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem}
h1, h2 {line-height: 1.2} code {overflow-wrap: anywhere}
figure {margin: 1rem 0} figure img {max-width: 40rem; width: 100%; height: auto}
dt {font-weight: 600}
</style>"""


@dataclass(frozen=True)
class Table:
    """A caption, the names of the columns, and rows whose first cell names the row."""

    caption: str
    columns: list[str]
    rows: list[list[str]]

    @property
    def align(self) -> list[str]:
        """Names to the left, numbers to the right."""
        return ["left", *["right"] * (len(self.columns) - 1)]

    def to_text(self) -> str:
        """The table as lines of plain text."""
        return text_table(self.columns, self.rows, self.caption, self.align)

    def to_html(self) -> str:
        """The table as HTML."""
        return html_table(self.columns, self.rows, self.caption, self.align)


def write_report(run: Run, results: Results) -> str:
    """Write report.txt and report.html into the folder of a run.

    Returns:
        The tables as text, for the terminal.
    """
    tables = number_tables(results)
    losses, validation = loss_curves(run)
    curves = {"Loss of the training steps": losses, "Validation, as training went on": validation}
    curves = {title: series for title, series in curves.items() if series}
    numbers = "\n\n".join(table.to_text() for table in tables)
    progress = "\n\n".join(curve_table(title, series).to_text() for title, series in curves.items())
    origin = provenance_table(results).to_text()
    write_text(run.out / "report.txt", "\n\n".join(filter(None, [numbers, progress, origin])) + "\n")
    write_text(run.out / "report.html", html_report(run, results, tables, curves))
    return numbers


def number_tables(results: Results) -> list[Table]:
    """The numbers of a run, the same measure of several models side by side, each claim beside its control.

    A key such as "moe.experts.bits-per-byte" is of the model "experts" and the measure "bits-per-byte". Models with
    measures in common share a table.
    """
    recipe = results.provenance.recipe
    models: dict[str, dict[str, str]] = {}  # model: {measure: key}
    for key in results.values:
        model, _, measure = key.rpartition(".")
        models.setdefault(model.removeprefix(recipe).removeprefix("."), {})[measure] = key
    groups: list[list[str]] = []
    for model, measures in models.items():
        shared = next((group for group in groups if any(measures.keys() & models[name].keys() for name in group)), None)
        if shared is None:
            groups.append([model])
        else:
            shared.append(model)
    return [_table(results, {model: models[model] for model in group}) for group in groups]


def _table(results: Results, models: Mapping[str, Mapping[str, str]]) -> Table:
    """One table of models that have measures in common: a column for each model, or for each measure if fewer."""
    recipe = results.provenance.recipe
    measures = list(dict.fromkeys(measure for keys in models.values() for measure in keys))
    if len(models) <= WIDEST:
        cells = [[models[model].get(measure) for model in models] for measure in measures]
        names, columns = measures, [model or recipe for model in models]
    else:
        cells = [[keys.get(measure) for measure in measures] for keys in models.values()]
        names, columns = list(models), measures
    rows = [[name, *(_number(results, key) for key in row)] for name, row in zip(names, cells, strict=True)]
    controls = [_controls(results, row) for row in cells]
    if any(controls):
        columns = [*columns, "control"]
        rows = [[*row, control] for row, control in zip(rows, controls, strict=True)]
    return Table(f"{recipe}, {results.provenance.preset}, seed {results.provenance.seed}", ["", *columns], rows)


def _number(results: Results, key: str | None) -> str:
    if key is None:
        return ""
    value = results.values[key]
    whole = float(value).is_integer() and abs(value) >= 1000
    return cell_text(int(value) if whole else value)


def _controls(results: Results, row: Sequence[str | None]) -> str:
    """The controls of the claims in a row that are not in the row themselves, each once, with their values."""
    recipe = results.provenance.recipe
    named = dict.fromkeys(results.controls[key] for key in row if key in results.controls)
    return ", ".join(
        f"{control.removeprefix(recipe + '.')} {_number(results, control)}" for control in named if control not in row
    )


def loss_curves(run: Run) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """The losses of a run's stages, smoothed, and what each scored on the validation data, by the stage's name."""
    losses, validation = {}, {}
    for file in sorted(run.out.rglob("metrics.jsonl"), key=lambda file: file.stat().st_ctime):
        name = run.recipe if file.parent.name == "run" else file.parent.name.removeprefix("run-")
        lines = read_metrics(file)
        trained = [line for line in lines if "loss" in line]
        if trained:
            losses[name] = smooth([line["step"] for line in trained], [line["loss"] for line in trained])
        scored = [line for line in lines if "validation" in line]
        if scored:
            validation[name] = ([line["step"] for line in scored], [line["validation"] for line in scored])
    return losses, validation


def smooth(steps: Sequence[int], values: Sequence[float], points: int = POINTS) -> Curve:
    """At most `points` means of neighbouring values, each at the last of its steps."""
    width = -(-len(values) // points)
    parts = [slice(start, start + width) for start in range(0, len(values), width)]
    return [steps[part][-1] for part in parts], [sum(values[part]) / len(values[part]) for part in parts]


def curve_table(title: str, series: Mapping[str, Curve], rows: int = 10) -> Table:
    """Curves as a table, for readers who do not see the picture: a row for each tenth of the training."""
    rows = min(rows, max(len(values) for _, values in series.values()))
    cells = []
    for row in range(1, rows + 1):
        numbers = [cell_text(values[-(-len(values) * row // rows) - 1]) for _, values in series.values()]
        cells.append([f"{row / rows:.0%}", *numbers])
    return Table(title, ["of the steps", *series], cells)


def curve_picture(title: str, series: Mapping[str, Curve]) -> str:
    """Curves as an HTML figure; a sentence in its place where the library that draws is not installed."""
    try:
        from course_lib.show.charts import curves
        from course_lib.show.picture import render
        from course_lib.show.theme import DARK_FILTER
    except ImportError as error:
        return f"<p>The curves are not drawn, since {escape(error.name or 'matplotlib')} is not installed.</p>"
    png = base64.b64encode(render(curves(series, xlabel="step", ylabel="", markers=False))).decode("ascii")
    ends = [f"{name} goes from {cell_text(ys[0])} to {cell_text(ys[-1])}" for name, (_, ys) in series.items()]
    style = f"<style>@media (prefers-color-scheme: dark) {{figure img {{filter: {DARK_FILTER}}}}}</style>"
    alt = escape(f"{title}: {'; '.join(ends)}.")
    return f'{style}<figure><img alt="{alt}" src="data:image/png;base64,{png}"></figure>'


def provenance_table(results: Results) -> Table:
    """Where the numbers come from."""
    made = results.provenance
    versions = ", ".join(f"{name} {number}" for name, number in made.versions.items())
    rows = [["command", made.command], ["commit", made.commit], ["device", made.device], ["versions", versions]]
    if made.seconds is not None:
        rows.append(["training", f"{made.seconds:,.0f} seconds"])
    return Table("Where these numbers come from", ["", "this run"], rows)


def html_report(run: Run, results: Results, tables: Sequence[Table], curves: Mapping[str, Mapping[str, Curve]]) -> str:
    """The whole report as one page that needs nothing beside it."""
    title = f"{run.recipe}: preset {run.preset}, seed {run.seed}"
    parts = [table.to_html() for table in tables]
    for name, series in curves.items():
        parts += [f"<h2>{escape(name)}</h2>", curve_picture(name, series), curve_table(name, series).to_html()]
    origin = provenance_table(results)
    said = "".join(f"<dt>{escape(what)}</dt><dd><code>{escape(text)}</code></dd>" for what, text in origin.rows)
    parts.append(f"<h2>{escape(origin.caption)}</h2><dl>{said}</dl>")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width">{PAGE_STYLE}{TABLE_STYLE}</head>\n'
        f"<body><h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
