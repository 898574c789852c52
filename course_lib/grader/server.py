"""The grader's end of the wire: a worker with its sessions, and submitted code as a `Subject` behind it."""

from __future__ import annotations

import itertools
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from course_lib.grader import processes, sandbox
from course_lib.grader.exam import Trouble
from course_lib.grader.inside import frames

TICK = 0.1  # seconds between two looks at the memory of a worker that has not answered
MOST_DEATHS = 2  # of one exercise; then the rest of its cases fail unasked
MOST_WORKERS = 4  # of one submission


@dataclass(frozen=True)
class Limits:
    """Seconds: for one call or cell, the same after the exercise has died once, for a whole submission, for a start."""

    call: float = 4.0
    call_after_death: float = 1.0
    submission: float = 90.0
    start: float = 60.0


@dataclass
class Unit:
    """A piece of a notebook that runs at once: statements `only` (all if None) of a cell, or a reference's source."""

    file: str
    source: str
    only: list[int] | None = None
    defines: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)
    star: bool = False
    id: str | None = None  # of the exercise, for a marked cell
    deadly: Trouble | None = None  # it hung or killed the process: never run it again


class Worker:
    """One sandbox for one submission; started when first needed, again when submitted code has killed it."""

    def __init__(self, level: sandbox.Level, limits: Limits):
        self.level, self.limits = level, limits
        self.deadline = time.monotonic() + limits.submission
        self.process: sandbox.Process | None = None
        self.starts = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self.process:
            self.process.stop()
            self.process = None

    def session(self) -> Session:
        """A fresh fork; what the last session started is killed. Trouble when submitted code prevents it."""
        while True:
            process = self.process or self._start()
            ours, theirs = socket.socketpair()
            try:
                control = process.control
                control.settimeout(self.limits.call)
                socket.send_fds(control, [b"f"], [theirs.fileno()])
                if control.recv(1) == b"f":
                    return Session(ours, self, process.popen.pid)
            except OSError:
                pass
            finally:
                theirs.close()
            ours.close()
            self.close()

    def _start(self) -> sandbox.Process:
        if self.starts == MOST_WORKERS:
            raise Trouble("Died", "the submission kept killing the process that runs it")
        self.starts += 1
        self.process = process = sandbox.start(self.level)
        process.control.settimeout(self.limits.start)
        began = time.monotonic()
        try:
            ready = process.control.recv(1) == b"r"
        except OSError:
            ready = False
        self.deadline += time.monotonic() - began  # starting is not the submission's doing
        if not ready:
            reason = process.complaint()
            self.close()
            raise sandbox.SandboxError(f"a worker does not start: {reason or 'no answer'}")
        return process


class Session:
    """One forked child, asked one thing at a time; dead after its first failure to answer."""

    def __init__(self, connection: socket.socket, worker: Worker, pid: int):
        self.connection, self.worker, self.pid = connection, worker, pid
        self.numbers = itertools.count()
        self.changed: int | str | None = None

    def ask(self, op: str, seconds: float, **content: Any) -> Any:
        """The value of a request. Trouble when it raised an exception there, or hung, died or talked nonsense."""
        number = next(self.numbers)
        left = self.worker.deadline - time.monotonic()
        if left <= 0:
            raise self._dead("TimeLimit", f"the whole submission took longer than {self.worker.limits.submission:g} s")
        self.deadline = time.monotonic() + min(seconds, left)
        try:
            self.connection.settimeout(min(seconds, left))
            self.connection.sendall(frames.pack({"id": number, "op": op, "with": content}))
            reply = frames.receive(self._read)
            self.changed = _of_type(reply["changed"], int, str)
            if reply["id"] != number:
                raise frames.BadFrame("an answer to another question")
            if "error" not in reply:
                return reply["value"]
            error = reply["error"]
            line, text = _of_type(error["line"], int), _of_type(error["text"], str)
            described = str(error["type"])[:100], str(error["message"])[:300], line, text and text[:200]
        except TimeoutError:
            raise self._dead("TimeLimit", f"it ran for more than {seconds:g} s and was stopped") from None
        except MemoryError:
            raise self._dead("Died", f"it used more than {sandbox.RESIDENT // 2**20} MB of memory") from None
        except OSError:
            raise self._dead(
                "Died", "it ended the Python process: by an exit, a crash, or for want of memory"
            ) from None
        except (frames.BadFrame, KeyError, TypeError):
            raise self._dead("Died", "it sent something that is no answer") from None
        raise Trouble(*described)

    def close(self) -> None:
        self.connection.close()

    def _dead(self, kind: str, message: str) -> Trouble:
        self.close()
        return Trouble(kind, message)

    def _read(self, size: int) -> bytes:
        data, look = bytearray(), time.monotonic() + TICK
        while len(data) < size:
            now = time.monotonic()
            if now >= self.deadline:
                raise TimeoutError
            if now >= look:
                look = now + TICK
                if processes.resident(self.pid) > sandbox.RESIDENT:
                    raise MemoryError
            self.connection.settimeout(max(0.001, min(self.deadline, look) - now))
            try:
                piece = self.connection.recv(min(size - len(data), 2**20))
            except TimeoutError:
                continue
            if not piece:
                raise ConnectionError
            data += piece
        return bytes(data)


