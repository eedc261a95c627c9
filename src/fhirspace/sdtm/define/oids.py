"""OIDs of new definitions: readable, each once, and none that a define.xml of the input has already."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")


class Oids:
    """Gives OIDs out. A text that is taken gets a number."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def free(self, text: str) -> bool:
        """Whether `new` would give the text as it is."""
        return _fit(text) not in self._taken

    def new(self, text: str) -> str:
        """An OID called after a text: an XML name too, as the ID of a leaf must be."""
        plain = made = _fit(text)
        again = 1
        while made in self._taken:
            again += 1
            made = f"{plain}.{again}"
        self._taken.add(made)
        return made


def _fit(text: str) -> str:
    return _UNFIT.sub("_", text)
