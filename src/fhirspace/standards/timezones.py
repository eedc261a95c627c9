"""The names of time zones in IANA's list."""

from __future__ import annotations

import difflib
from functools import cache
from zoneinfo import ZoneInfo, available_timezones


def is_zone(name: str) -> bool:
    """Whether there is a time zone with this name: the same one on every machine."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder of the list, such as Europe; no file name; no such zone
        return False
    return name in _names()


def alike(name: str) -> str:
    """What would fit: the names of zones that are alike, or an example."""
    near = difflib.get_close_matches(name, sorted(_names()), 2, 0.6)
    return " or ".join(near) or "a time zone of the IANA list, such as Europe/Berlin"


@cache
def _names() -> frozenset[str]:
    """All names but `localtime`, which is that of the machine, and `Factory`, which says that nobody has set it."""
    return frozenset(available_timezones() - {"localtime", "Factory"})
