"""Submissions that want points without an answer, or to hurt the grader, the machine or other students.

Each is a solved lab but for one to three exercises, which attack instead of answering: each exercise has a process of
its own, and a worker for each attack would import torch for each. Where an attack succeeds (a secret found, a
connection made), it says so, or a process or a file is left that must not be. So every attack must earn nothing, and
the other exercises, which are right, must keep their points.
"""

import json

from course_lib import exercises
from submissions.build import notebook, solved

ATTACKED = ("softmax", "attention", "influence")  # all take tensors; those between and after them are right


def attack(body="    return x * 0", before=""):
    """The source of a cell, for each exercise: it does `before` when it is loaded, and `body` when it is called."""

    def source(id):
        loaded = used = ""
        if before:  # only what the exercise uses is loaded, so it uses a name that the same statement binds
            lines = [*before.strip().splitlines(), f"began_{id} = True"]
            loaded, used = "if True:\n" + "".join(f"    {line}\n" for line in lines), f"    began_{id}\n"
        return f"import os, sys\n{loaded}def {exercises.find(id).name}(x, *others, **more):\n{used}{body}\n"

    return source


def searches(secret, out, port):
    """What must not be found from inside: {name: the body of a function that returns whether it is}."""
    return {
        # Reading
        "answers of the library": (
            "try:\n    from course_lib.exercises.ch01_attention.softmax import softmax as answer\n    return True\n"
            "except ImportError:\n    return False"),
        "answers on the disk": (
            "for folder, folders, names in os.walk('/'):\n"
            "    folders[:] = [f for f in folders if folder != '/' or f not in ('proc', 'usr')]\n"
            "    if folder.endswith('site-packages'): folders[:] = [f for f in folders if 'course' in f]\n"
            "    if any(n.startswith('ch01_') and n.endswith(('.py', '.pyc')) for n in names): return True"),
        "other submissions": (
            "for folder, folders, names in os.walk('/'):\n"
            "    folders[:] = [f for f in folders if f not in ('proc', 'usr', 'site-packages')]\n"
            "    if any(n.endswith('.ipynb') for n in names): return True"),
        "files of the machine": (
            "return any(map(os.path.exists, ('/etc/passwd', '/etc/shadow', '/var/log', '/home', '/etc/hostname')))"),
        "seed of the grades": f"return os.path.exists({f'{out}/seed.json'!r})",
        "environment": (
            "texts = [repr(os.environ)]\nfor pid in os.listdir('/proc'):\n"
            "    for what in ('environ', 'cmdline'):\n"
            "        try: texts.append(open(f'/proc/{pid}/{what}').read())\n        except OSError: pass\n"
            f"return any({secret[:4]!r} + {secret[4:]!r} in text for text in texts)"),
        "other processes": "return len([p for p in os.listdir('/proc') if p.isdigit()]) > 5",
        # Network
        "loopback": (
            f"import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 1); return True\nexcept OSError: return False"),
        "outside": (
            "import socket\ntry: socket.create_connection(('1.1.1.1', 53), 1); return True\nexcept OSError: return False"),
        "writes outside of /tmp": (
            "places = ['/' + p for p in os.listdir('/') if p != 'tmp'] + ['/', '/dev/shm', '/dev/mqueue', '/var/tmp', '/run']\n"
            "places += ['/course/course_lib', '/course/course_lib/grader', '/course/inside', sys.prefix, *sys.path]\n"
            "for place in places:\n"
            "    try:\n        open(place + '/x', 'w').close()\n        return True\n    except OSError: pass"),
    }  # fmt: skip


def search(functions):
    """The source of a cell for softmax, which names in an error what one of these functions has found."""
    lines = ["import os, sys"]
    for number, body in enumerate(functions.values()):
        lines += [f"def search_{number}():", *(f"    {line}" for line in body.strip().splitlines())]
    pairs = ", ".join(f"({name!r}, search_{number})" for number, name in enumerate(functions))
    lines += [
        "def softmax(x, dim=-1):",
        f"    found = [name for name, search in ({pairs}) if search()]",
        "    if found: raise ValueError('found: ' + ', '.join(found))",
        "    return x * 0",
    ]
    return "\n".join(lines)


