"""Records of a view that are one record: of the encounters of a visit, one with its earliest start and latest end."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.columns import Groups
from fhirspace.standards import iso8601
from fhirspace.tables.text import TEXT
from fhirspace.views.notation.model import Merge
from fhirspace.views.times import contradicts, moment


def merged(table: pa.Table, subject: str, merge: Merge) -> pa.Table:
    """The records of a subject that have the same texts in the columns `merge.by`, each group as one record.

    The other columns, and the place, are those of the record that begins first. A record with an empty cell in one of
    the columns `by` is not merged. The latest date of a group is left empty if one of its dates is missing or partial
    and they are not all the same: which one is the latest is not known then.

    Args:
        table: the records of a view, in their order. subject: the column that says whose each is. merge: how.
    """
    if not table.num_rows:
        return table
    groups = Groups(table, [subject, *merge.by])
    codes = groups.codes
    for name in merge.by:  # what has no visit stays by itself
        alone = pc.add(pa.array(range(table.num_rows), pa.int64()), groups.count)
        codes = pc.if_else(pc.is_null(table[name]).combine_chunks(), alone, codes)
    order = pc.sort_indices(
        pa.table({"code": codes, **{name: _places(table, name) for name in merge.least}}),
        sort_keys=[(name, "ascending") for name in ("code", *merge.least)],
    )
    sorted_codes = codes.take(order)
    starts = pc.fill_null(pc.not_equal(sorted_codes, _before(sorted_codes)), True)
    firsts = order.filter(starts)
    made = table.take(firsts)
    for name in merge.greatest:
        cells = _latest(table, name, codes, codes.take(firsts))
        made = made.set_column(made.column_names.index(name), name, cells)
    return made.take(pc.sort_indices(firsts))  # in the order of the records again


def backwards(table: pa.Table, merge: Merge) -> list[int]:
    """The records of which a date in `merge.greatest` is before the one beside it in `merge.least`."""
    found = set[int]()
    for first, last in zip(merge.least, merge.greatest, strict=False):
        pairs = zip(table[first].to_pylist(), table[last].to_pylist(), strict=True)
        found |= {at for at, pair in enumerate(pairs) if contradicts(*pair)}
    return sorted(found)


def _before(codes: pa.Array) -> pa.Array:
    return pa.concat_arrays([pa.nulls(1, codes.type), codes.slice(0, len(codes) - 1)])


def _ordered(table: pa.Table, name: str) -> tuple[list[str], pa.Array]:
    """The distinct dates of a column, the earliest first, and of each record the number of its date."""
    encoded = table[name].combine_chunks().cast(TEXT).dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    order = sorted(range(len(texts)), key=lambda at: moment(texts[at]))
    places = {at: place for place, at in enumerate(order)}
    numbers = pa.array([places[at] for at in range(len(texts))], pa.int64()).take(encoded.indices)
    return [texts[at] for at in order], numbers


def _places(table: pa.Table, name: str) -> pa.Array:
    return _ordered(table, name)[1]


def _latest(table: pa.Table, name: str, codes: pa.Array, wanted: pa.Array) -> pa.Array:
    """The latest date of each of the groups `wanted`."""
    texts, numbers = _ordered(table, name)
    whole = pa.array([(span := iso8601.days(text)) is not None and span[0] == span[1] for text in texts], pa.bool_())
    certain = pc.fill_null(whole.take(numbers), False)
    found = pa.table({"code": codes, "number": pc.fill_null(numbers, -1), "certain": certain}).group_by("code")
    made = found.aggregate([("number", "min"), ("number", "max"), ("certain", "min")])
    same = pc.equal(made["number_min"], made["number_max"])
    known = pc.and_(pc.or_(made["certain_min"], same), pc.greater_equal(made["number_max"], 0))
    latest = pa.array(texts, TEXT).take(pc.if_else(known, made["number_max"], None).combine_chunks())
    return latest.take(pc.index_in(wanted, value_set=made["code"].combine_chunks()))
