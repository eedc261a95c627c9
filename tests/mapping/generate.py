"""Rows for the laws of mappings, made by Hypothesis from a mapping itself and SDTM's metadata.

Two kinds: *legal* rows hold anything that a study may hold and no check refuses (partial dates, N and U flags, units
beside NOT DONE, codes outside extensible lists, odd spellings of numbers, nasty text, sponsor variables); *clean* rows
hold what a clean study holds: whole dates, codes of the lists, one form of a value, only columns whose place in the
mapping is open in this very row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fhirspace.mapping.cells import implied, with_forms
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Arr, Each, Mapping, Node, Obj, OneOf, slots, walk
from fhirspace.standards import sdtm, terminology
from fhirspace.template.codec import CellError, Codec
from fhirspace.template.dates import upto
from fhirspace.template.slots import Cond, Form, Slot
from fhirspace.template.values import holds

Cells = dict[str, str]
_Drawn = TypeVar("_Drawn")


class Draw(Protocol):
    """What `st.composite` gives to draw from a strategy."""

    def __call__(self, strategy: SearchStrategy[_Drawn], /) -> _Drawn: ...


@dataclass
class Row:
    """A row with the rows nested in it, by domain, and its helper columns apart."""

    cells: Cells
    helpers: Cells
    nested: dict[str, list[Row]] = field(default_factory=dict)


# -- what a mapping says of its columns

_KNOWN: dict[tuple[object, ...], Any] = {}


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Remembers what a function found for a mapping (kept alive by its library) and more.

    A strategy is checked by Hypothesis when it is first drawn from: one made anew for each draw costs more than the
    law that it serves.
    """

    @wraps(function)
    def remembered(mapping: Mapping, *more: Any) -> Any:
        key = (id(mapping), function.__name__, *more)
        if key not in _KNOWN:
            _KNOWN[key] = function(mapping, *more)
        return _KNOWN[key]

    return remembered


whole = cache(st.integers)
"""A strategy of numbers, by its bounds."""


def base_domain(mapping: Mapping) -> str:
    return "SUPPQUAL" if mapping.domain.startswith("SUPP") else mapping.domain


@once
def columns(mapping: Mapping) -> list[str]:
    """The columns of the domain's metadata, then those the mapping knows beside them, without helpers and RDOMAIN."""
    known = list(sdtm.domain(base_domain(mapping)).names)
    more = sorted({slot.base for _, slot in _slots(mapping) if not slot.derived} - set(known))
    return [name for name in [*known, *more] if name not in implied(mapping)]


def order(mapping: Mapping, cells: Cells) -> Cells:
    """Cells in one order: the metadata's, then others by name."""
    rank = {name: place for place, name in enumerate([*implied(mapping), *columns(mapping)])}
    return dict(sorted(cells.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])))


@once
def homes(mapping: Mapping) -> set[str]:
    """The columns that can be read back from an element, and those implied or shared with their parent row."""
    shared = mapping.attach.on if mapping.attach else ()
    return {slot.base for _, slot in _slots(mapping) if slot.readable} | set(shared) | set(implied(mapping))


@once
def helpers(mapping: Mapping) -> dict[str, list[Slot]]:
    """The helper columns a mapping looks at, with their slots."""
    found: dict[str, list[Slot]] = {}
    for _, slot in _slots(mapping):
        if slot.derived:
            found.setdefault(slot.column, []).append(slot)
    for root in mapping.roots():
        for node in walk(root):
            for name in node.when.columns() if isinstance(node, Obj) and node.when else ():
                if name.startswith("_"):
                    found.setdefault(name, [])
    return found


def children(mapping: Mapping, library: Library) -> dict[str, Mapping]:
    """The mappings of the domains whose rows are nested in a row of this one."""
    return {
        node.domain: library.mappings[node.domain]
        for root in mapping.roots()
        for node in walk(root)
        if isinstance(node, Each)
    }


@once
def _slots(mapping: Mapping) -> list[tuple[object, Slot]]:
    return [pair for root in mapping.roots() for pair in slots(root)]


def keys(codec: Codec) -> list[str]:
    """The cells of a code list, from the codec's pattern."""
    return [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\)\|", codec.pattern) if part]


# -- values