def attacks(out):
    """All that is no search: {name: the source of its cell, for each exercise}. out: where the grades go."""
    return {
        # Time
        "loop at the top": attack(before="while True: pass"),
        "loop in the function": attack("    while True: pass"),
        "a long sleep": attack("    import time; time.sleep(3600)"),
        "loop that ignores signals": attack(
            "    import signal\n    [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]\n    while True: pass"),
        "exception that never ends": attack(
            "    raise Slow", "class Slow(Exception):\n    def __str__(self):\n        while True: pass"),
        "regular expression": attack("    import re; re.match('(a+)+$', 'a' * 64 + 'b')"),
        # Ends
        "exit": attack("    os._exit(0)"),
        "exit at the top": attack(before="os._exit(0)"),
        "SystemExit": attack("    sys.exit(0)"),
        "KeyboardInterrupt": attack("    raise KeyboardInterrupt"),
        "segfault": attack("    import ctypes; ctypes.string_at(0)"),
        "kill everybody": attack("    os.kill(-1, 9)\n    return x * 0"),
        "kill the parent": attack("    os.kill(os.getppid(), 9)\n    return x * 0"),
        # Floods
        "memory": attack("    hoard = []\n    while True: hoard.append(torch.ones(10**7))"),
        "memory in many processes": attack(
            "    for _ in range(5): os.fork()\n    hoard = bytearray(1800 * 2**20)\n"
            "    hoard[::4096] = b'x' * len(hoard[::4096])\n    while True: pass"),
        "shared memory": attack(
            "    import mmap\n    maps = [mmap.mmap(-1, 2**30) for _ in range(8)]\n"
            "    for m in maps:\n        for i in range(0, 2**30, 4096): m[i] = 1\n    return x * 0"),
        "processes": attack("    while True:\n        try: os.fork()\n        except OSError: pass"),
        "threads": attack(
            "    import threading, time\n    while True: threading.Thread(target=time.sleep, args=(99,)).start()"),
        "disk": attack(
            "    for n in range(10**6):\n        with open(f'/tmp/{n}', 'wb') as f: f.write(bytes(2**23))\n    return x * 0"),
        "open files": attack("    keep = []\n    while True: keep.append(open('/dev/null'))"),
        # Answers that are none
        "huge answer": attack("    return torch.zeros(1).expand(10**10)"),
        "long answer": attack("    return 'x' * 10**8"),
        "deep answer": attack("    a = []\n    for _ in range(10**5): a = [a]\n    return a"),
        "answer that holds itself": attack("    a = []\n    a.append(a)\n    return a"),
        "object that equals all": attack(
            "    return Yes()", "class Yes:\n    shape = property(lambda s: s)\n    __eq__ = lambda s, o: True\n"
            "    __getattr__ = lambda s, n: s\n    __call__ = lambda s, *a, **k: s\n    __bool__ = lambda s: True"),
        "tensor subclass": attack(
            "    return (x * 0).as_subclass(Liar)", "class Liar(torch.Tensor):\n    @classmethod\n"
            "    def __torch_function__(cls, f, types, args=(), kwargs=None):\n        return True\n"
            "    shape = property(lambda s: (1,))\n    __eq__ = lambda s, o: True"),
        "pickle": attack("    return Bomb()", "class Bomb:\n    def __reduce__(self): return (os.system, ('true',))"),
        # Patches
        "patched torch": attack(
            before="for name in ('equal', 'allclose', 'isclose', 'isfinite', 'eq'):\n"
            "    setattr(torch, name, lambda *a, **k: True)\ntorch.Tensor.__eq__ = lambda a, b: True"),
        "patched builtins": attack(
            before="import builtins\nbuiltins.all = builtins.any = builtins.isinstance = lambda *a: True\n"
            "builtins.abs = lambda x: 0"),
        "patched worker": attack(
            before="for name, module in list(sys.modules.items()):\n    for key, value in list(vars(module or os).items()):\n"
            "        if key in ('same', 'compare', 'grade', 'describe_error', '_outcome_of', 'ask', 'send', 'do_send'):\n"
            "            setattr(module, key, lambda *a, **k: None)"),
        "its own check": attack(before="check = use = lambda *a, **k: True\nsys.modules['course_lib.grader'].check = check"),
        # Writing
        "edits the grades": attack(
            f"    os.makedirs({str(out)!r}, exist_ok=True)\n"
            f"    for name in ('grades.json', 'grades.csv', 'seed.json', 'edits the grades/report.json'):\n"
            f"        open({str(out)!r} + '/' + name, 'w').write('mine')\n    return x * 0"),
        "garbage on every socket": attack(
            "    for fd in range(3, 64):\n        try: os.write(fd, b'\\xff' * 4096)\n        except OSError: pass\n    return x * 0"),
        "late writer": attack(
            before="import time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(0.3)\n"
            "        for _ in range(50):\n            time.sleep(0.02)\n            for fd in range(3, 64):\n"
            "                try: os.write(fd, b'{\"points\": 99}' * 9)\n                except OSError: pass\n    os._exit(0)"),
        "forged answers": attack(
            "    import socket, struct, json\n    for fd in range(3, 64):\n        for n in range(40):\n"
            "            head = json.dumps({'dict': [['id', n], ['value', True], ['failure', None], ['changed', None]]}).encode()\n"
            "            try: os.write(fd, struct.pack('<II', len(head), 0) + head)\n            except OSError: break\n"
            "    return x * 0"),
        "leftovers for the next exercise": attack(
            before="for n in range(6):\n    if os.fork() == 0:\n        os.setsid()\n        while True: pass"),
        # The parser
        "parser": attack(before="x = " + "-" * 10**5 + "1"),
        "brackets": attack(before="x = " + "(" * 10**4),
        "long sum": attack(before="x = " + "1+" * 10**5 + "1"),
    }  # fmt: skip


