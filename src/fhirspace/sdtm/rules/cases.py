"""Cases of rules, laid out as in CDISC's repository: data, and the results that a rule must give for them.

A folder for each rule: ``rule.yml`` and ``positive/01``, ``negative/01`` ..., each with ``data/*.csv`` (datasets),
``data/_datasets.csv`` and ``data/_variables.csv`` (what a file would say of them) and ``results/results.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from fhirspace.errors import FhirspaceError, InputError, Place
from fhirspace.limits import limit, too_much
from fhirspace.sdtm.define.document import reading
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.model import Rule, load
from fhirspace.sdtm.rules.results import Line, results
from fhirspace.sdtm.rules.study import About, Dataset, Study

_FAILED = "EXECUTION_ERROR"
"""What CORE's results have for a variable where it could not judge a dataset."""
_SHOWN = 20
_SETTINGS = 1_000


@dataclass
class Tested:
    """What the cases of a rule gave: `fail` where a result differs, `error` where the rule or a case cannot be run."""

    id: str
    status: Literal["pass", "fail", "error"] = "pass"
    cases: int = 0
    passed: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, case: str, differences: list[str], error: bool = False) -> None:
        """Adds the result of one case."""
        self.cases += 1
        self.passed += not differences
        if differences:
            self.status = "error" if error or self.status == "error" else "fail"
            self.differences += [f"{case}: {each}" for each in differences[:_SHOWN]]


def run(folder: Path) -> Iterator[Tested]:
    """Runs the cases of each rule below a folder, or of the one whose folder it is.

    Raises:
        InputError: FS101, the folder is none; FS802, it has no rule.yml.
    """
    if not folder.is_dir():
        raise InputError("FS101", Place(folder.name), "a folder with rules and their cases")
    files = [folder / "rule.yml"] if (folder / "rule.yml").is_file() else sorted(folder.glob("*/rule.yml"))
    if not files:
        raise InputError("FS802", Place(folder.name), "rule.yml, or folders with rule.yml in them")
    yield from map(_tested, files)


def _tested(file: Path) -> Tested:
    result = Tested(file.parent.name)
    try:
        rule = load(file)
    except FhirspaceError as error:
        result.add("rule.yml", [str(error)], error=True)
        return result
    for case in sorted((*file.parent.glob("positive/*"), *file.parent.glob("negative/*"))):
        if (case / "data").is_dir():
            _run_case(rule, case, result)
    if not result.cases:
        result.status = "error"
        result.differences.append("no cases: positive/01/data, negative/01/data ...")
    return result


def _run_case(rule: Rule, case: Path, result: Tested) -> None:
    name = f"{case.parent.name}/{case.name}"
    try:
        outcome = Engine(read_study(case / "data")).run(rule)
        wanted = _expected(case / "results" / "results.csv")
    except FhirspaceError as error:
        result.add(name, [str(error)], error=True)
        return
    errors = [f"{dataset}: {reason}" for dataset, reason in outcome.errors.items()]
    unjudged = {line[0] for line in wanted if not line[2]}
    failed = {line[0] for line in wanted if line[2] == _FAILED}  # CORE broke off: what is right there is not known
    wanted = {_comparable(line) for line in wanted if line[2] and line[0] not in failed}
    known = (case / "results" / "results.csv").is_file()  # without it only errors count
    found = {_comparable(line) for line in results(outcome) if line[0] not in failed}
    extra = [f"unexpected: {','.join(line)}" for line in sorted(found - wanted)]
    missing = [f"missing: {','.join(line)}" for line in sorted(wanted - found)]
    judged = [f"judged, but CORE does not: {name}" for name in sorted(unjudged & set(outcome.judged))]
    differing = [*missing, *extra, *judged] if known else []
    result.add(name, [*errors, *differing] if differing else [], error=bool(errors))


def _comparable(line: Line) -> Line:
    """A result without what CORE leaves to chance: the order of items that come from a set, and blanks at the ends."""
    value = line[3].strip()
    if value.startswith("[") and value.endswith("]"):
        value = str(sorted(value[1:-1].split(", ")))
    return line[0], line[1], line[2], value


