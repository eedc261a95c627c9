"""Datasets and variables of SDTMIG 3.4: names, labels, types, roles, core, codelists, order and natural keys.

Source: CDISC SDTMIG 3.4, chapters 5 to 8 (dataset specifications), and SDTM 2.0, section 3.1 (the variables which a
general observation class lends to all its domains). The natural keys are our own: subject, topic, timing, and what
distinguishes two measurements of one moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

from fhirspace.errors import UsageError
from fhirspace.standards import sdtm_model
from fhirspace.standards.labels import model_labels

SPONSOR_DEFINED = "Sponsor-Defined"
"""The class of a sponsor's own domains. Their names do not show which of the general classes it is."""
GENERAL_CLASSES = ("Interventions", "Events", "Findings", "Findings About", SPONSOR_DEFINED)


class Variable(msgspec.Struct, frozen=True, array_like=True):
    """One variable: type is Char or Num, core is Req, Exp or Perm, codelists are NCIt C-codes, order counts from 1."""

    name: str
    label: str
    type: Literal["Char", "Num"]
    role: str
    core: str
    codelists: tuple[str, ...] = ()
    order: int = 0
    format: str = ""


class Domain(msgspec.Struct, frozen=True, array_like=True):
    """One dataset: `keys` are its natural (sort) key variables, `variables` are in the order of the standard."""

    name: str
    label: str
    klass: str
    structure: str
    keys: tuple[str, ...]
    variables: tuple[Variable, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variables in order."""
        return tuple(variable.name for variable in self.variables)

    def variable(self, name: str) -> Variable | None:
        """The variable of that name, or None where the dataset's own specification has none."""
        return _by_name(self).get(name)

    @property
    def prefix(self) -> str:
        """The prefix of its own variables: the domain code ("QS" for the split dataset QSPH), or ""."""
        return self.name[:2] if self.klass in GENERAL_CLASSES or f"{self.name[:2]}SEQ" in self.names else ""


class _Package(msgspec.Struct, frozen=True):
    version: str
    datasets: dict[str, Domain]


# What every domain of a general observation class has.
_SPONSORS = (
    ("STUDYID", "Study Identifier", "Char"),
    ("DOMAIN", "Domain Abbreviation", "Char"),
    ("USUBJID", "Unique Subject Identifier", "Char"),
    ("--SEQ", "Sequence Number", "Num"),
)

# General timing and identifier variables of SDTM 2.0 which no dataset of SDTMIG 3.4 lists in the class.
_GENERAL = (
    ("APID", "Associated Persons Identifier", "Char", "Identifier"),
    ("POOLID", "Pool Identifier", "Char", "Identifier"),
    ("SPDEVID", "Sponsor Device Identifier", "Char", "Identifier"),
    ("NHOID", "Non-host Organism Identifier", "Char", "Identifier"),
    ("FOCID", "Focus of Study-Specific Interest", "Char", "Identifier"),
    ("--GRPID", "Group ID", "Char", "Identifier"),
    ("--REFID", "Reference ID", "Char", "Identifier"),
    ("--SPID", "Sponsor-Defined Identifier", "Char", "Identifier"),
    ("--LNKID", "Link ID", "Char", "Identifier"),
    ("--LNKGRP", "Link Group ID", "Char", "Identifier"),
    ("VISITNUM", "Visit Number", "Num", "Timing"),
    ("VISIT", "Visit Name", "Char", "Timing"),
    ("VISITDY", "Planned Study Day of Visit", "Num", "Timing"),
    ("TAETORD", "Planned Order of Element within Arm", "Num", "Timing"),
    ("EPOCH", "Epoch", "Char", "Timing"),
    ("RPHASE", "Reproductive Phase", "Char", "Timing"),
    ("RPPLDY", "Planned Repro Phase Day of Observation", "Num", "Timing"),
    ("--DTC", "Date/Time of Collection", "Char", "Timing"),
    ("--STDTC", "Start Date/Time of Observation", "Char", "Timing"),
    ("--ENDTC", "End Date/Time of Observation", "Char", "Timing"),
    ("--DY", "Study Day of Visit/Collection/Exam", "Num", "Timing"),
    ("--STDY", "Study Day of Start of Observation", "Num", "Timing"),
    ("--ENDY", "Study Day of End of Observation", "Num", "Timing"),
    ("--DUR", "Duration", "Char", "Timing"),
    ("--TPT", "Planned Time Point Name", "Char", "Timing"),
    ("--TPTNUM", "Planned Time Point Number", "Num", "Timing"),
    ("--ELTM", "Planned Elapsed Time from Time Point Ref", "Char", "Timing"),
    ("--TPTREF", "Time Point Reference", "Char", "Timing"),
    ("--RFTDTC", "Date/Time of Reference Time Point", "Char", "Timing"),
    ("--STRF", "Start Relative to Reference Period", "Char", "Timing"),
    ("--ENRF", "End Relative to Reference Period", "Char", "Timing"),
    ("--EVLINT", "Evaluation Interval", "Char", "Timing"),
    ("--EVINTX", "Evaluation Interval Text", "Char", "Timing"),
    ("--STRTPT", "Start Relative to Reference Time Point", "Char", "Timing"),
    ("--STTPT", "Start Reference Time Point", "Char", "Timing"),
    ("--ENRTPT", "End Relative to Reference Time Point", "Char", "Timing"),
    ("--ENTPT", "End Reference Time Point", "Char", "Timing"),
    ("MIDS", "Disease Milestone Instance Name", "Char", "Timing"),
    ("RELMIDS", "Temporal Relation to Milestone Instance", "Char", "Timing"),
    ("MIDSDTC", "Disease Milestone Instance Date/Time", "Char", "Timing"),
    ("--STINT", "Planned Start of Assessment Interval", "Char", "Timing"),
    ("--ENINT", "Planned End of Assessment Interval", "Char", "Timing"),
)


@cache
def _package() -> _Package:
    content = files("fhirspace.standards").joinpath("data", "sdtm.json").read_bytes()
    return msgspec.json.decode(content, type=_Package)


@cache
def _by_name(dataset: Domain) -> dict[str, Variable]:
    return {variable.name: variable for variable in dataset.variables}


def version() -> str:
    """The version of the implementation guide the metadata come from, as in ``3.4``."""
    return _package().version


def domains() -> tuple[str, ...]:
    """The names of all datasets of the guide, sorted; SUPPQUAL represents every SUPP-- dataset."""
    return tuple(sorted(_package().datasets))


def known(name: str) -> bool:
    """Whether `domain(name)` finds a specification."""
    return _base(name) is not None


def sponsor_defined(name: str) -> bool:
    """Whether a name is one that is kept for sponsors' own domains: two characters that start with X, Y or Z."""
    return re.fullmatch(r"[XYZ][A-Z0-9]", name) is not None


def _base(name: str) -> str | None:
    datasets = _package().datasets
    if name in datasets or sponsor_defined(name):
        return name
    if re.fullmatch(r"SUPP[A-Z][A-Z0-9]{1,3}", name):
        return "SUPPQUAL"
    # A split dataset: the domain's code and one or two more characters (SDTMIG 3.4, section 4.1.7).
    splits = re.fullmatch(r"(?!SUPP)[A-Z]{2}[A-Z0-9]{1,2}", name) and datasets.get(name[:2])
    return name[:2] if splits and splits.klass in GENERAL_CLASSES else None


@cache
def domain(name: str) -> Domain:
    """The specification of a dataset.

    Args:
        name: a dataset's name: "LB", a supplemental qualifier dataset ("SUPPAE"), a split one ("QSPH", "SUPPQSPH"), a
            sponsor's own ("XB"): identifiers, and what the general observation classes lend.

    Raises:
        UsageError: FS701, the guide has no such dataset.
    """
    base = _base(name)
    if base is None:
        raise UsageError("FS701", name, "a dataset of SDTMIG " + version())
    if sponsor_defined(base):
        return _sponsors_domain(base)
    found = _package().datasets[base]
    label = f"Supplemental Qualifiers for {name[4:]}" if base == "SUPPQUAL" and name != base else found.label
    return msgspec.structs.replace(found, name=name, label=label)


def _sponsors_domain(name: str) -> Domain:
    variables = tuple(
        Variable(general.replace("--", name), label, "Num" if kind == "Num" else "Char", "Identifier", "Req", order=at)
        for at, (general, label, kind) in enumerate(_SPONSORS, 1)
    )
    keys = ("STUDYID", "USUBJID", f"{name}SEQ")
    return Domain(name, f"Sponsor-Defined {name}", SPONSOR_DEFINED, "One record per observation", keys, variables)


def _kin(klass: str) -> tuple[str, ...]:
    """The classes that lend to a class: findings lend to findings about, and every general one to a sponsor's own."""
    if klass == SPONSOR_DEFINED:
        return GENERAL_CLASSES
    return ("Findings", "Findings About") if klass in {"Findings", "Findings About"} else (klass,)


@cache
def _class_pool(klass: str) -> tuple[Variable, ...]:
    """What the class lends to its domains: names with "--" for the prefix, the first specification found.

    The labels are those of the model: a domain may word its own as it likes.
    """
    kin = _kin(klass)
    pool: dict[str, Variable] = {}
    for name, dataset in sorted(_package().datasets.items()):
        if dataset.klass in kin:
            for variable in dataset.variables:
                general = re.sub(f"^{name}(?=[A-Z])", "--", variable.name)
                pool.setdefault(general, msgspec.structs.replace(variable, name=general, core="Perm"))
    for name, label, kind, role in _GENERAL:
        pool.setdefault(name, Variable(name, label, "Num" if kind == "Num" else "Char", role, "Perm"))
    labels = {**model_labels(klass), **{name: label for name, label, _, _ in _GENERAL}}
    return tuple(msgspec.structs.replace(each, label=labels.get(name, each.label)) for name, each in pool.items())


def _part(variable: Variable) -> int:
    """The part of a record a variable belongs to: identifiers, then topic, then qualifiers, then timing."""
    return {"Identifier": 0, "Topic": 1, "Timing": 3}.get(variable.role, 2)


@cache
def standard_variables(name: str) -> tuple[Variable, ...]:
    """All variables legal in a dataset: its own in order, and those its general observation class lends to it.

    A lent variable (core Perm) comes after the one of the dataset's own that is before it in the model, within its
    part: identifiers, topic, qualifiers, timing. One that the model does not order is at the end of its part. Columns
    that are not among these are not standard and belong into a supplemental qualifier dataset.

    Raises:
        UsageError: FS701, the guide has no such dataset.
    """
    dataset = domain(name)
    places = {variable: (float(variable.order), 0, 0) for variable in dataset.variables}
    if dataset.klass in GENERAL_CLASSES:
        model = sdtm_model.general(dataset.klass.upper())
        ranks = {general.replace("--", name[:2]): at for at, general in enumerate(model)}
        for lent in _lent(dataset):
            part, rank = _part(lent), ranks.get(lent.name, len(ranks))
            places[lent] = (_place(dataset, part, rank, ranks), part, rank)
    ordered = sorted(places, key=places.__getitem__)  # stable: variables that the model lacks keep the pool's order
    return tuple(msgspec.structs.replace(variable, order=at) for at, variable in enumerate(ordered, 1))


def _place(dataset: Domain, part: int, rank: int, ranks: dict[str, int]) -> float:
    """Where a lent variable of a part belongs: between two orders of the dataset's own."""
    own = [each for each in dataset.variables if _part(each) == part]
    if not own:
        return len(dataset.names) + 0.5
    if rank == len(ranks):
        return own[-1].order + 0.5
    before = [each for each in own if ranks.get(each.name, rank) < rank]
    return max(before, key=lambda each: ranks[each.name]).order + 0.5 if before else own[0].order - 0.5


def _lent(dataset: Domain) -> Iterator[Variable]:
    """What the general observation class lends to a dataset."""
    for general in _class_pool(dataset.klass):
        lent = msgspec.structs.replace(general, name=general.name.replace("--", dataset.name[:2]))
        if lent.name not in dataset.names:
            # A list is for the domain that the specification was found in.
            yield msgspec.structs.replace(lent, codelists=()) if dataset.klass == SPONSOR_DEFINED else lent


def variable(dataset: str, name: str) -> Variable | None:
    """The specification of one variable of a dataset, lent ones included; None where it is not standard."""
    return _standard_names(dataset).get(name)


@cache
def _standard_names(dataset: str) -> dict[str, Variable]:
    return {item.name: item for item in standard_variables(dataset)}


_BESIDE: dict[tuple[str, str], frozenset[str]] = {("DM", "RACE"): frozenset({"MULTIPLE"})}


_INSTRUMENTS: dict[str, tuple[str, str]] = {"RS": ("RSCAT", "C118971")}


def instruments(dataset: str) -> tuple[str, str] | None:
    """The variable that names the instrument of a record, and the codelist of such names, where others are beside them.

    SDTMIG 3.4, section 6.3.9: RS has responses to treatment and clinical classifications.
    """
    return _INSTRUMENTS.get(dataset[:2])


def beside_codelist(dataset: str, variable: str) -> frozenset[str]:
    """What the guide itself asks for beside a closed codelist (SDTMIG 3.4, section 5.2: more than one race given)."""
    return _BESIDE.get((dataset, variable), frozenset())
