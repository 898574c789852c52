"""The `course` command. Each subcommand is a thin door to one room; rooms are imported only when their door is used."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from course_lib.errors import CourseError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Understanding Large Language Models, a course that runs.

    Readers: `course book` builds the site, `course lab` opens your own copies of the labs, `course check` checks one,
    `course progress` says what you have solved.
    Engineers: `course train` trains the models that the course ends in; `course generate`, `course look` and
    `course serve` run one.
    Instructors: `course grade` grades a folder, `course release` writes a version for students, `course configure`
    sets your fork's address everywhere.
    """,
)
# Modules that are not in the core, and the extra of pyproject.toml that installs each.
EXTRAS = {"fastapi": "serve", "uvicorn": "serve", "llguidance": "serve", "torchvision": "vision", "timm": "vision"}

LAB = "A lab such as ch01_attention."

data_app = typer.Typer(no_args_is_help=True, help="The data sets and models that the labs use.")
app.add_typer(data_app, name="data")
results_app = typer.Typer(no_args_is_help=True, help="Measurements that are kept in results/.")
app.add_typer(results_app, name="results")
export_app = typer.Typer(no_args_is_help=True, help="A lab in the form that another grading service takes.")
app.add_typer(export_app, name="export")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"course {version('course_lib')}")
        raise typer.Exit


