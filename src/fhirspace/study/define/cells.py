"""What source mappings say of variables, for Define-XML: the form and field that each comes from."""

from __future__ import annotations

from collections.abc import Iterator

from fhirspace.forms.library import SourceLibrary
from fhirspace.forms.model import Cell as FormCell, Document, Line
from fhirspace.sdtm.define.origins import Cell


def cells_of(sources: SourceLibrary, word: str = "Form") -> Iterator[Cell]:
    """A cell for each variable of each line of each form, and for what is carried in supplemental qualifiers.

    Args:
        sources: the source mappings. word: what their forms are, ``EHR`` where views made their records of FHIR.
    """
    for form in sources.forms.values():
        for document, line in form.mapping.lines:
            test = _test_of(document.dataset, line)
            for variable, cell in line.cells:
                fields = tuple((form.name, column) for column in _fields(cell))
                made = Cell(document.dataset, variable, test, fields, cell.known_texts(), word)
                yield made
                yield from _annotations(made, document)
        for dataset, carried in form.mapping.autos.items():
            for column, variable in carried.items():
                yield Cell(dataset, variable, "", ((form.name, column),), word=word)


def _annotations(cell: Cell, document: Document) -> Iterator[Cell]:
    """The cells of CO and RELREC that a variable of a document becomes."""
    if cell.variable in dict(document.comments):
        yield cell._replace(dataset="CO", variable="COVAL", test="")
        yield Cell("CO", "COREF", "", ())
    if cell.variable == "USUBJID":
        annotations = (("CO", document.comments), ("RELREC", document.related))
        yield from (cell._replace(dataset=dataset, test="") for dataset, variables in annotations if variables)


def _test_of(dataset: str, line: Line) -> str:
    """The only --TESTCD that a line can write, "" where it writes none or several."""
    cell = dict(line.cells).get(f"{dataset[:2]}TESTCD")
    return (cell.constant or "") if cell else ""


def _fields(cell: FormCell) -> list[str]:
    """The form columns whose values a cell writes; where it writes constants only, those that decide which."""
    slots = list(dict.fromkeys(slot.column for slot in cell.slots))
    return slots or list(dict.fromkeys(name for option in cell.options for name, _ in option.given))
