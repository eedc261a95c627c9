"""A small export with a canary wherever a person's words or numbers stand, faults put into it, and what a run made."""

from __future__ import annotations

import csv
import functools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.forms.library import SourceLibrary
from fhirspace.mapping.library import Library
from fhirspace.study import convert, pipeline
from fhirspace.study.demo.run import sample

CANARY = "ZQCANARY"
"""Stands in every subject number, free text and bad cell: it must be nowhere but in the data."""
FORMS = ("adverse_events", "demographics", "eligibility", "vitals")
SUBJECTS = ("001", "002")
_WORDS = {"ae_term": "term", "llt_name": "llt", "pt_name": "pt", "comment": "note", "not_done_reason": "why"}

Patch = Callable[[Path], object]
"""Puts a fault into a folder."""


def export(folder: Path, forms: Sequence[str] = FORMS, subjects: Sequence[str] = SUBJECTS) -> Path:
    """Some forms and subjects of the SPACE sample, with canaries as subject numbers and as free text."""
    folder.mkdir(parents=True, exist_ok=True)
    for form in forms:
        header, *rows = table(sample() / "records" / f"{form}.csv")
        kept = [row for row in rows if "subject_no" not in header or row[header.index("subject_no")] in subjects]
        write(folder / f"{form}.csv", [header, *(_marked(header, row) for row in kept)])
    return folder


def _marked(header: list[str], row: list[str]) -> list[str]:
    cells = dict(zip(header, row, strict=True))
    cells |= {name: f"{CANARY} {word} {cells[name]}" for name, word in _WORDS.items() if cells.get(name)}
    if "subject_no" in cells:
        cells["subject_no"] = f"{CANARY}{cells['subject_no']}"
    return list(cells.values())


def table(path: Path) -> list[list[str]]:
    """The header and the rows of a CSV file."""
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Writes a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


# -- faults


def cell(name: str, row: int, **cells: str) -> Patch:
    """Sets cells of a row (2 is the first record)."""

    def patch(folder: Path) -> None:
        rows = table(folder / f"{name}.csv")
        for column, text in cells.items():
            rows[row - 1][rows[0].index(column)] = text
        write(folder / f"{name}.csv", rows)

    return patch


def rows_of(name: str, change: Callable[[list[list[str]]], list[list[str]]]) -> Patch:
    """Changes the rows of a file, the header among them."""
    return lambda folder: write(folder / f"{name}.csv", change(table(folder / f"{name}.csv")))


