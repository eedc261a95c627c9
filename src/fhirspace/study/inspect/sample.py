"""A plausible filled row for a mapping, made from the mapping itself: what `mapping show` fills its example with.

Coded cells come from the code lists and CDISC's controlled terminology, numbers and dates from the codec, any other
text is the variable's own label. Of alternatives (``one of:``) the first is filled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from fhirspace.errors import MappingError, Place
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import CARRIED_URL, Mapping, Node, Obj, OneOf, children, walk
from fhirspace.mapping.write.render import BadRow, render
from fhirspace.standards import sdtm, terminology
from fhirspace.template.codec import CellError
from fhirspace.template.slots import Form, Leaf, Slot

_IDENTIFIERS: Final = {
    "STUDYID": "STUDY1", "USUBJID": "STUDY1-01-001", "SUBJID": "001", "SITEID": "01", "_SYNTHETIC": "HTEST",
    "VISITNUM": "1", "QNAM": "AETRTEM", "IDVAR": "AESEQ", "IDVARVAL": "1",
}  # fmt: skip
_TYPED: Final = {
    "decimal": "5.5", "number": "5.5", "integer": "1", "yes": "Y", "yes/no": "Y", "duration": "P3D", "comparator": "<",
}  # fmt: skip


def sample(mapping: Mapping, *, full: bool = False) -> dict[str, str]:
    """The cells of a sample row by column, helper columns (``_X``) among them.

    Every cell has an element in the resources: cells that would be carried or refused are left out.

    Args:
        mapping: the dataset's; full: fill permissible variables (core Perm) as well.
    """
    cells = {column: cell for column, cell in _cells(mapping).items() if full or _expected(mapping, column)}
    for _ in range(len(cells)):
        try:
            unfit = {name for _, text in render(mapping, cells) for name in _carried(json.loads(text))}
        except BadRow as bad:
            unfit = {fault.column for fault in bad.faults}
        unfit -= set(mapping.key)
        if not unfit & cells.keys():
            break
        cells = {column: cell for column, cell in cells.items() if column not in unfit}
    return cells


def examples(library: Library, domain: str, *, full: bool = False) -> list[tuple[str, str]]:
    """The resources of a dataset's sample row, or the one item of nested rows.

    Returns:
        Pairs of resource type ("" for an item) and JSON text; nested rows are filled with samples, too.

    Raises:
        MappingError: FS336, no sample row can be written, because of a constant beside the cells or of too few cells.
    """
    mapping = library.mappings[domain]
    each = {name: [text for _, text in examples(library, name, full=full)] for name in library.nested(domain)}
    try:
        return render(mapping, sample(mapping, full=full), each)
    except BadRow as bad:
        fault = bad.faults[0]
        raise MappingError("FS336", Place(mapping.file, None, fault.column or None), fault.expected) from None


def _expected(mapping: Mapping, column: str) -> bool:
    variable = _variable(mapping.domain, column)
    return column in mapping.key or variable is None or variable.core != "Perm"


def _cells(mapping: Mapping) -> dict[str, str]:
    """A cell for each column in the first alternatives, in the order of the standard."""
    found: dict[str, list[Slot]] = {}
    for root in mapping.roots():
        for slot in _first(root):
            found.setdefault(slot.base, []).append(slot)
    order = {name: at for at, name in enumerate(_names(mapping.domain))}
    made, preset = {}, _IDENTIFIERS | _test(mapping.domain)
    for name in sorted(found, key=lambda name: order.get(name, len(order))):
        forms = mapping.forms.get(name)
        made[name] = _formed(forms[0]) if forms else preset.get(name) or _cell(mapping.domain, name, found[name])
    looked_at = {
        column
        for root in mapping.roots()
        for node in walk(root)
        if isinstance(node, Obj) and node.when
        for column in node.when.columns()
    }
    return made | {column: "Y" for column in sorted(looked_at) if column.startswith("_has_")}


def _first(node: Node) -> Iterator[Slot]:
    """The slots of a template, of alternatives only those of the first."""
    if isinstance(node, Leaf):
        yield from node.slots
    below = node.options[:1] if isinstance(node, OneOf) else children(node)
    for child in below:
        yield from _first(child)


def _formed(form: Form) -> str:
    parts = (part if isinstance(part, str) else _typed(part) for part in form.parts)
    return "".join(part for part in parts if part not in _TYPED["comparator"])


def _cell(dataset: str, name: str, slots: list[Slot]) -> str:
    """A cell that most slots of the column accept and read back."""
    offers = [
        *_coded(dataset, name),
        *(offer for slot in slots for offer in (*_outputs(slot), _typed(slot))),
        _label(dataset, name),
    ]
    if any(slot.codec.name.startswith("date") for slot in slots):
        offers.insert(0, _day(name))
    filled = list(dict.fromkeys(offer for offer in offers if offer))
    perfect = next((offer for offer in filled if all(_takes(slot, offer) for slot in slots)), None)
    return perfect or max(filled, key=lambda offer: sum(_takes(slot, offer) for slot in slots))


def _test(dataset: str) -> dict[str, str]:
    """Of a findings dataset a test with the specimen, method and unit of one LOINC code, where there is one."""
    variable = _variable(dataset, f"{dataset}TESTCD")
    for code in variable.codelists if variable else ():
        for term in sorted(terminology.codelist(code).terms.values(), key=lambda term: term.code):
            for row in terminology.loinc(dataset, term.value):
                unit, names = row.orresu.split(";")[0], _variable(dataset, f"{dataset}TEST")
                name = (
                    next(
                        (
                            found.value
                            for each in names.codelists
                            if (found := terminology.codelist(each).by_code.get(term.code))
                        ),
                        "",
                    )
                    if names
                    else ""
                )
                cells = {
                    "TESTCD": term.value,
                    "TEST": name,
                    "SPEC": row.spec,
                    "METHOD": row.method,
                    "ORRESU": unit,
                    "STRESC": "5.5",
                    "STRESU": unit,
                }
                return {dataset + suffix: cell for suffix, cell in cells.items() if cell} | {"_LOINC": row.loinc}
    return {}


def _takes(slot: Slot, cell: str) -> bool:
    try:
        text = slot.codec.out(cell)
    except CellError:
        return False
    return text is not None and (not slot.codec.readable or slot.codec.back(text) == cell)


def _typed(slot: Slot) -> str:
    return _TYPED.get(slot.codec.name.rstrip("+"), "")


def _day(name: str) -> str:
    if name.startswith("BRTH"):
        return "1968-05-17"
    return "2024-03-09" if name.endswith("ENDTC") else "2024-03-05"


def _outputs(slot: Slot) -> list[str]:
    """The cells of a slot's code list, in alphabetical order."""
    outputs = slot.codec.outputs if slot.codec.name.startswith("codes") else None
    return sorted(cell for text in outputs or () if (cell := slot.codec.back(text)))


def _coded(dataset: str, name: str) -> list[str]:
    """The terms of a variable's codelist in the order of their C-codes, so that a test's code and name go together."""
    variable = _variable(dataset, name)
    lists = variable.codelists if variable else ()
    terms = [term for code in lists if terminology.known(code) for term in terminology.codelist(code).terms.values()]
    return [term.value for term in sorted(terms, key=lambda term: term.code)]


def _label(dataset: str, name: str) -> str:
    variable = _variable(dataset, name)
    return variable.label if variable else name.lstrip("_").replace("_", " ").capitalize()


def _variable(dataset: str, name: str) -> sdtm.Variable | None:
    return sdtm.variable(dataset, name) if sdtm.known(dataset) else None


def _names(dataset: str) -> tuple[str, ...]:
    return tuple(variable.name for variable in sdtm.standard_variables(dataset)) if sdtm.known(dataset) else ()


def _carried(value: Any) -> Iterator[str]:
    """The names of all variables in the extension of carried cells, wherever it is."""
    if isinstance(value, list):
        for item in value:
            yield from _carried(item)
    elif isinstance(value, dict):
        if value.get("url") == CARRIED_URL:
            yield from (part["url"] for part in value["extension"])
        for item in value.values():
            yield from _carried(item)
