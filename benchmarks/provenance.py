"""What a benchmark's result belongs to: the kind of processor, how busy the machine was, and the code that ran."""

from __future__ import annotations

import ast
import importlib.metadata
import io
import os
import platform
import re
import time
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib.checkout import commit_of
from course_lib.site import cache
from course_lib.site.paths import Project, digest_of

HERE = Path(__file__).resolve().parent
PROJECT = Project(HERE.parent)
# What the code of a benchmark is, beside what it imports: where the measured program is started as a command.
STARTED = {"grading": "import course_lib.grader.command"}
# Words of Linux's list of what a processor can do, and what people call them.
INSTRUCTIONS = {"avx512f": "AVX-512", "amx_tile": "AMX"}


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """The machine, its Python and the versions of packages."""
    return {
        "processor": processor(),
        "cores": cores(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or cores()),
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The kind of processor: its name, without (R), and the widest instructions, since one name may stand for many."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf8")
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"^model name\s*:\s*(.*)", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.*)", text, re.MULTILINE)
    words = flags[1].split() if flags else []
    found = re.sub(r"\(R\)|\(TM\)|\bProcessor\b|\bCPU\b", "", name[1] if name else platform.machine())
    wide = [said for word, said in INSTRUCTIONS.items() if word in words] or ["AVX2"] * ("avx2" in words)
    return " ".join(found.split()) + (f" with {' and '.join(wide)}" if wide else "")


def slug(machine: dict[str, Any]) -> str:
    """The name of the file with the results of such a machine."""
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['processor']} {machine['cores']} cores".lower()).strip("-")


class Watch:
    """Measures from now on how many cores the programs beside this one keep busy."""

    def __init__(self) -> None:
        self._began = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Seconds on the clock, of all cores at work, and of this process and the finished ones that it started."""
        try:
            fields = Path("/proc/stat").read_text(encoding="utf8").split("\n", 1)[0].split()[1:9]
        except OSError:
            return None
        user, nice, system, _, _, *interrupts_and_stolen = map(int, fields)
        busy = (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, sum(os.times()[:4])

    def others(self) -> float | None:
        """The cores that others kept busy, on average since the start; None if the system does not say."""
        now = self._read()
        if now is None or self._began is None:
            return None
        seconds, busy, own = (after - before for after, before in zip(now, self._began, strict=True))
        return round(max(0.0, busy - own) / max(seconds, 1e-3), 2)


def code(benchmark: str) -> dict[str, str]:
    """The commit, and the hash of the code that a benchmark's result belongs to; see `source`."""
    return {
        "commit": commit_of(PROJECT.root, "course_lib", "benchmarks", ":!benchmarks/README.md"),
        "source": source(benchmark),
    }


def source(benchmark: str) -> str:
    """Compute the hash of a benchmark's code and of all that it imports from this folder and from `course_lib`.

    The course's own walk over imports decides what that is, as for a lab. Comments, docstrings and blank lines do not
    count: they change no time, and a table need not be measured again for them.
    """
    files = [HERE / f"{benchmark}.py"]
    for file in files:  # which grows
        near = (HERE / f"{name}.py" for name in _imports(file.read_text(encoding="utf8")))
        files += [other for other in near if other.is_file() and other not in files]
    # What only tells and keeps what was measured may change.
    files = [file for file in files if file.stem not in ("provenance", "kept")]
    texts = [*(file.read_text(encoding="utf8") for file in files), STARTED.get(benchmark, "")]
    without = () if benchmark in STARTED else cache.NO_NUMBERS
    reached = cache.reached(PROJECT, "ch01_attention", texts, without=without)
    parts = {cache.name_of(PROJECT, file): file.read_bytes() for file in [*files, *reached]}
    parts.update((name, cache.named_packages(parts)) for name in list(parts) if name.endswith(cache.REGISTRY))
    lines = {name: code_alone(text.decode()) if name.endswith(".py") else text for name, text in parts.items()}
    return digest_of(*(part for item in sorted(lines.items()) for part in item))


def code_alone(text: str) -> str:
    """Take comments, docstrings and blank lines out of Python code."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno:
                lines[first.lineno - 1 : first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _imports(text: str) -> list[str]:
    nodes = list(ast.walk(ast.parse(text)))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return names + [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