def files(secret, out, port):
    """Three attacks in each: {name: (notebook, {exercise: attack})}. secret: a word in the grader's environment.

    Attacks that are listed together are far apart: those that end workers, of which a submission has few, too.
    """
    every = list(attacks(out).items())
    apart = -(-len(every) // len(ATTACKED))
    found = {
        "searches": (notebook(solved(softmax=search(searches(secret, out, port)))), {"softmax": "searches"}),
        "claims of points": (
            notebook(
                solved(softmax="def softmax(x, dim=-1): return x"),
                metadata={"points": 99, "grade": "A", "otter": {"tests": {}}, "nbgrader": {"score": 99}},
            ),
            {"softmax": "claims of points"},
        ),
    }
    for first in range(apart):
        three = dict(zip(ATTACKED, every[first::apart], strict=False))
        cells = solved(**{id: source(id) for id, (_, source) in three.items()})
        found[every[first][0]] = notebook(cells), {id: name for id, (name, _) in three.items()}
    return found


def broken():
    """Files that are no notebooks of this course: {name: (bytes, a word of the reason)}."""
    good = json.dumps(notebook(solved())).encode()
    return {
        "empty": (b"", "empty"),
        "not JSON": (b"hello", "JSON error"),
        "cut off": (good[: len(good) // 2], "it ends in the middle"),
        "not UTF-8": (good[:-1] + b', "x": "\xff\xfe"}', "UTF-8"),
        "deep": (b'{"cells":' + b"[" * 10**5 + b"]" * 10**5 + b"}", "deep"),
        "endless number": (b'{"nbformat": ' + b"9" * 10**5 + b"}", "numbers"),
        "endless code": (good.replace(b"def softmax", b"#" * 26 * 2**20 + b"\\ndef softmax", 1), "longer"),
        "large and cut off": (good[:-1] + b', "x": "' + b"x" * 26 * 2**20, "it ends in the middle"),
        "a list": (b"[1, 2]", "not a notebook"),
        "nothing": (b"null", "not a notebook"),
        "format 2": (b'{"nbformat": 2, "worksheets": []}', "format"),
        "cells of another kind": (b'{"nbformat": 4, "cells": {"a": 1}}', "cells"),
        "strange cells": (b'{"nbformat": 4, "cells": [1, null, {}, {"cell_type": "code", "source": 7}]}', "no exercise"),
        "marks removed": (good.replace(b"# EXERCISE: ", b"# "), "no exercise"),
        "marks of another course": (good.replace(b"# EXERCISE: ", b"# EXERCISE: x_"), "no exercise"),
    }
