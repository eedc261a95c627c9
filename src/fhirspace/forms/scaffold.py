"""A start for the mapping of a new form, guessed from the header of its CSV file.

It loads and brings every cell back unchanged; the user then describes what the columns mean.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, count, islice, takewhile
from pathlib import Path

from fhirspace.errors import InputError, Place, UsageError
from fhirspace.foreign import shown
from fhirspace.forms.supplemental import hashed_name, plain_name
from fhirspace.limits import allowed, limit
from fhirspace.standards import sdtm
from fhirspace.tables.csv.head import looks_like_data
from fhirspace.tables.csv.opening import refuse_binary
from fhirspace.tables.csv.scan import CONTROL
from fhirspace.tables.listing import given

_VISIT = re.compile(r"^visit([_ ]?(name|label|no|num|id))?$|event_name")
_KEYS = re.compile(
    rf"site|subj|patient|participant|record_?id|{_VISIT.pattern}|repeat|instance|cycle|(_|^)(no|nr|seq)$"
)
_PERSON = re.compile(r"site|subj|patient|participant|record_?id")
_NO_RESULT = re.compile(r"date|time|reason|comment|note|done|unit|[\"<>]")
"""Names of columns that hold no result; the characters at the end are none that a slot can have."""
_CONTACT = re.compile(
    r"e_?mail|phone|mobile|(^|_)(fax|street|address|postcode|zip)(_|$)|initials|"
    r"(first|last|sur|family|given|maiden|full|patient|subject)_?name"
)
"""Columns that may name a person: they should not travel to FHIR because a scaffold lists all columns."""
_NOTHING = ("NA", "N/A", "NULL", ".", "-9", "-99", "-999", "-9999")
"""Texts that often mean an empty cell."""
_DATASETS = {
    "AE": "adverse|ae", "CM": "medic|conmed|cm", "MH": "history|mh", "VS": "vital|vs", "EX": "dos|exposure|drug|ex",
    "DS": "disposition|end_of|completion|consent", "SU": "smok|alcohol|tobacco", "DM": "demog|dm", "SV": "visit",
    "PR": "procedure|surgery", "RS": "response", "TR": "lesion|tumou?r",
}  # fmt: skip
_OTHER = re.compile(r"\s*(?:\{|\[\s*[\[{\"]|<[?!A-Za-z])")
"""How JSON, NDJSON and XML begin."""
_LOOKED_AT = 200
_KEY_NOTE = "  # the columns that tell its records apart; a ? behind those that may be empty"
_FINDINGS = ("VS", "LB", "RS", "TR")
_CATEGORIES = ("CAT", "SCAT")
"""Where the form's name is written, but for DSCAT, whose codelist is closed. DM and SV have neither."""
_LABELS = {"FOR": "Form", "SPI": "Record", "GRP": "Group", "REF": "Reference", "LNK": "Link", "KEY": "Key"}
"""Labels of the variables that a dataset does not have, by the letters behind its name."""


def make_form_skeleton(path: Path | str) -> str:
    """The YAML text of a first mapping for a form.

    Args:
        path: the form's CSV file; its header is read, and some rows to tell that it is one.

    Raises:
        UsageError: FS641, it is a folder.
        InputError: FS101, the file cannot be read; FS102, it is empty; FS105, it is not UTF-8; FS114, FS151, it is no
            CSV file or has no header; FS118, its first line is data; FS156, FS157 it is no ordinary file, or a link
            that leads nowhere; FS113, its header is too long.
    """
    file = Path(path)
    try:
        if file.exists() and not given(file):  # a pipe would block for ever
            raise UsageError("FS641", file.name, "a CSV file, not a folder: each form is a file of its own")
        header, *below = list(islice(csv.reader(io.StringIO(_head(file), newline="")), _LOOKED_AT)) or [[]]
    except UnicodeDecodeError:
        raise InputError("FS105", file.name) from None
    except csv.Error:
        raise InputError("FS151", file.name, "a CSV file in UTF-8") from None
    except OSError:
        raise InputError("FS101", file.name, "a CSV file in UTF-8") from None
    if any(map(CONTROL.search, header)) or _OTHER.match("".join(header[:1])):
        raise InputError("FS151", file.name, "a CSV file in UTF-8")  # otherwise values would be printed as names
    if looks_like_data(header, below):
        raise InputError("FS118", Place(file.name, 1), "names of columns in the first line")
    columns = [name for name in header if name]
    if not columns:
        raise InputError("FS151" if header else "FS102", file.name, "a header with the names of the columns")
    dataset = next((name for name, words in _DATASETS.items() if re.search(words, file.stem.lower())), "LB")
    keys = list(takewhile(lambda name: _KEYS.search(name.lower()), columns)) or columns[:1]
    others = [name for name in columns if name not in keys]
    head = [f"form: {_quoted(file.stem)}", f"key: [{', '.join(map(_quoted, _marked(keys, header, below)))}]{_KEY_NOTE}"]
    described = [name for name in others if not _CONTACT.search(name.lower())]
    lines = _lines(file.stem, dataset, keys, described)
    return "\n".join([*head, *_left_out(others, below), *lines]) + "\n"