def _expected(file: Path) -> set[Line]:
    if not file.is_file():
        return set()
    try:
        return {(row["Dataset"], row["Record"], row["Variable"], row["Value"]) for row in _rows(file)}
    except KeyError as error:
        raise InputError("FS803", Place(file.name), f"the column {error.args[0]}") from None


def _rows(file: Path) -> list[dict[str, str]]:
    most = limit("list-bytes")
    if file.stat().st_size > most:
        raise too_much("list-bytes", Place(file.name))
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return [{name: cell or "" for name, cell in row.items() if name} for row in csv.DictReader(stream)]
    except (UnicodeDecodeError, csv.Error):
        raise InputError("FS803", Place(file.name), "a CSV file in UTF-8") from None


def read_study(folder: Path) -> Study:
    """The datasets of a case: those that ``_datasets.csv`` lists, if it lists any.

    Raises:
        InputError: FS803, a file of it cannot be read.
    """
    labels = {
        row.get("Filename", "").partition(".")[0].lower(): row.get("Label", "")
        for row in _optional(folder, "_datasets.csv")
    }
    about: dict[str, dict[str, About]] = {}
    for row in _optional(folder, "_variables.csv"):
        known = about.setdefault(row.get("dataset", "").partition(".")[0].lower(), {})
        length = row.get("length", "")
        known[row.get("variable", "")] = About(
            row.get("label", ""), row.get("type", "Char"), int(length) if length.isdecimal() else None
        )
    found = sorted(file for file in folder.glob("*.csv") if not file.name.startswith("_"))
    files = [file for file in found if not labels or file.stem.lower() in labels]
    datasets = (_dataset(file, labels.get(file.stem.lower(), ""), about.get(file.stem.lower(), {})) for file in files)
    settings = _settings(folder)
    define = folder / Path(settings.get("DEFINE_XML", "define.xml")).name
    return Study(
        datasets,
        _version(settings),
        define=reading.read(define) if define.is_file() else None,
        terminology=settings.get("CT", "").removeprefix("sdtmct-"),
    )


def _settings(folder: Path) -> dict[str, str]:
    """What the file ``.env`` of a case says: the standard, and files and terminology beside it."""
    file = folder / ".env"
    text = file.read_text("utf-8", "replace")[:_SETTINGS] if file.is_file() else ""
    parts = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in parts if value.strip()}


def _version(settings: Mapping[str, str]) -> str:
    """The version of SDTMIG that a case names, as in ``3.4``."""
    named = settings.get("VERSION") if settings.get("PRODUCT", "").upper() == "SDTMIG" else None
    return (named or "3.4").replace("-", ".")


def _optional(folder: Path, name: str) -> list[dict[str, str]]:
    return _rows(folder / name) if (folder / name).is_file() else []


def _dataset(file: Path, label: str, about: dict[str, About]) -> Dataset:
    """A dataset of a case. A variable that is not declared is numeric if its cells are numbers."""
    names, cells = _cells(file)
    texts = (pa.array([cell or None for cell in column], pa.string()) for column in cells)
    columns = {name: column if name in about else _guessed(column) for name, column in zip(names, texts, strict=True)}
    size = file.stat().st_size
    return Dataset(file.stem.upper(), pa.table(columns), label, file.name, size, about, listed=tuple(about))


def _cells(file: Path) -> tuple[list[str], list[list[str]]]:
    """Names and columns of a CSV file. Rows are filled up or cut to the width of its header."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header, *rows = [row for row in csv.reader(stream) if row] or [[]]
    except (UnicodeDecodeError, csv.Error):
        raise InputError("FS803", Place(file.name), "a CSV file in UTF-8") from None
    names = [name if header.index(name) == at else f"{name}.{at}" for at, name in enumerate(header)]
    width = len(names)
    filled = [[*row[:width], *[""] * (width - len(row))] for row in rows]
    return names, [[row[at] for row in filled] for at in range(width)]


def _guessed(column: pa.Array) -> pa.Array:
    """The column as whole numbers or numbers, where all its cells are some."""
    for kind in (pa.int64(), pa.float64()):
        try:
            numbers = column.cast(kind)
        except pa.ArrowInvalid:
            continue
        if column.null_count < len(column):
            return numbers.cast(pa.float64()) if column.null_count else numbers
    return column
