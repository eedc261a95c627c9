"""No step looks beyond its block but through a `StudySummary`: what blocks of a study give is what the study gives."""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fhirspace.errors import Problem
from fhirspace.forms.library import SourceLibrary, SourceRows
from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.library import Library
from fhirspace.sdtm.derive.derive import derive
from fhirspace.sdtm.derive.design import Element, StudyDesign
from fhirspace.sdtm.longtext.divide import divide
from fhirspace.standards import sdtm
from fhirspace.study import pipeline, summary
from fhirspace.study.accounting import Accounting
from fhirspace.study.dataset import InMemory
from fhirspace.study.inputs import recognise
from fhirspace.study.screening import Screening
from fhirspace.study.summary import StudySummary
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.text import data_columns, with_provenance
from tests.study.space_study import Space

Tables = Mapping[str, pa.Table]
Row = tuple[tuple[str, str], ...]
FORMATS = ("xpt",)
DESIGN = StudyDesign(elements=(Element("T", "Treatment", "TREATMENT", "RFSTDTC", 0),))
LONG = ("word " * 60).strip()
STEPS = {
    "for_deriving": {"filled", "visits"},
    "for_checking": {"filled", "names"},
    "for_rendering": {"parameters", "statuses", "keys", "links"},
    "for_writing": {"lengths"},
}
BY_BLOCK = {"FS722", "FS724", "FS729", "FS732", "FS750", "FS752"}
"""Notes that count cells, or name the first row with a value: each block has its own."""
STUDY = {
    "DM": """STUDYID|USUBJID|RFSTDTC|RFXSTDTC|RFPENDTC
S|A|2020-01-01|2020-01-01|2020-12-31
S|B|2020-01-01|2020-01-01|2020-12-31
S|C|2020-01-01|2020-01-01|2020-12-31""",
    "SE": """STUDYID|USUBJID|SESEQ|ETCD|SESTDTC|SEENDTC|EPOCH
S|A|1|T|2020-01-01|2020-12-31|TREATMENT
S|B|1|T|2020-01-01|2020-12-31|TREATMENT""",
    "AE": f"""STUDYID|USUBJID|AETERM|AEDECOD|AESTDTC|AEDTC
S|A|HEADACHE|Headache|2020-02-01|
S|B|{LONG}|||2020-02-01
S|C|{LONG}||2020-02-01|
S|Z|NOBODY'S||2020-02-01|""",
    "FA": """STUDYID|USUBJID|FATESTCD|FATEST|FAOBJ|FAORRES
S|A|OCCUR|Occurrence|HEADACHE|Y""",
    "RELREC": """STUDYID|RDOMAIN|USUBJID|IDVAR|IDVARVAL|RELTYPE|RELID
S|AE|A|AESEQ|1||R
S|FA|A|FASEQ|1||R""",
    "SUPPAE": """STUDYID|RDOMAIN|USUBJID|IDVAR|IDVARVAL|QNAM|QLABEL|QVAL
S|AE|A|AESEQ|1|AETERM1|Own|x""",
    "SV": """STUDYID|USUBJID|VISIT|VISITNUM|SVSTDTC
S|A|EXTRA|9|2020-02-01""",
    "VS": """STUDYID|USUBJID|VSTESTCD|VSTEST|VSORRES|VSORRESU|VISIT|VISITNUM|VSDTC
S|B|TEMP|Temperature|37|C|EXTRA||2020-02-01
S|C|TEMP|Temperature|37|C|EXTRA||2020-02-01""",
    "TS": """STUDYID|TSSEQ|TSPARMCD|TSPARM|TSVAL
S|1|SYNTHDTA|Synthetic|Y""",
}
"""Each subject's rows would become others if the step looked at those of the subject alone."""


