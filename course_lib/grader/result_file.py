"""`course check --result`: what the checks gave, as a file that Classroom 50 and other workflows on GitHub read.

Its form is that of Classroom 50's result.json, classroom50/result/v1: see schemas/result-v1.schema.json in the
repository foundation50/classroom50 on GitHub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from course_lib.grader.exam import Result
from course_lib.grader.render import result_lines


def result_file(lab: str, results: Sequence[Result], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of the file. An exercise has all of its points or none, since its checks are visible.

    Args:
        lab: The lab.
        results: The result of each exercise.
        environment: The variables in which Classroom 50 says whose submission it is, or GitHub where it runs; what is
            in none of them is called "local".
    """
    tests = [
        {
            "test-name": result.exercise.id,
            "passed": bool(result),
            "score": result.exercise.points if result else 0,
            "max-score": result.exercise.points,
            "output": "\n".join(result_lines(result)),
        }
        for result in results
    ]

    def said(*names: str) -> str:
        return next((environment[name] for name in names if environment.get(name)), "local")

    commit = said("GITHUB_SHA")
    if "GITHUB_REPOSITORY" in environment:
        commit = f"{said('GITHUB_SERVER_URL')}/{said('GITHUB_REPOSITORY')}/commit/{commit}"
    commit = environment.get("COMMIT_URL") or commit
    return {
        "schema": "classroom50/result/v1",
        "classroom": said("CLASSROOM", "GITHUB_REPOSITORY_OWNER"),
        "assignment": environment.get("ASSIGNMENT") or lab,
        "assignment_type": environment.get("MODE") or "individual",
        "owner": said("USERNAME", "GITHUB_ACTOR") if "CLASSROOM" in environment else said("GITHUB_ACTOR"),
        "submission": environment.get("SUBMISSION_TAG") or f"submit/{said('GITHUB_SHA')}",
        "commit": commit,
        "release": environment.get("RELEASE_URL") or commit,
        "review": environment.get("REVIEW_URL") or commit,
        "datetime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "score": sum(test["score"] for test in tests),
        "max-score": sum(test["max-score"] for test in tests),
        "tests": tests,
    }
