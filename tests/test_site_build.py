"""The whole builder on a book of three pages and one lab: kernels and Sphinx really run."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from site_project import INDEX, ROOT, lab_cells, make_project, write_lab

from course_lib.site import cache, execute, records, replication
from course_lib.site.build import build, read_lab, run_labs
from course_lib.site.configure import configure
from course_lib.site.paths import Project, SiteError, digest_of_tree
from course_lib.site.solve import solve


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The tiny book, built strictly; tests that change it take a copy."""
    project = Project(make_project(tmp_path_factory.mktemp("site") / "book"))
    replication.write(project, made_before())
    page = project.root / "book" / "chapter.md"
    over_seeds = "The mean is {number}`tiny.share mean .2%`, its interval {number}`tiny.share interval .1%`."
    over_seeds += " On {number}`tiny.share runs < 80%` runs it is below 80%."
    over_seeds += " Above the control: {number}`tiny.share less tiny.even mean .2f`."
    page.write_text(f"{page.read_text()}\n{over_seeds}\n\n```{{costs}}\n```\n")
    build(root=project.root)
    return project


def made_before():
    """A replication of the lab on three seeds, from before its last change."""

    def record(value, band, **more):
        return {"value": value, "band": band, "control": None, **more}

    def run(seed):
        share = record((0.71, 0.72, 0.81)[seed], [0.7, 0.8]) | {"control": {"key": "tiny.even"}}
        return {"tiny.share": share, "tiny.even": record(0.5, [0.4, 0.6], control_of=[])}

    provenance = {"lab": "tiny", "preset": "cpu", "source": "another"}
    return replication.assemble(provenance, {seed: run(seed) for seed in range(3)})


@pytest.fixture
def copied(built, tmp_path):
    return Project(shutil.copytree(built.root, tmp_path / "book"))


def html(project, name):
    return (project.html / f"{name}.html").read_text(encoding="utf8")


def run(project):
    return run_labs(project, {"tiny": read_lab(project, "tiny")})


def test_numbers_on_the_page_were_measured_and_say_how(built):
    chapter = html(built, "book/chapter")
    assert re.search(r'class="number-value"[^>]*>2</span>', chapter)
    assert re.search(r'class="number-value"[^>]*>73\.1%</span>', chapter)
    assert "73.1%, expected 70% to 80%" in chapter  # as the page has it, in percent
    assert "0.5, expected 0.4 to 0.6" in chapter
    assert "seed 0, preset cpu, CPU, commit" in chapter
    assert chapter.count('<span class="number-name">Control of</span> 0.731 (tiny.share)') == 1
    assert '<span class="unmeasured">not measured yet</span>' in chapter
    assert json.loads((built.results / "tiny.json").read_text())["tiny.share"]["band"] == [0.7, 0.8]


def test_a_card_shows_the_runs_of_a_replicated_number_over_its_band(built):
    chapter = html(built, "book/chapter")
    assert re.search(r'class="number-value"[^>]*>74\.67%</span>', chapter)
    assert re.search(r'class="number-value"[^>]*>61\.0% to 88\.3%</span>', chapter)
    assert re.search(r'class="number-value"[^>]*>two of three</span>', chapter)
    cards = {}
    for card in chapter.split('role="tooltip"')[1:]:
        cards.setdefault(re.search(r"Key</span> (tiny\.\w+)", card)[1], card)
    assert re.search(r'class="number-value"[^>]*>0\.25</span>', chapter)  # the difference, run by run
    assert "3 runs: 0.21 to 0.31, mean 0.247, 95% interval 0.11 to 0.383; made before" in chapter
    assert "Key</span> tiny.share less tiny.even<" in chapter
    assert "<circle" not in cards["tiny.total"]  # which was not replicated
    share, even = cards["tiny.share"], cards["tiny.even"]
    told = "3 runs: 71% to 81%, mean 74.7%, 95% interval 61% to 88.3%; 2 of 3 in the band"
    assert f"{told}; made before the lab last changed" in share
    assert share.count('<circle class="run own"') == share.count('<circle class="run"') == 1
    assert "Ringed: seed 0, the seed of this page's run. Hollow: the control. Shaded: the band." in share
    assert share.count('<circle class="run out"') == 1
    assert share.count('<circle class="control"') == 3
    assert share.count('<rect class="band"') == 1
    assert "3 runs: 0.5 on each; 3 of 3 in the band" in even
    assert 'class="control"' not in even