def blocks(tables: Tables, count: int = 3) -> Iterator[dict[str, pa.Table]]:
    """The tables in parts of whole subjects; those about no subject are in each part. No subject: the first part."""
    subjects = sorted({cell for table in tables.values() for cell in _subjects(table) if cell})
    for part in range(count):
        mine = pa.array(subjects[part::count] + ([None] if part == 0 else []), pa.string())
        yield {
            name: table.filter(pc.is_in(table["USUBJID"].cast(pa.string()), value_set=mine))
            if _subjects(table)
            else table
            for name, table in tables.items()
        }


def _subjects(table: pa.Table) -> list[str | None]:
    return table["USUBJID"].to_pylist() if "USUBJID" in table.column_names else []


def rows(tables: Tables) -> dict[str, Counter[Row]]:
    """The rows of each table in any order, by their filled cells."""
    return {
        name: Counter(tuple((key, str(cell)) for key, cell in sorted(row.items()) if cell is not None) for row in cells)
        for name, table in tables.items()
        if (cells := table.to_pylist())
    }


def together(parts: list[Tables], whole: Tables) -> dict[str, Counter[Row]]:
    """The rows of some parts, those of datasets about no subject once."""
    found: dict[str, Counter[Row]] = {}
    for part in parts:
        for name, counted in rows(part).items():
            found[name] = found.get(name, Counter()) + counted if "USUBJID" in whole[name].column_names else counted
    return found


@pytest.fixture(scope="module")
def sources() -> SourceLibrary:
    return pipeline.source_library("space", (), [])


@pytest.fixture(scope="module")
def made(space: Space, sources: SourceLibrary) -> SourceRows:
    return pipeline.forms(pipeline.read(recognise([space.records]), Accounting(), sources), sources)


@pytest.fixture(scope="module")
def study() -> dict[str, pa.Table]:
    return {name: table(text) for name, text in STUDY.items()}


def table(text: str) -> pa.Table:
    names, *cells = (line.split("|") for line in text.splitlines())
    return pa.table(
        {
            name: pa.array([cell or None for cell in column], pa.string())
            for name, column in zip(names, zip(*cells, strict=True), strict=True)
        }
    )


@pytest.fixture(scope="module")
def derived(study: dict[str, pa.Table]) -> dict[str, pa.Table]:
    return derive(study, DESIGN).tables


def test_derivations_of_blocks_are_those_of_the_study(study: dict[str, pa.Table], derived: dict[str, pa.Table]) -> None:
    known = summary.for_deriving(study)
    parts = [derive(part, DESIGN, filled=known.filled, visits=known.visits).tables for part in blocks(study)]
    assert together(list(parts), derived) == rows(derived)
    assert derived["VS"]["VISITNUM"].to_pylist() == ["9", "9"]
    assert derived["AE"]["EPOCH"].to_pylist() == ["TREATMENT", None, None, None]
    assert derived["SE"].num_rows == 2


@pytest.mark.slow
def test_derivations_of_blocks_of_space(made: SourceRows, sources: SourceLibrary) -> None:
    whole = pipeline.derive(made, sources)
    known = summary.for_deriving(made.tables)
    parts = [pipeline.derive(made._replace(tables=part), sources, known) for part in blocks(made.tables)]
    assert together([part.block.tables for part in parts], whole.block.tables) == rows(whole.block.tables)
    assert {each for part in parts for each in part.derivation.derived} == set(whole.derivation.derived)


def found(look: Screening) -> set[Problem]:
    return {each.problem for each in look.findings if each.problem.code not in BY_BLOCK}


def test_findings_of_blocks_are_those_of_the_study(derived: dict[str, pa.Table]) -> None:
    tables = {name: with_provenance(each, f"{name.lower()}.csv") for name, each in derived.items()}
    whole = pipeline.check(pipeline.Block(tables), FORMATS)
    known = summary.for_checking(tables, names=True)
    parts = [pipeline.check(pipeline.Block(part), FORMATS, known) for part in blocks(tables)]
    assert {"FS727", "FS736", "FS737"} <= {each.code for each in found(whole)}
    assert set().union(*map(found, parts)) == found(whole)


