"""Lines of Python source while they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from fhirspace.mapping.read.memo import Slow
from fhirspace.mapping.read.rows import Part

Make: TypeAlias = Callable[[dict[str, Any], Sequence[Part]], Any]
"""Makes an object for a run of the source, from what it names and the parts into which its rows go."""


class Code:
    """Functions of source, the lines of the one that is written, and the objects that they name.

    `names` has those that are the same for all who run the source, `makers` what makes those of each.
    """

    def __init__(self) -> None:
        self.functions: list[str] = []
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"Slow": Slow}
        self.makers: list[tuple[str, Make]] = []
        self._depth = 1
        self._count = 0

    def put(self, line: str) -> None:
        """Add a line at the present indentation."""
        self.lines.append("    " * self._depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add a line that opens a block, and indent what follows; an empty block passes."""
        self.put(head)
        self._depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.put("pass")
        self._depth -= 1

    def fresh(self, prefix: str) -> str:
        """A name not used before."""
        self._count += 1
        return f"{prefix}{self._count}"

    def held(self, prefix: str, make: Make) -> str:
        """The name under which the source sees an object that is made for each who runs it."""
        name = self.fresh(prefix)
        self.makers.append((name, make))
        return name

    @contextmanager
    def function(self, head: str, start: Callable[[], Sequence[str]]) -> Iterator[None]:
        """Write a function; `start` gives the lines that begin its variables, asked when all is written."""
        outer, self.lines, depth, self._depth = self.lines, list[str](), self._depth, 1
        yield
        self.functions += [f"def {head}:", *(f"    {line}" for line in start()), *self.lines]
        self.lines, self._depth = outer, depth

    def inside(self, write: Callable[[], None]) -> list[str]:
        """The lines that a function adds one indentation deeper, kept out of the source."""
        before = len(self.lines)
        self._depth += 1
        write()
        self._depth -= 1
        added = self.lines[before:]
        del self.lines[before:]
        return added
