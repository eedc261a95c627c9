"""What the define.xml of a study says of its variables, as rows that a rule can judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from fhirspace.sdtm.define.model import Codelist, Define, Item, ItemRef
from fhirspace.sdtm.rules.errors import MissingDataset
from fhirspace.sdtm.rules.frame import Frame, of_columns
from fhirspace.sdtm.rules.study import Dataset, Study
from fhirspace.sdtm.rules.values import TEXT, Column, Lists
from fhirspace.standards import sdtm

_COLLECTED = frozenset({"Collected", "CRF"})
_NO_LIST = Codelist("", "")


def variables(dataset: Dataset, study: Study) -> Iterator[Frame]:
    """A row for each variable that define.xml gives the dataset: its metadata, and those of the guide beside them.

    Raises:
        MissingDataset: the study has no define.xml, or the dataset is not in it.
    """
    define = study.define
    group = define.dataset(dataset.name) if define else None
    if define is None or group is None:
        raise MissingDataset(f"{dataset.name} in define.xml")
    pairs = define.variables(group)
    rows = [{**_defined(define, ref, item), **_specified(dataset, item.name)} for ref, item in pairs]
    names = list(rows[0]) if rows else []
    yield of_columns(dataset, {name: _column([row[name] for row in rows]) for name in names}, len(rows))


def _defined(define: Define, ref: ItemRef, item: Item) -> dict[str, Any]:
    """The columns of a variable: the names are those of the language (`define_variable_...`)."""
    codelist = define.codelists.get(item.codelist, _NO_LIST)
    origins = [origin.type for origin in item.origins]
    return {
        "define_variable_name": item.name,
        "define_variable_label": item.label,
        "define_variable_data_type": item.type,
        "define_variable_role": ref.role,
        "define_variable_size": item.length,
        "define_variable_length": item.length,
        "define_variable_ccode": codelist.code,
        "define_variable_format": item.format,
        "define_variable_allowed_terms": tuple(term.decode for term in codelist.terms if term.decode),
        "define_variable_origin_type": origins[0] if origins else "",
        "define_variable_is_collected": bool(_COLLECTED & set(origins)),
        "define_variable_has_no_data": "Yes" if ref.no_data else "",
        "define_variable_order_number": ref.order,
        "define_variable_has_codelist": bool(item.codelist),
        "define_variable_codelist_coded_values": tuple(term.value for term in codelist.terms),
        "define_variable_codelist_coded_codes": tuple(term.code for term in codelist.terms if term.code),
        "define_variable_mandatory": "Yes" if ref.mandatory else "No",
        "define_variable_has_comment": bool(item.comment),
        "define_variable_has_method": bool(ref.method),
    }


def _specified(dataset: Dataset, name: str) -> Mapping[str, Any]:
    """What the guide says of a variable; nothing where it does not know the variable."""
    found = sdtm.variable(dataset.whole, name) if sdtm.known(dataset.whole) else None
    codelists = found.codelists if found else ()
    return {
        "library_variable_name": found.name if found else None,
        "library_variable_order_number": found.order if found else None,
        "library_variable_label": found.label if found else None,
        "library_variable_data_type": found.type if found else None,
        "library_variable_role": found.role if found else None,
        "library_variable_core": found.core if found else None,
        "library_variable_has_codelist": bool(codelists),
        "library_variable_ccode": codelists[0] if codelists else None,
    }


def _column(cells: list[Any]) -> Column:
    if isinstance(cells[0], tuple):
        return Lists(tuple(cells), len(cells), pa.array(range(len(cells)), pa.int64()))
    if isinstance(cells[0], bool):
        return pa.array(cells, pa.bool_())
    if any(isinstance(cell, int) for cell in cells):
        return pa.array(cells, pa.int64())
    return pa.array([cell or None for cell in cells], TEXT)
