"""What the processes that a benchmark started have taken."""

from __future__ import annotations

import resource


def cpu_seconds() -> float:
    """User and system time of all child processes that have ended: what a command takes is the difference of two."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
