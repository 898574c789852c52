"""`course new-lab`: what it writes is a lab that passes the tests of all labs as it is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from course_lib.site.new_lab import new_lab
from course_lib.site.paths import SiteError, find_project

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("book", "labs", "course_lib", "tests", "_toc.yml", "_config.yml", "pyproject.toml", "README.md")
QUESTION = 'Does "learning" without a change of weights deserve its name?'
SOLVE = """
import nbformat, sys
from course_lib.site.solve import solve
nbformat.write(solve(nbformat.read(sys.argv[1], as_version=4)), sys.argv[2])
"""


@pytest.fixture
def checkout(tmp_path):
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(checkout, *command):
    """Run a module in a process of its own, which imports the copy."""
    env = {**os.environ, "PYTHONPATH": str(checkout), "COURSE_STRICT": "1"}
    done = subprocess.run([sys.executable, *command], cwd=checkout, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_new_lab_passes_the_tests_of_all_labs_and_runs(checkout):
    run(checkout, "-m", "course_lib", "new-lab", "ch09_trial", "--title", 'The "title"', "--question", QUESTION)
    run(checkout, "-m", "ruff", "check", "course_lib/exercises", "labs")
    run(checkout, "-m", "ruff", "format", "--check", "course_lib/exercises", "labs")
    new_or_about_all = "trial or index or unique or labs_and_each"
    run(checkout, "-m", "pytest", "-q", "-k", new_or_about_all, "tests/test_house.py", "tests/test_exercises.py")

    documents = find_project(checkout).documents()
    overview = documents.index("book/ch09_overview")
    assert documents[overview + 1 : overview + 3] == ["book/ch09_trial", "labs/ch09_trial"]
    assert overview < documents.index("book/ch10_overview") < documents.index("book/glossary")
    toc = (checkout / "_toc.yml").read_text()
    assert toc.index("book/ch09_overview") < toc.index("- caption: Recent advances")

    run(checkout, "-c", SOLVE, "labs/ch09_trial.ipynb", "solved.ipynb")
    solved = nbformat.read(checkout / "solved.ipynb", as_version=4)
    client = NotebookClient(solved, timeout=120, resources={"metadata": {"path": str(checkout)}})
    client.execute(env={**os.environ, "PYTHONPATH": str(checkout), "COURSE_STRICT": "1"})
    outputs = [output for cell in solved.cells for output in cell.get("outputs", [])]
    records = [output.metadata.course_record for output in outputs if "course_record" in output.get("metadata", {})]
    cited = (checkout / "book" / "ch09_trial.md").read_text()
    assert [(record["key"], record["value"]) for record in records] == [("ch09-trial.accuracy", 1.0)]
    assert records[0]["control"]["ok"]
    assert all(f"`{part['key']} " in cited for part in (records[0], records[0]["control"]))


def add_chapter(checkout, *entries):
    """Write chapter 9, whose overview closes with a section, and list it with these entries below it."""
    text = "# Nine\n\n## The ideas\n\nThey are these.\n\n## Where to go next\n\nOn.\n"
    (checkout / "book" / "ch09_nine.md").write_text(text)
    below = "".join(f"          - file: {entry}\n            title: X\n" for entry in entries)
    toc = (checkout / "_toc.yml").read_text()
    chapter = f"      - file: book/ch09_nine\n        sections:\n{below}"
    (checkout / "_toc.yml").write_text(toc.replace("  - caption: Reference\n", f"{chapter}  - caption: Reference\n"))
    return checkout / "book" / "ch09_nine.md"


def of_chapter_9(checkout):
    return [name for name in find_project(checkout).documents() if "/ch09" in name]


def test_a_lab_of_a_chapter_that_is_there_gets_a_page_of_its_own_before_it(checkout):
    chapter = add_chapter(checkout, "book/ch09_first", "labs/ch09_first")
    new_lab("ch09_more", title="Is there more?", root=checkout)
    assert of_chapter_9(checkout)[3:] == ["book/ch09_more", "labs/ch09_more"]
    toc = (checkout / "_toc.yml").read_text()
    assert "          - file: book/ch09_more\n            title: More\n          - file: labs/ch09_more\n" in toc
    text = chapter.read_text()
    assert 0 < text.index("[More](ch09_more.md)") < text.index("## Where to go next")
    page = (checkout / "book" / "ch09_more.md").read_text()
    assert page.startswith("# More: Is there more?\n")
    assert "{quiz}" in page
    assert re.search(r"(?m)^## More: what we measured$", page)
    assert (
        'see="Chapter 9, More: what we measured"'
        in (checkout / "course_lib" / "exercises" / "ch09_more" / "more_accuracy.py").read_text()
    )


def test_the_row_of_a_capstone_is_the_last_of_the_table(checkout):
    new_lab("capstone_end", "The end", QUESTION, root=checkout)
    new_lab("ch13_more", "More", QUESTION, root=checkout)
    rows = re.findall(r"(?m)^\| \[.+\]\(\.\./labs/(\w+)\.ipynb\)", (checkout / "book" / "index.md").read_text())
    assert rows[-1] == "capstone_end"
    assert not rows[rows.index("ch13_more") + 1].startswith("ch")
    assert (checkout / "book" / "index.md").read_text().rstrip().endswith("glossary.md).")


def test_a_page_that_was_written_before_its_lab_is_kept(checkout):
    add_chapter(checkout, "book/ch09_first", "labs/ch09_first")
    (checkout / "book" / "ch09_more.md").write_text("# More\n\nMine.\n")
    new_lab("ch09_more", root=checkout)
    assert (checkout / "book" / "ch09_more.md").read_text().startswith("# More\n\nMine.\n\n## More: what")


@pytest.mark.parametrize(
    ("slug", "sentence"),
    [
        ("attention", "is no name for a lab"),
        ("ch1_x", "is no name"),
        ("ch01_heads", "there is a lab ch01_heads already"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_written(checkout, slug, sentence):
    before = sorted(checkout.rglob("*"))
    with pytest.raises(SiteError, match=sentence):
        new_lab(slug, root=checkout)
    assert sorted(checkout.rglob("*")) == before
