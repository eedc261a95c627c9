"""The final form of a tabulation: columns, numbers and order as the guide wants them, and supplemental qualifiers.

Source: SDTMIG 3.4, sections 4.1.2 and 4.1.4 (variables and their order), 8.4 (supplemental qualifiers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.order import sort_order
from fhirspace.sdtm.longtext.rules import parts_beside
from fhirspace.standards import sdtm
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import has

QUALIFIER_COLUMNS = ("STUDYID", "RDOMAIN", "USUBJID", "IDVAR", "IDVARVAL", "QNAM", "QLABEL", "QVAL", "QORIG", "QEVAL")


def tabulate(table: pa.Table, domain: str, *, shortest: bool = True) -> pa.Table:
    """A tabulation in its final form: text columns in the guide's order, rows in the order of the natural keys.

    Required and expected variables are there even when empty, permissible and lent ones only when filled. Columns
    which are not standard follow in the order they had; those starting with ``@`` or ``_`` come last. Num cells take
    their shortest decimal text; one that is no number stays as it is. Without `shortest` all have the spelling that
    they had: cells that were read from FHIR are those of a dataset already.

    Raises:
        UsageError: FS701, the guide has no such dataset.
    """
    numeric = {variable.name for variable in sdtm.standard_variables(domain) if variable.type == "Num"}
    arrays: dict[str, pa.Array] = {}
    for name in column_order(table, domain):
        cells = columns.text(table, name)
        arrays[name] = _numbers(cells) if shortest and name in numeric else cells
    arrays |= {name: table[name] for name in table.column_names if name[0] in "@_"}
    shaped = pa.table(arrays)
    return shaped.take(sort_order(shaped, domain, sort_keys(domain)))


def column_order(table: pa.Table, domain: str) -> list[str]:
    """The columns that a tabulation of this table has, in their order; see `tabulate`.

    Raises:
        UsageError: FS701, the guide has no such dataset.
    """
    own = sdtm.domain(domain)
    standard = {variable.name: variable for variable in sdtm.standard_variables(domain)}

    def wanted(name: str) -> bool:
        named = own.variable(name) is not None and standard[name].core in {"Req", "Exp"}
        return named or columns.filled(table, name)

    others = [name for name in table.column_names if name not in standard and name[0] not in "@_"]
    return parts_beside([*filter(wanted, standard), *others], domain)


def ordered(table: pa.Table, domain: str) -> pa.Table:
    """A dataset with its variables in the guide's order, others after them, and all that the guide asks for.

    Unlike `tabulate` it changes no cell, no order of rows, and leaves variables without a value. A dataset that the
    guide does not know is given back as it is.
    """
    if not sdtm.known(domain):
        return table
    standard = [variable.name for variable in sdtm.standard_variables(domain)]
    wanted = {*table.column_names, *_expected(domain)}
    names = [
        *(name for name in standard if name in wanted),
        *(name for name in table.column_names if name not in standard),
    ]
    return _with_columns(table, parts_beside(names, domain))


def in_place(table: pa.Table, domain: str, own: Collection[str]) -> pa.Table:
    """A dataset with its `own` variables in their order; each other one is put behind the one before it in the guide.

    A dataset that the guide does not know is given back as it is.
    """
    if not sdtm.known(domain):
        return table
    standard = [variable.name for variable in sdtm.standard_variables(domain)]
    names = [name for name in table.column_names if name in own]
    for name in (each for each in table.column_names if each not in own):
        earlier = standard[: standard.index(name)] if name in standard else names
        names.insert(max((names.index(each) for each in earlier if each in names), default=-1) + 1, name)
    return table.select(names)


def _expected(domain: str) -> list[str]:
    """The required and expected variables of a dataset."""
    return [variable.name for variable in sdtm.domain(domain).variables if variable.core in {"Req", "Exp"}]


def _with_columns(table: pa.Table, names: list[str]) -> pa.Table:
    return pa.table({name: table[name] if has(table, name) else columns.text(table, name) for name in names})


def sort_keys(domain: str) -> list[str]:
    """The columns by which the rows of a dataset are sorted; none where the guide does not know it."""
    if not sdtm.known(domain):
        return []
    own = sdtm.domain(domain)
    return [*own.keys, *(name for name in own.names if name.endswith("SEQ"))]


def _numbers(cells: pa.Array) -> pa.Array:
    return columns.by_distinct(cells, lambda cell: canonical_number(cell) or cell, pa.string())


def split_supplementals(
    table: pa.Table,
    domain: str,
    labels: Mapping[str, str],
    origins: Mapping[str, str] | None = None,
    evaluators: Mapping[str, str] | None = None,
    *,
    origin: str = "CRF",
) -> tuple[pa.Table, pa.Table | None]:
    """Move the columns that are not standard into a supplemental qualifier table.

    Args:
        table: a tabulation; --SEQ must be filled where a row has such a column filled (DM needs none).
        domain: its dataset name.
        labels: QLABEL by column; the column's own name where there is none. A column named here moves even when its
            name is a standard one.
        origins: QORIG by column. origin: that of all other columns.
        evaluators: QEVAL by column, empty where there is none.

    Returns:
        The table without those columns, and one row for each of their filled cells (columns of SUPPQUAL, and the
        parent row's ``@file`` and ``@row``); None instead of a table without rows.
    """
    standard = {variable.name for variable in sdtm.standard_variables(domain)}
    extra = [name for name in table.column_names if (name not in standard or name in labels) and name[0] not in "@_"]
    parent = table.drop_columns(extra) if extra else table
    shared = [
        key for key in ("STUDYID", "USUBJID", link(sdtm.domain(domain)), "@file", "@row") if has(table, key or "")
    ]
    # The parent's place as a text of equal length: qualifiers are in the order of their parent rows.
    places = pa.array([f"{row:012d}" for row in range(table.num_rows)] if extra else [], pa.string())
    parts = [
        _qualifiers(
            table.select([*dict.fromkeys([*shared, name])]).append_column("@at", places),
            domain,
            name,
            (labels.get(name, name), (origins or {}).get(name, origin), (evaluators or {}).get(name)),
        )
        for name in extra
    ]
    rows = pa.concat_tables(parts) if parts else None
    if rows is None or not rows.num_rows:
        return parent, None
    return parent, rows.take(sort_order(rows, "SUPPQUAL", ["STUDYID", "USUBJID", "@at", "QNAM"])).drop_columns(["@at"])


def without_qualifiers(table: pa.Table, names: Collection[str]) -> pa.Table:
    """The rows of a supplemental qualifier table but those of some QNAMs."""
    mask = pc.is_in(columns.text(table, "QNAM"), value_set=pa.array(sorted(names), pa.string()))
    return table.filter(pc.invert(mask))


def link(own: sdtm.Domain) -> str | None:
    """The variable that IDVAR names: --SEQ, without it the one that distinguishes a subject's rows; none in DM."""
    if own.name == "DM":
        return None
    sequence = f"{own.name[:2]}SEQ"
    return sequence if own.variable(sequence) else next(key for key in own.keys if key not in {"STUDYID", "USUBJID"})


def _qualifiers(table: pa.Table, domain: str, name: str, description: tuple[str, str, str | None]) -> pa.Table:
    rows = table.filter(columns.text(table, name).is_valid())
    idvar = link(sdtm.domain(domain))
    constants = {"RDOMAIN": domain[:2], "IDVAR": idvar, "QNAM": name}
    constants |= dict(zip(("QLABEL", "QORIG", "QEVAL"), description, strict=True))
    cells = {key: pa.repeat(pa.scalar(value, pa.string()), rows.num_rows) for key, value in constants.items()}
    cells |= {key: columns.text(rows, key) for key in ("STUDYID", "USUBJID")}
    cells["IDVARVAL"] = columns.text(rows, idvar or "")
    cells["QVAL"] = columns.text(rows, name)
    kept = {key: rows[key] for key in ("@file", "@row", "@at") if has(rows, key)}
    return pa.table({key: cells[key] for key in QUALIFIER_COLUMNS} | kept)


def join_supplementals(parent: pa.Table, supp: pa.Table) -> pa.Table:
    """Put supplemental qualifiers back beside their parent rows: one column a QNAM, in the order of first appearance.

    Rows meet by USUBJID and the variable that IDVAR names (by USUBJID alone where IDVAR is empty), numbers whatever
    their spelling where none has the value letter by letter. Where a qualifier occurs twice for a row the last wins;
    one without a parent is left out: `orphans` finds those.
    """
    joined = parent
    by_name: dict[str, dict[str | None, list[tuple[columns.Cells, str]]]] = {}
    for idvar, name, key, value in _qualifier_cells(supp):
        by_name.setdefault(name, {}).setdefault(idvar, []).append((key, value))
    for name, by_variable in by_name.items():
        cells = pa.nulls(parent.num_rows, pa.string())
        for idvar, values in by_variable.items():
            groups = _parent_keys(parent, idvar)
            known = set(groups.cells)
            letters = {key: value for key, value in values if key in known}
            numbers = {plain_key(key): value for key, value in values if key not in known}
            found = groups.spread(letters.get(key, numbers.get(plain_key(key))) for key in groups.cells)
            cells = pc.coalesce(found, cells)
        joined = columns.put(joined, name, cells)
    return joined


def _parent_keys(parent: pa.Table, idvar: str | None) -> columns.Groups:
    return columns.Groups(parent, ("USUBJID", idvar or ""))


def plain_key(cells: columns.Cells) -> tuple[str | None, ...]:
    """A subject and the value that identifies a record of theirs; spellings of the same number are one value."""
    subject, value = cells
    return subject, (canonical_number(value) or value) if value is not None else None


def _qualifier_cells(supp: pa.Table) -> list[tuple[str | None, str, columns.Cells, str]]:
    names = ("IDVAR", "QNAM", "USUBJID", "IDVARVAL", "QVAL")
    rows = zip(*(columns.text(supp, name).to_pylist() for name in names), strict=True)
    return [
        (idvar, name, (subject, key if idvar else None), value)
        for idvar, name, subject, key, value in rows
        if name is not None and value is not None
    ]


def orphans(parent: pa.Table, supp: pa.Table, dataset: str) -> list[int]:
    """The rows of a supplemental qualifier table that meet no parent row; an empty value of IDVAR meets none.

    Nor does an empty IDVAR where the subject has several rows in another dataset than DM: nothing says which is meant.
    """
    known: dict[str | None, set[tuple[str | None, ...]]] = {}
    lost = []
    rows = zip(*(columns.text(supp, name).to_pylist() for name in ("IDVAR", "USUBJID", "IDVARVAL")), strict=True)
    for row, (idvar, subject, value) in enumerate(rows):
        if idvar not in known:
            groups = _parent_keys(parent, idvar)
            counts = Counter(groups.codes.to_pylist()) if idvar is None and dataset != "DM" else {}
            clear = (cell for code, cell in enumerate(groups.cells) if counts.get(code, 1) == 1)
            known[idvar] = {plain_key(cell) for cell in clear if idvar is None or cell[1] is not None}
        if plain_key((subject, value if idvar else None)) not in known[idvar]:
            lost.append(row)
    return lost
