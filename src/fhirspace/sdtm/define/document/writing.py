"""A `Define` as the bytes of a define.xml 2.1: elements and attributes in the order of the official schema.

Source: CDISC Define-XML 2.1, section 5, and its XML Schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fhirspace.sdtm.define.document.tree import Node, written
from fhirspace.sdtm.define.model import (
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
from fhirspace.version import __version__

ODM = "http://www.cdisc.org/ns/odm/v1.3"
DEF = "http://www.cdisc.org/ns/def/v2.1"
XLINK = "http://www.w3.org/1999/xlink"
NCI = "nci:ExtCodeID"
"""The context of an alias that is an NCIt C-code."""
_SAS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,7}")


def as_bytes(define: Define, *, stylesheet: str = "") -> bytes:
    """The bytes of the file: the same for the same definitions. `stylesheet` is the name of a file beside it."""
    return written(_root(define), stylesheet=stylesheet)


def _node(name: str, attributes: Iterable[tuple[str, object]] = (), *children: Node | None, text: str = "") -> Node:
    """An element; attributes without a value and children that are None are left out."""
    given = {key: str(value) for key, value in attributes if value not in (None, "", False)}
    return Node(name, given, [child for child in children if child is not None], text)


def _yes(value: bool) -> str:
    return "Yes" if value else "No"


def _only(value: bool) -> str:
    return "Yes" if value else ""


def _root(define: Define) -> Node:
    spaces = (("xmlns", ODM), ("xmlns:xlink", XLINK), ("xmlns:def", DEF))
    about = (
        ("ODMVersion", "1.3.2"),
        ("FileType", "Snapshot"),
        ("FileOID", define.names.file),
        ("CreationDateTime", define.created),
        ("Originator", define.originator),
        ("SourceSystem", "fhirspace"),
        ("SourceSystemVersion", __version__),
        ("def:Context", "Submission"),
    )
    study = define.study or "STUDY"
    names = (
        ("StudyName", study),
        ("StudyDescription", define.description or study),
        ("ProtocolName", define.protocol or study),
    )
    globals_ = _node("GlobalVariables", (), *(_node(name, text=text) for name, text in names))
    root = _node("Study", [("OID", define.names.study)], globals_, _version(define))
    return _node("ODM", (*spaces, *about), root)


def _version(define: Define) -> Node:
    about = (
        ("OID", define.names.version),
        ("Name", define.name or f"Study {define.study}, Data Definitions"),
        ("Description", define.text),
        ("def:DefineVersion", "2.1.0"),
        ("def:CommentOID", define.comment),
    )
    standards = [_standard(each) for each in define.standards.values()]
    return _node(
        "MetaDataVersion",
        about,
        _node("def:Standards", (), *standards) if standards else None,
        _node("def:AnnotatedCRF", (), *map(_document, define.crf)) if define.crf else None,
        _node("def:SupplementalDoc", (), *map(_document, define.documents)) if define.documents else None,
        *map(_value_list, define.value_lists.values()),
        *map(_where, define.wheres.values()),
        *map(_group, define.groups.values()),
        *map(_item, define.items.values()),
        *map(_codelist, define.codelists.values()),
        *map(_method, define.methods.values()),
        *map(_comment, define.comments.values()),
        *map(_leaf, define.leaves.values()),
    )


def _standard(standard: Standard) -> Node:
    about = (
        ("OID", standard.oid),
        ("Name", standard.name),
        ("Type", standard.type),
        ("PublishingSet", standard.publishing_set),
        ("Version", standard.version or "Not specified"),
        ("Status", standard.status),
        ("def:CommentOID", standard.comment),
    )
    return _node("def:Standard", about)


def _document(document: Document) -> Node:
    pages = (_node("def:PDFPageRef", attributes) for attributes in document.pages)
    return _node("def:DocumentRef", [("leafID", document.leaf)], *pages)


def _leaf(leaf: Leaf) -> Node:
    title = _node("def:title", text=leaf.title)
    return _node("def:leaf", [("ID", leaf.id), ("xlink:href", leaf.href)], title)


def _described(text: str) -> Node | None:
    return _node("Description", (), _translated(text)) if text else None


def _translated(text: str) -> Node:
    return _node("TranslatedText", [("xml:lang", "en")], text=text)


def _value_list(values: ValueList) -> Node:
    return _node("def:ValueListDef", [("OID", values.oid)], *map(_item_ref, values.refs))


def _where(where: Where) -> Node:
    checks = (
        _node(
            "RangeCheck",
            (("Comparator", check.comparator), ("SoftHard", "Soft"), ("def:ItemOID", check.item)),
            *(_node("CheckValue", text=value) for value in check.values),
        )
        for check in where.checks
    )
    return _node("def:WhereClauseDef", (("OID", where.oid), ("def:CommentOID", where.comment)), *checks)


def _group(group: ItemGroup) -> Node:
    about = (
        ("OID", group.oid),
        ("Name", group.name),
        ("Domain", group.domain),
        ("SASDatasetName", _sas(group.name)),
        ("Repeating", _yes(group.repeating)),
        ("IsReferenceData", _yes(group.reference)),
        ("Purpose", group.purpose),
        ("def:Structure", group.structure or "Not specified"),
        ("def:StandardOID", group.standard),
        ("def:IsNonStandard", _only(group.nonstandard)),
        ("def:HasNoData", _only(group.no_data)),
        ("def:ArchiveLocationID", group.leaf.id if group.leaf else ""),
        ("def:CommentOID", group.comment),
    )
    aliases = (_node("Alias", (("Context", context), ("Name", name))) for context, name in group.aliases)
    classes = (_node("def:SubClass", (("Name", name), ("ParentClass", above))) for name, above in group.subclasses)
    return _node(
        "ItemGroupDef",
        about,
        _described(group.label),
        *map(_item_ref, group.refs),
        *aliases,
        _node("def:Class", [("Name", group.klass)], *classes) if group.klass else None,
        _leaf(group.leaf) if group.leaf else None,
    )


def _item_ref(ref: ItemRef) -> Node:
    about = (
        ("ItemOID", ref.item),
        ("OrderNumber", ref.order),
        ("Mandatory", _yes(ref.mandatory)),
        ("KeySequence", ref.key),
        ("MethodOID", ref.method),
        ("Role", ref.role),
        ("def:IsNonStandard", _only(ref.nonstandard)),
        ("def:HasNoData", _only(ref.no_data)),
    )
    wheres = (_node("def:WhereClauseRef", [("WhereClauseOID", oid)]) for oid in ref.where)
    return _node("ItemRef", about, *wheres)


def _item(item: Item) -> Node:
    about = (
        ("OID", item.oid),
        ("Name", item.name),
        ("DataType", item.type),
        ("Length", item.length),
        ("SignificantDigits", str(item.digits) if item.digits is not None else None),
        ("SASFieldName", _sas(item.name)),
        ("def:DisplayFormat", item.format),
        ("def:CommentOID", item.comment),
    )
    return _node(
        "ItemDef",
        about,
        _described(item.label),
        _node("CodeListRef", [("CodeListOID", item.codelist)]) if item.codelist else None,
        *map(_origin, item.origins),
        _node("def:ValueListRef", [("ValueListOID", item.values)]) if item.values else None,
    )


def _origin(origin: Origin) -> Node:
    about = (("Type", origin.type), ("Source", origin.source))
    return _node("def:Origin", about, _described(origin.text), *map(_document, origin.documents))


def _codelist(codelist: Codelist) -> Node:
    about = (
        ("OID", codelist.oid),
        ("Name", codelist.name or codelist.oid),
        ("DataType", codelist.type),
        ("SASFormatName", codelist.format),
        ("def:StandardOID", codelist.standard),
        ("def:IsNonStandard", _only(codelist.nonstandard)),
        ("def:CommentOID", codelist.comment),
    )
    return _node("CodeList", about, *_terms(codelist), _code(codelist.code))


def _terms(codelist: Codelist) -> Iterator[Node]:
    """Either items that all have a decode, or values that all have none, or an external dictionary."""
    if codelist.dictionary:
        about = (("Dictionary", codelist.dictionary), ("Version", codelist.version))
        yield _node("ExternalCodeList", about)
        return
    decoded = any(term.decode is not None for term in codelist.terms)
    for at, term in enumerate(codelist.terms, 1):
        yield _term(term, at, decoded=decoded)


def _term(term: Term, at: int, *, decoded: bool) -> Node:
    about = [
        ("CodedValue", term.value),
        ("OrderNumber", term.order if term.order is not None else at),
        ("Rank", term.rank),
        ("def:ExtendedValue", _only(term.extended)),
    ]
    decode = _node("Decode", (), _translated(term.decode or term.value)) if decoded else None
    node = _node("CodeListItem" if decoded else "EnumeratedItem", about, decode, _code(term.code))
    node.attributes.setdefault("CodedValue", "")
    return node


def _code(code: str) -> Node | None:
    return _node("Alias", (("Context", NCI), ("Name", code))) if code else None


def _method(method: Method) -> Node:
    about = (("OID", method.oid), ("Name", method.name or method.oid), ("Type", method.type))
    expressions = (_node("FormalExpression", [("Context", name)], text=text) for name, text in method.expressions)
    documents = map(_document, method.documents)
    return _node("MethodDef", about, _described(method.text or method.name or method.oid), *expressions, *documents)


def _comment(comment: Comment) -> Node:
    return _node(
        "def:CommentDef", [("OID", comment.oid)], _described(comment.text or "-"), *map(_document, comment.documents)
    )


def _sas(name: str) -> str:
    return name if _SAS_NAME.fullmatch(name) else ""