def test_the_lab_page_has_stub_hints_solution_cost_and_the_learners_notebook(built):
    lab = html(built, "labs/tiny")
    assert "NotImplementedError" in lab
    for summary in ("A hint", "Another hint", "A solution"):
        assert lab.count(f"<summary>{summary}</summary>") == 1
    assert lab.index("amax") < lab.index("<summary>A solution</summary>") < lab.rindex("amax")  # second hint, solution
    assert re.search(r"Results as run by this build: \d+ CPU-seconds and \d+ MB of memory \(cpu preset, commit ", lab)
    assert lab.count("This page was run with the solution below.") == 1
    assert "google.colab" not in lab
    outputs = "".join(re.findall(r'<div class="cell_output.*?</div>\n</div>', lab, re.DOTALL))
    assert "<p id='twin'>the twin</p>" in outputs
    assert "a widget" not in outputs
    assert "jupyter-widgets" not in lab  # the script that holds a page's widgets
    assert "require" not in lab
    assert (built.html / "labs" / "tiny.ipynb").read_bytes() == (built.labs / "tiny.ipynb").read_bytes()
    assert not (built.html / "_sources").exists()


def test_a_table_says_what_each_lab_costs(built):
    cost = json.loads((built.stage / "labs.json").read_text())["tiny"]
    row = re.search(
        r"<tr[^>]*><td><p><a [^>]*href=\"\.\./labs/tiny\.html\".*?</tr>", html(built, "book/chapter"), re.DOTALL
    )
    told = re.findall(r"<td[^>]*>(?:<p>)?(.*?)(?:</p>)?</td>", row[0], re.DOTALL)[1:]
    minutes, memory = cost["cpu_seconds"] / 60, cost["peak_mb"] / 1000
    assert told == ["0", f"{minutes:.1f}", f"{memory:.1f}", "0", "0"]  # it has no exercise of the course


def test_quiz_is_plain_html(built):
    chapter = html(built, "book/chapter")
    assert chapter.count('<input type="radio" name="sum"') == 3
    assert chapter.count('data-verdict="right"') == 1
    assert "<em>their</em> sum" in chapter
    back = re.findall(r'Look again: <a href="#([^"]+)">One chapter</a>', chapter)
    assert back == ["one-chapter"] * 2  # from each wrong answer


def test_without_a_repository_there_is_no_button_and_with_one_there_are(built, copied, capsys):
    for name in ("book/chapter", "labs/tiny"):
        page = html(built, name)
        assert "colab.research" not in page
        assert "mybinder" not in page
        assert "github.com" not in page
    configure("https://github.com/ana/course", root=copied.root)
    build(root=copied.root)
    assert "running" not in capsys.readouterr().out
    assert (copied.html / "labs" / "tiny.ipynb").read_bytes() == (copied.labs / "tiny.ipynb").read_bytes()
    page = html(copied, "labs/tiny")
    assert 'href="https://colab.research.google.com/github/ana/course/blob/main/labs/tiny.ipynb"' in page
    assert 'href="https://mybinder.org/v2/gh/ana/course/main?urlpath=lab/tree/labs/tiny.ipynb"' in page
    assert "https://github.com/ana/course/edit/main/book/chapter.md" in html(copied, "book/chapter")
    assert 'COURSE = "git+https://github.com/ana/course@main"' in read_lab(copied, "tiny").cells[1].source


