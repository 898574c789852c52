"""`course release DIR`: a checkout for students, with the chosen chapters and without solutions.

What it hides is what stands in the files of the exercises. The library, on which labs and pages run, stays whole;
`looked_up` finds the exercises whose answer can be read there or on a page.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode

from course_lib import exercises
from course_lib.checkout import commit_of
from course_lib.course_file import NAME, Course, read_course
from course_lib.errors import CourseError
from course_lib.exercises import own
from course_lib.files import acquire_lock, write_bytes, write_text
from course_lib.grader.deadlines import announced
from course_lib.site import cache, replication
from course_lib.site.build import read_lab, run_labs
from course_lib.site.configure import configured, set_repository
from course_lib.site.paths import Project, SiteError, documents_in, find_project
from course_lib.site.points import with_points
from course_lib.site.solve import MARK, exercise_id, solution_source
from course_lib.site.student_exercise import student_source, visible_cases
from course_lib.tables import cell_text, formatted

MANIFEST = ".course-release.json"
COPIED = (
    *("book", "course_lib", "results", "shipped", "tools", "benchmarks", ".github", ".ci", "labs/ruff.toml"),
    *("Makefile", "README.md", "LICENSE", "LICENSE-TEXT.md", "CITATION.cff", "_config.yml", ".gitignore"),
    *("environment.yml", "pyproject.toml", "requirements.lock"),
)
# The reasons why a slip in a reference is none quote the reference.
LEFT_OUT = ("course_lib/grader/equivalent_mutants.toml",)
FOR_TEACHERS = "book/teach"  # how the names of their pages begin
TESTS = Path(__file__).with_name("student_tests.py.template")
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(([^)\s#]+)(?:#[^)\s]*)?\)(\{[^}\n]*\})?")
NUMBER = re.compile(r"\{number\}`(\S+?)(?: ([^`]*))?`")
MOVED = re.compile(r"^  [\w-]+: ([\w-]+)(?:#[\w-]+)?\n", re.MULTILINE)  # in the front matter: what is on a page now
DEADLINES = "<!-- deadlines -->"  # in the README, where they go
LAUNCH = re.compile(r"\{launch\} (\w+)")
FULL = re.compile(r"<!-- full -->\n.*?<!-- /full -->\n", re.DOTALL)
STUDENT = re.compile(r"<!-- student\n(.*?)-->\n", re.DOTALL)
OWN_LABS = "own_labs"  # where the notebooks of an instructor's own labs are, which are no pages of the book
NO_ADDRESS = "it has no address yet: `course configure --repository URL` there sets it, and a later release keeps it"
LONG = 24  # characters of a line of a reference that hardly stands somewhere else by chance


def release(
    out: Path, chapters: Sequence[str] = (), root: Path | None = None, own_labs: Sequence[str] = ()
) -> list[str]:
    """Write a student version of the course into a folder, whole or not at all.

    Args:
        out: The folder: new, empty, or written by an earlier release, whose files are replaced.
        chapters: The chapters, such as "ch01"; by default those of `course.toml`, or else all.
        root: A folder of the checkout; by default the working directory.
        own_labs: The labs of `own_exercises` that go with it, such as "week_3".

    Returns:
        Sentences about what was written, and what it does not hide.

    Raises:
        CourseError: If a chapter is unknown, the folder holds something else, or a lab does not run.
    """
    project = find_project(root)
    if exercises.is_student_version():
        raise CourseError("this is a student version itself; release from the full course")
    before = _earlier(out)
    course = read_course(project.root)
    toc = chosen(project.toc(), chapters or course.chapters, "" if chapters else f"{course.place('chapters')} ")
    book = Book(project, toc)
    own_notebooks = _own_notebooks(project, own_labs)
    project.build.mkdir(exist_ok=True)
    with acquire_lock(project.build / "build.lock", "Another build of this book is running; waiting for it."):
        runs = run_labs(project, {lab: read_lab(project, lab) for lab in book.labs})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".release-", dir=out.parent) as folder:
        new = Path(folder)
        _copy(project, new, book)
        write_text(new / "_toc.yml", yaml.safe_dump(toc, sort_keys=False, allow_unicode=True))
        _write_course(new, course, [*book.labs, *own_notebooks])
        write_text(new / "tests" / "test_student_version.py", TESTS.read_text(encoding="utf8"))
        for lab in book.labs:
            _write_lab(project, new, book, lab, runs[lab], course.hints)
        for lab, notebooks in own_notebooks.items():
            _write_own_lab(new, book, lab, notebooks, course.hints)
        # Never the address of the full course: Colab would install its solutions.
        address = configured(out) if before else None
        address = None if address == configured(project.root) else address
        set_repository(Project(new), address)
        where = f"its address, as before: {address.url}" if address else NO_ADDRESS
        ours = [f"labs of your own: {', '.join(own_notebooks)}, in {OWN_LABS}/"] if own_notebooks else []
        if gone := [name for name in before if name.startswith(f"{OWN_LABS}/") and not (new / name).exists()]:
            ours.append(
                f"the release before had {', '.join(gone)}, and this one has not: --own-labs names what to keep"
            )
        given_away = looked_up(new, [*book.labs, *own_notebooks])
        said = [f"{len(book.labs)} labs: {', '.join(book.labs)}", *ours, *book.said(), where, *given_away]
        _put_in_place(new, out, before, commit_of(project.root))
    return said


def chosen(toc: dict[str, Any], chapters: Sequence[str], place: str = "") -> dict[str, Any]:
    """Return the table of contents with these chapters alone, and all that belongs to no chapter.

    A chapter has labs, and is called by the first word of its page: "primer", "ch01". None means all. Of a chapter that
    is not named, single labs may be: its overview then comes with the pages of these.

    Raises:
        SiteError: If there is no such chapter or lab.
    """
    toc = copy.deepcopy(toc)
    for part in toc["parts"]:
        part["chapters"] = [entry for entry in part["chapters"] if not entry["file"].startswith(FOR_TEACHERS)]
    everything = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    names = {_chapter(entry): None for entry in everything if _labs_of(entry)}
    labs = [PurePosixPath(name).stem for entry in everything for name in _labs_of(entry)]
    if unknown := [name for name in chapters if name not in names and name not in labs]:
        known = f"there are {', '.join(names)}, and single labs such as {labs[-1]}"
        raise SiteError(f"{place}there is no chapter {unknown[0]}; {known}")
    for part in toc["parts"]:
        part["chapters"] = [taught for entry in part["chapters"] if (taught := _taught(entry, chapters))]
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    return toc


def _taught(entry: dict[str, Any], chapters: Sequence[str]) -> dict[str, Any] | None:
    """Return what is taught of a chapter: all of it, its overview with some labs and their pages, or nothing."""
    if not chapters or not _labs_of(entry) or _chapter(entry) in chapters:
        return entry
    pages = [page for page in entry.get("sections", []) if PurePosixPath(page["file"]).stem in chapters]
    return {**entry, "sections": pages} if pages else None


def _chapter(entry: dict[str, Any]) -> str:
    return PurePosixPath(entry["file"]).stem.split("_")[0]


def _labs_of(entry: dict[str, Any]) -> list[str]:
    return [name for name in documents_in(entry) if name.startswith("labs/")]


class Book:
    """The chosen pages, and how text changes that speaks of the others.

    Attributes:
        labs: The chosen labs, in reading order.
        gone: The pages and labs that are left out.
    """

    def __init__(self, project: Project, toc: dict[str, Any]):
        everything, kept = project.documents(), [toc["root"], *documents_in(toc)]
        self.labs = [name.removeprefix("labs/") for name in kept if name.startswith("labs/")]
        self.gone = set(everything) - set(kept)
        if not self.labs:
            raise SiteError("the chosen chapters have no lab")
        self._first = next(name for name in kept if name != toc["root"] and name != "book/start")
        self._numbers: dict[str, list[float | None]] = {}  # those of labs that are left out, on each seed
        for lab in (name.removeprefix("labs/") for name in self.gone if name.startswith("labs/")):
            if found := replication.read(project, lab):
                self._numbers.update({key: number["values"] for key, number in found["numbers"].items()})
        self._unlinked: dict[str, int] = {}

    def text(self, text: str, page: str) -> str:
        """Return the text of a page as students read it.

        A link to a page that is left out keeps its words alone; a row of a table that leads only there goes. A number
        that only a lab measures that is left out is written down, as the replication has it.

        Args:
            text: The text.
            page: Its name, such as "book/index".
        """
        text = STUDENT.sub(lambda found: found[1], FULL.sub("", text))
        if not self.gone:
            return text
        folder = posixpath.dirname(page)
        text = MOVED.sub(lambda found: "" if self._leads_away(folder, found[1]) else found[0], text)
        text = re.sub(r"\A---\nmoved:\n---\n", "", text)
        text = LINK.sub(lambda found: self._link(found, page), self._rows(text, folder))
        text = NUMBER.sub(self._number, text)
        return LAUNCH.sub(lambda found: found[0] if found[1] in self.labs else f"{{launch}} {self.labs[0]}", text)

    def said(self) -> list[str]:
        """Return a sentence about the links that became words, if there are any."""
        if not self._unlinked:
            return []
        places = ", ".join(f"{page} ({n})" for page, n in sorted(self._unlinked.items()))
        return [f"links to what is left out are words now: {places}"]

    def _leads_away(self, folder: str, target: str) -> bool:
        name = posixpath.normpath(posixpath.join(folder, target))
        return posixpath.splitext(name)[0] in self.gone

    def _link(self, found: re.Match[str], page: str) -> str:
        if not self._leads_away(posixpath.dirname(page), found[2]):
            return found[0]
        if "start-button" in (found[3] or ""):
            return f"[{found[1]}]({posixpath.relpath(self._first, posixpath.dirname(page))}.md){found[3]}"
        self._unlinked[page] = self._unlinked.get(page, 0) + 1
        return found[1]

    def _rows(self, text: str, folder: str) -> str:
        """Leave out the rows of tables all of whose links lead away; the next row takes over a label at their left."""
        kept, label = [], ""
        for line in text.split("\n"):
            targets = [target for _, target, _ in LINK.findall(line)] if line.startswith("|") else []
            if targets and all(self._leads_away(folder, target) for target in targets):
                own = line.split("|")[1].strip()
                label = own if own and not LINK.search(own) else label
                continue
            if label and line.startswith("| |"):
                line = f"| {label} |{line[3:]}"
            label = ""
            kept.append(line)
        return "\n".join(kept)

    def _number(self, found: re.Match[str]) -> str:
        keys, spec = [found[1]], found[2] or ""
        if spec.startswith("less "):
            other, _, spec = spec.removeprefix("less ").partition(" ")
            keys.append(other)
        if not all(key in self._numbers for key in keys):
            return found[0]
        values, *others = (self._numbers[key] for key in keys)
        for other_values in others:
            pairs = zip(values, other_values, strict=True)
            values = [None if a is None or b is None else a - b for a, b in pairs]
        return _written(values, spec)


def _written(values: Sequence[float | None], spec: str) -> str:
    """Write a number down as the role `number` of the book does: that of seed 0, or what its seeds have together.

    Args:
        values: The number on each seed.
        spec: What follows the key, such as ".1%", "mean .1%", "interval" or "runs > 80%".
    """
    what, _, fmt = spec.partition(" ")
    together = replication.average(values)
    if what == "runs":
        sign, _, bound = fmt.partition(" ")
        limit = float(bound.removesuffix("%")) / (100 if bound.endswith("%") else 1)
        n = sum(value is not None and (value > limit if sign == ">" else value < limit) for value in values)
        return f"{n} of {len(values)}"
    if what == "interval":
        return " to ".join(_one(end, fmt) for end in together["interval"] or [together["mean"]] * 2)
    return _one(together["mean"], fmt) if what == "mean" else _one(values[0], spec)


def _one(value: float | None, fmt: str) -> str:
    if value is None or not fmt or not re.fullmatch(r"[-+ ,z]*\.?\d*[%a-z]?", fmt):
        return cell_text(value)
    return formatted(value, fmt.replace("z", ""))


def _copy(project: Project, new: Path, book: Book) -> None:
    """Copy all but the labs and their exercises, without what belongs to labs that are left out."""
    for file in _files(project.root):
        name = file.relative_to(project.root).as_posix()
        stem = posixpath.splitext(name)[0]
        if name in LEFT_OUT or stem in book.gone or (name.startswith("course_lib/exercises/") and _of_a_lab(file)):
            continue
        if name.startswith("results/replications/") and file.stem not in book.labs:
            continue
        target = new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        if name.endswith(".md"):
            write_text(target, book.text(file.read_text(encoding="utf8"), stem))


def _write_course(new: Path, course: Course, labs: Sequence[str]) -> None:
    """Write what students need of `course.toml`: the name, the authors, deadlines, and what lateness costs.

    The README has the name as its title, and the deadlines in a list.
    """
    deadlines = {lab: course.deadlines[lab] for lab in labs if lab in course.deadlines}
    penalty = course.late_penalty if deadlines else ""
    lines = {"name": course.name, "authors": list(course.authors), "late_penalty": penalty}
    texts = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in lines.items() if value]
    if deadlines:
        texts += ["\n[deadlines]\n", *(f"{lab} = {json.dumps(time)}\n" for lab, time in deadlines.items())]
    if texts:
        write_text(new / NAME, "".join(texts))
    readme = (new / "README.md").read_text(encoding="utf8")
    if course.name:
        readme = re.sub(r"\A# .*", lambda _: f"# {course.name}", readme)
    due = "".join(f"- {exercises.lab(lab).title} (`{lab}`): {announced(lab, course)}\n" for lab in deadlines)
    write_text(new / "README.md", readme.replace(f"{DEADLINES}\n\n", f"## Deadlines\n\n{due}\n" if due else ""))


def _of_a_lab(file: Path) -> bool:
    return file.parent.name != "exercises"


def _files(root: Path) -> Iterator[Path]:
    """Yield the files to copy, without what running left behind."""
    for name in COPIED:
        if (root / name).is_file():
            yield root / name
        for folder, folders, files in os.walk(root / name):
            folders[:] = sorted(inside for inside in folders if inside != "__pycache__" and not inside.startswith("."))
            yield from (Path(folder) / file for file in sorted(files) if not file.startswith("."))


def _write_lab(project: Project, new: Path, book: Book, lab: str, run: NotebookNode, hints: int) -> None:
    """Write a lab, its run with the stubs put back, and its exercises without their answers."""
    notebook = with_points(lab, read_lab(project, lab))
    stubs = _made_students(notebook, book, f"labs/{lab}")
    shown = copy.deepcopy(run)
    sources = {cell.get("id"): cell.source for cell in notebook.cells}
    for cell in shown.cells:
        cell.source = sources[cell.get("id")]
    write_text(new / "labs" / f"{lab}.ipynb", nbformat.writes(notebook) + "\n")
    write_text(new / cache.RUNS / f"{lab}.ipynb", nbformat.writes(shown) + "\n")
    if lab in exercises.labs():
        _write_exercises(new, lab, stubs, f"labs/{lab}.ipynb", hints)


def _made_students(notebook: NotebookNode, book: Book, page: str) -> dict[str, str]:
    """Put the texts of a notebook as students read them, and return the stubs of its exercises by id."""
    stubs = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = book.text(cell.source, page)
        elif name := exercise_id(cell):
            stubs[name] = cell.source.partition("\n")[2].strip()
    return stubs


def _own_notebooks(project: Project, labs: Sequence[str]) -> dict[str, list[Path]]:
    """Return the notebooks of each of an instructor's own labs.

    Raises:
        SiteError: If there is no such lab, or two notebooks have one name.
    """
    found, names = {}, dict[str, Path]()
    for lab in labs:
        if lab not in own.files():
            known = f"there are {', '.join(own.files())}" if own.files() else "course new-exercise LAB NAME makes one"
            raise SiteError(f"--own-labs: there is no folder {own.FOLDER}/{lab} with exercises; {known}")
        if (project.root / "course_lib" / "exercises" / lab).exists():
            raise SiteError(f"--own-labs: {lab} is a lab of the course, and what you added to it is released with it")
        found[lab] = sorted((project.root / own.FOLDER / lab).glob("*.ipynb"))
        for file in found[lab]:
            if (other := names.setdefault(file.name, file)) != file or (project.labs / file.name).exists():
                raise SiteError(
                    f"--own-labs: two notebooks are called {file.name}; rename {other.relative_to(project.root)}"
                )
    return found


def _write_own_lab(new: Path, book: Book, lab: str, notebooks: Sequence[Path], hints: int) -> None:
    """Write the notebooks and the exercises of an instructor's own lab. No notebook is run, since none is a page."""
    stubs = dict[str, str]()
    for file in notebooks:
        notebook = with_points(lab, nbformat.read(file, as_version=4))
        found = _made_students(notebook, book, f"{OWN_LABS}/{file.stem}")
        for id, stub in found.items():
            if NotImplementedError.__name__ not in stub:
                place = f"{own.FOLDER}/{lab}/{file.name}: the cell of {id}"
                raise SiteError(
                    f"{place} has no `raise NotImplementedError`, so it may hold your solution; put the stub back"
                )
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        stubs |= found
        write_text(new / OWN_LABS / file.name, nbformat.writes(notebook) + "\n")
    _write_exercises(new, lab, stubs, f"the notebook in {own.FOLDER}/{lab}", hints)


