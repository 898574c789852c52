"""The parts of the site builder, one by one: no kernel and no Sphinx is started here."""

import json
import subprocess
import threading
import urllib.request

import nbformat
import pytest
from site_project import lab_cells, make_project, write_lab

from course_lib.site import cache, records, replication
from course_lib.site.build import read_lab
from course_lib.site.configure import configure, parse
from course_lib.site.labs import copy_labs, open_labs
from course_lib.site.page import WIDGET, page
from course_lib.site.paths import Project, SiteError, digest_of_tree, find_project
from course_lib.site.serve import serve, server
from course_lib.site.solve import exercise_id, solve


@pytest.fixture
def project(tmp_path):
    return Project(make_project(tmp_path / "book"))


def change(path):
    path.write_text(path.read_text(encoding="utf8") + "\n", encoding="utf8")


def output(bundle, **metadata):
    return nbformat.v4.new_output("display_data", bundle, metadata=metadata)


def test_a_solved_lab_has_the_reference_under_the_mark_and_else_differs_in_nothing(project):
    lab = read_lab(project, "tiny")
    solved = solve(lab)
    differ = [cell.id for cell, other in zip(lab.cells, solved.cells, strict=True) if cell != other]
    assert differ == ["stub"]
    source = solved.cells[4].source
    assert source.startswith("# EXERCISE: softmax\ndef softmax(x, dim=-1):")
    assert "NotImplementedError" not in source
    assert exercise_id(solved.cells[4]) == "softmax"


def test_a_page_shows_the_stub_the_fold_out_solution_and_the_twin(project):
    lab = read_lab(project, "tiny")
    executed = solve(lab)
    widget = {WIDGET: {"model_id": "1"}, "text/plain": "a widget"}
    executed.cells[-1].outputs = [output({**widget, "text/html": "<p>twin</p>"}), output(widget)]
    executed.metadata["widgets"] = {"state": {}}
    shown = page("tiny", lab, executed)
    assert [cell.id for cell in shown.cells][4:6] == ["stub", "solution-softmax"]
    assert shown.cells[4].source == lab.cells[4].source
    assert shown.cells[4].metadata.tags == ["exercise"]
    assert [dict(out.data) for out in shown.cells[-1].outputs] == [{"text/html": "<p>twin</p>"}]
    assert "widgets" not in shown.metadata
    assert shown.cells[0].source.startswith("# A tiny lab\n\n```{lab} tiny\n```\n")


def test_records_carry_their_lab_commit_and_command_and_a_control_has_its_own_key(project):
    lab = read_lab(project, "tiny")
    control = {"key": "a.control", "value": 0.1, "band": [0, 0.2], "ok": True}
    record = {"key": "a.value", "value": 0.9, "preset": "cpu", "device": "cpu", "seed": 1, "control": control}
    record["lead"] = {"key": "a.value - a.control", "value": 0.8, "band": [0.4, 1], "ok": True}
    lab.cells[5].outputs = [output({"text/plain": ""}, course_record=record)]
    lab.metadata["course"] = {"commit": "abc"}
    found = records.collect("tiny", lab)
    command = ".venv/bin/course book --only tiny"
    assert found["a.value"] == {**record, "lab": "tiny", "cell": "measure", "commit": "abc", "command": command}
    assert found["a.control"]["value"] == 0.1
    assert found["a.control"]["preset"] == "cpu"
    assert found["a.control"]["control_of"] == [{"key": "a.value", "value": 0.9}]
    assert found["a.control"]["lead"] is None
    lab.metadata["course"] |= {"seed": 3}
    assert records.collect("tiny", lab)["a.value"]["command"] == f"COURSE_SEED=3 {command}"
    records.write(project, "tiny", found)
    assert json.loads((project.results / "tiny.json").read_text()) == found
    lab.cells[6].outputs = lab.cells[5].outputs
    with pytest.raises(SiteError, match=r"records a\.value twice"):
        records.collect("tiny", lab)


def test_committed_runs_of_several_seeds_have_a_mean(project):
    folder = project.root / "results" / "hour"
    folder.mkdir(parents=True)
    for seed, loss in enumerate((2.0, 3.0, 2.5)):
        values = {"big.loss": loss, "big.counted": loss + 1} | ({"big.once": 1.0} if seed == 0 else {})
        where, controls = {"preset": "hour", "seed": seed}, {"big.loss": "big.counted"}
        made = {"provenance": where, "values": values, "controls": controls}
        (folder / f"big-seed{seed}.json").write_text(json.dumps(made))
    cited = records.merge(project, {})
    replication.attach(project, cited, [])
    json.dumps(cited)  # as the pages' build stages it
    assert cited["hour:big.loss"]["value"] == 2.0  # of the first
    together = cited["hour:big.loss"]["replication"]
    assert (together["mean"], together["values"], together["seeds"]) == (2.5, [2.0, 3.0, 2.5], [0, 1, 2])
    assert together["control_values"] == [3.0, 4.0, 3.5]
    assert cited["hour:big.counted"]["replication"]["control_values"] is None
    assert "replication" not in cited["hour:big.once"]


