"""Grading on a Ray cluster of this machine: the same grades as without one, and a node that dies costs none."""

import json
import os
import re
import threading
import time

import pytest
from submissions import build, wrong

from course_lib.errors import CourseError
from course_lib.grader import cluster, command, sandbox
from course_lib.grader.command import grade_folder

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before ray is imported: nothing is sent to anybody
# Ray's own 15 would let whatever else runs here starve the nodes.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
ray = pytest.importorskip("ray", reason="needs ray")
# Ray takes 127.0.0.1 for "this machine", and would use its address in the network.
NODE = {"node_ip_address": "127.0.0.2", "include_dashboard": False, "object_store_memory": 80 * 2**20}
SEED = 5


@pytest.fixture(scope="module")
def submissions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    right = {f"right{i}": build.notebook([*build.solved(), f"n = {i}"]) for i in range(6)}
    build.write(folder, {**right, "wrong": wrong.WRONG["no scale"][0], "empty": b""})
    return folder


@pytest.fixture(scope="module")
def nodes():
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    yield started
    ray.shutdown()
    started.shutdown()


def grades(out):
    entries = json.loads((out / "grades.json").read_text())["submissions"]
    points = {e["name"]: {id: exercise["points"] for id, exercise in e["exercises"].items()} for e in entries}
    return {entry["name"]: (entry["verdict"], points[entry["name"]]) for entry in entries}


def test_a_node_that_dies_costs_no_grade(submissions, nodes, tmp_path, capsys, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    assert grade_folder(submissions, here, seed=SEED) == 0
    workers = [nodes.add_node(num_cpus=1, **NODE) for _ in range(2)]

    def kill_one():
        patience = time.monotonic() + 120
        while not list(there.glob("*/report.json")) and time.monotonic() < patience:
            time.sleep(0.05)
        graded.append(len(list(there.glob("*/report.json"))))
        nodes.remove_node(workers[0], allow_graceful=False)

    graded: list[int] = []
    slow = ["right0"]
    monkeypatch.setattr(command, "was_slow", lambda report: report["name"] in slow and bool(slow.pop()))
    killer = threading.Thread(target=kill_one)
    killer.start()
    assert grade_folder(submissions, there, seed=SEED, cluster=nodes.address) == 0
    killer.join()
    assert 0 < graded[0] < 7, "the node was to die while there was work"
    assert "Cluster: 2 cores on 2 nodes" in capsys.readouterr().out
    assert grades(there) == grades(here)
    assert len(grades(there)) == 8
    assert not slow, "which was graded again alone"


def test_a_node_with_another_version_of_the_course_grades_nothing(submissions, nodes, tmp_path, capsys, monkeypatch):
    nodes.add_node(num_cpus=1, **NODE)
    monkeypatch.setattr("course_lib.grader.command.course_digest", lambda lab: "another")
    assert grade_folder(submissions, tmp_path / "out", seed=SEED, cluster=nodes.address) == 1
    assert "has another version of the course; install the same one everywhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cluster": "127.0.0.1:1"}, "no Ray cluster answers at 127.0.0.1:1"),
        ({"cluster": "somewhere"}, "--cluster is HOST:PORT, as `ray start --head` prints it, or auto; not 'somewhere'"),
        ({"cluster": "127.0.0.1:1", "jobs": 2}, "--jobs is for this machine"),
    ],
)
def test_a_cluster_that_cannot_be_used(options, sentence, submissions, tmp_path):
    with pytest.raises(CourseError, match=re.escape(sentence)):
        grade_folder(submissions, tmp_path / "out", seed=SEED, **options)


def test_without_ray(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with (
        pytest.raises(CourseError, match="needs Ray"),
        cluster.connected("auto", SEED, sandbox.Level("limits", "")),
    ):
        pass
