"""What a define.xml says, as Python objects: one class for each kind of definition, named as Define-XML 2.1 names it.

`reading` makes them from a file, `making` from datasets and mappings; `writing` writes them. References between
definitions are OIDs, as in the file. Version 2.0 is read into the same objects.

Source: CDISC Define-XML 2.1, section 5 (the elements and their attributes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

EPOCH = "1970-01-01T00:00:00+00:00"
"""When a file was made if nothing says so: the same input gives the same bytes."""


@dataclass(frozen=True, slots=True)
class Standard:
    """A guide or a terminology package that the datasets follow."""

    oid: str
    name: str
    type: str
    version: str
    publishing_set: str = ""
    status: str = "Final"
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A reference to a document (a leaf), and the pages of it: the attributes of each PDFPageRef."""

    leaf: str
    pages: tuple[tuple[tuple[str, str], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the values of a variable come from. `text` says it in words, such as the form and the field."""

    type: str
    source: str = ""
    text: str = ""
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A variable, or what holds for some of its values: type, length, codelist, origin. The label is its description.

    `values` is the OID of its value list; `length` and `digits` are None where the file does not say them.
    """

    oid: str
    name: str
    type: str = "text"
    length: int | None = None
    digits: int | None = None
    label: str = ""
    format: str = ""
    codelist: str = ""
    origins: tuple[Origin, ...] = ()
    values: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ItemRef:
    """The use of an item in a dataset or in a value list: its place, its part of the key, its role and method."""

    item: str
    order: int | None = None
    mandatory: bool = False
    key: int | None = None
    role: str = ""
    method: str = ""
    where: tuple[str, ...] = ()
    nonstandard: bool = False
    no_data: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """A file: a dataset or a document."""

    id: str
    href: str
    title: str


@dataclass(frozen=True, slots=True)
class ItemGroup:
    """A dataset and its variables in order."""

    oid: str
    name: str
    domain: str = ""
    label: str = ""
    klass: str = ""
    structure: str = ""
    purpose: str = "Tabulation"
    repeating: bool = True
    reference: bool = False
    refs: tuple[ItemRef, ...] = ()
    leaf: Leaf | None = None
    standard: str = ""
    comment: str = ""
    subclasses: tuple[tuple[str, str], ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    nonstandard: bool = False
    no_data: bool = False


@dataclass(frozen=True, slots=True)
class ValueList:
    """The items that hold for some of a variable's values; each reference says where."""

    oid: str
    refs: tuple[ItemRef, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a where clause: an item, a comparator (EQ, NE, IN, NOTIN, LT, LE, GT, GE), and values."""

    item: str
    comparator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Where:
    """The records that a value-level item is about: those for which all conditions are true."""

    oid: str
    checks: tuple[Check, ...]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """A value of a codelist. `decode` is None for a value without one; `code` is its NCIt C-code."""

    value: str
    decode: str | None = None
    code: str = ""
    extended: bool = False
    order: int | None = None
    rank: str = ""


@dataclass(frozen=True, slots=True)
class Codelist:
    """The values that a variable may have; `dictionary` and `version` instead of terms for an external one."""

    oid: str
    name: str
    type: str = "text"
    terms: tuple[Term, ...] = ()
    code: str = ""
    dictionary: str = ""
    version: str = ""
    standard: str = ""
    nonstandard: bool = False
    comment: str = ""
    format: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """How a variable is derived, in words; `expressions` are (context, program) pairs."""

    oid: str
    name: str
    text: str
    type: str = "Computation"
    documents: tuple[Document, ...] = ()
    expressions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Comment:
    """A remark that datasets, variables and others refer to."""

    oid: str
    text: str
    documents: tuple[Document, ...] = ()


class Names(NamedTuple):
    """The OIDs of a define.xml itself: the file, the study, the metadata version."""

    file: str
    study: str
    version: str


@dataclass(slots=True)
class Define:
    """A whole define.xml. Definitions are in dictionaries by OID (leaves of documents by ID), in the file's order.

    Attributes:
        study, description, protocol: names of the study.
        name, text: of the metadata version. `created`: when the file was made, as XML writes it.
        study_oid, version_oid, originator: of the study, of the metadata version, and who made the file; "" for none.
        crf, documents: the annotated case report form and other documents, as references to leaves.
    """

    study: str
    description: str = ""
    protocol: str = ""
    name: str = ""
    text: str = ""
    created: str = EPOCH
    version: str = "2.1"
    comment: str = ""
    study_oid: str = ""
    version_oid: str = ""
    originator: str = ""
    standards: dict[str, Standard] = field(default_factory=dict)
    crf: tuple[Document, ...] = ()
    documents: tuple[Document, ...] = ()
    value_lists: dict[str, ValueList] = field(default_factory=dict)
    wheres: dict[str, Where] = field(default_factory=dict)
    groups: dict[str, ItemGroup] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    codelists: dict[str, Codelist] = field(default_factory=dict)
    methods: dict[str, Method] = field(default_factory=dict)
    comments: dict[str, Comment] = field(default_factory=dict)
    leaves: dict[str, Leaf] = field(default_factory=dict)

    def dataset(self, name: str) -> ItemGroup | None:
        """The dataset of that name, None where there is none."""
        return next((group for group in self.groups.values() if group.name == name), None)

    def variables(self, group: ItemGroup) -> list[tuple[ItemRef, Item]]:
        """The variables of a dataset in their order; references without a definition are left out."""
        found = [(ref, self.items[ref.item]) for ref in group.refs if ref.item in self.items]
        return sorted(found, key=lambda pair: pair[0].order or 0)

    @property
    def names(self) -> Names:
        """The OIDs of the file, the study and the metadata version: those of the package, else made of its name."""
        study = self.study or "STUDY"
        return Names(f"DEFINE.{study}", self.study_oid or f"STUDY.{study}", self.version_oid or f"MDV.{study}")

    def oids(self) -> set[str]:
        """The OIDs of all definitions, and the IDs of all leaves."""
        parts = (self.value_lists, self.wheres, self.groups, self.items, self.codelists, self.methods, self.comments)
        leaves = {group.leaf.id for group in self.groups.values() if group.leaf}
        return {oid for part in (*parts, self.standards, self.leaves) for oid in part} | leaves
