"""The process in which submitted code runs: it answers "call this with these arrays", and knows no right answer.

It imports torch once and then forks one child for each session, so a death costs one session only.
The first argument is a JSON object: socket, uid, alone (whether it has its own process namespace), limits, library.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import linecache
import os
import resource
import signal
import socket
import sys
import types
from typing import Any

NO_EXERCISES = "course_lib.exercises"
ANNOTATIONS = 0x1000000  # the flag of `from __future__ import annotations`, which holds for later cells, too


def main(options: dict[str, Any]) -> None:
    drop_rights(options)
    if "socket" not in options:
        probe()
        return
    import calls
    import cells
    import frames
    from spec import cotangent

    # One fork a session: the modules above and torch are loaded by now.
    sys.path[:] = [options["library"], *[p for p in sys.path if p != os.path.dirname(os.path.abspath(__file__))]]
    hide_the_answers()
    control = socket.socket(fileno=options["socket"])
    control.sendall(b"r")
    child = 0
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        end_children(child, options["alone"])
        if not message or not descriptors:
            return
        child = os.fork()
        if child == 0:
            control.close()
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            Session(socket.socket(fileno=descriptors[0]), frames, calls, cells, cotangent).serve()
            os._exit(0)
        os.close(descriptors[0])
        control.sendall(b"f")


def drop_rights(options: dict[str, Any]) -> None:
    """Become another user where we are root, then set limits that no submitted code can lift."""
    if options["uid"]:
        os.setgroups([])
        os.setresgid(*[options["uid"]] * 3)
        os.setresuid(*[options["uid"]] * 3)
    for name, value in options["limits"].items():
        # macOS lacks some; a hard limit that is lower already is as good
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))
    if sys.platform == "linux" and not options["alone"]:
        import ctypes

        pr_set_child_subreaper = 36  # orphans become ours, so that the grader finds them as our descendants
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def probe() -> None:
    """Show that a worker could start here: it may fork, and torch is readable."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    spec = importlib.util.find_spec("torch")
    if os.waitpid(child, 0)[1] == 0 and spec and spec.origin and os.access(spec.origin, os.R_OK):
        print("ready")
    else:
        sys.exit("torch cannot be read inside")


def hide_the_answers() -> None:
    """Exercises cannot be imported; `check` and `use` do nothing. (In the sandbox the files are not there either.)"""
    # None makes the import fail, by the rules of `sys.modules`; its type in mypy leaves that out.
    sys.modules[NO_EXERCISES] = None  # type: ignore[assignment]
    sys.modules["course_lib.grader"] = grader = types.ModuleType("course_lib.grader")
    grader.__dict__.update(stubs())


def stubs() -> dict[str, Any]:
    return {
        "check": lambda *args, **kwargs: None,
        "use": lambda id, obj: obj,
        "record": lambda *args, **kwargs: None,
        "display": lambda *args, **kwargs: None,
    }


def end_children(child: int, alone: bool) -> None:
    """Kill the last session with all that it started."""
    if alone and os.getpid() != 1 and os.getppid() == 1:  # never outside of our own process namespace
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    elif child:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0 if child and alone else os.WNOHANG)[0]:
            pass


class Missing(Exception):
    """The submission has no object of the exercise's name."""


class Session:
    """One child: a namespace in which cells are run, and whose functions are called."""

    def __init__(self, connection: socket.socket, frames: Any, calls: Any, cells: Any, cotangent: Any):
        self.connection, self.frames, self.calls, self.cells, self.cotangent = (
            connection,
            frames,
            calls,
            cells,
            cotangent,
        )
        self.namespace: dict[str, Any] = {"__name__": "__main__", **stubs()}
        self.handles: list[Any] = []
        self.flags = 0

    def serve(self) -> None:
        """Answer requests until the grader hangs up. A request without an answer is the grader's to time."""
        while True:
            request = self.frames.receive(self._read)
            self.changed: Any = None
            reply: dict[str, Any] = {"id": request["id"]}
            try:
                reply["value"] = getattr(self, f"do_{request['op']}")(**request["with"])
                reply["changed"] = self.changed
                message = self.frames.pack(reply)
            except BaseException as error:
                reply = {"id": request["id"], "error": self.calls.describe_error(error), "changed": self.changed}
                message = self.frames.pack(reply)
            self.connection.sendall(message)

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.connection.recv(size - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return bytes(data)

    def do_analyse(self, source: str) -> Any:
        return self.cells.analyse(source)

    def do_run(self, source: str, file: str, only: list[int] | None = None) -> None:
        """Run the statements of a cell, or only some, under the flags of the `__future__` imports so far."""
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        for number, node in enumerate(ast.parse(source).body):
            if only is not None and number not in only:
                continue
            code = compile(ast.Module([node], []), file, "exec", flags=self.flags, dont_inherit=True)
            self.flags |= code.co_flags & ANNOTATIONS
            exec(code, self.namespace)
        for name, stub in stubs().items():
            if str(getattr(self.namespace.get(name), "__module__", "")).startswith("course_lib"):
                self.namespace[name] = stub

    def _subject(self, name: str) -> Any:
        if name not in self.namespace:
            raise Missing(f"the cell of this exercise does not define `{name}`")
        return self.calls.Local(self.namespace[name], self.cotangent)

    def _noting(self, subject: Any, function: Any, args: list, kwargs: dict) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            self.changed, subject.changed = subject.changed, None

    def do_call(self, name: str, args: list, kwargs: dict) -> Any:
        subject = self._subject(name)
        return self._noting(subject, subject, args, kwargs)

    def do_gradients(self, name: str, args: list, kwargs: dict) -> Any:
        subject = self._subject(name)
        return self._noting(subject, subject.gradients, args, kwargs)

    def do_new(self, name: str, args: list, kwargs: dict) -> int:
        self.handles.append(self._subject(name).new(*args, **kwargs))
        return len(self.handles) - 1

    def do_on_handle(self, handle: int, what: str, args: list, kwargs: dict) -> Any:
        target = self.handles[handle]
        return self._noting(target.subject, getattr(target, what), args, kwargs)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
