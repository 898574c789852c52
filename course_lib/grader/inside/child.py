"""The process in which the code of one exercise runs: it answers "call this with these arrays"."""

from __future__ import annotations

import ast
import linecache
import os
import socket
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from course_lib.grader.inside import calls, cells, frames
from course_lib.grader.inside.outcomes import Failure, Raised, describe_error

ANNOTATIONS = 0x1000000  # the flag of `from __future__ import annotations`, which also holds for later cells

# Replacements for functions that only make sense in a notebook.
NOTEBOOK_STUBS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("check", "hint", "predict", "record", "display"), lambda *args, **kwargs: None),
    "use": lambda id, obj: obj,
}


def as_it_is(model: Any = None, **options: Any) -> Any:
    """Stand in for `torch.compile`: the same function or module, without the minute that compiling it takes."""
    return (lambda function: function) if model is None else model


def warm_up() -> None:
    """Do once what each child would do again: load what is loaded at the first use, such as numpy's generators.

    No gradients: torch starts threads for them, and a process with threads must not fork.
    """
    torch.compile = as_it_is
    subject = calls.LocalSubject(lambda x: torch.softmax(x @ x, -1))
    frames.pack({"value": subject.send("call", 0, (torch.eye(2),), {})})
    cells.analyse("from torch import nn\n\n\ndef f(x):\n    return nn.functional.relu(x)\n")


class Child:
    """A namespace in which cells are run, and whose functions are called.

    Each method `do_...` answers one kind of request; its arguments are the content of the request.
    """

    def __init__(self, connection: socket.socket):
        self.connection, self.requests = connection, connection.makefile("rb")
        self.namespace: dict[str, Any] = {"__name__": "__main__", **NOTEBOOK_STUBS}
        self.subject: calls.LocalSubject | None = None
        self.compiler_flags = 0
        self.parsed: dict[str, tuple[str, list[ast.stmt]]] = {}  # by file: the statements of a cell run one by one

    def serve(self) -> None:
        """Answer requests until the grader closes the connection. The grader applies the timeout if no answer comes."""
        with calls.generators_kept():  # once for all calls: each would take four times as long
            while True:
                request = frames.receive(self._read)
                try:
                    message = self._reply(request["id"], getattr(self, f"do_{request['op']}")(**request["with"]))
                except BaseException as error:
                    message = self._reply(request["id"], failure=asdict(describe_error(error)))
                self.connection.sendall(message)

    def _reply(self, id: int, value: Any = None, failure: dict[str, Any] | None = None) -> bytes:
        changed = self.subject.changed if self.subject else None
        return frames.pack({"id": id, "value": value, "failure": failure, "changed": changed})

    def _read(self, size: int) -> bytes:
        data = self.requests.read(size)
        if len(data) < size:  # the connection was closed
            os._exit(0)
        return data

    def do_analyse(self, source: str) -> dict[str, Any]:
        """Analyse a cell without running any of it."""
        return cells.analyse(source)

    def do_run(self, source: str, file: str, only: int | None = None) -> None:
        """Run a cell, or only the statement with this number, with the flags of the `__future__` imports so far."""
        if self.parsed.get(file, ("", []))[0] != source:
            linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
            self.parsed[file] = source, ast.parse(source).body
        for number, node in enumerate(self.parsed[file][1]):
            if only is not None and number != only:
                continue
            code = compile(ast.Module([node], []), file, "exec", flags=self.compiler_flags, dont_inherit=True)
            self.compiler_flags |= code.co_flags & ANNOTATIONS
            exec(code, self.namespace)
        for name, stub in NOTEBOOK_STUBS.items():
            if str(getattr(self.namespace.get(name), "__module__", "")).startswith("course_lib"):
                self.namespace[name] = stub

    def do_send(self, name: str, **request: Any) -> Any:
        """Do what `Subject.send` describes, with the function or class of this name or an object of the class."""
        if self.subject is None:
            if name not in self.namespace:
                raise Failure(Raised.NOT_DEFINED, message=name)
            self.subject = calls.LocalSubject(self.namespace[name])
        self.subject.changed = None
        return self.subject.send(**request)