def test_committed_runs_are_cited_by_preset_and_keys_are_unique_over_labs(project):
    (project.root / "results").mkdir()
    run = {"provenance": {"preset": "gpu"}, "values": {"big.loss": 2.5}, "controls": {}}
    (project.root / "results" / "big.json").write_text(json.dumps(run))
    sweep = {"provenance": {"preset": "cpu"}, "values": {"many.loss": 1.5}, "controls": {}}
    (project.root / "results" / "many.json").write_text(json.dumps(sweep))
    trial = {"provenance": {"preset": "cpu"}, "comparisons": {}}  # of another kind, as by which rates were chosen
    (project.root / "results" / "trial.json").write_text(json.dumps(trial))
    replications = project.root / "results" / "replications" / "gpu"
    replications.mkdir(parents=True)
    (replications / "tiny.json").write_text(json.dumps({"provenance": {"preset": "gpu"}}))  # of another kind
    merged = records.merge(project, {"tiny": {"a.b": {"lab": "tiny", "value": 1.0, "preset": "cpu"}}})
    assert set(merged) == {"gpu:big.loss", "cpu:many.loss", "a.b"}
    with pytest.raises(SiteError, match=r"both labs/one\.ipynb and labs/two\.ipynb"):
        records.merge(project, {"one": {"a.b": {"lab": "one"}}, "two": {"a.b": {"lab": "two"}}})


def test_the_cache_key_follows_all_that_outputs_depend_on(project, monkeypatch):
    solved = solve(read_lab(project, "tiny"))

    def now():
        return cache.key(project, "tiny", solved)

    first = now()
    (project.library / "site" / "new.py").write_text("x = 1\n")
    assert now() == first  # the builder itself changes no output
    change(project.library / "measure" / "preset.py")
    second = now()
    (project.root / "requirements.lock").write_text("torch==2.9.1\n")
    third = now()
    monkeypatch.setenv("COURSE_PRESET", "gpu")
    fourth = now()
    monkeypatch.setenv("COURSE_SEED", "1")
    fifth = now()
    assert cache.key(project, "tiny", solved, seed=0) == fourth
    solved.cells[5].source += "\n"
    assert len({first, second, third, fourth, fifth, now()}) == 6


def test_a_new_address_in_the_setup_cell_runs_no_lab_again_and_the_page_has_the_current_cell(project):
    lab = read_lab(project, "tiny")
    before = cache.key(project, "tiny", solve(lab))
    configure("https://github.com/ana/course", root=project.root)
    now = read_lab(project, "tiny")
    assert now.cells[1].source != lab.cells[1].source
    assert cache.key(project, "tiny", solve(now)) == before
    assert page("tiny", now, solve(lab)).cells[1].source == now.cells[1].source
    now.cells[2].source += "\n"
    assert cache.key(project, "tiny", solve(now)) != before


def test_a_damaged_cache_entry_is_run_again(project):
    project.executed.mkdir(parents=True)
    cache.path(project, "k").write_text("{half")
    assert cache.load(project, "k") is None


@pytest.mark.parametrize(
    "url",
    [
        "github.com/a/b",
        "http://github.com/a/b",
        "https://github.com/a",
        "https://github.com/a/b/c",
        'https://x.org/a/b"\n',
    ],
)
def test_a_malformed_address_is_refused_with_a_sentence_and_nothing_is_written(project, url):
    before = digest_of_tree(project.root)
    with pytest.raises(SiteError, match="give it as https://github"):
        configure(url, root=project.root)
    assert digest_of_tree(project.root) == before
    with pytest.raises(SiteError, match="not the name of a branch or tag"):
        configure("https://github.com/a/b", ref="main; rm", root=project.root)


