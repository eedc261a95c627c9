"""References between definitions: those that lead nowhere, and a define.xml without what nothing refers to."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, TypeVar

from fhirspace.sdtm.define import repair
from fhirspace.sdtm.define.model import Comment, Define, Document, Item, ItemRef, Method


class Link(NamedTuple):
    """A reference: the OID, where such a definition is, and the dataset where the reference is, "" for none."""

    oid: str
    known: Container[str]
    dataset: str = ""


def dangling(define: Define) -> Iterator[tuple[str, str]]:
    """Each OID that is referred to and not defined, once, with the dataset where it is, "" for none."""
    found: dict[str, str] = {}
    for link in _links(define):
        if link.oid and link.oid not in link.known:
            found.setdefault(link.oid, link.dataset)
    yield from found.items()


def _links(define: Define) -> Iterator[Link]:
    for group in define.groups.values():
        yield from _of_refs(define, group.refs, group.name)
        yield Link(group.comment, define.comments, group.name)
        yield Link(group.standard, define.standards, group.name)
    for values in define.value_lists.values():
        yield from _of_refs(define, values.refs, "")
    for where in define.wheres.values():
        yield from (Link(check.item, define.items) for check in where.checks)
    for item in define.items.values():
        yield Link(item.codelist, define.codelists)
        yield Link(item.values, define.value_lists)
        yield Link(item.comment, define.comments)
    for codelist in define.codelists.values():
        yield Link(codelist.standard, define.standards)
    yield from (Link(each.leaf, define.leaves) for each in _documents(define))


def _of_refs(define: Define, refs: Iterable[ItemRef], dataset: str) -> Iterator[Link]:
    for ref in refs:
        yield Link(ref.item, define.items, dataset)
        yield Link(ref.method, define.methods, dataset)
        yield from (Link(oid, define.wheres, dataset) for oid in ref.where)


def _documents(define: Define) -> Iterator[Document]:
    yield from (*define.crf, *define.documents)
    for item in define.items.values():
        for origin in item.origins:
            yield from origin.documents
    for method in define.methods.values():
        yield from method.documents
    for comment in define.comments.values():
        yield from comment.documents


def tidy(define: Define) -> Define:
    """The define.xml without definitions that nothing refers to, and without references that lead nowhere.

    What is left can be written: the official schema refuses a document reference without its leaf, a codelist without
    terms, and a where clause without conditions.
    """
    sound = _without_dangling(define)
    used = _used(sound)
    for part in (sound.items, sound.value_lists, sound.wheres, sound.codelists, sound.methods, sound.comments):
        for oid in [oid for oid in part if oid not in used]:
            del part[oid]
    for leaf in [leaf for leaf in sound.leaves if leaf not in {each.leaf for each in _documents(sound)}]:
        del sound.leaves[leaf]
    return sound


def _without_dangling(define: Define) -> Define:
    lists = {oid: repair.codelist(each) for oid, each in define.codelists.items()}
    codelists = {oid: each for oid, each in lists.items() if each.terms or each.dictionary}
    wheres = {oid: each for oid, given in define.wheres.items() if (each := repair.where(given)).checks}
    define = replace(define, leaves={name: leaf for name, leaf in define.leaves.items() if repair.is_sound(leaf)})
    items = {oid: each for oid, each in define.items.items() if each.name}
    sound = replace(define, codelists=codelists, wheres=wheres, items=items)
    sound.crf, sound.documents = _kept_documents(define, define.crf), _kept_documents(define, define.documents)
    sound.methods = {oid: _with_documents(define, each) for oid, each in define.methods.items()}
    sound.comments = {oid: _with_documents(define, each) for oid, each in define.comments.items()}
    sound.value_lists = {
        oid: replace(each, refs=refs) for oid, each in define.value_lists.items() if (refs := _refs(sound, each.refs))
    }
    sound.items = {oid: _item(sound, each) for oid, each in items.items()}
    sound.groups = {
        oid: replace(
            group,
            refs=_refs(sound, group.refs),
            leaf=group.leaf if group.leaf and repair.is_sound(group.leaf) else None,
            comment=_if(group.comment, sound.comments),
            standard=_if(group.standard, sound.standards),
        )
        for oid, group in define.groups.items()
    }
    sound.codelists = {
        oid: replace(each, standard=_if(each.standard, sound.standards), comment=_if(each.comment, sound.comments))
        for oid, each in codelists.items()
    }
    sound.comment = _if(define.comment, sound.comments)
    return sound


def _if(oid: str, known: Container[str]) -> str:
    return oid if oid in known else ""


def _item(define: Define, item: Item) -> Item:
    origins = tuple(replace(each, documents=_kept_documents(define, each.documents)) for each in item.origins)
    return replace(
        item,
        codelist=_if(item.codelist, define.codelists),
        values=_if(item.values, define.value_lists),
        comment=_if(item.comment, define.comments),
        origins=origins,
    )


def _refs(define: Define, refs: Iterable[ItemRef]) -> tuple[ItemRef, ...]:
    return repair.refs_once(
        replace(
            ref, method=_if(ref.method, define.methods), where=tuple(oid for oid in ref.where if oid in define.wheres)
        )
        for ref in refs
        if ref.item in define.items
    )


_Documented = TypeVar("_Documented", Method, Comment)


def _with_documents(define: Define, each: _Documented) -> _Documented:
    return replace(each, documents=_kept_documents(define, each.documents))


def _kept_documents(define: Define, documents: Iterable[Document]) -> tuple[Document, ...]:
    return tuple(each for each in documents if each.leaf in define.leaves)


def _used(define: Define) -> set[str]:
    """The OIDs that the datasets and the study refer to, directly or not."""
    used = {define.comment}
    used |= {each.comment for each in define.standards.values()}
    waiting = [ref for group in define.groups.values() for ref in group.refs]
    used |= {group.comment for group in define.groups.values()}
    while waiting:
        ref = waiting.pop()
        item = define.items[ref.item]
        used |= {ref.method, *ref.where}
        for oid in ref.where:
            used |= {define.wheres[oid].comment}
            waiting += [ItemRef(check.item) for check in define.wheres[oid].checks if _new(check.item, used, define)]
        if item.oid in used:
            continue
        used |= {item.oid, item.codelist, item.comment, item.values}
        waiting += define.value_lists[item.values].refs if item.values else ()
    return used | {each.comment for oid, each in define.codelists.items() if oid in used}


def _new(item: str, used: set[str], define: Define) -> bool:
    return item not in used and item in define.items