_YEAR = st.integers(1950, 2030)
_DAY = st.builds("{:04d}-{:02d}-{:02d}".format, _YEAR, st.integers(1, 12), st.integers(1, 28))
_ZONE = st.sampled_from(["Z", "+00:00", "+10:00", "-03:30"])
_TIME = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
_ODD_DATE = st.one_of(
    st.builds("{:04d}".format, _YEAR),
    st.builds("{:04d}-{:02d}".format, _YEAR, st.integers(1, 12)),
    st.builds("{:04d}---{:02d}".format, _YEAR, st.integers(1, 28)),
    st.builds("--{:02d}-{:02d}".format, st.integers(1, 12), st.integers(1, 28)),
    st.builds("{}T{}".format, _DAY, _TIME),
    st.builds("{}T{}:07.25{}".format, _DAY, _TIME, _ZONE),
    st.builds("{}T{}{}".format, _DAY, _TIME, _ZONE),
    st.builds("{}/{}".format, _DAY, _DAY),
)
_NUMBER = st.one_of(
    st.integers(0, 10**6).map(str),
    st.decimals(0, 10**4, places=2).map(str),
    st.sampled_from(["0.00", "5.50", "-1.5"]),
)
_INTEGER = st.integers(0, 999_999_999).map(str)
_ODD_NUMBER = st.sampled_from(["007", ".5", "+3", "5.", "-0", "1E5", "00.50", "1e5", "12345678901234567890.123456789"])
_WORDS = st.lists(st.sampled_from(["alpha", "beta", "Gamma", "delta", "epsilon"]), min_size=1, max_size=3).map(" ".join)
_NASTY = st.one_of(
    st.sampled_from(
        [
            'He"ad\\ache', "naïve ≥ 3 µg", "  blanks  within and around ", "a,b|c", "</script>&amp;", "<tag>", "'",
            "\u2028", "line\nbreak\ttab", "=1+1", "{}", "[]", "null", "true", "𝒳 𐍈", "_X", "@x", "\xa0", "-", "N",
            "2017-06-14", "1:2",
        ],
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
)  # fmt: skip
_RESULT = st.one_of(
    _NUMBER, _ODD_NUMBER, st.builds("{}{}".format, st.sampled_from(["<", ">=", "< ", "~"]), _NUMBER),
    st.builds("{}:{}".format, _INTEGER, _NUMBER), st.builds("{}-{}".format, _NUMBER, _NUMBER), st.just("2017-10"),
)  # fmt: skip
_DURATION = st.sampled_from(["P1D", "PT30M", "-PT15M", "P6M", "P1Y2M3DT4H5M6S", "P2W", "PT1.5H"])
_BY_NAME: dict[str, SearchStrategy[str]] = {
    "date": _DAY, "datetime": _DAY, "decimal": _NUMBER, "number": _INTEGER, "integer": _INTEGER, "duration": _DURATION,
    "yes": st.just("Y"), "yes/no": st.sampled_from(["Y", "N"]), "comparator": st.sampled_from(["<", ">", "<=", ">="]),
}  # fmt: skip


def accepts(slot: Slot, cell: str) -> bool:
    """Whether a cell at a slot is no fault: an open codec and a helper decline, a closed codec refuses."""
    try:
        slot.codec.out(cell)
    except CellError:
        return slot.codec.open or slot.derived
    return True


def keeps(slot: Slot, cell: str) -> bool:
    """Whether a cell at a slot is written and comes back as it was."""
    try:
        out = slot.codec.out(cell)
    except CellError:
        return False
    return out is not None and slot.readable and slot.codec.back(out) == cell


def _terms(mapping: Mapping, column: str) -> list[str]:
    variable = sdtm.variable(base_domain(mapping), column)
    lists = variable.codelists if variable else ()
    return [term for code in lists if terminology.known(code) for term in terminology.codelist(code).terms]


def _number(mapping: Mapping, column: str) -> bool:
    variable = sdtm.variable(base_domain(mapping), column)
    return variable is not None and variable.type == "Num"


@once
def clean_value(mapping: Mapping, column: str, found: tuple[Slot, ...]) -> SearchStrategy[str]:
    """A value as a clean study has it, one that a slot of the column keeps."""
    return _clean_value(_places_of(found), tuple(_terms(mapping, column)), _number(mapping, column))


def _places_of(found: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """The slots without the names of their columns, so that columns with the same codecs have the same values."""
    return tuple(dict.fromkeys(Slot("_" if slot.derived else "X", slot.codec) for slot in found))


@cache
def _clean_value(found: tuple[Slot, ...], terms: tuple[str, ...], number: bool) -> SearchStrategy[str]:
    options = [
        _BY_NAME.get(slot.codec.name.rstrip("+"), st.sampled_from(keys(slot.codec)))
        for slot in found
        if (slot.codec.name.startswith("codes") and keys(slot.codec)) or slot.codec.name.rstrip("+") in _BY_NAME
    ]
    if not options:
        options = [st.sampled_from(terms) if terms else _NUMBER if number else _WORDS]
    readable = [slot for slot in found if slot.readable]
    return st.one_of(options).filter(lambda cell: not readable or any(keeps(slot, cell) for slot in readable))


@once
def legal_value(mapping: Mapping, column: str) -> SearchStrategy[str]:
    """Any value that the column may hold and no slot of it refuses."""
    found = _places_of(tuple(slot for _, slot in _slots(mapping) if slot.column == column))
    terms, number = tuple(_terms(mapping, column)), _number(mapping, column)
    bound = 16 if column in _identifying(mapping) else 1000
    return _legal_value(found, terms, number, column.endswith("DTC"), bound)


@cache
def _legal_value(
    found: tuple[Slot, ...], terms: tuple[str, ...], number: bool, date: bool, bound: int
) -> SearchStrategy[str]:
    options = [_clean_value(found, terms, number)]
    options += [st.sampled_from(terms)] if terms else []
    if number:
        options += [_NUMBER, _ODD_NUMBER]
    else:
        options += [_NASTY, _WORDS, _RESULT]
    options += [_ODD_DATE] if date else []
    return st.one_of(options).filter(
        lambda cell: cell.strip() != "" and len(cell) <= bound and all(accepts(slot, cell) for slot in found)
    )


@once
def _identifying(mapping: Mapping) -> set[str]:
    """The columns whose own text stands in a resource's id, which has 64 characters at most."""
    found = [slot for block in mapping.blocks for _, slot in slots(dict(block.root.fields)["id"])]
    return {slot.base for slot in found if slot.codec.readable}


# -- rows


@once
def _required(mapping: Mapping) -> set[str]:
    """What no row goes without: the key, and what the standard requires."""
    needed = {v.name for v in sdtm.domain(base_domain(mapping)).variables if v.core == "Req"}
    return (needed | set(mapping.key)) - set(implied(mapping))


@once
def _helper_values(mapping: Mapping, clean: bool) -> dict[str, SearchStrategy[str]]:
    made: dict[str, SearchStrategy[str]] = {}
    for name, found in helpers(mapping).items():
        listed = next((slot for slot in found if slot.codec.name.startswith("codes(")), None)
        if name == "_SYNTHETIC":
            made[name] = st.sampled_from(["HTEST", ""])
        elif name in ("_RECORD", "_CELLS"):  # each row has one
            made[name] = st.sampled_from(["1f" * 20, "a0" * 20])
        elif listed is not None:
            made[name] = st.sampled_from(keys(listed.codec))
        elif name.startswith("_upto_"):
            continue
        elif not found:
            made[name] = st.just("Y") if clean else st.sampled_from(["Y", ""])
        else:
            made[name] = st.sampled_from(["718-7", "x", ""])
    return made


def _helpers(mapping: Mapping, draw: Draw, *, clean: bool) -> Cells:
    drawn = {name: draw(value) for name, value in _helper_values(mapping, clean).items()}
    return {name: cell for name, cell in drawn.items() if cell}


@dataclass(frozen=True)
class Kind:
    """What rows to make: legal ones; clean ones; clean ones that are full, with the option `option` of each choice."""

    clean: bool = False
    option: int | None = None


LEGAL, CLEAN = Kind(), Kind(clean=True)


def _pairs(mapping: Mapping) -> list[list[str]]:
    """The dates that the mapping compares: start and end."""
    return [name.removeprefix("_upto_").split("_") for name in helpers(mapping) if name.startswith("_upto_")]


def _computed(mapping: Mapping, cells: Cells) -> Cells:
    """The helpers that follow from the row itself."""
    return {f"_upto_{start}_{end}": "Y" for start, end in _pairs(mapping) if upto(cells.get(start), cells.get(end))}


def rows(mapping: Mapping, library: Library, kind: Kind = LEGAL) -> SearchStrategy[Row]:
    """Rows of a domain, with rows nested in them at any depth."""

    @st.composite
    def build(draw: Draw) -> Row:
        return _row(mapping, library, draw, {}, kind)

    return build()


def options(mapping: Mapping) -> int:
    """How many options the longest choice of a mapping has, at least one."""
    return max([1, *(len(node.options) for root in mapping.roots() for node in walk(root) if isinstance(node, OneOf))])


def _row(mapping: Mapping, library: Library, draw: Draw, shared: Cells, kind: Kind) -> Row:
    extra = _helpers(mapping, draw, clean=kind.clean)
    cells = _clean(mapping, draw, extra, kind.option) if kind.clean else _legal(mapping, draw)
    extra |= _computed(mapping, cells)
    cells = order(mapping, implied(mapping) | cells | shared)
    row = Row(cells, extra)
    for name, child in children(mapping, library).items():
        on = {column: cells[column] for column in (child.attach.on if child.attach else ()) if column in cells}
        count = draw(whole(0, 2))
        row.nested[name] = [_row(child, library, draw, on, kind) for _ in range(count)]
    return row


@once
def _optional(mapping: Mapping) -> SearchStrategy[list[str]]:
    """Some of the columns that a row may go without."""
    names = [name for name in columns(mapping) if name not in _required(mapping)]
    return st.lists(st.sampled_from(names), max_size=25, unique=True) if names else st.just([])


_OWN = st.lists(st.sampled_from(["ZZTOP", "XSPONSOR", "QQ1"]), max_size=2, unique=True)
_FILLED = _NASTY.filter(lambda cell: cell.strip() != "")
_EITHER = st.booleans()


def _legal(mapping: Mapping, draw: Draw) -> Cells:
    needed = _required(mapping)
    chosen = set(draw(_optional(mapping)))
    cells = {name: draw(legal_value(mapping, name)) for name in columns(mapping) if name in needed or name in chosen}
    for name in draw(_OWN):
        cells[name] = draw(_FILLED)
    return cells


def _clean(mapping: Mapping, draw: Draw, extra: Cells, option: int | None) -> Cells:
    """A clean row: one option of each choice is drawn, columns whose places are closed in this row are left out."""
    chosen = dict(_choices(mapping, draw, option))
    open_slots = [slot for root in mapping.roots() for slot, _ in _places(root, chosen, ())]
    cells: Cells = {}
    for name in columns(mapping):
        forms = [form for form in mapping.forms.get(name, ()) if _used(name, form, open_slots)]
        found = tuple(slot for slot in open_slots if slot.column == name)
        if not found and not forms and name in homes(mapping) - set(mapping.key):
            continue
        if name in _required(mapping) or option is not None or draw(_EITHER):
            cells[name] = _formed(name, forms, draw) if forms else draw(clean_value(mapping, name, found))
    for start, end in _pairs(mapping):
        if {start, end} <= cells.keys():
            cells[start], cells[end] = sorted((cells[start], cells[end]))
    return _open(mapping, chosen, cells, extra | _computed(mapping, cells))


def _choices(mapping: Mapping, draw: Draw, option: int | None) -> Iterator[tuple[int, int]]:
    for root in mapping.roots():
        for node in walk(root):
            if isinstance(node, OneOf):
                last = len(node.options) - 1
                yield id(node), min(option, last) if option is not None else draw(whole(0, last))


def _places(node: Node, chosen: dict[int, int], above: tuple[Cond, ...]) -> Iterator[tuple[Slot, tuple[Cond, ...]]]:
    """The slots that can stand with the options chosen, each with the conditions above it."""
    if isinstance(node, OneOf):
        yield from _places(node.options[chosen[id(node)]], chosen, above)
    elif isinstance(node, Obj):
        inside = (*above, node.when) if node.when else above
        for _, child in node.fields:
            yield from _places(child, chosen, inside)
    elif isinstance(node, Arr):
        for item in node.items:
            yield from _places(item, chosen, above)
    else:
        yield from ((slot, above) for _, slot in slots(node))


def _used(column: str, form: Form, found: list[Slot]) -> bool:
    """Whether an open slot takes a form of a clean row: the plus of a number is carried."""
    return "+" not in form.parts and any(slot.column.startswith(f"{column}.{form.name}") for slot in found)


def _formed(column: str, forms: list[Form], draw: Draw) -> str:
    form = forms[draw(whole(0, len(forms) - 1))]
    texts: Cells = {}
    for part in form.parts:
        if isinstance(part, Slot):
            texts[part.column] = draw(_BY_NAME.get(part.codec.name, _WORDS))
    if {"low", "high"} <= texts.keys():
        texts["low"], texts["high"] = sorted((texts["low"], texts["high"]), key=float)
        texts["low"] = texts["low"].lstrip("-")
    return "".join(part if isinstance(part, str) else texts[part.column] for part in form.parts)


def _open(mapping: Mapping, chosen: dict[int, int], cells: Cells, extra: Cells) -> Cells:
    """Less the columns that have a home, but none whose conditions hold in this row."""
    places = [place for root in mapping.roots() for place in _places(root, chosen, ())]
    while True:
        virtual = with_forms(mapping, cells | extra)
        standing = {
            slot.base for slot, above in places if slot.readable and all(holds(each, virtual) for each in above)
        }
        closed = {name for name in cells if name in homes(mapping) and name not in standing} - _required(mapping)
        closed -= set(mapping.attach.on if mapping.attach else ())
        if not closed:
            return cells
        cells = {name: cell for name, cell in cells.items() if name not in closed}
