"""Elements that give no cell, compared with what the rows give: computed codes, statuses chosen by rows, ids.

The reader puts them into hidden columns (`fhirspace.mapping.read.witness`). An element that writing the rows again
would not give contradicts the one from which the row was read (FS448); one that it would give is missing (FS458).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping as Table, Sequence
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.foreign import counted
from fhirspace.json import parse
from fhirspace.mapping.cells import with_forms
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping, Obj, OneOf, slots, walk
from fhirspace.mapping.read.doubts import leaves
from fhirspace.mapping.read.witness import IS, Choice, choices, is_hidden, path_of, slots_of
from fhirspace.mapping.write.nodes import Row, choice_fields, node_text
from fhirspace.sdtm import columns
from fhirspace.study.dataset import InMemory
from fhirspace.study.helper_columns import Helpers
from fhirspace.study.reading.ids import IDENTIFYING, misnamed
from fhirspace.study.summary import ABOUT, NO_PATIENT, for_rendering
from fhirspace.tables.text import has, place
from fhirspace.template.codecs import TEXT
from fhirspace.template.slots import Cond, Slot, once as for_node
from fhirspace.template.values import Fault, slot_text

_SYNTHETIC: Final = "@_SYNTHETIC"
_OF_TS: Final = ("@_TS_", _SYNTHETIC)
"""Hidden columns that the trial summary gives."""
_ONE_ROW: Final = pa.table({"": pa.nulls(1, pa.string())})
_ELSEWHERE: Final = (_SYNTHETIC, f"@{NO_PATIENT}")
"""Those that may be absent: servers change tags; the reader looks itself whether a subject is named."""


def contradictions(
    tables: Table[str, pa.Table], once: Iterable[tuple[str, int, pa.Table]], library: Library
) -> list[Problem]:
    """One warning for each element of a dataset that contradicts its rows or is missing, at the first of them.

    Args:
        tables: the datasets, with their hidden columns.
        once: what resources say that are made once for many rows, by dataset and the index of the block.
        library: the mappings by which they were read.
    """
    every = [*((domain, None, table) for domain, table in tables.items()), *once]
    several = [(domain, table, _names(library.mappings[domain], index, table)) for domain, index, table in every]
    several = [each for each in several if each[2]]
    if not several:
        return []
    tabulations = {name: InMemory(table) for name, table in tables.items()}
    concerned = [library.mappings[domain] for domain in dict.fromkeys(domain for domain, _, _ in several)]
    helpers = Helpers(for_rendering(tabulations, concerned))
    summarised = _summarised([(table, names) for _, table, names in several]) if "TS" in tables else {}
    some_synthetic = "TS" not in tables and _differ_in_tag(every, library)
    found: list[Problem] = []
    for domain, table, names in several:
        mapping = library.mappings[domain]
        for name in names:
            wrong = missing = None
            if name.startswith(IS):
                wrong = _chosen_otherwise(mapping, table, name, helpers)
            elif name.startswith(_OF_TS):
                if name in summarised:
                    wrong, missing = _summarised_otherwise(mapping, table, name, helpers, summarised[name])
                elif name == _SYNTHETIC and some_synthetic:
                    wrong = pc.is_valid(columns.text(table, name))
            elif name.startswith("@_") and name not in IDENTIFYING and _can_be_computed(name, domain, tables):
                wrong, missing = _computed_otherwise(mapping, table, name, helpers)
            found += _findings("FS448", mapping, table, name, wrong)
            found += _findings("FS458", mapping, table, name, missing)
    for domain, table, name, wrong in misnamed([(domain, table) for domain, table, _ in several], library):
        found += _findings("FS448", library.mappings[domain], table, name, wrong)
    return found


def _differ_in_tag(every: Sequence[tuple[str, int | None, pa.Table]], library: Library) -> bool:
    """Whether some resources say that they are made for a test, and others do not: a whole study is, or none of it."""
    if not any(has(table, _SYNTHETIC) for _, _, table in every):
        return False
    for domain, index, table in every:
        blocks = library.mappings[domain].blocks
        roots = [each.root for each in blocks if not each.once] if index is None else [blocks[index].root]
        tagged = any(f"@{slot.column}" == _SYNTHETIC for root in roots for _, slot in slots(root))
        if tagged and (not has(table, _SYNTHETIC) or table[_SYNTHETIC].null_count):
            return True
    return False


def _names(mapping: Mapping, index: int | None, table: pa.Table) -> list[str]:
    """The hidden columns of a table, and those of computed codes that no resource of it has.

    `index`: the block of which it has what its resources say, None where it has the rows of all.
    """
    of_rows = [block.root for block in mapping.blocks if not block.once] + ([mapping.item] if mapping.item else [])
    roots = of_rows if index is None else [mapping.blocks[index].root]
    expected = (name for root in roots for name in _computed(root) if not has(table, name))
    return [*_hidden(table), *dict.fromkeys(expected)]


@for_node
def _computed(root: Obj) -> tuple[str, ...]:
    """The hidden columns of the computed codes in a template, but for those that servers may leave out."""
    names = dict.fromkeys(f"@{slot.column}" for _, slot in slots(root) if slot.derived)
    return tuple(name for name in names if name not in (*IDENTIFYING, *_ELSEWHERE))


def _can_be_computed(name: str, domain: str, tables: Table[str, pa.Table]) -> bool:
    """Whether the datasets that give a hidden column are there: a part of an export may be without them."""
    if name == f"@{NO_PATIENT}":
        return "DM" in tables
    target = name.removeprefix("@").removeprefix(ABOUT)
    return not name.startswith(f"@{ABOUT}") or (target in tables and ("RELREC" in tables or domain.endswith(target)))


def _hidden(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if is_hidden(name)]


def _findings(code: str, mapping: Mapping, table: pa.Table, name: str, wrong: pa.Array | None) -> Iterator[Problem]:
    if wrong is None:
        return
    at = pc.indices_nonzero(pc.fill_null(wrong, False))
    if len(at):
        path = next((found for root in mapping.roots() if (found := path_of(root, name))), name.lstrip("@"))
        verbs = ("has", "have") if code == "FS448" else ("is without", "are without")
        detail = counted(len(at), f"resource {verbs[0]} it", f"resources {verbs[1]} it")
        yield Problem(code, place(table, at[0].as_py(), path), table=mapping.domain, detail=detail)


# -- codes that are computed from rows


_Flags: TypeAlias = tuple[pa.Array | None, pa.Array | None]
"""The rows of which an element contradicts, and those of which it is missing; None where there are none."""


def _computed_otherwise(mapping: Mapping, table: pa.Table, name: str, helpers: Helpers) -> _Flags:
    """The rows of which a computed column would be written as another text, and those that are without it."""
    helper = name.removeprefix("@")
    made, stated = helpers.column(helper, mapping, table), columns.text(table, name)
    if made.null_count == stated.null_count == table.num_rows:
        return None, None
    found = slots_of(mapping, helper)
    if found and all(each.codec is TEXT for each in found) and made.equals(stated):
        return None, None
    pairs = columns.Groups.of([made, stated], table.num_rows)
    compared = helper != NO_PATIENT  # a reference by identifier is as good as one to the Patient
    wrong = [compared and stated is not None and not _writes(found, cell, stated) for cell, stated in pairs.cells]
    gone = [stated is None and _has_text(found, cell) for cell, stated in pairs.cells]
    missing = pc.and_(pairs.flags(gone), _written(mapping, table, helper)) if any(gone) else None
    return pairs.flags(wrong) if any(wrong) else None, missing


def _summarised(several: Iterable[tuple[pa.Table, Sequence[str]]]) -> dict[str, list[str]]:
    """By hidden column that the trial summary gives, the texts that it has in all datasets."""
    chunks: dict[str, list[pa.Array]] = {}
    for table, names in several:
        for name in names:
            if name.startswith(_OF_TS):
                chunks.setdefault(name, []).extend(table[name].chunks if has(table, name) else ())
    nothing = [pa.nulls(0, pa.string())]
    return {name: columns.distinct(pa.chunked_array(some or nothing)) for name, some in chunks.items()}


def _summarised_otherwise(
    mapping: Mapping, table: pa.Table, name: str, helpers: Helpers, texts: Iterable[str]
) -> _Flags:
    """The same of a column that the trial summary gives; `texts`: those that the column has in all datasets."""
    helper = name.removeprefix("@")
    (cell,) = helpers.column(helper, mapping, _ONE_ROW).to_pylist()
    found = slots_of(mapping, helper)
    wrong = [text for text in texts if not _writes(found, cell, text)]
    if not wrong and name in _ELSEWHERE:
        return None, None
    stated = columns.text(table, name)
    gone = name not in _ELSEWHERE and stated.null_count and _has_text(found, cell)
    missing = pc.is_null(stated) if gone else None
    return pc.is_in(stated, value_set=pa.array(wrong, pa.string())) if wrong else None, missing


def _has_text(found: Iterable[Slot], cell: str | None) -> bool:
    """Whether a slot writes a cell."""
    faults: list[Fault] = []
    return cell is not None and any(slot_text(slot, cell, faults) is not None for slot in found)


def _written(mapping: Mapping, table: pa.Table, helper: str) -> pa.Array:
    """The rows in which the conditions of an element with a computed code are true."""
    found = pa.repeat(pa.scalar(False), table.num_rows)
    for root in mapping.roots():
        for leaf, when in leaves(root, ()):
            if any(slot.column == helper for slot in leaf.slots):
                mine = _delivered(mapping, root, table)
                for each in when:
                    mine = pc.and_(mine, _holding(each, table))
                found = pc.or_(found, mine)
    return found


def _delivered(mapping: Mapping, root: Obj, table: pa.Table) -> pa.Array:
    """The rows of which there is the resource of a template; of a row's several, some may be left out of an input."""
    roots = [block.root for block in mapping.blocks if not block.once]
    if len(roots) < 2 or root not in roots:
        return pa.repeat(pa.scalar(True), table.num_rows)
    others = {slot.base for other in roots if other is not root for _, slot in slots(other)}
    own = {slot.base for _, slot in slots(root) if slot.readable} - others
    found = pa.repeat(pa.scalar(False), table.num_rows)
    for name in own:
        found = pc.or_(found, pc.is_valid(columns.text(table, name))) if has(table, name) else found
    return found


