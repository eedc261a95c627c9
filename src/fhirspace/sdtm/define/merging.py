"""A package's own define.xml and that of its datasets as they are written now, as one.

What the package says of a dataset or variable is used as it is: labels, order, lengths, codelists, origins, value-level
metadata, sponsor's variables, documents. What it does not describe is added, what is not written any more is left out,
and the files are those that are written.
"""

from __future__ import annotations

from dataclasses import replace

from fhirspace.sdtm.define.links import tidy
from fhirspace.sdtm.define.model import Define, ItemGroup, ItemRef, Leaf
from fhirspace.sdtm.define.words import GUIDE


def merged(made: Define, given: Define) -> Define:
    """The define.xml of a package that had one.

    Args:
        made: of the datasets as they are written, its OIDs none of those in `given`. given: that of the package.
    """
    result = replace(
        given,
        created=made.created,
        version=made.version,
        standards=made.standards | given.standards,
        value_lists=given.value_lists | made.value_lists,
        wheres=given.wheres | made.wheres,
        items=given.items | made.items,
        codelists=given.codelists | made.codelists,
        methods=given.methods | made.methods,
        comments=given.comments | made.comments,
        groups={},
    )
    for group in _in_order(made, given):
        known = given.dataset(group.name)
        now = _group(made, given, group, known) if known else group
        result.groups[now.oid] = now
    for group in given.groups.values():
        if group.no_data and made.dataset(group.name) is None:
            result.groups[group.oid] = replace(group, leaf=None)
    sound = tidy(result)
    used = {group.standard for group in sound.groups.values()} | {each.standard for each in sound.codelists.values()}
    sound.standards = {oid: each for oid, each in sound.standards.items() if oid in used or oid in given.standards}
    return sound


def _in_order(made: Define, given: Define) -> list[ItemGroup]:
    """The datasets in the order of the package; new ones follow."""
    order = [group.name for group in given.groups.values()]
    return sorted(made.groups.values(), key=lambda each: order.index(each.name) if each.name in order else len(order))


def _group(made: Define, given: Define, group: ItemGroup, known: ItemGroup) -> ItemGroup:
    refs = _refs(made, given, group, known)
    leaf = Leaf(known.leaf.id if known.leaf else _leaf_id(group), _href(group), _href(group))
    standard = known.standard or ("" if known.nonstandard else group.standard and GUIDE)
    return replace(known, refs=tuple(refs), leaf=leaf, standard=standard, no_data=False)


def _refs(made: Define, given: Define, group: ItemGroup, known: ItemGroup) -> list[ItemRef]:
    """The variables in the order of the package; each new one comes after the variable before it in the file."""
    described = {item.name: ref for ref, item in given.variables(known)}
    present = {item.name: ref for ref, item in made.variables(group)}
    refs = {name: ref for name, ref in described.items() if name in present or ref.no_data}
    order, last = list(refs), -1
    for name, ref in present.items():
        if name in refs:
            last = order.index(name)
            continue
        last += 1
        order.insert(last, name)
        refs[name] = replace(ref, key=None)  # the key is that of the package
    if order == list(described):
        return list(refs.values())
    return [replace(refs[name], order=at) for at, name in enumerate(order, 1)]


def _leaf_id(group: ItemGroup) -> str:
    return group.leaf.id if group.leaf else f"LF.{group.name}"


def _href(group: ItemGroup) -> str:
    return group.leaf.href if group.leaf else ""