def test_configure_sets_one_address_everywhere_once_and_takes_it_back(project):
    (project.root / "README.md").write_text("# Course\n\n<!-- course:links -->\n<!-- /course:links -->\n\nMore.\n")
    (project.root / "CITATION.cff").write_text("cff-version: 1.2.0\ntitle: Course\n")
    before = digest_of_tree(project.root)
    configure("https://github.com/ana/course.git", ref="v1", root=project.root)
    once = digest_of_tree(project.root)
    assert '  url: "https://github.com/ana/course"' in (project.root / "_config.yml").read_text()
    assert '  branch: "v1"' in (project.root / "_config.yml").read_text()
    setup = read_lab(project, "tiny").cells[1].source
    assert 'COURSE = "git+https://github.com/ana/course@v1"  # filled in by' in setup
    readme = (project.root / "README.md").read_text()
    assert "https://colab.research.google.com/github/ana/course/blob/v1/labs/tiny.ipynb" in readme
    assert "https://mybinder.org/v2/gh/ana/course/v1?urlpath=lab/tree/labs/tiny.ipynb" in readme
    assert 'repository-code: "https://github.com/ana/course"' in (project.root / "CITATION.cff").read_text()
    configure("https://github.com/ana/course", ref="v1", root=project.root)
    assert digest_of_tree(project.root) == once
    configure("https://gitlab.com/bo/fork", root=project.root)
    assert "ana" not in "".join(path.read_text() for path in project.root.glob("*.*") if path.is_file())
    configure("", root=project.root)
    assert digest_of_tree(project.root) == before


def test_links_of_other_hosts_lead_to_no_colab():
    assert not parse("https://gitlab.com/bo/fork").on_github
    assert parse("") is None


def test_my_labs_are_copied_once_and_an_edit_survives(project, capsys):
    open_labs(start=False, root=project.root)
    mine = project.root / "my_labs" / "tiny.ipynb"
    assert mine.read_bytes() == (project.labs / "tiny.ipynb").read_bytes()
    mine.write_text("mine")
    write_lab(project.root, lab_cells()[:3])
    assert copy_labs(project) == []
    assert mine.read_text() == "mine"
    open_labs("tiny", fresh=True, start=False, root=project.root)
    assert mine.read_bytes() == (project.labs / "tiny.ipynb").read_bytes()
    assert mine.with_name("tiny-old1.ipynb").read_text() == "mine"
    open_labs("tiny", fresh=True, start=False, root=project.root)
    assert mine.with_name("tiny-old1.ipynb").read_text() == "mine"  # the oldest edit is never lost
    assert mine.with_name("tiny-old2.ipynb").exists()
    assert open_labs("my_labs/tiny.ipynb", start=False, root=project.root) == 0
    assert "your earlier tiny.ipynb is now tiny-old1.ipynb" in capsys.readouterr().out
    with pytest.raises(SiteError, match="there is no lab nosuch; there are tiny"):
        open_labs("nosuch", start=False, root=project.root)
    with pytest.raises(SiteError, match="say which lab"):
        open_labs(fresh=True, start=False, root=project.root)


@pytest.mark.parametrize("user", [0, 1000])
def test_jupyter_starts_for_root_too_with_a_warning_and_its_exit_status_is_returned(project, user, monkeypatch, capsys):
    pytest.importorskip("jupyterlab")
    ran = []
    monkeypatch.setattr("os.geteuid", lambda: user, raising=False)
    monkeypatch.setattr(
        "course_lib.site.labs.subprocess.run",
        lambda command, check: ran.append(command) or subprocess.CompletedProcess(command, 3),
    )
    assert open_labs("tiny", root=project.root) == 3
    assert open_labs(root=project.root) == 3
    assert [command[-1] for command in ran] == [str(project.root / "my_labs" / "tiny.ipynb")] * 2
    assert ("--allow-root" in ran[0]) == (user == 0)
    assert ("You are root" in capsys.readouterr().out) == (user == 0)


def test_the_server_is_on_loopback_takes_the_next_free_port_and_needs_a_site(project):
    with pytest.raises(SiteError, match="run `make book`"):
        serve(open_browser=False, root=project.root)
    project.html.mkdir(parents=True)
    (project.html / "index.html").write_text("hello")
    with server(project.html, 8700) as first, server(project.html, first.server_address[1]) as second:
        assert second.server_address[0] == "127.0.0.1"
        assert second.server_address[1] > first.server_address[1]
        threading.Thread(target=second.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{second.server_address[1]}/"
        assert urllib.request.urlopen(address, timeout=10).read() == b"hello"
        second.shutdown()


def test_a_project_is_found_from_below_and_a_missing_lab_is_named(project):
    assert find_project(project.root / "book" / "_ext").root == project.root
    with pytest.raises(SiteError, match=r"no labs/other\.ipynb"):
        read_lab(project, "other")
    (project.labs / "other.ipynb").write_text("{")
    with pytest.raises(SiteError, match=r"labs/other\.ipynb is not a notebook"):
        read_lab(project, "other")
