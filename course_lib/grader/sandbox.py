"""The sandbox for submitted code: the strongest level that works on this machine, found by trying, and announced.

Level "bwrap" (bubblewrap): no network, no files but Python, the library without exercises and grader, and a small /tmp;
its own processes, which end with it. Level "limits": limits on memory, time, files and processes only, which stop
accidents, but not somebody who wants to read files.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.grader.processes import end, threads_of_this_user

_PACKAGE = Path(__file__).resolve().parents[1]
_INSIDE = Path(__file__).resolve().parent / "inside"
MB = 2**20
RESOURCE_LIMITS = {
    "RLIMIT_DATA": 2048 * MB,  # importing torch takes less than 512
    "RLIMIT_FSIZE": 16 * MB,
    "RLIMIT_NOFILE": 64,
    "RLIMIT_NPROC": 16,
    "RLIMIT_CPU": 120,
    "RLIMIT_CORE": 0,
}
SCRATCH = 64 * MB
WISHES = {"auto": ("bwrap", "limits"), "require": ("bwrap",), "off": ("limits",)}
RESIDENT = 3072 * MB  # all processes of a worker together, watched by the grader
STARTED, READY, FORKED = b"s", b"r", b"f"  # messages: a worker can run here; torch is imported; a process is there
SECONDS_TO_START = 60.0
_users = itertools.count(1_900_000_000 + os.getpid() % 100_000 * 1000)  # no account's ids: each is counted alone


class SandboxError(CourseError):
    """Raised when no worker can be started, or not at the level that was asked for."""


@dataclass(frozen=True)
class Level:
    """One kind of sandbox.

    Attributes:
        name: "bwrap" or "limits".
        sentence: The announcement of this level.
        user: Whether each worker becomes a user of its own; only root can do that.
        shared: Whether the kernel counts the caller's other processes together with the worker's.
        zygote: Whether workers are forked from a process that has imported torch; see `inside.zygote`.
    """

    name: str
    sentence: str
    user: bool = False
    shared: bool = False
    zygote: bool = False


class _Process:
    """A sandboxed process that runs `inside.worker`, and the socket to it.

    Attributes:
        popen: The process.
        control: The socket.

    Raises:
        SandboxError: If no worker can run at this level; the message says why.
    """

    def __init__(self, level: Level):
        self.control, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed in `stop`
        self._folder = _folder()
        try:
            self.popen = subprocess.Popen(
                _command(level, self._folder.name, theirs.fileno()),
                env=_environment(level, self._folder.name),
                cwd="/" if level.name == "bwrap" else f"{self._folder.name}/scratch",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"the worker cannot be started: {error}") from error
        finally:
            theirs.close()
        self.expect(STARTED)

    def expect(self, byte: bytes, seconds: float = SECONDS_TO_START) -> None:
        """Wait for one byte from the process.

        Args:
            byte: The expected byte.
            seconds: The timeout.

        Raises:
            SandboxError: If anything else comes, or nothing; the process is stopped.
        """
        if _receive(self.control, seconds) != byte:
            self._errors.seek(0)
            lines = self._errors.read(2**20).decode(errors="replace").strip().splitlines()
            self.stop()
            busy = f"no answer within {seconds:g} s; if the machine is busy, try again when it is free"
            raise SandboxError(
                f"the process that runs the submitted code does not start: {lines[-1] if lines else busy}"
            )

    def stop(self) -> None:
        """End the process and everything that it has started, and wait until all are gone."""
        self.control.close()
        end(self.popen)
        self._errors.close()
        self._folder.cleanup()


class Worker:
    """A process for the code of one submission; see `inside.worker`.

    Attributes:
        control: The socket to it.
        pid: The process that it is, or descends from.
    """

    def __init__(self, process: _Process, control: socket.socket, release: Callable[[], None]):
        self.control, self.pid, self._release = control, process.popen.pid, release

    def fork(self, seconds: float) -> socket.socket:
        """Fork a child; everything that the last one has started is killed.

        Args:
            seconds: The timeout.

        Returns:
            The socket to the child.

        Raises:
            OSError: If no child comes: submitted code has ended the worker, or blocks it.
        """
        child = _send_socket(self.control, b"f")
        if _receive(self.control, seconds) != FORKED:
            child.close()
            raise OSError("no child came")
        return child

    def stop(self) -> None:
        """End the worker and everything that it has started, and wait until all are gone."""
        self._release()


class Workers:
    """The source of the workers of many submissions; close it when all are graded.

    Threads may share it. At a level with a zygote there are as many zygotes as workers at a time, each with a sandbox
    of its own, and one worker after another comes from each.

    Attributes:
        level: The level of the sandbox.
    """

    def __init__(self, level: Level):
        self.level = level
        self._idle: list[_Process] = []  # zygotes without a worker

    def start(self) -> Worker:
        """Start a worker that is ready to grade.

        Raises:
            SandboxError: If it does not start.
        """
        if not self.level.zygote:
            process = self._process()
            return Worker(process, process.control, process.stop)
        while True:
            zygote = self._pop()
            fresh = zygote is None
            zygote = zygote or self._process()
            control = _send_socket(zygote.control, _user_of(self.level).to_bytes(4, "little"))
            try:
                zygote.expect(FORKED)
            except SandboxError:
                control.close()
                if fresh:
                    raise
                continue  # one that waited may have been killed, by a machine that is short of memory
            if _receive(control, SECONDS_TO_START) != STARTED:
                control.close()
                zygote.stop()
                raise SandboxError("the process that runs the submitted code does not start")
            return Worker(zygote, control, partial(self._take_back, zygote, control))

    def _pop(self) -> _Process | None:
        with contextlib.suppress(IndexError):  # no look before: another thread may take the last one
            return self._idle.pop()
        return None

    def _process(self) -> _Process:
        process = _Process(self.level)
        process.expect(READY)
        return process

    def _take_back(self, zygote: _Process, control: socket.socket) -> None:
        control.close()
        try:
            zygote.control.sendall(bytes(4))  # without a socket: end the worker
            healthy = _receive(zygote.control, SECONDS_TO_START) == FORKED
        except OSError:
            healthy = False
        if healthy:
            self._idle.append(zygote)
        else:
            zygote.stop()

    def close(self) -> None:
        """End what waits for the next worker."""
        while zygote := self._pop():
            zygote.stop()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _send_socket(control: socket.socket, message: bytes) -> socket.socket:
    """Send one end of a new pair of sockets, for a process to be forked; return the other end."""
    ours, theirs = socket.socketpair()
    with theirs, contextlib.suppress(OSError):  # a process that is gone will not answer, which the caller sees
        socket.send_fds(control, [message], [theirs.fileno()])
    return ours


def _user_of(level: Level) -> int:
    """Return the user that the next worker becomes; 0 for the user that it is."""
    return next(_users) if level.user else 0


def _receive(control: socket.socket, seconds: float) -> bytes:
    control.settimeout(seconds)
    try:
        return control.recv(1)
    except OSError:
        return b""


def choose_level(wish: str = "auto") -> Level:
    """Return the strongest level that works here.

    Args:
        wish: "auto"; "require" for bubblewrap or nothing; "off" for limits only.

    Raises:
        SandboxError: If the wish cannot be met; the message says why.
    """
    if os.name != "posix":
        raise SandboxError("grading needs Linux or macOS; on Windows, run it in WSL")
    failures: list[str] = []
    for level in _candidates():
        if level.name not in WISHES[wish]:
            continue
        try:
            _Process(level).stop()
        except SandboxError as error:
            failures.append(f"{level.name}: {error}")
            continue
        why = f" ({'; '.join(failures)})" if failures and level.name == "limits" else ""
        return replace(level, sentence=level.sentence + why)
    if shutil.which("bwrap") is None and wish != "off":
        failures.append("bwrap is not installed (Debian, Ubuntu: sudo apt install bubblewrap)")
    raise SandboxError("no sandbox works here. " + "; ".join(failures))


def _environment(level: Level, folder: str) -> dict[str, str]:
    """Return an environment without anything of the caller's, which may hold keys and tokens."""
    home = "/tmp" if level.name == "bwrap" else f"{folder}/scratch"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    names = {"PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home, "USER": "learner", "LANG": "C.UTF-8"}
    return {**names, **threads, "PYTHONDONTWRITEBYTECODE": "1"}


def _candidates() -> Iterator[Level]:
    root = os.geteuid() == 0
    if sys.platform == "linux" and shutil.which("bwrap"):
        announced = "Sandbox: bubblewrap. Submitted code sees no network, none of your files and no other submission."
        if root:  # the kernel does not limit the processes of root, so the worker becomes another user
            yield Level("bwrap", announced, user=True, zygote=True)
            yield Level("bwrap", announced, user=True)
            yield Level("bwrap", f"{announced} The number of its processes is not limited.")
        else:
            yield Level("bwrap", announced, zygote=True)
            yield Level("bwrap", announced)
            yield Level("bwrap", announced, shared=True)  # kernels before 5.14 count across namespaces
    weak = (
        "Sandbox: LIMITS ONLY (time, memory, files, processes). bubblewrap is not used or does not work here, so "
        "submitted code can read files and use the network{}. Grade only people you trust, or install bubblewrap."
    )
    if root:
        yield Level("limits", weak.format(" as a user without rights"), user=True)
    yield Level("limits", weak.format(" as you can"), shared=True)


def _folder() -> tempfile.TemporaryDirectory:
    """Create a folder for a worker: its program, which holds no answers, and its scratch space."""
    folder = tempfile.TemporaryDirectory(prefix="course-worker-", ignore_cleanup_errors=True)
    os.chmod(folder.name, 0o755)
    for file in _INSIDE.glob("*.py"):
        shutil.copy(file, folder.name)
        os.chmod(f"{folder.name}/{file.name}", 0o644)
    os.mkdir(f"{folder.name}/scratch")
    os.chmod(f"{folder.name}/scratch", 0o777)
    return folder


def _command(level: Level, folder: str, socket_number: int) -> list[str]:
    bwrap = level.name == "bwrap"
    # 64 more, for other workers and whatever else starts meanwhile.
    others = threads_of_this_user() + 64 if level.shared else 0
    options = {
        "socket": socket_number,
        "uid": _user_of(level),
        "alone": bwrap,
        "limits": {**RESOURCE_LIMITS, "RLIMIT_NPROC": RESOURCE_LIMITS["RLIMIT_NPROC"] + others},
        "library": "/course" if bwrap else str(_PACKAGE.parent),
        "zygote": level.zygote,
    }
    worker = "/course/inside/worker.py" if bwrap else f"{folder}/worker.py"
    walls = _bwrap(level, folder) if bwrap else []
    return [*walls, os.path.abspath(sys.executable), worker, json.dumps(options)]


def _bwrap(level: Level, folder: str) -> list[str]:
    system = []
    for path in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(path):
            system += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            system += ["--ro-bind", path, path]
    for path in ("/etc/ld.so.cache", "/etc/alternatives"):
        system += ["--ro-bind-try", path, path]
    paths = sysconfig.get_paths()
    python = {sys.prefix, *map(os.path.realpath, (sys.prefix, sys.base_prefix, paths["purelib"], paths["platlib"]))}
    for path in sorted(p for p in python if not p.startswith("/usr/")):
        for parent in reversed(Path(path).parents[:-1]):  # bubblewrap would create them for root only
            system += ["--perms", "0755", "--dir", str(parent)]
        system += ["--ro-bind", path, path]
    hidden = [f"/course/course_lib/{room}" for room in ("grader", "exercises")]
    hidden += [
        str(_PACKAGE / room) for room in ("grader", "exercises") if any(_PACKAGE.is_relative_to(p) for p in python)
    ]
    if level.user:
        rights = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        needed = ["CAP_SETUID", "CAP_SETGID", *(["CAP_SYS_ADMIN", "CAP_KILL"] if level.zygote else [])]
        rights += ["--cap-drop", "ALL", *(word for name in needed for word in ("--cap-add", name))]
    else:
        rights = ["--unshare-all", "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534"]
    return [
        *(str(shutil.which("bwrap")), *rights, "--die-with-parent", "--new-session"),
        *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--perms", "1777", "--size", str(SCRATCH), "--tmpfs", "/tmp"),
        *("--ro-bind", "/usr", "/usr", *system),
        *("--perms", "0755", "--dir", "/course"),
        *("--ro-bind", str(_PACKAGE), "/course/course_lib", "--ro-bind", folder, "/course/inside"),
        *(word for path in hidden for word in ("--perms", "0555", "--tmpfs", path, "--remount-ro", path)),
        *("--remount-ro", "/", "--chdir", "/tmp"),
        "--",
    ]