def _write_exercises(new: Path, lab: str, stubs: Mapping[str, str], where: str, hints: int) -> None:
    """Write the exercises of a lab without their answers.

    Args:
        new: The student version.
        lab: The lab.
        stubs: The stub of each exercise by id.
        where: The notebook, for an error.
        hints: How many of the hints to keep.
    """
    folder = new / "course_lib" / "exercises" / lab
    folder.mkdir(parents=True)
    write_text(folder / "__init__.py", f"from course_lib.exercises import Lab\n\nLAB = {exercises.lab(lab)!r}\n")
    for exercise in exercises.of_lab(lab):
        if exercise.id not in stubs:
            raise SiteError(f"{where} has no cell that begins with `{MARK} {exercise.id}`")
        write_text(folder / f"{exercise.id}.py", student_source(exercise, stubs[exercise.id], hints))
        write_bytes(folder / f"{exercise.id}.cases", visible_cases(exercise))


def looked_up(folder: Path, labs: Sequence[str]) -> list[str]:
    """Return a sentence on the exercises that a student version gives away: half of the answer stands in a file.

    That is the case where half of the longer lines of the reference stand in one file, spaces aside, or where a module
    of the library has a function or class of the same name; a method of this name is about something else.
    """
    texts = {path.relative_to(folder).as_posix(): _plain_text(path) for path in sorted(folder.rglob("*"))}
    ours = ("course_lib/exercises/", f"{cache.RUNS}/")
    texts = {name: text for name, text in texts.items() if text and not name.startswith(ours)}
    named = {name: _defined(folder / name) for name in texts if name.startswith("course_lib/") and name[-3:] == ".py"}
    found: dict[str, list[str]] = {}
    asked = 0
    for exercise in (exercise for lab in labs if lab in exercises.labs() for exercise in exercises.of_lab(lab)):
        asked += 1
        lines = {" ".join(line.split("#")[0].split()) for line in solution_source(exercise).splitlines()[1:]}
        lines = {line for line in lines if len(line) >= LONG}
        for name, text in texts.items():
            same = sum(line in text for line in lines)
            if (same and 2 * same >= len(lines)) or exercise.name in named.get(name, ()):
                found.setdefault(exercise.id, []).append(name)
    if not found:
        return []
    places = "".join(f"\n  {id}: {', '.join(names[:3])}" for id, names in found.items())
    return [
        f"of {asked} exercises, {len(found)} can be looked up in the library or on pages, which the labs need:{places}"
    ]


