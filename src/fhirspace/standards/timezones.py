"""The names of time zones in IANA's list."""

from __future__ import annotations

import difflib
from zoneinfo import ZoneInfo, available_timezones


def is_zone(name: str) -> bool:
    """Whether there is a time zone with this name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder of the list, such as Europe; no file name; no such zone
        return False
    return True


def alike(name: str) -> str:
    """What would fit: the names of zones that are alike, or an example."""
    near = difflib.get_close_matches(name, sorted(available_timezones()), 2, 0.6)
    return " or ".join(near) or "a time zone of the IANA list, such as Europe/Berlin"
