"""Value-level metadata: what holds for the results of one test, and for one supplemental qualifier.

A findings dataset has all its results in one column; a type, a unit and an origin say something only test by test.

Source: CDISC Define-XML 2.1, section 4.4 (value-level metadata); SDTMIG 3.4, section 8.4 (supplemental qualifiers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.define import kinds
from fhirspace.sdtm.define.model import Check, Item, ItemRef, ValueList, Where
from fhirspace.sdtm.define.oids import Oids
from fhirspace.sdtm.define.origins import Origins
from fhirspace.sdtm.define.terms import Codelists
from fhirspace.standards import sdtm

_RESULTS: Final = ("ORRES", "ORRESU", "STRESC", "STRESN", "STRESU")
_MOST: Final = 5_000
"""Tests, or qualifiers, of a dataset: with more there is no value-level metadata."""

ByValue = dict[str, set[str]]


@dataclass(slots=True)
class ValueLevel:
    """The value lists of a package, with their items and where clauses."""

    oids: Oids
    origins: Origins
    codelists: Codelists
    lists: dict[str, ValueList] = field(default_factory=dict)
    wheres: dict[str, Where] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)

    def of_findings(self, name: str, table: pa.Table, spec: sdtm.Domain, items: Mapping[str, str]) -> dict[str, str]:
        """The value lists of the results of a findings dataset: variable -> OID.

        Args:
            name, table, spec: the dataset. items: the OIDs of its variables, by name.
        """
        code = f"{spec.prefix}TESTCD"
        if code not in items or f"{spec.prefix}ORRES" not in items:
            return {}
        names = columns.lookup(table, code, f"{spec.prefix}TEST")
        found: dict[str, str] = {}
        clauses: dict[str, str] = {}
        for variable in (spec.prefix + part for part in _RESULTS):
            by_test = _by_value(table, code, variable) if variable in items else {}
            if by_test:
                refs = [
                    self._result(name, variable, test, values, label=names.get(test, ""), clause=clause)
                    for test, values in sorted(by_test.items())
                    if (clause := self._clause(clauses, name, code, items[code], test))
                ]
                found[variable] = self._list(f"VL.{name}.{variable}", refs)
        return found

    def _result(self, name: str, variable: str, test: str, values: set[str], *, label: str, clause: str) -> ItemRef:
        known = sdtm.variable(name, variable)
        place = f"{name}.{variable}.{test}"
        oid = self.oids.new(f"IT.{place}")
        kind = kinds.of_values(values)
        codelist = self.codelists.of_variable(place, known, values, ()) if known and kind.type == "text" else ""
        origins = self.origins.of_test(name, variable, test)
        self.items[oid] = Item(
            oid, variable, kind.type, kind.length, kind.digits, label, codelist=codelist, origins=origins
        )
        return ItemRef(oid, method=self.origins.method(name, variable), where=(clause,))

    def of_qualifiers(self, name: str, table: pa.Table, items: Mapping[str, str]) -> dict[str, str]:
        """The value list of QVAL of a supplemental qualifier dataset; parameters as in `of_findings`."""
        by_name = _by_value(table, "QNAM", "QVAL") if {"QNAM", "QVAL"} <= items.keys() else {}
        if not by_name:
            return {}
        labels, given = columns.lookup(table, "QNAM", "QLABEL"), columns.lookup(table, "QNAM", "QORIG")
        parent, clauses, refs = name.removeprefix("SUPP"), dict[str, str](), []
        for qualifier, values in sorted(by_name.items()):
            place = f"{name}.QVAL.{qualifier}"
            oid = self.oids.new(f"IT.{place}")
            kind = kinds.of_values(values)
            texts = self.origins.texts(parent, qualifier)
            title = labels.get(qualifier, qualifier)
            codelist = self.codelists.of_texts(f"{parent}.{qualifier}", title, values & texts) if texts else ""
            origins = self.origins.of_qualifier(parent, qualifier, given.get(qualifier))
            self.items[oid] = Item(
                oid, qualifier, kind.type, kind.length, kind.digits, title, codelist=codelist, origins=origins
            )
            refs.append(ItemRef(oid, where=(self._clause(clauses, name, "QNAM", items["QNAM"], qualifier),)))
        return {"QVAL": self._list(f"VL.{name}.QVAL", refs)}

    def _clause(self, made: dict[str, str], name: str, variable: str, item: str, value: str) -> str:
        """The OID of the where clause of a value, which the variables of a dataset share."""
        if value not in made:
            made[value] = oid = self.oids.new(f"WC.{name}.{variable}.{value}")
            self.wheres[oid] = Where(oid, (Check(item, "EQ", (value,)),))
        return made[value]

    def _list(self, text: str, refs: Iterable[ItemRef]) -> str:
        numbered = (_numbered(ref, at) for at, ref in enumerate(refs, 1))
        oid = self.oids.new(text)
        self.lists[oid] = ValueList(oid, tuple(numbered))
        return oid


def _numbered(ref: ItemRef, at: int) -> ItemRef:
    return ItemRef(ref.item, at, method=ref.method, where=ref.where)


def _by_value(table: pa.Table, code: str, variable: str) -> ByValue:
    """The distinct values of a variable by those of another; nothing where there are too many to describe."""
    found: ByValue = {}
    for key, value in columns.Groups(table, (code, variable)).cells:
        if key is not None and value is not None:
            found.setdefault(key, set()).add(value)
    return found if len(found) <= _MOST else {}
