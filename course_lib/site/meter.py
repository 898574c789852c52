"""The cost of a lab, measured inside its kernel after the last cell."""

from __future__ import annotations

import resource
import sys


def cost() -> dict[str, float]:
    """Return the CPU seconds of this process and its children, and the peak memory in MB of the larger of the two."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return {
        "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in usage), 1),
        "peak_mb": round(max(u.ru_maxrss for u in usage) * unit / 1e6),
    }
