"""The define.xml of datasets as they are written: from their values, the guide, the mappings and the derivations.

Source: CDISC Define-XML 2.1, section 5; SDTMIG 3.4 (labels, order, roles, keys, structures).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.define import kinds
from fhirspace.sdtm.define.model import EPOCH, Comment, Define, Item, ItemGroup, ItemRef, Leaf, Standard
from fhirspace.sdtm.define.oids import Oids
from fhirspace.sdtm.define.origins import Cell, Origins
from fhirspace.sdtm.define.terms import CT, Codelists
from fhirspace.sdtm.define.values import ValueLevel
from fhirspace.sdtm.define.words import GUIDE
from fhirspace.sdtm.derive.work import Derived
from fhirspace.standards import sdtm, terminology

_CLASSES: Final = {
    "Trial Design": "TRIAL DESIGN",
    "Study Reference": "STUDY REFERENCE",
    "Special-Purpose": "SPECIAL PURPOSE",
    "Interventions": "INTERVENTIONS",
    "Events": "EVENTS",
    "Findings": "FINDINGS",
    "Findings About": "FINDINGS ABOUT",
    "Relationship": "RELATIONSHIP",
}
"""The classes of the guide as Define-XML names them, in the order in which reviewers expect datasets."""
_TOPICS: Final = (("TESTCD", "Findings"), ("TRT", "Interventions"), ("TERM", "Events"))
"""What shows the class of a sponsor's own domain."""
_PAIRS: Final = (("TESTCD", "TEST"), ("PARMCD", "PARM"))
_NAMED: Final = {
    "ARMCD": ("ARM", "Arm"),
    "ACTARMCD": ("ACTARM", "Arm"),
    "ETCD": ("ELEMENT", "Element"),
    "VISITNUM": ("VISIT", "Visit"),
}
"""Codes that are the same in all datasets, the variable that names them, and the title of their codelist."""
_NAMES: Final = frozenset(name for name, _ in _NAMED.values())


class Column(NamedTuple):
    """A variable of a file as it is written: its name, its label, Char or Num, and the bytes of its longest value."""

    name: str
    label: str
    type: str
    length: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as it is written: its rows, its variables in order, its label, and the name of its file."""

    table: pa.Table
    columns: Sequence[Column]
    label: str
    file: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the datasets: what mappings say, what was derived, and a remark about how they were made."""

    cells: Sequence[Cell] = ()
    derived: Sequence[Derived] = ()
    remark: str = ""
    taken: Iterable[str] = field(default_factory=tuple)
    """OIDs that new definitions must not have."""


def make(datasets: Mapping[str, Dataset], known: Known | None = None, *, created: str = "") -> Define:
    """The definitions of some datasets.

    Args:
        datasets: all that are in the package, by name. known: see `Known`.
        created: when the file is made, as XML writes an instant.
    """
    known = known or Known()
    study = _study(datasets)
    made = Define(study, _title(datasets) or study, study, created=created or EPOCH)
    made.text = f"SDTM datasets of {study}, SDTMIG {sdtm.version()}, terminology {terminology.version()}"
    made.standards = {each.oid: each for each in _standards()}
    oids = Oids((*known.taken, *made.standards))
    origins, codelists = Origins(known.cells, known.derived, oids), Codelists(oids)
    builder = _Builder(made, oids, origins, codelists, ValueLevel(oids, origins, codelists), _named(datasets))
    for name in sorted(datasets, key=lambda each: (_rank(each, datasets[each].table), each)):
        builder.add(name, datasets[name])
    if known.remark:
        made.comment = oids.new("COM.MDV")
        made.comments[made.comment] = Comment(made.comment, known.remark)
    builder.finish()
    return made


def _study(datasets: Mapping[str, Dataset]) -> str:
    for name in ("DM", *datasets):
        if name in datasets and columns.filled(datasets[name].table, "STUDYID"):
            found = columns.text(datasets[name].table, "STUDYID").drop_null()[0].as_py()
            return str(found)
    return "STUDY"


def _title(datasets: Mapping[str, Dataset]) -> str:
    return columns.lookup(datasets["TS"].table, "TSPARMCD", "TSVAL").get("TITLE", "") if "TS" in datasets else ""


def _standards() -> Iterable[Standard]:
    yield Standard(GUIDE, "SDTMIG", "IG", sdtm.version())
    yield Standard(CT, "CDISC/NCI", "CT", terminology.version(), "SDTM")


def class_of(name: str, table: pa.Table) -> str:
    """The class of a dataset, of a sponsor's own domain that which its topic shows; "" where nothing shows one."""
    if name.startswith("SUPP") or not sdtm.known(name):
        return "Relationship" if name.startswith("SUPP") else ""
    found = sdtm.domain(name).klass
    if found == sdtm.SPONSOR_DEFINED:
        return next((klass for part, klass in _TOPICS if f"{name[:2]}{part}" in table.column_names), "")
    return found


def _rank(name: str, table: pa.Table) -> int:
    order = list(_CLASSES)
    klass = class_of(name, table)
    return order.index(klass) if klass in order else len(order)


