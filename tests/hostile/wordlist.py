"""Identifiers as trials use them, to be tried against ids: what somebody would try who sees only URLs and logs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

STUDIES = ("SPACE", "TRIAL01")
LETTERS = "ABCDEFGHJ"


@cache
def plausible() -> list[str]:
    """Some 60,000 identifiers: by study and site, by site, initials with a birth date, hospital numbers."""
    return list(_made())


def _made() -> Iterator[str]:
    for study, site, number in product(STUDIES, range(1, 31), range(1, 301)):
        yield f"{study}-{site:02}-{number:03}"
    for site, number in product(range(1, 31), range(1, 301)):
        yield f"{site:02}-{number:03}"
    for first, last, year, month in product(LETTERS, LETTERS, range(1940, 2006), range(1, 5)):
        yield f"{first}{last}{year}{month:02}01"
    yield from (f"{number:08}" for number in range(41_000_000, 41_010_000))