@app.callback()
def course(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before a command: `course --version`."""


def _prepare_for_labs(preset: str) -> None:
    if find_spec("jupyter_book") is None:
        raise CourseError("what runs the labs is not installed here: run `make book`, or pip install '.[book]'")
    if preset:
        os.environ["COURSE_PRESET"] = preset
    # What is told to stop (by `timeout`, by CI) unwinds, so that the labs' kernels end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@app.command()
def book(
    preset: Annotated[str, typer.Option(help="Sizes to run the labs at: cpu, or gpu on a machine that has one.")] = "",
    only: Annotated[str, typer.Option(help="Run this lab alone and show it in _build/preview, for its author.")] = "",
    jobs: Annotated[int | None, typer.Option(help="Labs run at a time. By default one for each core.", min=1)] = None,
) -> None:
    """Run the labs that changed, then build the site into _build/html."""
    _prepare_for_labs(preset)
    from course_lib.data.packages.fetching import fetch_all
    from course_lib.site.build import build

    fetch_all()  # now, with its progress in sight, and not in the middle of a lab
    build(only=only or None, jobs=jobs)


@app.command()
def replicate(
    labs: Annotated[list[str] | None, typer.Argument(help="Labs such as ch01_attention; none means all.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each lab: on the course seeds 0, 1, and so on.", min=2)] = 10,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time. By default one for each core.", min=1)] = None,
    preset: Annotated[str, typer.Option(help="Sizes to run the labs at: cpu, or gpu on a machine that has one.")] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Run nothing; say which bands in results/replications do not hold.")
    ] = False,
    renew: Annotated[
        bool,
        typer.Option("--renew", help="After a change that leaves the numbers alone: run seed 0, keep the rest."),
    ] = False,
) -> None:
    """Run labs on several seeds, and keep what came out in results/replications/, to be committed.

    Ctrl-C keeps every run that has ended; the same command goes on. With --check, the exit status is 1 if a band does
    not hold on the seeds that it was not chosen on, would let its control pass, or judges nothing.
    """
    _prepare_for_labs(preset)
    if check:
        from course_lib.site.replicate import check as complaints_of

        complaints = list(complaints_of(labs or []))
        typer.echo("\n".join(complaints) or "replications: every band holds on the seeds kept")
        raise typer.Exit(1 if complaints else 0)
    from course_lib.data.packages.fetching import fetch_all
    from course_lib.site.replicate import renew as renew_bands
    from course_lib.site.replicate import replicate

    fetch_all()  # now, with its progress in sight, and not in the middle of a lab
    if renew:
        renew_bands(labs or [])
    else:
        replicate(labs or [], seeds=seeds, jobs=jobs)


@app.command()
def rates(
    lab: Annotated[str, typer.Argument(help=LAB)],
    seeds: Annotated[list[int] | None, typer.Option(help="Course seeds, which the lab is not reported on.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time. By default one for each core.", min=1)] = None,
    one_by_one: Annotated[
        bool, typer.Option("--one-by-one", help="One model's rate at a time: where later ones build on earlier ones.")
    ] = False,
) -> None:
    """Try the learning rates of a lab's models, and keep what came out in results/rates/, to be committed.

    The lab runs at its rates, at a third and at three times of them, and at more where the best is at an end.
    """
    _prepare_for_labs("cpu")
    from course_lib.data.packages.fetching import fetch_all
    from course_lib.site.rates import SEEDS, try_rates

    fetch_all()
    try_rates(lab, seeds or SEEDS, jobs, one_by_one=one_by_one)


@app.command()
def site(
    port: Annotated[int, typer.Option(help="First port to try; the next free one is taken.")] = 8000,
    browser: Annotated[bool, typer.Option(help="Open the site in your browser.")] = True,
) -> None:
    """Show the built site on this machine (loopback only)."""
    from course_lib.site.serve import serve

    serve(port, open_browser=browser)


@app.command()
def lab(
    slug: Annotated[str, typer.Argument(help="The lab to open, such as ch01_attention; by default the first.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start this lab anew; your copy is kept beside it.")] = False,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Start JupyterLab.")] = True,
) -> None:
    """Open your own copies of the labs, in my_labs/, in JupyterLab. An edited copy is never overwritten."""
    from course_lib.site.labs import open_labs

    raise typer.Exit(open_labs(slug or None, fresh=fresh, start=open_))


@app.command()
def release(
    out: Annotated[Path, typer.Argument(help="The folder to write: new, empty, or of an earlier release.")],
    chapters: Annotated[
        str, typer.Option(help="Chapters such as primer,ch01. By default those of course.toml, or else all.")
    ] = "",
    own_labs: Annotated[str, typer.Option(help="Labs of own_exercises/ that go with it, such as week_3,week_4.")] = "",
) -> None:
    """Write a student version of the course: the chosen chapters, without solutions and hidden cases.

    The labs are run here first, as for the book. Commit what comes out to the repository of your students.
    """
    _prepare_for_labs("")
    from course_lib.site.release import release as write_release

    names, ours = (text.replace(",", " ").split() for text in (chapters, own_labs))
    for sentence in write_release(out, names, own_labs=ours):
        typer.echo(sentence)
    typer.echo(f"wrote {out}; this folder is for your students, and hidden cases and solutions stay here")


@app.command("new-lab")
def new_lab(
    slug: Annotated[str, typer.Argument(help="Its name: chNN_name or capstone_name, for example ch05_in_context.")],
    title: Annotated[str, typer.Option(help="The heading of the notebook.")] = "",
    question: Annotated[str, typer.Option(help="What the lab asks, in one sentence for the index page.")] = "",
) -> None:
    """Write a lab that runs and passes all tests, for its author to fill: notebook, exercise, page, entries."""
    from course_lib.site.new_lab import new_lab

    for path in new_lab(slug, title, question):
        typer.echo(f"wrote {path}")
    typer.echo(f"To run it and look at its page: course book --only {slug}")


@app.command("new-exercise")
def new_exercise(
    lab: Annotated[str, typer.Argument(help="A lab of the course such as ch01_attention, or a new name.")],
    id: Annotated[str, typer.Argument(help="The name of the exercise; of one of this lab, for private cases.")],
) -> None:
    """Write an exercise of your own, or private cases for one of the course, into own_exercises/."""
    from course_lib.site.new_exercise import new_exercise

    for path in new_exercise(lab, id):
        typer.echo(f"wrote {'/'.join(path.parts[-3:])}")


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="A lab's notebook, for example my_labs/ch01_attention.ipynb.")],
    hints: Annotated[
        bool, typer.Option("--hints", help="Show both hints of each exercise that does not pass.")
    ] = False,
    result: Annotated[
        Path | None, typer.Option(help="A JSON file for the results, in the form of Classroom 50's result.json.")
    ] = None,
) -> None:
    """Run the visible checks on the exercises of a notebook."""
    from course_lib.grader.command import check_notebook

    raise typer.Exit(check_notebook(notebook, hints, result))


@app.command()
def progress() -> None:
    """Say which exercises you have solved so far, lab by lab, in your own copies in my_labs/.

    It runs the visible checks of each copy that has changed since you last asked. The results stay on this machine, in
    my_labs/.progress.json: delete that file, and all is checked again. To begin a lab anew: course lab LAB --fresh.
    """
    from course_lib.site.progress import progress as solved_so_far

    for sentence in solved_so_far():
        typer.echo(sentence)


@app.command()
def grade(
    submissions: Annotated[Path, typer.Argument(help="A folder of notebooks; read recursively.")],
    out: Annotated[Path, typer.Option("--out", help="Where grades.csv, grades.json and the reports go.")],
    lab: Annotated[str, typer.Option(help="Grade every file as this lab. By default each file tells its own.")] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of the hidden cases. By default a secret one.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Submissions graded at once. By default one for each core.")] = None,
    sandbox: Annotated[
        str,
        typer.Option(help="auto: the strongest level that works, announced; require: bubblewrap or stop; off."),
    ] = "auto",
    roster: Annotated[
        Path | None,
        typer.Option(help="A CSV file with the columns id, name and perhaps group: a row for each in students.csv."),
    ] = None,
    id_pattern: Annotated[
        str | None,
        typer.Option(help="A regular expression whose one group is the id in a path. By default the id as a word."),
    ] = None,
    count: Annotated[
        str | None,
        typer.Option(help="Of several versions of a lab, the latest (by the file's time) or the best counts."),
    ] = None,
    only: Annotated[str | None, typer.Option(help="Grade the files of this student again, and no others.")] = None,
    deadline: Annotated[
        list[str] | None,
        typer.Option(
            help="When labs are due, or LAB=WHEN for one: 2026-12-01T23:59+01:00; may be given again. By default as in "
            "course.toml."
        ),
    ] = None,
    late_penalty: Annotated[
        str | None,
        typer.Option(
            help="What lateness costs, of the points of the lab: 10%/day, 1%/hour, or 20% once. By default as in "
            "course.toml."
        ),
    ] = None,
    similarity: Annotated[
        bool,
        typer.Option("--similarity/--no-similarity", help="Show in class.html which answers to an exercise are alike."),
    ] = True,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Grade on a Ray cluster: HOST:PORT of its head, or auto. Each node needs Ray and the course."
        ),
    ] = None,
) -> None:
    """Grade a folder of submissions, each in a sandbox of its own.

    With --roster, OUT/students.csv has a row for each student.
    A lab that was not handed in is an empty cell there and adds nothing to the total.
    What you write into a lab's own columns there, LAB manual (points to add) and LAB comment, stays.
    With --deadline, it says how late each lab is. The points of a lab stay; a penalty has its own column, and the
    total is less by it. A student's own deadline is in the roster's column extension.
    Deadlines, the penalty and points of your own can stand in course.toml; what is said here goes before.
    OUT keeps --deadline, --late-penalty, --count and --id-pattern for later runs; the value none takes one back.
    """
    from course_lib.grader.command import grade_folder, kept_when_stopped
    from course_lib.grader.deadlines import read_deadlines
    from course_lib.grader.kept_options import as_typed, with_kept
    from course_lib.grader.roster import read_roster
    from course_lib.grader.rules import what_is_gone, without_roster
    from course_lib.grader.students import Class, group_work

    if roster is None and (id_pattern is not None or only is not None or count is not None or deadline):
        raise CourseError("--id-pattern, --count, --only and --deadline are about students: give --roster too")
    if late_penalty and not roster:
        raise CourseError("--late-penalty needs a --deadline and a --roster")
    group = None
    if roster:
        given = {"deadline": deadline, "late_penalty": late_penalty, "count": count, "id_pattern": id_pattern}
        options = with_kept(out, given)
        if kept := as_typed({name: value for name, value in options.items() if value != given[name]}):
            typer.echo(f"As in the last run: {kept} (the value none takes an option back).")
        students = read_roster(roster, options["id_pattern"])
        due = read_deadlines(options["deadline"] or [], options["late_penalty"], students)
        if due and not options["deadline"]:
            typer.echo("Deadlines: those of course.toml.")
        if due:
            typer.echo(due.cost())
        labs, sentence = group_work(students)
        if sentence:
            typer.echo(sentence)
        group = Class(students, options["count"] or "latest", only, due, options, labs)
    for sentence in what_is_gone(out, group, bool(deadline or late_penalty)) if group else without_roster():
        typer.echo(sentence)
    with kept_when_stopped(out):
        code = grade_folder(submissions, out, lab or None, seed, jobs, sandbox, group, similarity, cluster)
    raise typer.Exit(code)


@app.command("grade-export")
def grade_export(
    grades: Annotated[Path, typer.Argument(help="The folder of `course grade --roster`.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="canvas, moodle, reports: a zip of what to hand out, or missing: who has no grade in which lab.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="What to write: CSV for a gradebook's import, or a zip.")],
    title: Annotated[
        list[str] | None,
        typer.Option(help="LAB=TITLE: what a lab is called in the gradebook. By default its name here."),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            help="What a lab without a grade gets: 0, or EX (excused) for Canvas; LAB=0 for one. By default nothing."
        ),
    ] = None,
) -> None:
    """Write the points of students.csv as a gradebook imports them, what you wrote there included; or zip reports.

    --to missing writes who has no grade in which lab, and why, with the columns of the roster.
    """
    from course_lib.grader.export import export

    for sentence in export(grades, to, out, title or [], missing):
        typer.echo(sentence)


@export_app.command("gradescope")
def export_gradescope(
    lab: Annotated[str, typer.Argument(help=LAB)],
    out: Annotated[Path, typer.Argument(help="The zip to write, to be uploaded as the assignment's autograder.")],
    hidden: Annotated[
        str,
        typer.Option(
            help="When students see their points and hidden cases: after_published, after_due_date, hidden or visible."
        ),
    ] = "after_published",
    seed: Annotated[int | None, typer.Option(help="Seed of the hidden cases. By default a secret one.")] = None,
    sandbox: Annotated[
        str, typer.Option(help="auto: the strongest level that works there; require: bubblewrap or no grade; off.")
    ] = "auto",
) -> None:
    """Write a lab's autograder for Gradescope: it installs the course there and grades in its sandbox."""
    from course_lib.grader.gradescope.export import export

    points = export(lab, out, hidden, seed, sandbox)
    typer.echo(f"{out}: {lab}, {points} points. It holds the seed of the hidden cases: upload it, hand it to nobody.")


@export_app.command("nbgrader")
def export_nbgrader(
    lab: Annotated[str, typer.Argument(help=LAB)],
    folder: Annotated[Path, typer.Argument(help="A course folder of nbgrader, new or not.")],
) -> None:
    """Write a lab's exercises as a source notebook of nbgrader, for `nbgrader generate_assignment`."""
    from course_lib.site.assignments import nbgrader

    typer.echo(
        f"wrote {', '.join(map(str, nbgrader(lab, folder)))}; next: cd {folder} && nbgrader generate_assignment {lab}"
    )


@export_app.command("otter")
def export_otter(
    lab: Annotated[str, typer.Argument(help=LAB)],
    folder: Annotated[Path, typer.Argument(help="Where the notebook goes.")],
) -> None:
    """Write a lab's exercises as a source notebook of otter-grader, for `otter assign`."""
    from course_lib.site.assignments import otter

    [path] = otter(lab, folder)
    typer.echo(f"wrote {path}; next: otter assign {path} {folder / 'dist'}")


INSTALLED = "What pip installs there. By default the repository of `course configure`."


@export_app.command("github")
def export_github(
    lab: Annotated[str, typer.Argument(help=LAB)],
    folder: Annotated[Path, typer.Argument(help="The repository that students get a copy of.")],
    course: Annotated[str, typer.Option(help=INSTALLED)] = "",
) -> None:
    """Write a workflow of GitHub Actions that checks a lab at each push, and the lab's notebook."""
    from course_lib.site.github import github

    typer.echo(f"wrote {', '.join(map(str, github(lab, folder, course)))}")


@export_app.command("classroom50")
def export_classroom50(
    lab: Annotated[str, typer.Argument(help=LAB)],
    folder: Annotated[Path, typer.Argument(help="Where the two files go.")],
    course: Annotated[str, typer.Option(help=INSTALLED)] = "",
) -> None:
    """Write a lab's autograder for Classroom 50, and the lab's notebook."""
    from course_lib.site.github import classroom50, slug

    typer.echo(f"wrote {', '.join(map(str, classroom50(lab, folder, course)))}")
    place = f"CLASSROOM/autograders/{slug(lab)}/"
    typer.echo(f"Next: autograder.py into {place} of your repository classroom50, {lab}.ipynb into the template.")


@app.command()
def audit(
    labs: Annotated[list[str] | None, typer.Argument(help="Labs such as ch01_attention; none means all.")] = None,
    seed: Annotated[int, typer.Option(help="The first of the hidden seeds; 0 is the visible one.", min=1)] = 1,
    json: Annotated[Path | None, typer.Option("--json", help="Write all that was measured to this file.")] = None,
) -> None:
    """Measure how well the hidden cases of each exercise tell right from wrong.

    For each exercise: what a table of the visible answers earns, how many small slips and known mistakes are caught,
    how many wrong answers are named, and the most that a known mistake earns. The exit status is 1 if a bound is
    broken.
    """
    from course_lib.grader.audit import audit

    raise typer.Exit(audit(labs or [], seed, json))


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="chains, copying, experts, gpt, loads, moe (with its dense equivalent), moe-rates, moe-sizes, peft, "
            "positions, reviews, routers, safety, scaling, told-only, two-relations, vision-rates or vision-text."
        ),
    ],
    preset: Annotated[
        str,
        typer.Option(help="cpu: minutes, the default; hour: an hour on one core; gpu: minutes on an H100."),
    ] = "",
    steps: Annotated[int | None, typer.Option(help="Steps in place of the preset's own.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.", min=0, max=2**32 - 1)] = 0,
    out: Annotated[Path | None, typer.Option(help="Where it all goes. By default runs/RECIPE-PRESET-seedN.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in that folder was stopped.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Print parameters, FLOPs, memory and time, and train nothing.")
    ] = False,
) -> None:
    """Train a model on real data: metrics, checkpoints, a report, and at the end the model in OUT/model.

    Ctrl-C keeps what was learned, and says how to go on. After a kill, --resume does the steps after the
    last checkpoint again; either way the model is the one of an undisturbed run. A recipe that keeps no
    model has the numbers of its finished models, and trains the one under way again.
    """
    from course_lib.recipes.command import train

    train(recipe, preset or None, steps=steps, seed=seed, out=out, resume=resume, estimate=estimate)