def _holding(when: Cond, table: pa.Table) -> pa.Array:
    """The rows of which a condition is true."""
    if when.op == "filled":
        return pc.is_valid(columns.text(table, when.column))
    if when.op == "is":
        return pc.is_in(columns.text(table, when.column), value_set=pa.array(sorted(when.values), pa.string()))
    parts = [_holding(each, table) for each in when.args]
    if when.op == "not":
        return pc.invert(parts[0])
    for each in parts[1:]:
        parts[0] = pc.and_(parts[0], each) if when.op == "and" else pc.or_(parts[0], each)
    return parts[0]


def _writes(found: Iterable[Slot], cell: str | None, text: str) -> bool:
    faults: list[Fault] = []
    return cell is not None and any(slot_text(slot, cell, faults) == text for slot in found)


# -- constants that were chosen by conditions


def _chosen_otherwise(mapping: Mapping, table: pa.Table, name: str, helpers: Helpers) -> pa.Array | None:
    """The rows that would be written with another constant; None where there is none.

    Which alternative is written depends on which cells are filled, and on the cells that conditions compare: rows alike
    in that are looked at once, and those of them that seem wrong cell by cell.
    """
    choice = next(each for root in mapping.roots() for each in choices(root) if name in each.paths)
    compared, filled = _deciding(choice.node)
    there = [each for each in sorted(compared | filled) if each.startswith("_") or has(table, each)]
    cells = {each: _column(mapping, table, each, helpers) for each in there}
    stated = columns.text(table, name)
    alike = [cells[each] for each in there if each in compared]
    for each in there:
        if each not in compared and 0 < cells[each].null_count < table.num_rows:  # not the same in all rows
            alike.append(pc.is_valid(cells[each]))
    judged = _judged(mapping, choice, name, [*alike, stated], cells)
    if judged is None:
        return None
    suspects = pc.indices_nonzero(judged)
    some = {each: column.take(suspects) for each, column in cells.items()}
    exactly = _judged(mapping, choice, name, [*some.values(), stated.take(suspects)], some)
    if exactly is None:
        return None
    wrong = suspects.filter(exactly).cast(pa.int64())
    return pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=wrong)


