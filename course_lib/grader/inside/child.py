"""The process in which the code of one exercise runs: it answers "call this with these arrays"."""

from __future__ import annotations

import ast
import linecache
import os
import socket
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from course_lib.grader.inside import calls, cells, frames
from course_lib.grader.inside.outcomes import NotDefined, Outcome, describe_error

ANNOTATIONS = 0x1000000  # the flag of `from __future__ import annotations`, which holds for later cells, too


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Stands for what only makes sense in a notebook."""


def _their_own(id: str, obj: Any) -> Any:
    """Stands for `use`."""
    return obj


NOTEBOOK_STUBS: dict[str, Callable[..., Any]] = {
    "check": _nothing,
    "use": _their_own,
    "record": _nothing,
    "display": _nothing,
}


class Child:
    """A namespace in which cells are run, and whose functions are called.

    Each method `do_...` answers one kind of request; its arguments are the content of the request.
    """

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.namespace: dict[str, Any] = {"__name__": "__main__", **NOTEBOOK_STUBS}
        self.handles: list[calls.LocalHandle] = []
        self.compiler_flags = 0
        self.changed: int | str | None = None

    def serve(self) -> None:
        """Answer requests until the grader hangs up. A request without an answer is the grader's to time."""
        while True:
            request = frames.receive(self._read)
            self.changed = None
            try:
                value = getattr(self, f"do_{request['op']}")(**request["with"])
                reply = {"id": request["id"], "outcome": Outcome.ANSWERED, "value": value, "changed": self.changed}
                message = frames.pack(reply)
            except BaseException as error:
                failure = asdict(describe_error(error))
                reply = {"id": request["id"], **failure, "changed": self.changed}
                message = frames.pack(reply)
            self.connection.sendall(message)

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.connection.recv(size - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return bytes(data)

    def do_analyse(self, source: str) -> dict[str, Any]:
        """What is in a cell; nothing of it runs."""
        return cells.analyse(source)

    def do_run(self, source: str, file: str, only: list[int] | None = None) -> None:
        """Run the statements of a cell, or only some, under the flags of the `__future__` imports so far."""
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        for number, node in enumerate(ast.parse(source).body):
            if only is not None and number not in only:
                continue
            code = compile(ast.Module([node], []), file, "exec", flags=self.compiler_flags, dont_inherit=True)
            self.compiler_flags |= code.co_flags & ANNOTATIONS
            exec(code, self.namespace)
        for name, stub in NOTEBOOK_STUBS.items():
            if str(getattr(self.namespace.get(name), "__module__", "")).startswith("course_lib"):
                self.namespace[name] = stub

    def do_call(self, name: str, args: list, kwargs: dict) -> Any:
        """Call a function of the submission."""
        subject = self._subject(name)
        return self._noting_changes(subject, subject, args, kwargs)

    def do_gradients(self, name: str, args: list, kwargs: dict) -> Any:
        """Call a function of the submission and differentiate its result."""
        subject = self._subject(name)
        return self._noting_changes(subject, subject.gradients, args, kwargs)

    def do_new(self, name: str, args: list, kwargs: dict) -> int:
        """Make an object of a class of the submission; returns its number."""
        self.handles.append(self._subject(name).new(*args, **kwargs))
        return len(self.handles) - 1

    def do_on_handle(self, handle: int, what: str, args: list, kwargs: dict) -> Any:
        """Call a method of `Handle` for the object of this number."""
        target = self.handles[handle]
        return self._noting_changes(target.subject, getattr(target, what), args, kwargs)

    def _subject(self, name: str) -> calls.LocalSubject:
        if name not in self.namespace:
            raise NotDefined(name)
        return calls.LocalSubject(self.namespace[name])

    def _noting_changes(self, subject: calls.LocalSubject, function: Any, args: list, kwargs: dict) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            self.changed, subject.changed = subject.changed, None