def test_long_texts_of_blocks_are_cut_as_those_of_the_study(derived: dict[str, pa.Table]) -> None:
    whole = divide(derived).whole()
    known = summary.for_checking(derived, names=True)
    parts = [divide(part, known.names).whole() for part in blocks(derived)]
    assert whole["SUPPAE"]["QNAM"].to_pylist() == ["AETERM1", "AETERM2", "AETERM2"]
    assert together(list(parts), whole) == rows(whole)


def resources(tables: Tables, folder: Path, library: Library) -> Counter[bytes]:
    prepared = pipeline.Prepared({name: InMemory(table) for name, table in tables.items()})
    with OutputFolder(folder) as out:
        pipeline.render(prepared, library, out, Accounting())
    return Counter(line for file in (folder / "fhir").glob("*.ndjson") for line in file.read_bytes().splitlines())


@pytest.mark.slow
def test_resources_of_blocks_are_those_of_the_study(made: SourceRows, sources: SourceLibrary, tmp_path: Path) -> None:
    library = Library("R4", key=DEMO_KEY)
    tables = pipeline.derive(made, sources).block.tables
    whole = resources(tables, tmp_path / "whole", library)
    parts = [resources(part, tmp_path / str(at), library) for at, part in enumerate(blocks(tables))]
    again = Counter(line for part in parts for line in set(part))
    assert set(again) == set(whole)
    # Resources that many rows share (docs/decisions/0018) are made again in each block, all others once.
    assert {line.split(b'"')[3] for line, count in again.items() if count > 1} <= {b"ResearchStudy", b"Organization"}


def test_each_attribute_of_the_summary_is_made_for_a_step(derived: dict[str, pa.Table]) -> None:
    makers = {name for name, _ in inspect.getmembers(summary, inspect.isfunction) if name.startswith("for_")}
    assert makers == set(STEPS)
    assert {each.name for each in dataclasses.fields(StudySummary)} == set().union(*STEPS.values())
    library, tabulations = Library("R4"), {name: InMemory(table) for name, table in derived.items()}
    given = {
        "for_deriving": summary.for_deriving(derived),
        "for_checking": summary.for_checking(derived, names=True),
        "for_rendering": summary.for_rendering(tabulations, library.complete().values()),
        "for_writing": summary.for_writing(derived),
    }
    blank = StudySummary()
    for name, one in given.items():
        assert {
            each.name for each in dataclasses.fields(one) if getattr(one, each.name) != getattr(blank, each.name)
        } == STEPS[name]
    text = summary.__doc__ or ""
    assert all(f"`{name}`" in text for name in {*STEPS, *set().union(*STEPS.values())})


def test_the_length_of_a_variable_is_that_of_the_study(derived: dict[str, pa.Table]) -> None:
    whole = summary.for_writing(derived).lengths
    parts = [summary.for_writing(part).lengths for part in blocks(derived)]
    assert whole == {key: max(part[key] for part in parts) for key in whole}
    assert {name for name, _ in whole} == set(derived)
    assert all((name, column) in whole for name, table in derived.items() for column in data_columns(table))


@pytest.mark.parametrize("release", ["R4", "R4B", "R5"])
def test_keys_of_mappings_hold_the_subject(release: Any) -> None:
    """Hence repeated keys and nested rows are found within a block."""
    for name, mapping in Library(release).complete().items():
        own = sdtm.domain(name).names if sdtm.known(name) else ("USUBJID",)
        if "USUBJID" in own and mapping.key:  # rows without a key are told apart by all their cells
            assert "USUBJID" in mapping.key, name
            assert mapping.attach is None or "USUBJID" in mapping.attach.on, name
        assert all("USUBJID" in key for key in summary.keys_of(summary.needed(mapping))), name