def test_nothing_that_nobody_needs_ships(built):
    for path in built.html.rglob("*.html"):
        text = path.read_text(encoding="utf8")
        assert "thebe" not in text.lower(), path
        assert "fontawesome.js" not in text, path
        if "_static" not in path.parts:
            assert 'lang="en"' in text or path.name == "index.html"
    assert not list(built.html.rglob("*fontawesome.js*"))
    assert '<meta name="description" content="This book has one chapter and one lab' in html(built, "book/index")
    assert 'rel="icon"' in html(built, "book/index")


def test_building_again_runs_nothing(built, capsys):
    before = digest_of_tree(built.html)
    build(root=built.root)
    assert "site: unchanged" in capsys.readouterr().out
    assert digest_of_tree(built.html) == before


def test_a_change_of_prose_runs_no_lab(copied, capsys):
    (copied.root / "book" / "index.md").write_text(INDEX.replace("{launch}", "New prose."))
    build(root=copied.root)
    said = capsys.readouterr().out
    assert "labs: 1 unchanged" in said
    assert "running" not in said
    assert "replications: changed since they were made: tiny; run `course replicate` on them again" in said
    assert "New prose." in html(copied, "book/index")


def test_an_edit_of_the_library_runs_the_labs_again_with_the_edited_library(copied):
    record = copied.library / "measure" / "record.py"
    record.write_text(record.read_text().replace("expected", "EDITED"))
    executed = run(copied)["tiny"]
    assert "EDITED" in "".join(str(cell.get("outputs")) for cell in executed.cells)
    assert records.collect("tiny", executed).keys() == {"tiny.total", "tiny.share", "tiny.even"}