@dataclass(slots=True)
class _Builder:
    made: Define
    oids: Oids
    origins: Origins
    codelists: Codelists
    values: ValueLevel
    named: Mapping[str, Mapping[str, str]]

    def add(self, name: str, dataset: Dataset) -> None:
        """Adds a dataset with its variables and all that they need."""
        spec = sdtm.domain(name) if sdtm.known(name) else None
        items = {column.name: self.oids.new(f"IT.{name}.{column.name}") for column in dataset.columns}
        lists: dict[str, str] = {}
        if name.startswith("SUPP"):
            lists = self.values.of_qualifiers(name, dataset.table, items)
        elif spec and class_of(name, dataset.table).startswith("Findings"):
            lists = self.values.of_findings(name, dataset.table, spec, items)
        keys = _keys(spec, dataset.table)
        refs = []
        for at, column in enumerate(dataset.columns, 1):
            item = self._item(name, spec, dataset.table, column, lists.get(column.name, ""))
            self.made.items[items[column.name]] = replace(item, oid=items[column.name])
            refs.append(self._ref(items[column.name], name, column, at, dataset.table, keys=keys))
        group = _group(self.oids.new(f"IG.{name}"), name, spec, dataset)
        leaf = Leaf(self.oids.new(f"LF.{name}"), dataset.file, dataset.file)
        self.made.groups[group.oid] = replace(group, refs=tuple(refs), leaf=leaf)

    def _item(self, name: str, spec: sdtm.Domain | None, table: pa.Table, column: Column, values: str) -> Item:
        known = sdtm.variable(name, column.name) if spec else None
        cells = columns.text(table, column.name).unique().drop_null().to_pylist()
        kind = kinds.of_variable(cells, known, numeric=column.type == "Num", length=column.length)
        codelist = self._codelist(name, table, column.name, set(cells), known, kind=kind.type)
        # What the values of a qualifier have is defined for each of them.
        origins = () if values and column.name == "QVAL" else self.origins.of_variable(spec, name, column.name)
        return Item(
            "",
            column.name,
            kind.type,
            kind.length,
            kind.digits,
            column.label,
            codelist=codelist,
            origins=origins,
            values=values,
        )

    def _codelist(
        self, name: str, table: pa.Table, variable: str, cells: set[str], known: sdtm.Variable | None, *, kind: str
    ) -> str:
        place = f"{name}.{variable}"
        if variable in self.named and variable in _NAMED:
            return self.codelists.of_pairs(variable, place, _NAMED[variable][1], self.named[variable], kind=kind)
        partner = _partner(variable)
        if partner and columns.filled(table, partner):
            names = _names(table, variable, partner)
            listed = next((code for code in (known.codelists if known else ()) if terminology.known(code)), "")
            return self.codelists.of_pairs(variable, place, variable, names, listed)
        if known is None:
            return ""
        found = self.codelists.of_variable(place, known, cells, sdtm.beside_codelist(name, variable))
        plain = found or known.codelists or known.type == "Num" or variable in _NAMES
        texts = None if plain else self.origins.texts(name, variable)
        if texts is not None and len(texts) > 1 and cells <= texts:
            return self.codelists.of_texts(place, known.label, cells)
        return found

    def _ref(self, oid: str, name: str, column: Column, at: int, table: pa.Table, *, keys: Sequence[str]) -> ItemRef:
        known = sdtm.variable(name, column.name) if sdtm.known(name) else None
        return ItemRef(
            oid,
            at,
            known is not None and known.core == "Req",
            keys.index(column.name) + 1 if column.name in keys else None,
            known.role if known else "",
            self.origins.method(name, column.name),
            nonstandard=known is None,
            no_data=not columns.filled(table, column.name),
        )

    def finish(self) -> None:
        """Puts what the parts have collected into the definitions."""
        self.made.items |= self.values.items
        self.made.value_lists, self.made.wheres = self.values.lists, self.values.wheres
        self.made.codelists, self.made.methods = self.codelists.made, self.origins.methods


def _partner(variable: str) -> str:
    """The variable that names the codes of another one, "" where there is none."""
    return next((variable.removesuffix(code) + name for code, name in _PAIRS if variable.endswith(code)), "")


def _named(datasets: Mapping[str, Dataset]) -> dict[str, dict[str, str]]:
    """By variable of `_NAMED`, its codes in all datasets and their names, the first of two; "" for none."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted(datasets):
        for code, (partner, _) in _NAMED.items():
            for key, value in _names(datasets[name].table, code, partner).items():
                names = found.setdefault(code, {})
                names[key] = names.get(key) or value
    return {code: names for code, names in found.items() if names}


def _names(table: pa.Table, code: str, partner: str) -> dict[str, str]:
    """The codes of a column and the names beside them, "" for none."""
    codes = columns.text(table, code).unique().drop_null().to_pylist()
    return dict.fromkeys(codes, "") | dict(columns.lookup(table, code, partner))


def _keys(spec: sdtm.Domain | None, table: pa.Table) -> list[str]:
    """The key: the natural keys that the dataset has; --SEQ as well where they do not tell all records apart."""
    if spec is None:
        return []
    keys = [name for name in spec.keys if columns.filled(table, name)]
    sequence = next((name for name in table.column_names if name == f"{spec.name[:2]}SEQ"), None)
    if sequence and sequence not in keys and columns.Groups(table, keys).count < table.num_rows:
        keys.append(sequence)
    return keys


def _group(oid: str, name: str, spec: sdtm.Domain | None, dataset: Dataset) -> ItemGroup:
    supplemental = name.startswith("SUPP")
    return ItemGroup(
        oid,
        name,
        domain=name[4:6] if supplemental else (spec.prefix or name[:2]) if spec else name[:2],
        label=dataset.label,
        klass=_CLASSES.get(class_of(name, dataset.table), ""),
        structure=spec.structure if spec else "One record per observation",
        repeating=name != "DM",
        reference="USUBJID" not in dataset.table.column_names,
        standard=GUIDE if spec and not sdtm.sponsor_defined(name) else "",
        nonstandard=spec is None or sdtm.sponsor_defined(name),
    )
