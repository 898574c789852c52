"""The grader's end of the wire: one sandboxed worker for a submission, asked one thing at a time."""

from __future__ import annotations

import itertools
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from course_lib.grader.inside import frames
from course_lib.grader.inside.outcomes import FROM_THE_WORKER, Failed, Failure, Outcome
from course_lib.grader.processes import resident_memory
from course_lib.grader.sandbox import RESIDENT, Level, SandboxError, WorkerProcess, start_worker

TICK = 0.1  # seconds between two looks at the memory of a worker that has not answered
MOST_WORKERS = 4  # of one submission


@dataclass(frozen=True)
class Limits:
    """How long submitted code may take, in seconds.

    Attributes:
        call: For one call or cell.
        call_after_death: The same, once the exercise has ended a process.
        submission: For all calls of a submission together.
        start: For a worker to start.
    """

    call: float = 4.0
    call_after_death: float = 1.0
    submission: float = 90.0
    start: float = 60.0


class WorkerClient:
    """Owns the worker of a submission: starts it when it is first needed, and again when submitted code has killed it.

    Questions go to a child of the worker, which `fork` makes anew; after a question without an answer it is gone.

    Attributes:
        limits: How long submitted code may take.
        process: The running worker, or None.
        changed: The argument (position or name) that the last question changed in place, or None.
    """

    def __init__(self, level: Level, limits: Limits | None = None):
        self.level, self.limits = level, limits or Limits()
        self.process: WorkerProcess | None = None
        self.changed: int | str | None = None
        self._deadline = time.monotonic() + self.limits.submission
        self._starts = 0
        self._child: socket.socket | None = None
        self._numbers = itertools.count()

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and all that it has started."""
        self._hang_up()
        if self.process:
            self.process.stop()
            self.process = None

    def fork(self) -> None:
        """Go on with a fresh child; whatever the last one started is killed.

        Raises:
            Failed: Submitted code has killed too many workers.
            SandboxError: No worker starts.
        """
        self._hang_up()
        while self._child is None:
            process = self.process or self._start()
            ours, theirs = socket.socketpair()
            try:
                process.control.settimeout(self.limits.call)
                socket.send_fds(process.control, [b"f"], [theirs.fileno()])
                if process.control.recv(1) == b"f":
                    self._child, self._numbers = ours, itertools.count()
            except OSError:
                pass
            finally:
                theirs.close()
            if self._child is None:
                ours.close()
                self.close()

    def ask(self, op: str, seconds: float, **content: Any) -> Any:
        """Put a question to the child, a new one if there is none.

        Args:
            op: One of the `do_...` methods of `inside.child.Child`.
            seconds: How long the answer may take.
            **content: The arguments of that method.

        Returns:
            The value that it returns.

        Raises:
            Failed: It raised an exception there, or there was no answer in time, or none at all.
        """
        if self._child is None:
            self.fork()
        assert self._child is not None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._no_answer(Outcome.SUBMISSION_TIMED_OUT, self.limits.submission)
        number, seconds_left = next(self._numbers), min(seconds, left)
        read = partial(self._read, self._child, time.monotonic() + seconds_left)
        try:
            self._child.settimeout(seconds_left)
            self._child.sendall(frames.pack({"id": number, "op": op, "with": content}))
            return self._value(frames.receive(read), number)
        except TimeoutError:
            raise self._no_answer(Outcome.TIMED_OUT, seconds) from None
        except MemoryError:
            raise self._no_answer(Outcome.OUT_OF_MEMORY, RESIDENT) from None
        except OSError:
            raise self._no_answer(Outcome.CRASHED) from None
        except (frames.BadFrame, KeyError, TypeError):
            raise self._no_answer(Outcome.BAD_REPLY) from None

    def _start(self) -> WorkerProcess:
        if self._starts == MOST_WORKERS:
            raise Failed(Failure(Outcome.NO_MORE_WORKERS))
        self._starts += 1
        self.process = process = start_worker(self.level)
        process.control.settimeout(self.limits.start)
        began = time.monotonic()
        try:
            ready = process.control.recv(1) == b"r"
        except OSError:
            ready = False
        self._deadline += time.monotonic() - began  # starting is not the submission's doing
        if not ready:
            reason = process.last_words()
            self.close()
            raise SandboxError(f"a worker does not start: {reason or 'no answer'}")
        return process

    def _value(self, reply: Any, number: int) -> Any:
        """What a reply says. Nothing that a worker sends is taken on trust."""
        if type(reply) is not dict or _of_type(reply["id"], int) != number:
            raise frames.BadFrame("an answer to another question")
        self.changed = _of_type(reply["changed"], int, str)
        outcome = _of_type(reply["outcome"], str)
        if outcome == Outcome.ANSWERED:
            return reply["value"]
        if outcome not in FROM_THE_WORKER:
            raise frames.BadFrame("an unknown outcome")
        type_, message, text = (_of_type(reply[key], str) or "" for key in ("type", "message", "text"))
        line = _of_type(reply["line"], int)
        raise Failed(Failure(Outcome(outcome), type_[:100], message[:300], line, text[:200] or None))

    def _no_answer(self, outcome: Outcome, limit: float | None = None) -> Failed:
        self._hang_up()
        return Failed(Failure(outcome, limit=limit))

    def _hang_up(self) -> None:
        if self._child:
            self._child.close()
        self._child, self.changed = None, None

    def _read(self, connection: socket.socket, deadline: float, size: int) -> bytes:
        """Exactly `size` bytes; TimeoutError or MemoryError when the worker goes over a limit meanwhile."""
        assert self.process is not None
        data, look = bytearray(), time.monotonic() + TICK
        while len(data) < size:
            now = time.monotonic()
            if now >= deadline:
                raise TimeoutError
            if now >= look:
                look = now + TICK
                if resident_memory(self.process.popen.pid) > RESIDENT:
                    raise MemoryError
            connection.settimeout(max(0.001, min(deadline, look) - now))
            try:
                piece = connection.recv(min(size - len(data), 2**20))
            except TimeoutError:
                continue
            if not piece:
                raise ConnectionError
            data += piece
        return bytes(data)


def _of_type(value: Any, *types: type) -> Any:
    """The value if it is of one of these types, else None."""
    return value if type(value) in types else None
