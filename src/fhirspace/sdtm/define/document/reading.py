"""A define.xml of version 2.0 or 2.1 as a `Define`.

What 2.0 says in other words is translated: the standard of the version into a list of standards, the class of a
dataset, and the types of origins (CRF is collected by the investigator, eDT is collected by a vendor). Values that 2.1
does not allow are replaced by those that it means, as `words` lists them; the rest of a definition is kept.

Source: CDISC Define-XML 2.0 and 2.1, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from fhirspace.errors import InputError, Place
from fhirspace.sdtm.define import words
from fhirspace.sdtm.define.document import tree
from fhirspace.sdtm.define.document.tree import Node
from fhirspace.sdtm.define.document.writing import NCI, ODM, XLINK
from fhirspace.sdtm.define.model import (
    Check,
    Codelist,
    Comment,
    Define,
    Document,
    Item,
    ItemGroup,
    ItemRef,
    Leaf,
    Method,
    Origin,
    Standard,
    Term,
    ValueList,
    Where,
)

VERSIONS = {"http://www.cdisc.org/ns/def/v2.0": "2.0", "http://www.cdisc.org/ns/def/v2.1": "2.1"}
"""The namespaces of the versions that are read."""
_EXPECTED = "Define-XML 2.0 or 2.1: <ODM> with a Study and a MetaDataVersion"


def read(path: Path) -> Define:
    """Reads a define.xml.

    Raises:
        InputError: FS770, it is no well-formed XML, or another kind of it; FS160, a bound is exceeded; FS101, no file.
    """
    return _define(tree.read(path), path.name)


def parse(content: bytes, file: str) -> Define:
    """Reads the bytes of a define.xml; `file` is its name in messages. Raises InputError as `read`."""
    return _define(tree.parse(BytesIO(content), file), file)


def _define(root: Node, file: str) -> Define:
    study = root.first(f"{ODM} Study") if root.name == f"{ODM} ODM" else None
    version = study.first(f"{ODM} MetaDataVersion") if study else None
    space = next((each for each in VERSIONS if version and f"{each} DefineVersion" in version.attributes), None)
    if study is None or version is None or space is None:
        raise InputError("FS770", Place(file, root.line), _EXPECTED)
    return _Reader(space).define(root, study, version)


_Defined = TypeVar("_Defined")


def _odm(name: str) -> str:
    return f"{ODM} {name}"


class _Reader:
    """Reads the definitions of one version, whose own elements and attributes are in the namespace `space`."""

    def __init__(self, space: str) -> None:
        self._space = space

    def _own(self, name: str) -> str:
        return f"{self._space} {name}"

    def define(self, root: Node, study: Node, version: Node) -> Define:
        names = study.first(_odm("GlobalVariables")) or Node("")
        made = Define(
            study=_text(names, "StudyName"),
            description=_text(names, "StudyDescription"),
            protocol=_text(names, "ProtocolName"),
            name=version.attributes.get("Name", ""),
            text=version.attributes.get("Description", ""),
            created=root.attributes.get("CreationDateTime", ""),
            version=VERSIONS[self._space],
            comment=version.attributes.get(self._own("CommentOID"), ""),
            study_oid=study.attributes.get("OID", ""),
            version_oid=version.attributes.get("OID", ""),
            originator=root.attributes.get("Originator", ""),
            standards=dict(self._standards(version)),
            crf=self._documents(version.first(self._own("AnnotatedCRF"))),
            documents=self._documents(version.first(self._own("SupplementalDoc"))),
        )
        made.value_lists = _once((each.oid, each) for each in map(self._values, version.all(self._own("ValueListDef"))))
        made.wheres = _once((each.oid, each) for each in map(self._where, version.all(self._own("WhereClauseDef"))))
        made.groups = _once((each.oid, each) for each in map(self._group, version.all(_odm("ItemGroupDef"))))
        made.items = _once((each.oid, each) for each in map(self._item, version.all(_odm("ItemDef"))))
        made.codelists = _once((each.oid, each) for each in map(self._codelist, version.all(_odm("CodeList"))))
        made.methods = _once((each.oid, each) for each in map(self._method, version.all(_odm("MethodDef"))))
        made.comments = _once((each.oid, each) for each in map(self._comment, version.all(self._own("CommentDef"))))
        made.leaves = _once((each.id, each) for each in self._leaves(version))
        return made

    def _standards(self, version: Node) -> Iterator[tuple[str, Standard]]:
        name = version.attributes.get(self._own("StandardName"), "")
        if name:  # 2.0: one standard for all
            number = version.attributes.get(self._own("StandardVersion"), "")
            yield words.GUIDE, Standard(words.GUIDE, words.standard(name, "IG"), "IG", number)
        listed = version.first(self._own("Standards")) or Node("")
        for node in listed.all(self._own("Standard")):
            given = node.attributes
            kind = "CT" if given.get("Type") == "CT" else "IG"
            made = Standard(
                given.get("OID", ""),
                words.standard(given.get("Name", ""), kind),
                kind,
                given.get("Version", ""),
                words.publishing_set(given.get("PublishingSet", "")),
                words.status(given.get("Status", "")),
                given.get(self._own("CommentOID"), ""),
            )
            yield made.oid, made

    def _documents(self, node: Node | None) -> tuple[Document, ...]:
        found = []
        for each in node.all(self._own("DocumentRef")) if node else ():
            pages = (page.attributes for page in each.all(self._own("PDFPageRef")))
            found.append(Document(each.attributes.get("leafID", ""), tuple(tuple(page.items()) for page in pages)))
        return tuple(found)

    def _leaves(self, node: Node) -> Iterator[Leaf]:
        for each in node.all(self._own("leaf")):
            title = each.first(self._own("title"))
            href = each.attributes.get(f"{XLINK} href", "")
            yield Leaf(each.attributes.get("ID", ""), href, title.text if title else href)

    def _values(self, node: Node) -> ValueList:
        return ValueList(node.attributes.get("OID", ""), self._refs(node))

    def _where(self, node: Node) -> Where:
        checks = (
            Check(
                check.attributes.get(self._own("ItemOID"), ""),
                words.comparator(check.attributes.get("Comparator", "")),
                tuple(value.text for value in check.all(_odm("CheckValue"))),
            )
            for check in node.all(_odm("RangeCheck"))
        )
        return Where(node.attributes.get("OID", ""), tuple(checks), node.attributes.get(self._own("CommentOID"), ""))

    def _refs(self, node: Node) -> tuple[ItemRef, ...]:
        return tuple(self._ref(each, at) for at, each in enumerate(node.all(_odm("ItemRef")), 1))

    def _ref(self, node: Node, at: int) -> ItemRef:
        given = node.attributes
        wheres = (each.attributes.get("WhereClauseOID", "") for each in node.all(self._own("WhereClauseRef")))
        order = _number(given.get("OrderNumber"))
        return ItemRef(
            given.get("ItemOID", ""),
            at if order is None else order,
            given.get("Mandatory") == "Yes",
            _number(given.get("KeySequence")),
            given.get("Role", ""),
            given.get("MethodOID", ""),
            tuple(wheres),
            given.get(self._own("IsNonStandard")) == "Yes",
            given.get(self._own("HasNoData")) == "Yes",
        )

    def _group(self, node: Node) -> ItemGroup:
        given = node.attributes
        klass = node.first(self._own("Class"))
        above = given.get(self._own("Class"), "") if klass is None else klass.attributes.get("Name", "")
        below = [each.attributes for each in klass.all(self._own("SubClass"))] if klass else []
        leaves = {leaf.id: leaf for leaf in self._leaves(node)}
        return ItemGroup(
            oid=given.get("OID", ""),
            name=given.get("Name", ""),
            domain=given.get("Domain", ""),
            label=_description(node),
            klass=words.klass(above),
            structure=given.get(self._own("Structure"), ""),
            purpose=given.get("Purpose", ""),
            repeating=given.get("Repeating") != "No",
            reference=given.get("IsReferenceData") == "Yes",
            refs=self._refs(node),
            leaf=leaves.get(given.get(self._own("ArchiveLocationID"), ""), next(iter(leaves.values()), None)),
            standard=given.get(self._own("StandardOID"), ""),
            comment=given.get(self._own("CommentOID"), ""),
            subclasses=tuple((each.get("Name", ""), each.get("ParentClass", "")) for each in below),
            aliases=tuple(_aliases(node)),
            nonstandard=given.get(self._own("IsNonStandard")) == "Yes",
            no_data=given.get(self._own("HasNoData")) == "Yes",
        )

    def _item(self, node: Node) -> Item:
        given = node.attributes
        codes, values = node.first(_odm("CodeListRef")), node.first(self._own("ValueListRef"))
        return Item(
            oid=given.get("OID", ""),
            name=given.get("Name", ""),
            type=words.data_type(given.get("DataType", "")),
            length=_number(given.get("Length"), least=1),
            digits=_number(given.get("SignificantDigits")),
            label=_description(node),
            format=given.get(self._own("DisplayFormat"), ""),
            codelist=codes.attributes.get("CodeListOID", "") if codes else "",
            origins=tuple(filter(None, map(self._origin, node.all(self._own("Origin"))))),
            values=values.attributes.get("ValueListOID", "") if values else "",
            comment=given.get(self._own("CommentOID"), ""),
        )

    def _origin(self, node: Node) -> Origin | None:
        kind, source = words.origin(node.attributes.get("Type", ""), node.attributes.get("Source", ""))
        return Origin(kind, source, _description(node), self._documents(node)) if kind else None

    def _codelist(self, node: Node) -> Codelist:
        given = node.attributes
        external = node.first(_odm("ExternalCodeList"))
        return Codelist(
            oid=given.get("OID", ""),
            name=given.get("Name", ""),
            type=given.get("DataType", "text"),
            terms=tuple(self._terms(node)),
            code=_nci(node),
            dictionary=external.attributes.get("Dictionary", "") if external else "",
            version=external.attributes.get("Version", "") if external else "",
            standard=given.get(self._own("StandardOID"), ""),
            nonstandard=given.get(self._own("IsNonStandard")) == "Yes",
            comment=given.get(self._own("CommentOID"), ""),
            format=given.get("SASFormatName", ""),
        )

    def _terms(self, node: Node) -> Iterator[Term]:
        for each in node.children:
            if each.name in (_odm("CodeListItem"), _odm("EnumeratedItem")):
                decode = each.first(_odm("Decode"))
                given = each.attributes
                yield Term(
                    given.get("CodedValue", ""),
                    _translated(decode) if decode else None,
                    _nci(each),
                    given.get(self._own("ExtendedValue")) == "Yes",
                    _number(given.get("OrderNumber")),
                    given.get("Rank", ""),
                )

    def _method(self, node: Node) -> Method:
        given = node.attributes
        programs = ((each.attributes.get("Context", ""), each.text) for each in node.all(_odm("FormalExpression")))
        kind = words.method(given.get("Type", ""))
        documents = self._documents(node)
        return Method(given.get("OID", ""), given.get("Name", ""), _description(node), kind, documents, tuple(programs))

    def _comment(self, node: Node) -> Comment:
        return Comment(node.attributes.get("OID", ""), _description(node), self._documents(node))


def _once(pairs: Iterable[tuple[str, _Defined]]) -> dict[str, _Defined]:
    """The definitions by OID; of two with one OID the first is used, one without is left out."""
    found: dict[str, _Defined] = {}
    for oid, defined in pairs:
        if oid:
            found.setdefault(oid, defined)
    return found


def _text(node: Node, name: str) -> str:
    found = node.first(_odm(name))
    return found.text.strip() if found else ""


def _description(node: Node) -> str:
    found = node.first(_odm("Description"))
    return _translated(found) if found else ""


def _translated(node: Node) -> str:
    """The text of the English translation, else of the first one."""
    texts = list(node.all(_odm("TranslatedText")))
    english = [each for each in texts if each.attributes.get(words.LANGUAGE, "en").startswith("en")]
    return (english or texts)[0].text.strip() if texts else ""


def _aliases(node: Node) -> Iterator[tuple[str, str]]:
    for each in node.all(_odm("Alias")):
        yield each.attributes.get("Context", ""), each.attributes.get("Name", "")


def _nci(node: Node) -> str:
    return next((name for context, name in _aliases(node) if context == NCI), "")


def _number(text: str | None, least: int = 0) -> int | None:
    """A whole number of at most nine digits, None for anything else."""
    plain = (text or "").strip()
    number = int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 10 else None
    return number if number is not None and number >= least else None
