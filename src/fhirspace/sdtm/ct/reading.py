"""Reads a package of SDTM terminology as NCI EVS publishes it: text with tabs, ODM-XML, or the same columns as CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fhirspace.errors import InputError, Place
from fhirspace.limits import read_within
from fhirspace.sdtm.define.document import tree

DATE = re.compile(r"(?<!\d)(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(?!\d)", re.ASCII)
"""A version of terminology, also within a longer text."""
_SETS = re.compile(r"(?i)(?<![a-z])(SDTM|SEND|ADaM|CDASH|Define-XML|Protocol|Glossary|QRS|MRCT|DDF)(?![a-z])")
_ODM = "http://www.cdisc.org/ns/odm/v1.3 "
_NCI = "http://ncicb.nci.nih.gov/xml/odm/EVS/CDISC "
_CODE, _OF, _VALUE = "code", "codelist code", "cdisc submission value"
_NEEDED = (_CODE, _OF, _VALUE)


class Listed(msgspec.Struct, array_like=True):
    """A codelist: submission value, name, whether it can be extended, terms (value, code, preferred, synonyms)."""

    submission_value: str
    name: str
    extensible: bool
    terms: list[tuple[str, ...]] = msgspec.field(default_factory=list)


@dataclass(slots=True)
class Package:
    """What a file holds: the version (a date), codelists by their C-code, a digest of the file."""

    version: str
    digest: str = ""
    codelists: dict[str, Listed] = field(default_factory=dict)

    @property
    def terms(self) -> int:
        """How many terms all codelists have."""
        return sum(len(each.terms) for each in self.codelists.values())


def read(path: Path, version: str = "") -> Package:
    """A package of SDTM terminology.

    Args:
        version: the date of the package, where neither the file nor its name has it.

    Raises:
        InputError: FS101 no such file, FS160 too large, FS808 no package of SDTM terminology.
    """
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a package of SDTM terminology")
    data = read_within("define-bytes", path)
    xml = data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    found = _of_odm(data, path.name) if xml else _of_text(data, path.name)
    version = version or found.version or _dated(path.name)
    if not found.terms:
        raise _wrong(path.name, "codelists with terms")
    if not DATE.fullmatch(version):
        raise _wrong(path.name, "the date of the package in the file or its name, or --date YYYY-MM-DD")
    return Package(version, hashlib.sha256(data).hexdigest(), found.codelists)


def _wrong(file: str, expected: str, line: int | None = None) -> InputError:
    return InputError("FS808", Place(file, line), expected)


def _dated(text: str) -> str:
    found = DATE.search(text)
    return found[1] if found else ""


def _check_set(text: str, file: str) -> None:
    """Raises InputError (FS808): a text names the terminology of another standard than SDTM."""
    named = {each.upper() for each in _SETS.findall(text)}
    if named and "SDTM" not in named:
        raise _wrong(file, "a package of SDTM terminology")


def _of_text(data: bytes, file: str) -> Package:
    """Rows of codelists (without a codelist code) and of their terms, in any order."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    found = Package("")
    terms: list[tuple[str, tuple[str, ...]]] = []
    for cells in _rows(text, file):
        if cells[_OF]:
            terms.append((cells[_OF], _term(cells)))
        else:
            open_list = cells.get("codelist extensible", "").lower() in ("yes", "y", "true")
            found.codelists[cells[_CODE]] = Listed(cells[_VALUE], cells.get("codelist name", ""), open_list)
            standard = cells.get("standard and date", "")
            _check_set(standard, file)
            found.version = found.version or _dated(standard)
    for code, term in terms:
        if code not in found.codelists:
            raise _wrong(file, "a row for each codelist")
        found.codelists[code].terms.append(term)
    return found


def _rows(text: str, file: str) -> Iterator[dict[str, str]]:
    tabs = "\t" in text.partition("\n")[0]
    dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
    rows = csv.reader(io.StringIO(text, newline=""), strict=not tabs, **dialect)  # type: ignore[arg-type]
    try:
        header = [name.partition("(yes")[0].strip() for name in map(str.lower, next(rows, []))]
        if missing := [name for name in _NEEDED if name not in header]:
            raise _wrong(file, f"the columns {', '.join(missing)}", 1)
        for row in rows:
            if any(row):
                filled = (*map(str.strip, row), *[""] * (len(header) - len(row)))
                yield dict(zip(header, filled, strict=False))
    except csv.Error:
        raise _wrong(file, "CSV, or text with tabs", rows.line_num) from None


def _term(cells: dict[str, str]) -> tuple[str, ...]:
    others = cells.get("cdisc synonym(s)", "") or cells.get("cdisc synonym", "")
    synonyms = (each.strip() for each in others.split(";"))
    return (cells[_VALUE], cells[_CODE], cells.get("nci preferred term", ""), *filter(None, synonyms))


def _of_odm(data: bytes, file: str) -> Package:
    root = _xml(data, file)
    study = root.first(f"{_ODM}Study")
    metadata = study.first(f"{_ODM}MetaDataVersion") if study else None
    if study is None or metadata is None:
        raise _wrong(file, "ODM-XML with Study and MetaDataVersion")
    names = " ".join((study.attributes.get("OID", ""), metadata.attributes.get("OID", "")))
    _check_set(names.replace(".", " "), file)
    found = Package(_dated(names))
    for each in metadata.all(f"{_ODM}CodeList"):
        about = each.attributes
        name = _text(each, f"{_NCI}CDISCSubmissionValue") or about.get("Name", "")
        open_list = about.get(f"{_NCI}CodeListExtensible", "").lower() == "yes"
        terms = list(_items((*each.all(f"{_ODM}EnumeratedItem"), *each.all(f"{_ODM}CodeListItem"))))
        found.codelists[about.get(f"{_NCI}ExtCodeID", "")] = Listed(name, about.get("Name", ""), open_list, terms)
    return found


def _xml(data: bytes, file: str) -> tree.Node:
    try:
        return tree.parse(io.BytesIO(data), file)
    except InputError as error:
        if error.code != "FS770":  # that is about a define.xml
            raise
        raise InputError("FS808", error.problem.place, error.problem.expected) from None


def _items(nodes: Iterable[tree.Node]) -> Iterator[tuple[str, ...]]:
    for each in nodes:
        synonyms = [one.text.strip() for one in each.all(f"{_NCI}CDISCSynonym") if one.text.strip()]
        code = each.attributes.get(f"{_NCI}ExtCodeID", "")
        yield (each.attributes.get("CodedValue", ""), code, _text(each, f"{_NCI}PreferredTerm"), *synonyms)


def _text(node: tree.Node, name: str) -> str:
    found = node.first(name)
    return found.text.strip() if found else ""
