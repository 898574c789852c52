"""The grader's end of the wire: a worker, and its sessions, which are asked one thing at a time."""

from __future__ import annotations

import itertools
import socket
import time
from dataclasses import dataclass
from typing import Any

from course_lib.grader import processes, sandbox
from course_lib.grader.exam import Trouble
from course_lib.grader.inside import frames

TICK = 0.1  # seconds between two looks at the memory of a worker that has not answered
MOST_WORKERS = 4  # of one submission


@dataclass(frozen=True)
class Limits:
    """Seconds: for one call or cell, the same after the exercise has died once, for a whole submission, for a start."""

    call: float = 4.0
    call_after_death: float = 1.0
    submission: float = 90.0
    start: float = 60.0


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
                if processes.resident_memory(self.pid) > sandbox.RESIDENT:
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


def _of_type(value: Any, *types: type) -> Any:
    """The value if it is of one of these types, else None: nothing that a worker sends is taken on trust."""
    return value if type(value) in types else None
