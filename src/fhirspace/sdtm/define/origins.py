"""Where the values of a variable come from: form and field, a derivation with its method, the protocol, the sponsor.

What a mapping says is used. Where nothing is known (datasets or FHIR that somebody else made), only what the guide
defines is written: the study and the domain are assigned, the trial design comes from the protocol. The rest is "Not
Available", since a guess in a define.xml is worse than a gap.

Source: CDISC Define-XML 2.1, section 5.3.10.4 (Origin); SDTMIG 3.4, section 8.4 (QORIG).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from fhirspace.sdtm.define.model import Method, Origin
from fhirspace.sdtm.define.oids import Oids
from fhirspace.sdtm.derive.work import Derived
from fhirspace.standards import sdtm

DERIVED: Final = Origin("Derived", "Sponsor")
ASSIGNED: Final = Origin("Assigned", "Sponsor")
PROTOCOL: Final = Origin("Protocol", "Sponsor")
UNKNOWN: Final = Origin("Not Available")
_DESIGN: Final = frozenset({"Trial Design", "Study Reference"})
_ASSIGNED: Final = frozenset(
    {"DOMAIN", "RDOMAIN", "IDVAR", "IDVARVAL", "QNAM", "QLABEL", "QORIG", "QEVAL", "RELTYPE", "RELID"}
)
_QORIG: Final = {
    "CRF": Origin("Collected", "Investigator"),
    "COLLECTED": Origin("Collected", "Investigator"),
    "EDT": Origin("Collected", "Vendor"),
    "DERIVED": DERIVED,
    "ASSIGNED": ASSIGNED,
    "PROTOCOL": PROTOCOL,
    "PREDECESSOR": Origin("Predecessor"),
}
_MOST: Final = 6
"""Fields that are named; of more the forms are."""


class Cell(NamedTuple):
    """What a source mapping says of a variable in one of its lines.

    Attributes:
        dataset, variable: of the guide, or a variable that becomes a supplemental qualifier.
        test: the --TESTCD of the line, "" where it has none or several.
        fields: the (form, field) pairs that it comes from; none for a constant.
        texts: all texts that it can have, None where they are not known.
        word: what its form is: a form of an EDC system, or a view of an EHR.
    """

    dataset: str
    variable: str
    test: str
    fields: tuple[tuple[str, str], ...]
    texts: frozenset[str] | None = None
    word: str = "Form"


class Origins:
    """The origins of the variables of a package, and the methods of those that are derived."""

    def __init__(self, cells: Iterable[Cell], derived: Iterable[Derived], oids: Oids) -> None:
        """Args: what the mappings say; what was derived how; `oids` gives the methods their OIDs."""
        self._cells: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            self._cells.setdefault((cell.dataset, cell.variable), []).append(cell)
        self._derived = {(each.dataset, each.variable): each.method for each in derived}
        # Datasets that derivations made whole, such as SE: no mapping writes a variable of them.
        self._whole = {dataset for dataset, _ in self._derived} - {dataset for dataset, _ in self._cells}
        if not self._cells:
            self._whole = set()
        self._oids = oids
        self._by_text: dict[tuple[str, str], str] = {}
        self.methods: dict[str, Method] = {}

    def of_variable(self, spec: sdtm.Domain | None, dataset: str, variable: str) -> tuple[Origin, ...]:
        """The origins of a variable; several where it is collected in some records and derived in others."""
        if variable in _ASSIGNED:
            return (ASSIGNED,)
        source = dataset.removeprefix("SUPP") if variable == "USUBJID" else dataset
        found = list(_of_cells(self._cells.get((source, variable), [])))
        if (source, variable) in self._derived or (source in self._whole and not found):
            found.append(DERIVED)
        return tuple(dict.fromkeys(found)) or (_by_the_guide(spec, variable, known=bool(self._cells)),)

    def of_test(self, dataset: str, variable: str, test: str) -> tuple[Origin, ...]:
        """The origins of a variable in the records of one test; none where the mappings say nothing of the test."""
        cells = [cell for cell in self._cells.get((dataset, variable), []) if cell.test in (test, "")]
        found = list(_of_cells(cells))
        if (dataset, variable) in self._derived:
            found.append(DERIVED)
        return tuple(dict.fromkeys(found))

    def of_qualifier(self, parent: str, name: str, given: str | None) -> tuple[Origin, ...]:
        """The origins of a supplemental qualifier: what the mappings say, else its QORIG."""
        found = tuple(dict.fromkeys(_of_cells(self._cells.get((parent, name), []))))
        return found or (_QORIG.get((given or "").upper(), UNKNOWN),)

    def texts(self, dataset: str, variable: str) -> frozenset[str] | None:
        """All texts that the mappings can write into a variable; None where they are not known."""
        cells = self._cells.get((dataset, variable), [])
        if not cells or any(cell.texts is None for cell in cells) or not any(cell.fields for cell in cells):
            return None
        return frozenset(text for cell in cells for text in cell.texts or () if text)

    def method(self, dataset: str, variable: str) -> str:
        """The OID of the method of a derived variable, "" for others. Equal texts of one variable are one method."""
        text = self._derived.get((dataset, variable))
        if text is None or variable in _ASSIGNED:
            return ""
        if (variable, text) not in self._by_text:
            oid = self._oids.new(f"MT.{variable}")
            self._by_text[variable, text] = oid
            self.methods[oid] = Method(oid, f"Algorithm to derive {variable}", text)
        return self._by_text[variable, text]


def _of_cells(cells: Iterable[Cell]) -> Iterable[Origin]:
    fields = list(dict.fromkeys((f"{cell.word} {form}", column) for cell in cells for form, column in cell.fields))
    if fields:
        yield Origin("Collected", "Investigator", _in_words(fields))
    if any(not cell.fields for cell in cells):
        yield ASSIGNED


def _in_words(fields: list[tuple[str, str]]) -> str:
    by_form: dict[str, list[str]] = {}
    for form, field in fields:
        by_form.setdefault(form, []).append(field)
    if len(fields) > _MOST:
        first, *others = by_form
        one = first if not others else first.replace("Form ", "Forms ", 1)
        return ", ".join([one, *(each.partition(" ")[2] for each in others)])
    return "; ".join(f"{form}: {', '.join(names)}" for form, names in by_form.items())


def _by_the_guide(spec: sdtm.Domain | None, variable: str, *, known: bool) -> Origin:
    """The origin where no mapping says one. `known`: there are mappings, so they assign what they do not collect."""
    if variable == "STUDYID" or (spec and spec.klass in _DESIGN):
        return PROTOCOL
    if variable in _ASSIGNED:
        return ASSIGNED
    return ASSIGNED if known and variable.endswith(("TESTCD", "TEST")) else UNKNOWN
