"""The order of records: sorting by natural keys, and --SEQ.

Source: SDTMIG 3.4, section 4.1.5 (--SEQ unique within subject and domain).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.methods import method
from fhirspace.sdtm.derive.work import Work
from fhirspace.standards import sdtm
from fhirspace.standards.units import canonical_number


def sort_order(table: pa.Table, dataset: str, keys: Sequence[str]) -> pa.Array:
    """The row numbers in the order of key columns: nulls first, Num columns by size, ties in the order they came."""
    present = [key for key in keys if key in table.column_names]
    order = {f"k{at}": _rank(table, dataset, key) for at, key in enumerate(present)}
    order["row"] = pa.array(range(table.num_rows), pa.int64())
    # The row number as the last key makes the sort stable, which Arrow does not promise.
    return pc.sort_indices(pa.table(order), sort_keys=[(name, "ascending") for name in order]).cast(pa.int64())


def _rank(table: pa.Table, dataset: str, key: str) -> pa.Array:
    variable = sdtm.variable(dataset, key) if sdtm.known(dataset) else None
    return columns.ranks(columns.text(table, key), numeric=variable is not None and variable.type == "Num")


def derive_sequences(work: Work) -> None:
    """Fill --SEQ: whole numbers from 1 within a subject (TS: within a parameter) in the order of the natural keys.

    Split datasets (QSPH, QSSL) are numbered as one domain. Where some numbers came in, the others follow the subject's
    largest.
    """
    families: dict[tuple[str, str], list[str]] = {}
    for name, spec in work.known():
        code = spec.prefix or name[:2]
        if f"{code}SEQ" in spec.names:
            families.setdefault((code, f"{code}SEQ"), []).append(name)
    for (_, variable), names in families.items():
        _number(work, variable, names)


def _number(work: Work, variable: str, names: list[str]) -> None:
    tables = [work.tables[name] for name in names]
    spec = sdtm.domain(names[0])
    owner = "USUBJID" if "USUBJID" in spec.names else "TSPARMCD"
    parts = list(dict.fromkeys([owner, *spec.keys, variable]))
    together = pa.concat_tables([pa.table({key: columns.text(table, key) for key in parts}) for table in tables])
    if not columns.text(together, variable).null_count:
        return
    values = _sequence(together, names[0], owner, [key for key in spec.keys if key not in (variable, owner)], variable)
    start = 0
    for name, table in zip(names, tables, strict=True):
        work.fill(name, variable, values.slice(start, table.num_rows), method("--SEQ", owner=owner))
        start += table.num_rows


def _sequence(table: pa.Table, dataset: str, owner: str, keys: list[str], variable: str) -> pa.Array:
    subjects = columns.ranks(columns.text(table, owner), numeric=False)
    given = columns.by_distinct(columns.text(table, variable), _whole, pa.int64())
    missing = columns.text(table, variable).is_null()
    order = sort_order(table, dataset, [owner, *keys])
    order = order.filter(missing.take(order))
    sorted_subjects = subjects.take(order)
    positions = pa.array(range(len(order)), pa.int64())
    numbers = pc.add(pc.subtract(positions, columns.run_starts(sorted_subjects)), 1)
    most = pa.table({"subject": subjects, "given": given}).group_by("subject").aggregate([("given", "max")])
    largest = most["given_max"].combine_chunks().take(pc.index_in(sorted_subjects, most["subject"].combine_chunks()))
    numbers = pc.add(numbers, pc.fill_null(largest, 0))
    spread = pa.nulls(table.num_rows, pa.int64())
    return pc.replace_with_mask(spread, missing, numbers.take(pc.sort_indices(order))).cast(pa.string())


def _whole(cell: str) -> int | None:
    number = canonical_number(cell)
    return int(number) if number is not None and number.isdigit() and len(number) < 18 else None
