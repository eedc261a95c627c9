"""Lines of Python source while they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fhirspace.mapping.read.memo import Slow


class Code:
    """Functions of source, the lines of the one that is written, and the objects that they name."""

    def __init__(self) -> None:
        self.functions: list[str] = []
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"Slow": Slow}
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

    def held(self, prefix: str, value: Any) -> str:
        """The name under which the source sees an object."""
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    @contextmanager
    def function(self, head: str, start: Callable[[], Sequence[str]]) -> Iterator[None]:
        """Write a function; `start` names the variables that begin as None, asked when all is written."""
        outer, self.lines, depth, self._depth = self.lines, list[str](), self._depth, 1
        yield
        begun = f"    {' = '.join(start())} = None"
        self.functions += [f"def {head}:", begun, *self.lines]
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