MODEL = "A folder of `course train`, a Hugging Face folder, or a name: smollm2, or moe, which comes with the course."
BITS = "8 or 4: weights are rounded to so many bits, for less memory and more speed."


@app.command()
def generate(
    model: Annotated[str, typer.Argument(help=MODEL)],
    prompt: Annotated[str, typer.Option(help="What to answer or to continue; - reads it from the standard input.")],
    system: Annotated[str | None, typer.Option(help="What the model is told before the conversation.")] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--raw", help="Answer, or continue. By default what the model was made for.")
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="At most this many tokens; by default, as many as the context has room for.", min=1),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="0: the likeliest token each time. By default, what the model's makers recommend.", min=0),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the K likeliest tokens.", min=1)] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens that make up this share.", min=0, max=1)
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(help="Leave out tokens less likely than this share of the likeliest one.", min=0, max=1),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same text.", min=0, max=2**63 - 1)] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this text. Can be repeated.")] = None,
    schema: Annotated[Path | None, typer.Option(help="Write JSON that satisfies the JSON Schema in this file.")] = None,
    regex: Annotated[str | None, typer.Option(help="Write a text that this regular expression matches whole.")] = None,
    bits: Annotated[int | None, typer.Option(help=BITS, min=4, max=8)] = None,
) -> None:
    """Let a model write. The text appears as it is made; Ctrl-C ends it."""
    from course_lib.infer.command import write

    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    write(model, prompt, system, chat, max_tokens, sampling, seed, stop or [], schema, regex, bits)


