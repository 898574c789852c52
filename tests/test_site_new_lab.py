"""`course new-lab`: what it writes is a lab that passes the tests of all labs as it is."""

import os
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
    run(checkout, "-m", "course_lib", "new-lab", "ch05_in_context", "--title", 'The "title"', "--question", QUESTION)
    run(checkout, "-m", "ruff", "check", "course_lib/exercises", "labs")
    run(checkout, "-m", "ruff", "format", "--check", "course_lib/exercises", "labs")
    new_or_about_all = "in_context or index or unique or plain_data or labs_and_each"
    run(checkout, "-m", "pytest", "-q", "-k", new_or_about_all, "tests/test_house.py", "tests/test_exercises.py")

    documents = find_project(checkout).documents()
    assert documents.index("labs/ch05_in_context") == documents.index("book/ch05_in_context") + 1
    assert documents.index("labs/ch05_in_context") < documents.index("book/glossary")

    run(checkout, "-c", SOLVE, "labs/ch05_in_context.ipynb", "solved.ipynb")
    solved = nbformat.read(checkout / "solved.ipynb", as_version=4)
    client = NotebookClient(solved, timeout=120, resources={"metadata": {"path": str(checkout)}})
    client.execute(env={**os.environ, "PYTHONPATH": str(checkout), "COURSE_STRICT": "1"})
    outputs = [output for cell in solved.cells for output in cell.get("outputs", [])]
    records = [output.metadata.course_record for output in outputs if "course_record" in output.get("metadata", {})]
    cited = (checkout / "book" / "ch05_in_context.md").read_text()
    assert [(record["key"], record["value"]) for record in records] == [("ch05-in-context.accuracy", 1.0)]
    assert records[0]["control"]["ok"]
    assert all(f"`{part['key']} " in cited for part in (records[0], records[0]["control"]))


def test_a_lab_of_a_chapter_that_is_there_comes_last_in_it(checkout):
    new_lab("ch01_more", root=checkout)
    labs = [lab for lab in find_project(checkout).lab_slugs() if lab.startswith("ch01")]
    assert labs == ["ch01_attention", "ch01_heads", "ch01_positions", "ch01_more"]
    page = (checkout / "book" / "ch01_self_attention.md").read_text()
    assert 0 < page.index("## More") < page.index("## Where to go next")
    assert not (checkout / "book" / "ch01_more.md").exists()


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
