"""The cost of a lab, measured inside its kernel, and the cell that it is at.

Every kernel runs this file as it starts, and nothing else of the course: a lab may be of an older commit.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

FILE = "COURSE_METER"  # the environment variable with the path of the file that is written


def cost() -> dict[str, float]:
    """Return the CPU seconds of this process and its children, and the peak memory in MB of the larger of the two."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return {
        "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in usage), 1),
        "peak_mb": round(max(u.ru_maxrss for u in usage) * unit / 1e6),
    }


def start(path: str) -> None:
    """Write the number of cells begun so far, and the cost up to now, before and after each cell of this kernel."""
    from IPython import get_ipython

    begun = 0

    def write(*_: object) -> None:
        part = Path(path + ".part")
        part.write_text(json.dumps({"begun": begun, **cost()}))
        part.replace(path)  # whoever reads it meanwhile has the whole of the last one

    def before(*_: object) -> None:
        nonlocal begun
        begun += 1
        write()

    events = get_ipython().events
    events.register("pre_run_cell", before)
    events.register("post_run_cell", write)


if __name__ == "__main__":
    start(os.environ[FILE])