@app.command()
def look(
    picture: Annotated[Path, typer.Argument(help="A picture of 2 x 2 emoji: PNG, JPEG or the like.")],
    question: Annotated[str, typer.Argument(help='Such as "what is at the top left?".')] = "",
    model: Annotated[
        Path | None,
        typer.Option(
            help="A folder of `course train vision-text`. By default runs/vision-text-cpu-seed0; if there is none, the "
            "model that comes with the course."
        ),
    ] = None,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw the picture first: four emoji by the artist that the model never saw.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Which four to draw.", min=0, max=2**32 - 1)] = 0,
) -> None:
    """Ask the vision-text model about a picture."""
    from course_lib.recipes.command import look

    look(picture, question, model, seed if draw else None)


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help=MODEL)],
    host: Annotated[
        str, typer.Option(help="The address to listen at; the default is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)] = 8000,
    bits: Annotated[int | None, typer.Option(help=BITS, min=4, max=8)] = None,
) -> None:
    """Answer programs in OpenAI's format, at http://HOST:PORT/v1. Several at once are served in turns."""
    from course_lib.infer.command import serve

    serve(model, host, port, bits)


@results_app.command("add")
def results_add(
    out: Annotated[Path, typer.Argument(help="The folder of a finished `course train`.")],
) -> None:
    """Keep the results of a run in results/ of this checkout, to be committed.

    Of a run with --preset hour, the model is kept too, in shipped/.
    """
    from course_lib.recipes.command import keep_results

    typer.echo(f"kept as {', '.join(map(str, keep_results(out)))}; commit it with git")


@app.command()
def configure(
    repository: Annotated[str, typer.Option(help="https://github.com/OWNER/NAME; an empty text removes it.")],
    ref: Annotated[str, typer.Option(help="The branch or tag that Colab and Binder use.")] = "main",
) -> None:
    """Set the repository of your fork once, everywhere: buttons, links and the labs' set-up cells."""
    from course_lib.site.configure import configure

    configure(repository, ref)


@data_app.command("list")
def data_list() -> None:
    """List what can be fetched: name, size, licence, and whether it is here."""
    from course_lib.data.packages.fetching import listing

    typer.echo(listing())


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names from `course data list`; none means all.")] = None,
) -> None:
    """Fetch data sets and models into your cache; afterwards no network is needed."""
    from course_lib.data.packages.fetching import fetch_all

    fetch_all(names or None)


@data_app.command("prepare")
def data_prepare() -> None:
    """Make all that `course train` reads, and say which files to copy to a machine without network."""
    from course_lib.recipes.command import prepare

    prepare()


def main() -> None:
    """Run the command; an error that the user can fix prints one sentence and no traceback."""
    try:
        app()
    except CourseError as error:
        typer.echo(f"course: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in EXTRAS:
            raise
        needs = f"this needs {missing}, which is not installed; install the course with its extra `{EXTRAS[missing]}`"
        typer.echo(f"course: {needs}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:  # what was being done has said so
        sys.exit(130)