def _defined(module: Path) -> set[str]:
    """Return the names of the functions and classes of a module, without those inside them."""
    definitions = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(module.read_text(encoding="utf8")).body if isinstance(node, definitions)}


def _plain_text(path: Path) -> str:
    """Return the text of a Python file, a page or the cells of a notebook, with single spaces; "" of anything else."""
    if path.suffix == ".ipynb":
        notebook: Mapping[str, Any] = json.loads(path.read_text(encoding="utf8"))
        return " ".join("\n".join("".join(cell["source"]) for cell in notebook["cells"]).split())
    return " ".join(path.read_text(encoding="utf8").split()) if path.suffix in (".py", ".md") else ""


def _earlier(out: Path) -> list[str]:
    """Return the files that an earlier release wrote into a folder.

    Raises:
        CourseError: If something else is there; only a folder `.git` may be.
    """
    if out.is_dir() and (out / MANIFEST).is_file():
        return json.loads((out / MANIFEST).read_text(encoding="utf8"))["files"]
    if out.exists() and (not out.is_dir() or any(inside.name != ".git" for inside in out.iterdir())):
        raise CourseError(f"{out} holds something that no release wrote; give a new folder or an empty one")
    return []


def _put_in_place(new: Path, out: Path, before: Sequence[str], commit: str) -> None:
    """Move the files into the folder; those of an earlier release that are no longer there go."""
    files = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file())
    for name in set(before) - set(files):
        (out / name).unlink(missing_ok=True)
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(new / name, out / name)
    write_text(out / MANIFEST, json.dumps({"commit": commit, "files": files}, indent=1) + "\n")
