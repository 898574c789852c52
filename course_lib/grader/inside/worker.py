"""The sandboxed process of one submission. It imports torch once and forks a child for each exercise.

So a crash costs one exercise only. The process has no access to right answers. Its only argument is a JSON object:
socket, uid, alone (whether it has its own process namespace), limits, library, zygote (whether it is only to fork the
workers of submissions, see zygote.py).
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import resource
import signal
import socket
import sys
import types
from functools import partial
from typing import Any


def main(options: dict[str, Any]) -> None:
    """Drop privileges, then fork a child at each request of the grader, which passes the socket for it.

    One byte reports that a worker can run here, the next that it is ready.
    """
    control = socket.socket(fileno=options["socket"])
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [options["library"], *(path for path in sys.path if path != here)]
    grader = hide_the_answers(here)

    def start(uid: int, check: bool = False) -> None:
        drop_rights(uid, options["limits"], options["alone"])
        if check:
            check_what_it_needs()

    if options["zygote"]:
        from course_lib.grader.inside import zygote

        zygote.try_namespaces(options["uid"], partial(start, check=True))
    else:
        start(options["uid"], check=True)
    control.sendall(b"s")
    gc.disable()  # importing torch leaves no garbage, and looking for some takes a tenth of the time
    from course_lib.grader.inside.child import NOTEBOOK_STUBS, Child, warm_up

    warm_up()
    gc.freeze()  # nor will a child look there, which would copy the pages that it shares
    gc.enable()
    vars(grader).update(NOTEBOOK_STUBS)
    control.sendall(b"r")
    if options["zygote"]:
        control = zygote.serve(control, start)  # returns in each worker
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
            Child(socket.socket(fileno=descriptors[0])).serve()
            os._exit(0)
        os.close(descriptors[0])
        control.sendall(b"f")


def drop_rights(uid: int, limits: dict[str, int], alone: bool) -> None:
    """Become another user if this is root, then set limits that no submitted code can raise."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    for name, value in limits.items():
        # macOS lacks some; a hard limit that is lower already is just as good.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))
    if sys.platform == "linux" and not alone:
        import ctypes

        pr_set_child_subreaper = 36  # orphans become our children, so that the grader finds them among our descendants
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def check_what_it_needs() -> None:
    """Exit with a message if a worker cannot do its work: it must fork, and read torch."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    spec = importlib.util.find_spec("torch")
    if os.waitpid(child, 0)[1] or not (spec and spec.origin and os.access(spec.origin, os.R_OK)):
        sys.exit("torch cannot be read inside")


def hide_the_answers(here: str) -> types.ModuleType:
    """Make `course_lib` importable without exercises and grader.

    In the sandbox their files are not there either.

    Args:
        here: The folder of this file.

    Returns:
        The empty module that replaces `course_lib.grader`; its only part is `inside`, this folder.
    """
    # None makes the import fail, by the rules of `sys.modules`; mypy's type for it does not allow None.
    sys.modules["course_lib.exercises"] = None  # type: ignore[assignment]
    grader, inside = types.ModuleType("course_lib.grader"), types.ModuleType("course_lib.grader.inside")
    grader.__path__, inside.__path__ = [], [here]
    sys.modules.update({module.__name__: module for module in (grader, inside)})
    return grader


def end_children(child: int, alone: bool) -> None:
    """Kill the last session and all that it started."""
    if alone and 1 in (os.getpid(), os.getppid()):  # never outside of our own process namespace
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    elif child:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0 if child and alone else os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