def _marked(keys: list[str], header: list[str], below: list[list[str]]) -> Iterator[str]:
    """The columns of the key, with a question mark behind those that are empty in some record, but for the first."""
    for name in keys:
        at = header.index(name)
        empty = any(len(row) > at and not row[at].strip() for row in below)
        yield f"{name}?" if empty and name != keys[0] else name


def _left_out(columns: list[str], below: list[list[str]]) -> Iterator[str]:
    """Comments on what a form may leave out: columns that may name a person, texts that may mean an empty cell."""
    contact = [name for name in columns if _CONTACT.search(name.lower())]
    if contact:
        yield f"# Not named, so they stay out of FHIR. Out of SDTM as well: drop: [{', '.join(map(_quoted, contact))}]"
    seen = {cell for row in below for cell in row}
    nothing = [_quoted(text) for text in _NOTHING if text in seen]
    if nothing:
        yield f"# If these texts mean an empty cell: missing: [{', '.join(nothing)}]"


def _head(file: Path) -> str:
    """The beginning of a file, in whole lines."""
    most = limit("header-bytes")
    with file.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        content = content[: content.rfind(b"\n") + 1]
        if not content:
            raise InputError("FS113", Place(file.name, 1), allowed("header-bytes"))
    refuse_binary(content, file.name)
    return content.decode("utf-8-sig")


def _lines(form: str, dataset: str, keys: list[str], others: list[str]) -> Iterator[str]:
    findings = dataset in _FINDINGS
    results = [name for name in others if not _NO_RESULT.search(name.lower())] if findings else []
    aside = [name for name in others if name not in results]
    yield f"makes: {dataset}  # the dataset that its records make rows of"
    if aside:
        yield f"columns: [{', '.join(map(_quoted, aside))}]  # carried as supplemental variables until they are mapped"
    if not results:
        yield "always: true"
    known = {variable.name for variable in sdtm.standard_variables(dataset)}
    category = next((name for part in _CATEGORIES if (name := dataset + part) in known - {"DSCAT"}), f"{dataset}FORM")
    cells = {category: _quoted(_constant(form)), **dict(_key_cells(dataset, keys))}
    if own := [f"{name}: {_quoted(_LABELS[name[2:5]])}" for name in cells if name not in known]:
        yield f"supplemental: {{{', '.join(own)}}}"
    yield "rows:"
    yield "  STUDYID: STUDY"
    note = "  # tells its rows from those of other forms"
    yield from (f"  {name}: {text}{note if name == category else ''}" for name, text in cells.items())
    if results:
        yield "each:  # one row each; the last one makes sure that no record is without a row"
    everything = f"{dataset}ALL"
    for name, code in _codes(results, everything):
        cell = _quoted(_slot(name))
        yield f"  - {{{dataset}TESTCD: {code}, {dataset}TEST: {_quoted(name[:40])}, {dataset}ORRES: {cell}}}"
    if results:
        yield f"  - {{always: true, {dataset}TESTCD: {everything}, {dataset}TEST: Form Data}}"


def _codes(columns: list[str], *taken: str) -> Iterator[tuple[str, str]]:
    """A code of its own for each column: its name where that is legal and not taken (``q1`` and ``Q1``)."""
    known = set(taken)
    for name in columns:
        plain = plain_name(name)
        code = plain if plain is not None and plain not in known else hashed_name("", name)
        known.add(code)
        yield name, code


def _key_cells(dataset: str, keys: list[str]) -> Iterator[tuple[str, str]]:
    person = [name for name in keys if _PERSON.search(name.lower())] or keys[:1]
    yield "USUBJID", _quoted("-".join(["STUDY", *map(_slot, person)]))
    rest = [name for name in keys if name not in person]
    visits = [name for name in rest if _VISIT.search(name.lower())][:1]
    if visits and dataset not in ("DM", "AE", "CM", "MH"):
        yield "VISIT", _quoted(_slot(visits[0]))
        rest.remove(visits[0])
    parts = chain(("SPID", "GRPID", "REFID", "LNKID"), (f"KEY{number}" for number in count(5)))
    yield from ((f"{dataset}{part}", _quoted(_slot(name))) for part, name in zip(parts, rest, strict=False))


def _slot(name: str) -> str:
    return f"<{name}>" if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) else f'<"{name}">'


def _constant(text: str) -> str:
    """A text without the characters that begin or end a slot."""
    return re.sub("[<>]", "_", text).strip() or "form"


def _quoted(text: str) -> str:
    """A YAML scalar, between quotes where it needs them; what cannot be printed is escaped as YAML does it."""
    if not text.isprintable():
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{shown(escaped, 12 * len(escaped))}"'
    plain = re.fullmatch(r"[A-Za-z<][\w <>./%-]*", text, re.ASCII) and not text.endswith(" ")
    return text if plain else "'" + text.replace("'", "''") + "'"
