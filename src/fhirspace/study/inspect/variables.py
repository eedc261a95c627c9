"""By variable: where a mapping puts it in FHIR, under which condition, and whether it is read back from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fhirspace.mapping.cells import implied
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Arr, Mapping, Node, Obj, OneOf, children
from fhirspace.standards import sdtm
from fhirspace.template.slots import Cond, Leaf, Slot

_NAMES = ("url", "system", "code", "type")


@dataclass(frozen=True, slots=True)
class Target:
    """One element of a variable: its path in the resource, codec, and a note."""

    variable: str
    path: str
    codec: str
    note: str
    readable: bool


def targets(mapping: Mapping) -> Iterator[Target]:
    """All elements of all variables, in the order of the template; helper columns (``_X``) among them.

    A path is one of JSON names from the resource's type, with the constant that distinguishes a list item from its
    neighbours in brackets: ``AdverseEvent.extension[url=http://...].valueString``.
    """
    for block in mapping.blocks:
        note = [f"once per {', '.join(block.once)}"] if block.once else []
        yield from _below(block.root, block.resource, [*note, *_condition(block.when)])
    if mapping.item is not None and mapping.attach is not None:
        yield from _below(mapping.item, mapping.item.path, [f"in the resource of {mapping.attach.to}"])


def _below(node: Node, path: str, notes: list[str]) -> Iterator[Target]:
    if isinstance(node, Leaf):
        yield from (_target(slot, path, notes, joined=len(node.parts) > 1) for slot in node.slots)
    elif isinstance(node, Obj):
        for name, child in node.fields:
            yield from _below(child, f"{path}.{name}" if name else path, [*notes, *_condition(node.when)])
    elif isinstance(node, Arr):
        for item in node.items:
            yield from _below(item, path + _selector(item, node), notes)
    elif isinstance(node, OneOf):
        for option in node.options:
            yield from _below(option, path, [*notes, "one of several"])


def _target(slot: Slot, path: str, notes: list[str], *, joined: bool) -> Target:
    _, dot, form = slot.column.partition(".")
    own = [f"as {form}"] if dot else []
    own += ["with other text"] if joined else []
    if slot.derived:
        own.append("computed, never read back")
    elif not slot.codec.readable:
        own.append("written only")
    return Target(slot.base, path, slot.codec.name, "; ".join(dict.fromkeys([*own, *notes])), slot.readable)


def _condition(condition: Cond | None) -> list[str]:
    return [] if condition is None else [f"when {condition_text(condition)}"]


def condition_text(condition: Cond, *, inner: bool = False) -> str:
    """A condition as it is written in a mapping."""
    if condition.op == "filled":
        dataset, *names = condition.column.removeprefix("_has_").split("_")
        return f"{dataset} has {' '.join(names)}" if condition.column.startswith("_has_") else condition.column
    if condition.op == "is":
        values = sorted(condition.values)
        return f"{condition.column} is '{values[0]}'" if len(values) == 1 else f"{condition.column} in {values}"
    if condition.op == "not":
        return f"not {condition_text(condition.args[0], inner=True)}"
    text = f" {condition.op} ".join(condition_text(arg, inner=True) for arg in condition.args)
    return f"({text})" if inner else text


def _selector(item: Node, arr: Arr) -> str:
    """What distinguishes a list item from its neighbours: the first constant that no other has at the same place."""
    others = [set(_constants(other)) for other in arr.items if other is not item and not isinstance(other, Leaf)]
    own = list(_constants(item))
    telling = next((pair for pair in own if others and not any(pair in other for other in others)), None)
    url = next((pair for pair in own if pair[0] == "url"), None)
    shown = [pair for pair in dict.fromkeys((url, telling)) if pair]
    if url and telling and not any(url in other for other in others):
        shown = [url]
    return f"[{', '.join(f'{path}={text}' for path, text in shown)}]" if shown else ""


def _constants(node: Node, path: str = "") -> Iterator[tuple[str, str]]:
    """The constants in a template object with their paths, those nearest to it first, of equals url, system, code."""
    level: list[tuple[str, Node]] = [(path, node)]
    while level:
        below: list[tuple[str, Node]] = []
        for at, each in level:
            if isinstance(each, Leaf) and each.constant is not None:
                yield at, each.constant
            elif isinstance(each, Obj):
                fields = sorted(
                    each.fields, key=lambda field: _NAMES.index(field[0]) if field[0] in _NAMES else len(_NAMES)
                )
                below += [(f"{at}.{name}" if at else name, child) for name, child in fields if name]
            elif isinstance(each, Arr):
                below += [(at, child) for child in children(each)]
        level = below


@dataclass(frozen=True, slots=True)
class VariableState:
    """The state of a variable of the metadata: ``home``, ``carried`` (on purpose) or ``without``."""

    variable: str
    label: str
    core: str
    state: str


def variable_states(library: Library, domain: str) -> list[VariableState]:
    """For each variable in the dataset's own metadata whether it has an element, is carried on purpose, or neither.

    Identifiers that a nested row has in common with its parent have their element there.
    """
    mapping = library.mappings[domain]
    found = {target.variable for target in targets(mapping) if target.readable} | implied(mapping).keys()
    found |= set(mapping.attach.on) if mapping.attach else set()
    variables = sdtm.domain(domain).variables if sdtm.known(domain) else ()
    return [
        VariableState(
            each.name,
            each.label,
            each.core,
            "home" if each.name in found else "carried" if each.name in mapping.carried else "without",
        )
        for each in variables
    ]


def variables(library: Library, domain: str, other: Library) -> list[dict[str, Any]]:
    """The table by variable: label, state and places in two releases, in the order of the standard; helpers last.

    Args:
        library: of the first release; domain: the dataset; other: of the second release, which may lack the dataset.
    """
    mapping, second = library.mappings[domain], other.mappings.get(domain)
    places: dict[str, list[Target]] = {
        library.release: list(targets(mapping)),
        other.release: list(targets(second)) if second else [],
    }
    known = (
        set(mapping.carried) & {each.name for each in sdtm.standard_variables(domain)}
        if sdtm.known(domain)
        else set(mapping.carried)
    )
    mentioned = {target.variable for found in places.values() for target in found} | {*known, *implied(mapping)}
    mentioned |= set(mapping.attach.on) if mapping.attach else set()
    own = {each.name for each in sdtm.domain(domain).variables} if sdtm.known(domain) else set()
    standard = (
        [each for each in sdtm.standard_variables(domain) if each.name in own | mentioned] if sdtm.known(domain) else []
    )
    labels = {each.name: each.label for each in standard}
    names = [*labels, *sorted(mentioned - labels.keys())]
    return [
        {
            "variable": name,
            "label": labels.get(name, "computed helper" if name.startswith("_") else ""),
            "note": _note(name, mapping, places),
            **{
                release: [_as_dict(target) for target in found if target.variable == name]
                for release, found in places.items()
            },
        }
        for name in names
    ]


def _as_dict(target: Target) -> dict[str, Any]:
    return {key: value for key, value in asdict(target).items() if key != "variable"}


def _note(name: str, mapping: Mapping, places: dict[str, list[Target]]) -> str:
    if name in implied(mapping):
        return f"always {implied(mapping)[name]}"
    if mapping.attach and name in mapping.attach.on:
        return f"as in the row of {mapping.attach.to}"
    lacking = [
        release
        for release, found in places.items()
        if not any(target.variable == name and target.readable for target in found)
    ]
    if name.startswith("_") or not lacking:
        return ""
    purpose = " on purpose" if name in mapping.carried else ""
    return f"carried{purpose}" + (f" in {lacking[0]}" if len(lacking) == 1 else "")
