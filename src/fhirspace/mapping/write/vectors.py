"""Classes of a whole column of cells at once: regular expressions for the usual cells, Python for the others.

The expressions here are narrower than the codecs, never wider: a cell that fits none is looked at by the codecs
themselves, as is one cell of each class, so that the meaning of a class is defined once only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.model import Mapping
from fhirspace.mapping.write.placeholders import SLOW, Profiler, Use, inner
from fhirspace.template.codec import Out
from fhirspace.template.slots import Slot

_PLAIN: Final = r'\A[^\x00-\x1f\x7f"\\]+\z'
_DAY: Final = r"(?:-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|-(?:0[13-9]|1[0-2])-(?:29|30)|-(?:0[13578]|1[02])-31)"
_DATE: Final = rf"\A[1-9][0-9]{{3}}(?:{_DAY}|-(?:0[1-9]|1[0-2]))?\z"
_TIMED: Final = rf"\A[1-9][0-9]{{3}}{_DAY}T(?:[01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9])?)?\z"
_WHOLE: Final = {
    "integer": r"\A(?:0|-?[1-9][0-9]{0,8})\z",
    "decimal": r"\A-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?\z",
    "text": _PLAIN,
    "id": _PLAIN,
    "date": _DATE,
    "datetime": _DATE,
}
_DATES: Final = frozenset({"date", "datetime"})
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Usual:
    """One kind of usual cells: their expressions, and at which marks only their first ten letters are written."""

    fits: tuple[str, ...]
    heads: frozenset[int]


def usual(mapping: Mapping, profiler: Profiler, column: str) -> list[Usual]:
    """The kinds of usual cells of a column; none where a codec has to look at each distinct cell."""
    uses = [use for use in profiler.uses if use.slot.column == column]
    forms = mapping.forms.get(column, ())
    fits: dict[str, None] = {}
    if forms:
        part = _only(forms[0].parts)
        if part is None:
            return []
        name = f"{column}.{forms[0].name}"
        uses += [use for use in profiler.uses if use.slot.column in (name, f"{name}.{part.column}")]
        fits[_WHOLE[part.codec.name]] = None
    dated = [use for use in uses if use.slot.codec.name.removesuffix("+") in _DATES]
    for use in uses:
        found = _fits(use)
        if found is None:
            return []
        fits.update(dict.fromkeys(found))
    kinds = [Usual(tuple(fits) or (_PLAIN,), frozenset())]
    if dated and all(use.alone for use in dated):
        late = (*(each for each in fits if each != _DATE), _TIMED)
        kinds.append(Usual(late, frozenset(use.number for use in dated)))
    return kinds


def _only(parts: tuple[str | Slot, ...]) -> Slot | None:
    """The one number of a form that may have a comparator before it."""
    slots = [part for part in parts if isinstance(part, Slot)]
    rest = [part for part in slots if part.codec.name != "comparator"]
    return (
        rest[0]
        if len(slots) == len(parts) and len(rest) == 1 and rest[0].codec.name in ("integer", "decimal")
        else None
    )


def _fits(use: Use) -> list[str] | None:
    """The expressions that a cell has to fit so that a use copies it (or hashes it), None where there are none."""
    name = use.slot.codec.name.removesuffix("+")
    if name not in _WHOLE:
        return None
    fits = [_WHOLE[name]]
    if not use.alone:
        letters = inner(use.leaf)
        if name == "id":
            return fits if not _HEX & set(letters) else None
        if letters:
            fits.append(r"\A[^" + "".join(f"\\x{{{ord(letter):x}}}" for letter in letters) + r"]+\z")
    if use.leaf.pattern and name != "id":
        room = 64 - sum(len(part) for part in use.leaf.parts if isinstance(part, str)) if use.alone else 12
        fits.append(rf"\A[A-Za-z0-9.\-]{{1,{max(room, 1)}}}\z")
    return fits


@dataclass(slots=True)
class Looked:
    """The distinct values of a volatile column in a batch: their classes, and on demand their text at each mark."""

    values: pa.Array
    classes: pa.Array
    texts: Callable[[int], pa.Array]
    _made: dict[int, pa.Array] = field(default_factory=dict)

    def at(self, number: int) -> pa.Array:
        """The JSON text at a mark of each distinct value, null where it has none."""
        found = self._made.get(number)
        if found is None:
            found = self._made[number] = self.texts(number)
        return found


class Vectors:
    """Looks at the values of one volatile column: `look` gives their classes and texts."""

    def __init__(self, mapping: Mapping, profiler: Profiler, column: str) -> None:
        self._profiler = profiler
        self._column = column
        self._usual = usual(mapping, profiler, column)
        ids = [use for use in profiler.uses if use.slot.codec.name == "id"]
        self._functions = {use.number: ids[0].slot.codec.out for use in ids}
        self._results: tuple[pa.Array, Out, pa.Array] | None = None

    def look(self, values: pa.Array) -> Looked:
        """The classes and texts of distinct values (a string array without nulls)."""
        classes = pa.repeat(pa.scalar(SLOW, pa.int64()), len(values))
        left = pa.repeat(pa.scalar(True), len(values))
        heads: list[tuple[pa.Array, frozenset[int]]] = []
        for kind in self._usual:
            mask = left if len(self._usual) > 1 else None
            for pattern in kind.fits:
                fits = pc.match_substring_regex(values, pattern)
                mask = fits if mask is None else pc.and_(mask, fits)
            first = pc.index(mask, True).as_py()
            if first < 0:
                continue
            code, _ = self._profiler.look(values[first].as_py())
            classes = pc.if_else(mask, pa.scalar(code, pa.int64()), classes)
            left = pc.and_not(left, mask)
            if kind.heads:
                heads.append((mask, kind.heads))
        return self._rest(values, classes, left, heads)

    def _rest(
        self, values: pa.Array, classes: pa.Array, left: pa.Array, heads: list[tuple[pa.Array, frozenset[int]]]
    ) -> Looked:
        if not pc.any(left, min_count=0).as_py():
            return Looked(values, classes, lambda number: self._text(values, number, heads))
        odd = [self._profiler.look(value) for value in values.filter(left).to_pylist()]
        codes = pa.array([code for code, _ in odd], pa.int64())
        whole = len(odd) == len(values)

        def texts(number: int) -> pa.Array:
            own = pa.array([found.get(number) for _, found in odd], pa.string())
            return own if whole else pc.replace_with_mask(self._text(values, number, heads), left, own)

        return Looked(values, codes if whole else pc.replace_with_mask(classes, left, codes), texts)

    def _text(self, values: pa.Array, number: int, heads: list[tuple[pa.Array, frozenset[int]]]) -> pa.Array:
        out = self._functions.get(number)
        if out is not None:
            return self._called(out, values)
        for mask, numbers in heads:
            if number in numbers:
                values = pc.if_else(mask, pc.utf8_slice_codeunits(values, 0, 10), values)
        return values

    def _called(self, out: Out, values: pa.Array) -> pa.Array:
        """The texts of a function of whole values; slots with the same codec share them."""
        if self._results is None or self._results[0] is not values or self._results[1] is not out:
            self._results = values, out, pa.array([out(value) for value in values.to_pylist()], pa.string())
        return self._results[2]