def _judged(
    mapping: Mapping, choice: Choice, name: str, alike: Sequence[pa.Array], cells: Table[str, pa.Array]
) -> pa.Array | None:
    """Whether the first row of those that are alike would be written with another constant than is stated, if any.

    Args:
        alike: the columns by which rows are alike, the stated constants last; cells: those of the rows.
    """
    stated = alike[-1]
    groups = columns.Groups.of(alike, len(stated))
    wrong = []
    for row in groups.first_rows():
        mine = {each: cell for each, column in cells.items() if (cell := column[row].as_py())}
        text = stated[row].as_py()
        wrong.append(text is not None and _constant(mapping, choice, name, mine) != text)
    return groups.flags(wrong) if any(wrong) else None


def _column(mapping: Mapping, table: pa.Table, name: str, helpers: Helpers) -> pa.Array:
    return helpers.column(name, mapping, table) if name.startswith("_") else columns.text(table, name)


@for_node
def _deciding(node: OneOf | Obj) -> tuple[frozenset[str], frozenset[str]]:
    """The columns whose cells decide what is written of a choice, and those that decide by being filled."""
    conditions = [each.when for each in walk(node) if isinstance(each, Obj) and each.when]
    parts = [part for each in conditions for part in _parts(each)]
    compared = frozenset(part.column.partition(".")[0] for part in parts if part.op == "is")
    filled = frozenset(part.column.partition(".")[0] for part in parts if part.op == "filled")
    return compared, filled | {slot.base for _, slot in slots(node)}


def _parts(condition: Cond) -> Iterator[Cond]:
    yield condition
    for each in condition.args:
        yield from _parts(each)


def _constant(mapping: Mapping, choice: Choice, name: str, cells: dict[str, str]) -> str | None:
    """The constant that is written for a row."""
    row = Row(with_forms(mapping, cells), {})
    if isinstance(choice.node, OneOf):
        fields, _ = choice_fields(choice.node, row)
        value: Any = {field: parse(text.encode()) for field, text in fields}
    else:
        text, _ = node_text(choice.node, row)
        value = parse(text.encode()) if text else None
    for step in choice.paths[name]:
        value = value[0] if isinstance(value, list) else value
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