class Seat:
    """Where one exercise is examined: a session with its units loaded, and another one after a death."""

    def __init__(self, worker: Worker, units: list[Unit], id: str):
        self.worker, self.units, self.id = worker, units, id
        self.session: Session | None = None
        self.deaths = 0
        self.last: Trouble | None = None
        self.errors: dict[str, Trouble] = {}  # by unit's file: why it did not run to its end

    def ask(self, op: str, **content: Any) -> Any:
        session = self._open()
        try:
            return self._request(session, op, **content)
        except Trouble as trouble:
            own = [u for u in self.units if u.id == self.id]
            if trouble.described["type"] == "Missing" and own:
                raise own[0].deadly or self.errors.get(own[0].file) or trouble from None
            raise

    def close(self) -> None:
        if self.session:
            self.session.close()

    def _request(self, session: Session, op: str, **content: Any) -> Any:
        limits = self.worker.limits
        try:
            return session.ask(op, limits.call_after_death if self.deaths else limits.call, **content)
        except Trouble as trouble:
            if trouble.described["type"] in ("TimeLimit", "Died"):
                self.deaths, self.last, self.session = self.deaths + 1, trouble, None
            raise

    def _open(self) -> Session:
        """The session, with all units run in order, and those that failed run once more: cells may have been moved."""
        while self.session is None:
            if self.deaths >= MOST_DEATHS and self.last:
                raise self.last
            self.session = session = self.worker.session()
            waiting = [unit for unit in self.units if not unit.deadly]
            for _ in range(2):
                waiting = [unit for unit in waiting if self.session and not self._run(session, unit)]
        return self.session

    def _run(self, session: Session, unit: Unit) -> bool:
        try:
            self._request(session, "run", source=unit.source, file=unit.file, only=unit.only)
        except Trouble as trouble:
            self.errors[unit.file] = trouble
            if self.session is None:
                unit.deadly = trouble
            return False
        self.errors.pop(unit.file, None)
        return True


class Remote:
    """A `Subject` whose function or class lives in a worker."""

    def __init__(self, seat: Seat, name: str):
        self.seat, self.name = seat, name
        self.changed: int | str | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.send("call", name=self.name, args=args, kwargs=kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.send("gradients", name=self.name, args=args, kwargs=kwargs)

    def new(self, *args: Any, **kwargs: Any) -> RemoteHandle:
        return RemoteHandle(self, self.send("new", name=self.name, args=args, kwargs=kwargs))

    def send(self, op: str, **content: Any) -> Any:
        try:
            return self.seat.ask(op, **content)
        finally:
            if self.changed is None and self.seat.session is not None:
                self.changed = self.seat.session.changed


class RemoteHandle:
    """A `Handle` for an object that lives in a worker."""

    def __init__(self, subject: Remote, number: Any):
        self.subject, self.number = subject, number

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self._send("call", args, kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self._send("gradients", args, kwargs)

    def get_state(self) -> dict[str, Any]:
        return self._send("get_state", (), {})

    def set_state(self, state: dict[str, Any]) -> None:
        self._send("set_state", (state,), {})

    def _send(self, what: str, args: tuple, kwargs: dict) -> Any:
        return self.subject.send("on_handle", handle=self.number, what=what, args=args, kwargs=kwargs)


def _of_type(value: Any, *types: type) -> Any:
    """The value if it is of one of these types, else None: nothing that a worker sends is taken on trust."""
    return value if type(value) in types else None
