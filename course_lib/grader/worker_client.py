"""The grader's side of the connection to a sandboxed worker, which serves one submission, one request at a time."""

from __future__ import annotations

import itertools
import socket
import time
from functools import partial
from typing import Any

from course_lib.grader.inside import frames
from course_lib.grader.inside.outcomes import Answer, Failure, Lost, Raised
from course_lib.grader.processes import usage
from course_lib.grader.sandbox import RESIDENT, Worker, Workers
from course_lib.grader.timed import CALL

TICK = 0.1  # seconds between two checks of the memory and the CPU time of a worker that has not answered
MOST_WORKERS = 4  # for one submission
PATIENCE = 5.0  # a call may take this many times its CPU seconds by the clock: code that sleeps uses no CPU time
SUBMISSION = 300.0  # seconds by the clock for all calls of a submission together
# Of an error's message. Reports leave out the numbers of hidden cases, but code can spell them in letters: so much of
# them at most gets into a report, while nearly all messages of Python and torch are shorter.
LONGEST_SAID = 150
LONGEST_LIST = 400  # where the message lists the parameters of a layer


class WorkerClient:
    """The owner of a submission's worker, which starts it when first needed, and again if submitted code has killed it.

    Requests go to a child of the worker, which `fork` creates; after a request without an answer the child is gone.

    Attributes:
        worker: The running worker, or None.
    """

    def __init__(self, workers: Workers):
        self.workers = workers
        self.worker: Worker | None = None
        self._deadline = time.monotonic() + SUBMISSION
        self._starts = 0
        self._child: socket.socket | None = None
        self._numbers = itertools.count()
        self._cpu_before: float | None = None  # CPU seconds of the worker shortly after the request was sent

    def close(self) -> None:
        """End the worker and everything that it has started."""
        self._hang_up()
        if self.worker:
            self.worker.stop()
            self.worker = None

    def fork(self) -> None:
        """Continue with a fresh child; everything that the last one started is killed.

        Raises:
            Failure: If submitted code has killed too many workers.
            SandboxError: If no worker starts.
        """
        self._hang_up()
        while self._child is None:
            worker = self.worker or self._start()
            try:
                self._child = worker.fork(CALL)
            except OSError:  # submitted code has ended the worker, or blocks it
                self.close()

    def ask(self, op: str, seconds: float, **content: Any) -> Answer:
        """Send a request to the child, a new one if there is none.

        Args:
            op: One of the `do_...` methods of `inside.child.Child`.
            seconds: The limit of its CPU time; it may take PATIENCE times as long by the clock.
            **content: The arguments of that method.

        Returns:
            The value that the method returns, or why there is none.
        """
        try:
            if self._child is None:
                self.fork()
            assert self._child is not None
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise Failure(Lost.SUBMISSION_TIMED_OUT, limit=SUBMISSION)
            number, patience = next(self._numbers), min(PATIENCE * seconds, left)
            self._child.settimeout(patience)
            self._child.sendall(frames.pack({"id": number, "op": op, "with": content}))
            self._cpu_before = None
            return _checked(frames.receive(partial(self._read, time.monotonic() + patience, seconds)), number)
        except Failure as error:
            failure = error
        except TimeoutError:
            failure = Failure(Lost.NO_ANSWER, limit=PATIENCE * seconds)
        except MemoryError:
            failure = Failure(Lost.OUT_OF_MEMORY, limit=RESIDENT)
        except OSError:
            failure = Failure(Lost.CRASHED)
        except (ValueError, KeyError, TypeError):
            failure = Failure(Lost.BAD_REPLY)
        self._hang_up()
        return Answer(failure=failure)

    def _start(self) -> Worker:
        if self._starts == MOST_WORKERS:
            raise Failure(Lost.NO_MORE_WORKERS)
        self._starts += 1
        began = time.monotonic()
        self.worker = worker = self.workers.start()
        self._deadline += time.monotonic() - began  # the time for starting does not count
        return worker

    def _hang_up(self) -> None:
        if self._child:
            self._child.close()
        self._child = None

    def _read(self, deadline: float, seconds: float, size: int) -> bytes:
        """Read exactly `size` bytes.

        Raises:
            TimeoutError: If the deadline passes first.
            Failure: If the worker uses more than `seconds` of CPU time first.
            MemoryError: If the worker exceeds its memory limit first.
        """
        assert self.worker is not None
        assert self._child is not None
        data, look = bytearray(), time.monotonic() + TICK
        while len(data) < size:
            now = time.monotonic()
            if now >= deadline:
                raise TimeoutError
            if now >= look:
                look = now + TICK
                memory, cpu = usage(self.worker.pid)
                if memory > RESIDENT:
                    raise MemoryError
                self._cpu_before = cpu if self._cpu_before is None else self._cpu_before
                if cpu - self._cpu_before > seconds:
                    raise Failure(Lost.TIMED_OUT, limit=seconds)
            self._child.settimeout(max(0.001, min(deadline, look) - now))
            try:
                piece = self._child.recv(min(size - len(data), 2**20))
            except TimeoutError:
                continue
            if not piece:
                raise ConnectionError
            data += piece
        return bytes(data)


def _checked(reply: Any, number: int) -> Answer:
    """Validate the reply of a worker, which is not trusted, and return it as an answer.

    Raises:
        ValueError: If the reply is invalid; KeyError or TypeError are possible, too.
    """
    if type(reply) is not dict or _of_type(reply["id"], int) != number:
        raise frames.BadFrame("an answer to another question")
    changed, said = _of_type(reply["changed"], int, str), reply["failure"]
    if said is None:
        return Answer(reply["value"], changed=changed)
    if type(said) is not dict:
        raise frames.BadFrame("a failure that is none")
    type_, message, text = (_of_type(said[key], str) or "" for key in ("type", "message", "text"))
    line = _of_type(said["line"], int)
    outcome = Raised(_of_type(said["outcome"], str))
    longest = LONGEST_LIST if outcome is Raised.WRONG_PARAMETERS else LONGEST_SAID
    if len(message) > longest:
        message = f"{message[:longest]} ..."
    return Answer(failure=Failure(outcome, type_[:50], message, line, text[:LONGEST_SAID] or None), changed=changed)


def _of_type(value: Any, *types: type) -> Any:
    """Return the value if it is of one of these types, else None."""
    return value if type(value) in types else None
