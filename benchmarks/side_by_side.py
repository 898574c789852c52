"""Times contestants in turns, so that a busy machine troubles all alike; prints ratios with their spread."""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from provenance import Watch, code, machine

from course_lib.files import write_text

_watch: Watch | None = None  # since the run began


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has: --rounds, --tiny and --json."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--tiny", action="store_true", help="sizes that show nothing but that all of it runs")
    options.add_argument("--json", type=Path, help="write all times to this file")
    return options


def begin(*packages: str) -> dict[str, Any]:
    """Get ready for a run: print what machine it runs on, and keep transformers quiet.

    Freed memory is kept, as course_lib.train does: otherwise who pays for new pages depends on who ran before. With a
    process for each contestant only ours does so.

    Args:
        *packages: What is compared, to print the versions.

    Returns:
        What was printed, as in `machine`.
    """
    from course_lib.train.memory import keep_freed_memory  # imports torch, which not every contestant needs

    keep_freed_memory()
    global _watch
    _watch = Watch()
    if "transformers" in packages:
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
    here = machine(packages)
    print(", ".join(f"{key} {value}" for key, value in here.items()), "\n", flush=True)
    return here


@dataclass(frozen=True)
class Timings:
    """The seconds of each contestant in each round.

    Attributes:
        wall: On the clock.
        cpu: Of CPU time, in all threads of the process.
    """

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]

    def speed(self, name: str, peer: str, clock: str = "wall") -> tuple[float, float, float]:
        """How many times as fast as the peer a contestant is.

        Returns:
            The lower quartile, the median and the upper quartile of the ratios within a round.
        """
        seconds = getattr(self, clock)
        ratios = [theirs / mine for mine, theirs in zip(seconds[name], seconds[peer], strict=True)]
        if len(ratios) == 1:
            return ratios[0], ratios[0], ratios[0]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, median, high


def side_by_side(contestants: Mapping[str, Callable[[], object]], rounds: int = 7) -> Timings:
    """Call every contestant once in every round, after one call that does not count; each round begins with another.

    Args:
        contestants: What to time, by name. That all do the same work is to be checked before.
        rounds: How many rounds.

    Raises:
        ValueError: There are no contestants or no rounds.
    """
    if not contestants or rounds < 1:
        raise ValueError(f"{len(contestants)} contestants and {rounds} rounds make no comparison")
    for call in contestants.values():
        call()
    gc.collect()
    gc.freeze()  # what is there stays, and need not be searched again between two turns
    timings = _in_turns({name: functools.partial(_time, call) for name, call in contestants.items()}, rounds)
    gc.unfreeze()
    return timings


def in_processes(makers: Mapping[str, Callable[[], Callable[[], object]]], rounds: int = 7) -> Timings:
    """Like `side_by_side`, with a process for each contestant, so that each has its own library's settings alone.

    Args:
        makers: For each contestant what makes it, called first in its process; can be pickled.
        rounds: How many rounds.

    Raises:
        RuntimeError: A contestant's process failed.
    """
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        lines = {}
        for name, make in makers.items():
            line, other_end = context.Pipe()
            process = context.Process(target=_serve, args=(make, other_end), daemon=True)
            process.start()
            other_end.close()
            stack.callback(process.join)
            stack.enter_context(line)  # closed, it ends the process
            lines[name] = line
        for name in lines:
            _ask(lines[name], name)  # one after the other, so that nobody is ready while another still gets ready
        return _in_turns({name: functools.partial(_ask, line, name) for name, line in lines.items()}, rounds)


def _in_turns(timed: Mapping[str, Callable[[], tuple[float, float]]], rounds: int) -> Timings:
    names = list(timed)
    timings = Timings({name: [] for name in names}, {name: [] for name in names})
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            wall, cpu = timed[name]()
            timings.wall[name].append(wall)
            timings.cpu[name].append(cpu)
    return timings


def _time(call: Callable[[], object]) -> tuple[float, float]:
    gc.collect()  # nobody pays for what the one before left behind
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def _serve(make: Callable[[], Callable[[], object]], line: Connection) -> None:
    """Take a turn for each message, in the process of a contestant; the first one makes it, and does not count."""
    call = None
    with contextlib.suppress(EOFError):
        while True:
            line.recv()
            if call is None:
                call = make()
                call()
                gc.collect()
                gc.freeze()
                line.send((0.0, 0.0))
            else:
                line.send(_time(call))


def _ask(line: Connection, name: str) -> tuple[float, float]:
    try:
        line.send(None)
        return line.recv()
    except (EOFError, OSError):
        raise RuntimeError(f"the process of {name} has failed; its traceback is above") from None


def table(title: str, timings: Timings, peer: str, amount: float, unit: str) -> str:
    """A table of medians and of speeds against the peer's, as lines of text.

    Both on the clock and by the CPU time of all threads, which other processes disturb less: on a busy machine only the
    second means something, and that with one thread (OMP_NUM_THREADS=1), since threads that wait for others burn it.

    Args:
        title: The line above.
        timings: The seconds.
        peer: The contestant that the others are compared with.
        amount: How much is done in a turn.
        unit: Of `amount`, such as "tokens".
    """
    lines = [
        title,
        f"{'':28} {'':>9} {'':>9} {'':>10}   times as fast as {peer} (quartiles)",
        f"{'':28} {'wall s':>9} {'CPU s':>9} {unit + '/s':>10}   {'on the clock':24} by CPU time",
    ]
    for name in timings.wall:
        wall, cpu = statistics.median(timings.wall[name]), statistics.median(timings.cpu[name])
        ratios = ["{1:.2f} ({0:.2f} .. {2:.2f})".format(*timings.speed(name, peer, clock)) for clock in ("wall", "cpu")]
        lines.append(f"{name:28} {wall:9.3f} {cpu:9.3f} {amount / wall:10.3f}   {ratios[0]:24} {ratios[1]}")
    return "\n".join(lines)


def record(timings: Timings, peer: str, amount: float, unit: str) -> dict[str, Any]:
    """What `table` says, and every single time, for a JSON file."""
    speeds = {
        f"speed_quartiles_{clock}": {name: timings.speed(name, peer, clock) for name in timings.wall}
        for clock in ("wall", "cpu")
    }
    return {"amount": amount, "unit": unit, "peer": peer, **speeds, **asdict(timings)}


def write(asked: argparse.Namespace, here: Mapping[str, Any], comparisons: Mapping[str, Any], **more: Any) -> None:
    """Write a run as JSON, if --json names a file.

    Args:
        asked: The options of the run.
        here: What `begin` returned.
        comparisons: Each comparison by its title, as `record` gives it.
        **more: What else was measured, or belongs to it.
    """
    if not asked.json:
        return
    about = {**here, "others": _watch.others() if _watch else None, "options": _differing(asked)}
    benchmark = Path(sys.argv[0]).stem
    found = {"benchmark": benchmark, **code(benchmark), "machine": about, **more, "comparisons": comparisons}
    write_text(asked.json, json.dumps(found, indent=1) + "\n")


def _differing(asked: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(asked).items() if name != "json" and not isinstance(value, Path)}
