"""Variables of a form that become records of other datasets: comments (CO) and relationships of records (RELREC)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from fhirspace.errors import MappingError, Place, UsageError
from fhirspace.forms.model import Document, FormMapping
from fhirspace.standards import sdtm
from fhirspace.template import yaml_nodes as nodes

_VARIABLE = re.compile(r"[A-Z][A-Z0-9]{0,7}")
Items = Sequence[tuple[nodes.Text, str]]
Texts = dict[str, dict[str, str]]


def check_comments(file: str, dataset: str, items: Items, taken: Collection[str]) -> None:
    """Checks ``comments: {AECOM: Investigator Comment}`` of a document.

    Args:
        file: the mapping file; dataset: that of the document; taken: its standard and supplemental variables.

    Raises:
        MappingError: FS365.
    """
    for name, _ in items:
        place = Place(file, name.line, name.text)
        if not _VARIABLE.fullmatch(name.text) or name.text in taken:
            hint = "a name of at most 8 capital letters and digits that is neither standard nor under `supplemental:`"
            raise MappingError("FS365", place, hint)
        if dataset == "CO" or sdtm.variable(dataset, "USUBJID") is None:
            raise MappingError("FS365", place, "`comments:` in a document whose dataset has subjects")


def check_related(file: str, dataset: str, items: Items, supplemental: Collection[str]) -> None:
    """Checks ``related: {CMAENO: AESPID}`` of a document; raises MappingError FS366. Parameters: `check_comments`."""
    for name, target in items:
        place = Place(file, name.line, name.text)
        if name.text not in supplemental:
            raise MappingError("FS366", place, "a variable that has its label under `supplemental:`")
        if not _numbered(dataset):
            raise MappingError("FS366", place, "`related:` in a document whose dataset has --SEQ")
        if not _numbered(target[:2]) or sdtm.variable(target[:2], target) is None:
            raise MappingError("FS366", place, "a variable of a dataset that has --SEQ, such as AESPID")


def _numbered(dataset: str) -> bool:
    try:
        return sdtm.variable(dataset, f"{dataset[:2]}SEQ") is not None
    except UsageError:
        return False


def check_annotations(forms: Iterable[FormMapping]) -> None:
    """Checks that rows of CO and RELREC can be read back, and that a form makes the records that are named.

    Raises:
        MappingError: FS365 where two comments of a dataset have one reference, FS366 where no form writes the variable.
    """
    forms = list(forms)
    written = {name for form in forms for document in form.documents for name in _variables(document)}
    variables: dict[tuple[str, str], str] = {}
    texts: dict[tuple[str, str], str] = {}
    for document in (document for form in forms for document in form.documents):
        for name, reference in document.comments:
            same = variables.setdefault((document.dataset, reference), name) == name
            if not same or texts.setdefault((document.dataset, name), reference) != reference:
                raise MappingError("FS365", _place(document, name), "one reference for each variable of a dataset")
        for name, target in document.related:
            if target not in written:
                raise MappingError("FS366", _place(document, name), f"a form that writes {target}")
            if texts.setdefault((document.dataset, name), target) != target:
                raise MappingError(
                    "FS366", _place(document, name), f"one target for each variable of {document.dataset}"
                )


def _place(document: Document, name: str) -> Place:
    return Place(document.file, document.line, name)


def _variables(document: Document) -> Iterator[str]:
    for line in document.lines:
        yield from (name for name, _ in line.cells)


def comments_of(forms: Iterable[FormMapping]) -> Texts:
    """By dataset, the variables whose text becomes a comment, each with its reference."""
    return _by_dataset((document.dataset, document.comments) for form in forms for document in form.documents)


def related_of(forms: Iterable[FormMapping]) -> Texts:
    """By dataset, the variables that name a related record, each with the variable that has the name."""
    return _by_dataset((document.dataset, document.related) for form in forms for document in form.documents)


def _by_dataset(annotations: Iterable[tuple[str, Sequence[tuple[str, str]]]]) -> Texts:
    found: Texts = {}
    for dataset, pairs in annotations:
        if pairs:
            found.setdefault(dataset, {}).update(pairs)
    return found
