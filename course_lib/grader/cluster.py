"""Grading on the nodes of a Ray cluster: this process hands out submissions, and takes the reports that come back.

Each node has the course installed and grades in sandboxes of its own. If a node fails, Ray gives what it had in hand to
another one.
"""

from __future__ import annotations

import functools
import logging
import platform
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from course_lib.errors import CourseError
from course_lib.grader.exam import Exam
from course_lib.grader.hidden import course_digest, exams_of, seed_of
from course_lib.grader.in_turn import InTurn, later_exams
from course_lib.grader.report import submission_report
from course_lib.grader.sandbox import Level, Workers, choose_level
from course_lib.grader.submission import Submission, grade

MOST_TRIES = 4  # of a submission, each on another node if the one before has failed


class Cluster:
    """The nodes that grade, as `connected` gives them.

    Args:
        ray: The module, connected to a cluster.
        seed: The seed of the hidden cases.
        level: The level of sandbox that every node must have.
    """

    def __init__(self, ray: Any, seed: int, level: Level):
        self.ray, self.seed = ray, seed
        self.wish = "require" if level.name == "bwrap" else "off"

    @property
    def nodes(self) -> list[int]:
        """The number of cores of each node that grades."""
        alive = (node for node in self.ray.nodes() if node["Alive"])
        return [cores for node in alive if (cores := int(node["Resources"].get("CPU", 0)))]

    def grade(
        self, submissions: list[Submission], alone: bool
    ) -> Iterator[tuple[Submission, dict[str, Any] | Exception]]:
        """Grade submissions in any order.

        Args:
            submissions: The submissions.
            alone: Whether each has a node for itself, so that no other slows it.

        Yields:
            Each submission with its report, or with the error of the grader.
        """
        cores = min(self.nodes, default=1) if alone else 1
        remote = self.ray.remote(num_cpus=cores, max_retries=MOST_TRIES - 1)(_grade_here)
        pending = {remote.remote(each, self.seed, self.wish): each for each in submissions}
        while pending:
            [done], _ = self.ray.wait(list(pending), num_returns=1)
            submission = pending.pop(done)
            try:
                yield submission, self.ray.get(done)
            except self.ray.exceptions.RayTaskError as error:
                yield submission, error.cause
            except self.ray.exceptions.RayError as error:
                yield submission, error


@contextmanager
def connected(address: str, seed: int, level: Level) -> Iterator[Cluster]:
    """Connect to a Ray cluster.

    Args:
        address: "HOST:PORT" of its head, as `ray start --head` prints it, or "auto" for the one on this machine.
        seed: The seed of the hidden cases.
        level: The level of sandbox that every node must have.

    Raises:
        CourseError: If there is no such cluster, or Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise CourseError("--cluster needs Ray: .venv/bin/pip install ray, here and on every node") from None
    host, separator, port = address.rpartition(":")
    if address != "auto" and not (separator and port.isdigit()):
        raise CourseError(f"--cluster is HOST:PORT, as `ray start --head` prints it, or auto; not {address!r}")
    try:
        if address != "auto":  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise CourseError(f"no Ray cluster answers at {address}: {error}") from error
    try:
        yield Cluster(ray, seed, level)
    finally:
        ray.shutdown()  # which also cancels what is still being graded


def _grade_here(submission: Submission, seed: int, wish: str) -> dict[str, Any]:
    """Grade one submission, in a process of a node, and return the report.

    Raises:
        CourseError: If the node has another version of the course.
    """
    if course_digest(submission.lab) != submission.identity["course"]:
        raise CourseError(f"node {platform.node()} has another version of the course; install the same one everywhere")
    results = []
    if not submission.reason:
        exams: Sequence[Exam | InTurn] = _exams(submission.lab, seed)
        if submission.hand_in > 1:
            own = _exams(submission.lab, seed_of(seed, submission.hand_in))
            exams = later_exams(_exams(submission.lab, seed), own)
        results = grade(submission.notebook, exams, _workers(wish))
    return submission_report(submission, results)


@functools.cache
def _exams(lab: str, seed: int) -> list[Exam]:
    return exams_of(lab, seed)


@functools.cache
def _workers(wish: str) -> Workers:
    """Return the workers of this process, which end with it."""
    torch.set_num_threads(1)
    return Workers(choose_level(wish))
