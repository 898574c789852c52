"""The report of a finished run: its results beside their controls, loss curves, samples, and its provenance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import jinja2

from course_lib.files import write_text
from course_lib.recipes.results import Results
from course_lib.recipes.run import Run
from course_lib.tables import TABLE_STYLE, Table, cell_text
from course_lib.train import read_metrics

WIDEST = 8  # the largest number of columns of numbers; wider tables are transposed
POINTS = 100  # the largest number of points of a drawn curve, each a mean over several steps

Curve = tuple[list[int], list[float]]  # steps, and the values measured there


def write_report(run: Run, results: Results) -> str:
    """Write report.txt and report.html into the folder of a run.

    Returns:
        The tables of results as text, for the terminal.
    """
    numbers = number_tables(results)
    curves = loss_curves(run)
    progress = [curve_table(title, series) for title, series in curves.items()]
    pictures = {title: curve_picture(title, series) for title, series in curves.items()}
    tables = [*numbers, *progress, *sample_tables(results), provenance_table(results)]
    template = jinja2.Template(Path(__file__).with_name("report.html").read_text(encoding="utf8"), autoescape=True)
    title = f"{run.recipe}: preset {run.preset}, seed {run.seed}"
    write_text(
        run.out / "report.html", template.render(title=title, style=TABLE_STYLE, tables=tables, pictures=pictures)
    )
    write_text(run.out / "report.txt", "\n\n".join(table.to_text() for table in tables) + "\n")
    return "\n\n".join(table.to_text() for table in numbers)


def number_tables(results: Results) -> list[Table]:
    """Make tables of a run's results, with the same measure of several models together, and each claim by its control.

    A key such as "moe.experts.bits-per-byte" belongs to the model "experts" and the measure "bits-per-byte". Models
    with measures in common share a table.
    """
    recipe = results.provenance.recipe
    models: dict[str, dict[str, str]] = {}  # model: {measure: key}
    for key in results.values:
        model, _, measure = key.rpartition(".")
        models.setdefault(model.removeprefix(recipe).removeprefix("."), {})[measure] = key
    groups: list[dict[str, dict[str, str]]] = []
    for model, keys in models.items():
        for group in groups:
            if any(keys.keys() & others.keys() for others in group.values()):
                group[model] = keys
                break
        else:
            groups.append({model: keys})
    return [_table(results, group) for group in groups]


def _table(results: Results, models: Mapping[str, Mapping[str, str]]) -> Table:
    """Make one table of models with measures in common: a column per model, or per measure if there are many models."""
    made = results.provenance
    measures = list(dict.fromkeys(measure for keys in models.values() for measure in keys))
    names, columns = [model or made.recipe for model in models], measures
    cells = [[keys.get(measure, "") for measure in measures] for keys in models.values()]
    if len(models) <= WIDEST:
        names, columns, cells = columns, names, [list(column) for column in zip(*cells, strict=True)]
    rows = [
        [name, *(cell_text(results.values.get(key)) for key in row)] for name, row in zip(names, cells, strict=True)
    ]
    controls = [_controls(results, row) for row in cells]
    if any(controls):
        columns = [*columns, "control"]
        rows = [[*row, control] for row, control in zip(rows, controls, strict=True)]
    return _numbers_to_the_right(f"{made.recipe}, {made.preset}, seed {made.seed}", ["", *columns], rows)


def _numbers_to_the_right(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(columns, rows, ["left", *["right"] * (len(columns) - 1)], caption)


def _controls(results: Results, row: Sequence[str]) -> str:
    """List the controls of the claims in a row that are not in the row themselves, each once, with their values."""
    recipe = results.provenance.recipe
    named = dict.fromkeys(results.controls[key] for key in row if key in results.controls)
    return ", ".join(
        f"{control.removeprefix(recipe + '.')} {cell_text(results.values[control])}"
        for control in named
        if control not in row
    )


def loss_curves(run: Run) -> dict[str, dict[str, Curve]]:
    """Return the smoothed training and validation losses of a run's stages, by title and then by stage."""
    files = sorted(run.out.rglob("metrics.jsonl"), key=lambda file: file.stat().st_ctime)
    curves: dict[str, dict[str, Curve]] = {}
    for title, number in {
        "Loss of the training steps": "loss",
        "Validation, as training went on": "validation",
    }.items():
        for file in files:
            stage = run.recipe if file.parent.name == "run" else file.parent.name.removeprefix("run-")
            lines = [line for line in read_metrics(file) if number in line]
            if lines:
                curve = smooth([int(line["step"]) for line in lines], [line[number] for line in lines])
                curves.setdefault(title, {})[stage] = curve
    return curves


def smooth(steps: Sequence[int], values: Sequence[float], points: int = POINTS) -> Curve:
    """Average neighbouring values into at most `points` means, each placed at the last of its steps."""
    width = -(-len(values) // points)
    parts = [slice(start, start + width) for start in range(0, len(values), width)]
    return [steps[part][-1] for part in parts], [sum(values[part]) / len(values[part]) for part in parts]


def curve_table(title: str, series: Mapping[str, Curve], rows: int = 10) -> Table:
    """Make a table of curves, for readers who do not see the figure, with a row for each tenth of the training."""
    rows = min(rows, max(len(values) for _, values in series.values()))
    cells = []
    for row in range(1, rows + 1):
        numbers = [cell_text(values[-(-len(values) * row // rows) - 1]) for _, values in series.values()]
        cells.append([f"{row / rows:.0%}", *numbers])
    return _numbers_to_the_right(title, ["of the steps", *series], cells)


def curve_picture(title: str, series: Mapping[str, Curve]) -> str:
    """Draw curves as an HTML figure, or return a sentence in its place if matplotlib is not installed."""
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


def sample_tables(results: Results) -> list[Table]:
    """Make a table of what the model wrote, if the recipe has let it write."""
    if not results.samples:
        return []
    rows = [[" ".join(text.split()) for text in sample] for sample in results.samples]
    return [Table(["given", "the model wrote"], rows, ["left", "left"], "Samples")]


def provenance_table(results: Results) -> Table:
    """Make a table of where the results come from: command, commit, device, versions and training time."""
    made = results.provenance
    versions = ", ".join(f"{name} {number}" for name, number in made.versions.items())
    rows = [["command", made.command], ["commit", made.commit], ["device", made.device], ["versions", versions]]
    if made.seconds is not None:
        rows.append(["training", f"{made.seconds:,.0f} seconds"])
    return Table(["", "this run"], rows, ["left", "left"], "Where these numbers come from")