def bytes_of(name: str, change: Callable[[bytes], bytes]) -> Patch:
    """Changes the bytes of a file."""

    def patch(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return patch


def line_of(name: str, row: int, change: Callable[[bytes], bytes]) -> Patch:
    """Changes one line of a file (the first is 1)."""

    def changed(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        lines[row - 1] = change(lines[row - 1])
        return b"".join(lines)

    return bytes_of(name, changed)


def resource(name: str, row: int, change: Callable[[dict[str, Any]], object]) -> Patch:
    """Changes one resource of an NDJSON file in place."""

    def changed(line: bytes) -> bytes:
        content = json.loads(line)
        change(content)
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    return line_of(name, row, changed)


def without(name: str, column: str) -> Patch:
    """Removes a column."""
    return rows_of(
        name, lambda rows: [[c for c, head in zip(row, rows[0], strict=True) if head != column] for row in rows]
    )


def with_column(name: str, column: str, text: str = CANARY) -> Patch:
    """Adds a column."""
    return rows_of(name, lambda rows: [[*rows[0], column], *([*row, text] for row in rows[1:])])


def repeated(name: str, row: int) -> Patch:
    """Adds a row once more at the end."""
    return rows_of(name, lambda rows: [*rows, rows[row - 1]])


def removed(name: str) -> Patch:
    """Removes a file."""
    return lambda folder: (folder / name).unlink()


def header_only(name: str) -> Patch:
    """Leaves the header of a file."""
    return rows_of(name, lambda rows: rows[:1])


# -- runs

Run = Callable[..., "Outcome"]


@dataclass
class Outcome:
    """What a run told and wrote."""

    exit_code: int
    stdout: str
    stderr: str
    out: Path
    problems: list[dict[str, object]] = field(default_factory=list)
    tables: dict[str, dict[str, int]] = field(default_factory=dict)

    def places(self, *levels: str) -> set[tuple[Any, ...]]:
        """(code, file, row, column) of the problems of some levels, of errors when none is given."""
        return {
            (each["code"], each["file"], each["row"], each["column"])
            for each in self.problems
            if each["level"] in (levels or ("error",))
        }

    def quarantined(self) -> dict[str, int]:
        """The rows in quarantine by table, as the manifest says."""
        return {name: count["quarantined"] for name, count in self.tables.items() if count["quarantined"]}

    def held(self, name: str) -> list[dict[str, str]]:
        """The rows of a table in quarantine."""
        header, *rows = table(self.out / "quarantine" / f"{name}.csv")
        return [dict(zip(header, row, strict=False)) for row in rows]

    def books_balance(self) -> bool:
        """Whether rows in are rows out, quarantined and left out, and quarantine holds just as many, by table."""
        for name, count in self.tables.items():
            path = self.out / "quarantine" / (name.removesuffix(".gz") if "json" in name else f"{name}.csv")
            lines = (
                (len(path.read_bytes().splitlines()) if "json" in name else len(table(path)) - 1)
                if path.exists()
                else 0
            )
            left_out = sum(count.get(name, 0) for name in ("skipped", "dropped", "not_converted"))
            if count["in"] != count["out"] + count["quarantined"] + left_out or lines != count["quarantined"]:
                return False
        return bool(self.tables)

    def talk(self) -> str:
        """All that may be read by anybody: both streams, problems, manifest, names of files."""
        files = (
            sorted(path.relative_to(self.out).as_posix() for path in self.out.rglob("*")) if self.out.exists() else []
        )
        read = [self.out / name for name in ("problems.ndjson", "manifest.json", "unread.ndjson")]
        texts = [path.read_text("utf-8") for path in read if path.is_file()]
        return "\n".join([self.stdout, self.stderr, *texts, *files])


LEFT = ("quarantined", "skipped", "dropped", "not_converted")


def run(arguments: Sequence[str | Path], out: Path, streams: Callable[[], Sequence[str]]) -> Outcome:
    """Runs the command line in this process; `streams` gives what was printed (capsys.readouterr)."""
    shutil.rmtree(out, ignore_errors=True)
    streams()
    code = main([*map(str, arguments), "--out", str(out)])
    stdout, stderr = streams()
    found = Outcome(code, stdout, stderr, out)
    if (out / "problems.ndjson").is_file():
        found.problems = [json.loads(line) for line in (out / "problems.ndjson").read_text("utf-8").splitlines()]
    if (out / "manifest.json").is_file():
        books = json.loads((out / "manifest.json").read_text("utf-8"))["tables"]
        names = {"in": "rows_in", "out": "rows_out"} | {name: name for name in LEFT}
        found.tables = {
            table: {name: count[key] for name, key in names.items() if key in count} for table, count in books.items()
        }
    return found


# -- fixtures, imported by the tests that use them


@pytest.fixture(scope="module", autouse=True)
def mappings_once() -> Iterator[None]:
    """The shipped mappings are read once for all runs that use no others: they do not change."""
    library, source = functools.cache(Library), functools.cache(SourceLibrary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "Library", lambda release, folders, key: library(release, tuple(folders), key=key))
        patch.setattr(pipeline, "SourceLibrary", lambda path, folders=(): source(path, tuple(folders)))
        yield


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("input") / "export")


@pytest.fixture(scope="module")
def datasets(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The datasets of the export in a folder a format."""
    made, out = tmp_path_factory.mktemp("input") / "datasets", tmp_path_factory.mktemp("made") / "out"
    convert.convert(records, to="sdtm", out=out, formats=("csv", "parquet", "xpt"))
    for form in ("csv", "parquet", "xpt"):
        (made / form).mkdir(parents=True)
        for path in sorted((out / "sdtm").glob(f"*.{form}")):
            shutil.copy(path, made / form)
    return made


@pytest.fixture(scope="module")
def resources(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "out"
    convert.convert(records, to="fhir", out=out)
    return out / "fhir"


@pytest.fixture
def go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Copies an input, puts the faults into it, converts it, and looks at what must hold of every run."""

    def done(source: Path, faults: tuple[Patch, ...], *arguments: str) -> Outcome:
        given = tmp_path / "given"
        shutil.copytree(source, given)
        for fault in faults:
            fault(given)
        if source.name == "fhir":  # the rules judge datasets: those that are made of records meet them
            arguments = (*arguments, "--no-rules")
        outcome = run(["convert", given, *arguments], tmp_path / "out", lambda: tuple(capsys.readouterr()))
        assert CANARY not in outcome.talk()
        assert outcome.exit_code == 2 or outcome.books_balance()
        return outcome

    return done