def test_strict_build_names_every_problem_also_when_repeated_and_leaves_the_site(copied):
    before = digest_of_tree(copied.html)
    for number in range(5):  # Sphinx reads more than five pages in several processes
        (copied.root / "book" / f"more{number}.md").write_text(f"# More {number}\n\n{{number}}`tiny.none{number}`\n")
        with (copied.root / "_toc.yml").open("a") as toc:
            toc.write(f"      - file: book/more{number}\n")
    page = copied.root / "book" / "chapter.md"
    wrong = "{number}`tiny.nosuch` {number}`tiny.total mean` [a](nosuch.md) {ref}`no-such-label` {cite}`nobody`"
    page.write_text(f"{page.read_text()}\n{wrong}\n")
    for _ in range(2):
        with pytest.raises(SiteError) as problem:
            build(root=copied.root)
        said = str(problem.value)
        assert "no lab measured tiny.nosuch" in said
        assert all(f"book/more{number}.md:3: WARNING: no lab measured tiny.none{number}" in said for number in range(5))
        assert "nobody has replicated tiny.total" in said
        assert "nosuch.md" in said
        assert "no-such-label" in said
        assert "nobody" in said
        assert "book/chapter.md:" in said
        assert str(copied.stage) not in said
    assert digest_of_tree(copied.html) == before
    build(strict=False, root=copied.root)
    assert "not measured yet" in html(copied, "book/chapter")


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (600.0, "", "600"),
        (0.12345, "", "0.123"),
        (-1.5, "+.1f", "\u22121.5"),
        (0.5, ".0%", "50%"),
        (2.3e-7, ".1g", "2 × 10⁻⁷"),
        (None, ".1%", "not a number"),
    ],
)
def test_numbers_are_written_as_people_write_them(value, spec, text, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course.number import formatted

    assert formatted(value, spec) == text


@pytest.mark.parametrize(
    ("quiz", "sentence"),
    [
        ("( ) One.\n    Why.\n( ) Two.\n    Why.", "exactly one right choice"),
        ("(x) One.\n    Why.\n( ) Two.", "choice 2 needs an explanation"),
        ("(x) One.\n    Why.", "at least two choices"),
        ("One.\n(x) Two.\n    Why.", "a quiz has choices such as"),
    ],
)
def test_a_malformed_quiz_is_refused(quiz, sentence, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course.quiz import choices

    with pytest.raises(ValueError, match=sentence):
        choices(quiz.splitlines())


def test_a_number_out_of_its_band_stops_the_build_and_nothing_is_kept(copied):
    cells = lab_cells()
    cells[6].source = cells[6].source.replace("(0.7, 0.8)", "(0.9, 1.0)")
    write_lab(copied.root, cells)
    kept = set(copied.executed.iterdir())
    with pytest.raises(SiteError) as problem:
        run(copied)
    said = str(problem.value)
    assert "labs/tiny.ipynb: cell share raised OutOfBand: tiny.share" in said
    assert "control = (" in said  # the traceback, for whoever repairs it
    assert set(copied.executed.iterdir()) == kept


def test_a_lab_whose_kernel_dies_is_reported_with_its_cell_and_the_others_are_kept(copied, capsys):
    cells = lab_cells()
    cells.insert(4, nbformat.v4.new_code_cell("import os\nos.kill(os.getpid(), 9)", id="deadly"))
    write_lab(copied.root, cells)
    write_lab(copied.root, [nbformat.v4.new_code_cell("print('fine')", id="fine")], "other")
    labs = {name: read_lab(copied, name) for name in ("tiny", "other")}
    with pytest.raises(SiteError, match=r"labs/tiny\.ipynb: its kernel did not get past cell deadly"):
        run_labs(copied, labs)
    assert "labs: other done in" in capsys.readouterr().out
    assert cache.load(copied, cache.key(copied, "other", labs["other"]))


def test_nbmake_executes_a_lab_or_nobody_does(built, copied, monkeypatch):
    assert run(built)["tiny"].metadata["course"]["executed_by"].startswith("nbmake 1.")
    write_lab(copied.root, lab_cells()[:-1])  # so that it has to be run
    monkeypatch.setattr(execute, "PLUGINS", [plugin for plugin in execute.PLUGINS if plugin != "nbmake"])
    with pytest.raises(SiteError, match=r"labs/tiny\.ipynb: nbmake did not execute it") as problem:
        run(copied)
    assert "unrecognized arguments: --nbmake" in str(problem.value)


def test_a_cell_that_takes_too_long_is_ended_by_nbmake(copied, monkeypatch):
    cells = [*lab_cells()[:3], nbformat.v4.new_code_cell("import time\ntime.sleep(600)", id="slow")]
    write_lab(copied.root, cells)
    monkeypatch.setattr(execute, "CELL_TIMEOUT", {"cpu": 30})
    with pytest.raises(
        SiteError, match=r"labs/tiny\.ipynb: cell slow: A cell timed out while it was being executed, after 30 seconds"
    ):
        run(copied)


def test_one_line_executes_a_lab_as_the_book_does(copied):
    """As a contributor types it: the solved lab, with strict numbers; its run is kept, and the source stays."""
    source = copied.labs / "tiny.ipynb"
    write_lab(copied.root, lab_cells()[:-1])
    before = source.read_bytes()
    line = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--nbmake", str(source)]
    said = subprocess.run(line, capture_output=True, text=True)
    assert "1 passed" in said.stdout, said.stdout
    assert re.search(r"labs: tiny done in \d+ s \(\d+ CPU-seconds, \d+ MB\)", said.stdout)
    assert source.read_bytes() == before
    kept = cache.load(copied, cache.key(copied, "tiny", solve(read_lab(copied, "tiny"))))
    assert kept.metadata["course"]["executed_by"].startswith("nbmake")
    cells = lab_cells()
    cells[6].source = cells[6].source.replace("(0.7, 0.8)", "(0.9, 1.0)")
    write_lab(copied.root, cells)
    said = subprocess.run(line, capture_output=True, text=True)
    assert said.returncode == 1
    assert "tiny.ipynb: cell share raised OutOfBand: tiny.share" in said.stdout


def test_kernels_end_with_the_build_that_they_run_for(copied):
    """However it ends: here it is killed, and cannot clean up."""
    alive = copied.root / "alive"
    forever = f"import os, time\nopen({str(alive)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    write_lab(copied.root, [nbformat.v4.new_code_cell(forever, id="forever")])
    command = [sys.executable, "-m", "course_lib", "book"]
    environment = {**os.environ, "PYTHONPATH": str(copied.root)}
    with subprocess.Popen(command, cwd=copied.root, env=environment, stderr=subprocess.DEVNULL) as building:
        until(lambda: alive.is_file() and alive.read_text(), seconds=120)
        building.kill()
    until(lambda: not psutil.pid_exists(int(alive.read_text())), seconds=60)


def test_nothing_that_nbmake_started_is_left_when_it_is_ended(tmp_path):
    """Whoever started it removes its folder then, where a worker or a kernel would still write."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import time\ntime.sleep(600)")])
    nbformat.write(notebook, tmp_path / "forever.ipynb")
    with execute._nbmake([tmp_path / "forever.ipynb"], tmp_path / "nbmake.log", jobs=1) as process:
        until(lambda: kernels_of(process.pid), seconds=120)
        family = psutil.Process(process.pid).children(recursive=True)
    assert [member for member in family if is_alive(member)] == []


def kernels_of(pid):
    return [member for member in psutil.Process(pid).children(recursive=True) if "ipykernel_launcher" in told(member)]


def told(process):
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def is_alive(process):
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def until(condition, seconds):
    """Wait for a condition, for some seconds at most."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_one_lab_alone_goes_to_the_preview(copied, capfd):
    before = digest_of_tree(copied.html)
    write_lab(copied.root, lab_cells()[:-1])
    write_lab(copied.root, lab_cells()[:3], "other")
    toc, chapter = copied.root / "_toc.yml", copied.root / "book" / "chapter.md"
    with pytest.raises(SiteError, match=r"_toc\.yml does not list labs/other; add it"):
        build(only="tiny", root=copied.root)
    toc.write_text(toc.read_text() + "          - file: labs/other\n")
    misspelt = chapter.read_text().replace("{number}`tiny.total`", "{number}`tiny.totl`")
    chapter.write_text(misspelt + "\nAnother lab measures {number}`other.share`.\n")
    build(only="tiny", root=copied.root)
    said = "".join(capfd.readouterr())
    assert "no lab measured tiny.totl" in said
    assert "other.share" not in said  # its lab was not run
    assert re.search(r"1 of \d+ numbers are cited by no page: tiny\.total\n", said)
    assert (copied.preview / "labs" / "tiny.html").is_file()
    assert digest_of_tree(copied.html) == before
    with pytest.raises(SiteError, match="there is no lab nosuch; there are tiny"):
        build(only="nosuch", root=copied.root)


def test_an_old_address_that_leads_nowhere_fails_the_build(copied):
    page = copied.root / "book" / "chapter.md"
    front = "---\nmoved:\n  gone: index\n  sum: index#a-tiny-book\n  one-chapter: index#a-tiny-book\n---\n"
    page.write_text(front + page.read_text())
    with pytest.raises(SiteError) as problem:
        build(root=copied.root)
    assert "book/index has no #gone" in str(problem.value)
    assert "#one-chapter is still on this page" in str(problem.value)
    assert "#sum" not in str(problem.value)


@pytest.mark.parametrize(
    ("size", "cores", "gigabytes", "at_once"),
    [
        ("cpu", 2, 16, 2),
        ("cpu", 8, 16, 8),
        ("cpu", 8, 6.1, 4),
        ("cpu", 1, 16, 1),
        ("cpu", 4, 0.5, 1),
        ("gpu", 8, 64, 1),
    ],
)
def test_as_many_labs_run_at_once_as_there_is_room_for(size, cores, gigabytes, at_once, monkeypatch):
    monkeypatch.setattr(execute, "preset", lambda: size)
    monkeypatch.setattr(execute.os, "sched_getaffinity", lambda process: range(cores), raising=False)
    monkeypatch.setattr(execute.psutil, "virtual_memory", lambda: SimpleNamespace(available=gigabytes * 2**30))
    assert execute.room_for() == at_once
