"""A sandboxed process that has imported torch, and forks the worker of each submission from itself.

Importing torch takes several times as long as grading. So it is done once, before any submitted code is near, and each
worker begins as a copy of that process. A worker sees no other processes, files, memory or network than it would in a
sandbox of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable

# From linux/sched.h, sys/mount.h and sys/prctl.h.
NEW_MOUNTS, NEW_IPC, NEW_USERS, NEW_PIDS, NEW_NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
NO_SUID, NO_DEVICES, NO_PROGRAMS, BIND, RECURSIVE, PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
ADOPT_ORPHANS, DROP_FROM_BOUNDING_SET = 36, 24
CAPABILITIES_VERSION, LAST_CAPABILITY = 0x20080522, 63

_libc = ctypes.CDLL(None, use_errno=True)


def serve(control: socket.socket, start: Callable[[int], None]) -> socket.socket:
    """Fork a worker at each request of the grader; the one before is ended first.

    A request is the user id that the worker takes, as four bytes, with the socket for the worker. The answer is one
    byte. Without a socket, the request is only to end the worker.

    Args:
        control: The socket to the grader.
        start: Called in the new worker, with the user id, as soon as it is in its namespaces.

    Returns:
        The worker's socket, in each new worker. The zygote itself does not return, but exits with the grader.
    """
    adopt_orphans()
    worker = 0
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 4, 1)
        end(worker)
        worker = 0
        if not message:
            os._exit(0)
        if descriptors:
            worker = fork_into_namespaces(int.from_bytes(message, "little"), start)
            if not worker:
                control.close()
                os.dup2(os.open(os.devnull, os.O_RDWR), 2)  # all workers share the error stream: not with their code
                control = socket.socket(fileno=descriptors[0])
                control.sendall(b"s")
                return control
            os.close(descriptors[0])
        control.sendall(b"f")


def try_namespaces(uid: int, start: Callable[[int], None]) -> None:
    """Exit with a message if no worker can run here."""
    adopt_orphans()
    worker = fork_into_namespaces(uid, start)
    if not worker:
        os._exit(0)
    if os.waitpid(worker, 0)[1]:
        sys.exit("no worker can run in namespaces of its own")


def adopt_orphans() -> None:
    """Make the grandchildren that `fork_into_namespaces` leaves children of this process."""
    _do("prctl", ADOPT_ORPHANS, 1, 0, 0, 0)


def fork_into_namespaces(uid: int, start: Callable[[int], None]) -> int:
    """Fork a process into new namespaces: its own processes, mounts, network, and shared memory.

    Args:
        uid: The user that it becomes; 0 if this process is no root and cannot choose.
        start: Called in the new process with the user id, to give up what rights it has left.

    Returns:
        The process id, or 0 in the new process.
    """
    reading, writing = os.pipe()
    between = os.fork()  # a process enters a new process namespace only by being born in it: so a parent for it
    if between == 0:
        try:
            me, group = os.getuid(), os.getgid()
            _do("unshare", NEW_PIDS | NEW_MOUNTS | NEW_IPC | NEW_NETWORK | (0 if uid else NEW_USERS))
            if not uid:
                maps = {"setgroups": "deny", "uid_map": f"{me} {me} 1", "gid_map": f"{group} {group} 1"}
                for name, line in maps.items():
                    with open(f"/proc/self/{name}", "w") as file:
                        file.write(line)
            worker = os.fork()
            if worker:
                os.write(writing, worker.to_bytes(4, "little"))
                os._exit(0)
            os.close(reading)
            os.close(writing)
            mount_its_own()
            start(uid)
            give_up_capabilities()
            return 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    os.close(writing)
    os.waitpid(between, 0)
    with open(reading, "rb") as pipe:
        said = pipe.read(4)
    if not said:
        sys.exit(1)  # the message is on the error stream
    return int.from_bytes(said, "little")


def mount_its_own() -> None:
    """Mount an empty /tmp and a /proc that shows the new process namespace, for this process alone."""
    scratch = os.statvfs("/tmp")
    _do("mount", None, b"/", None, RECURSIVE | PRIVATE, None)
    with open("/proc/self/mounts") as file:
        below = [line.split()[1] for line in file if line.split()[1].startswith("/tmp/")]  # Python, if it is there
    kept = {place: os.open(place, os.O_PATH) for place in below}
    size = scratch.f_blocks * scratch.f_frsize  # as large as the sandbox allows
    _do("mount", b"tmpfs", b"/tmp", b"tmpfs", NO_SUID | NO_DEVICES, f"size={size},mode=1777".encode())
    for place, descriptor in kept.items():
        os.makedirs(place, exist_ok=True)
        _do("mount", f"/proc/self/fd/{descriptor}".encode(), place.encode(), None, BIND | RECURSIVE, None)
        os.close(descriptor)
    _do("mount", b"proc", b"/proc", b"proc", NO_SUID | NO_DEVICES | NO_PROGRAMS, None)
    os.chdir("/tmp")


def give_up_capabilities() -> None:
    """Give up every capability; without one, and with bubblewrap's no_new_privs, none can be had again."""
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)  # fails for numbers that this kernel does not know
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 bits each
    _do("capset", header, none)


def end(worker: int) -> None:
    """Kill a worker; it is the first of its process namespace, so the kernel kills all that it has started, too."""
    if worker:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def _do(name: str, *arguments: object) -> None:
    """Call a function of the C library.

    Raises:
        OSError: If it fails.
    """
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
