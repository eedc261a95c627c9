"""The compiled reader gives what `extract` gives, for every mapping that is found, whatever the line holds."""

from __future__ import annotations

import gc
import json
import random
from functools import cache
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fhirspace.json import parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import CARRIED_URL, Mapping, Obj
from fhirspace.mapping.read import memo as reader_memo, reader as module
from fhirspace.mapping.read.memo import Fold, Memo
from fhirspace.mapping.read.program import keepable, repeated
from fhirspace.mapping.read.reader import ReadBatch, Reader
from fhirspace.mapping.write.render import render
from fhirspace.standards.fhir import Release
from tests.mapping import reader_cases
from tests.mapping.generate import CLEAN, Row, rows
from tests.mapping.reader_cases import Read, dump, spoil, taken, told
from tests.mapping.test_laws import cases, library, written
from tests.support.shipped import marked

Lines = list[tuple[int, bytes]]
CASES = marked(cases())


def law(release: Release, more: int = 1) -> settings:
    """How a law is tried: R4B and R5 differ little from R4. `soak_laws` takes `more` times as many rows."""
    return settings(
        max_examples={"R4": 3, "R4B": 1, "R5": 2}[release] * more, deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )  # fmt: skip


class Keeping(Reader):
    """Keeps all elements as bytes that can be kept (a Reader does so only where it sees them repeat)."""

    def _kept(self, template: Obj, lines: list[bytes]) -> list[str]:
        return keepable(template)


@cache
def reader(release: Release, notice: bool, kept: bool = False) -> Reader:
    return (Keeping if kept else Reader)(library(release), notice=notice)


def numbered(lines: list[bytes]) -> Lines:
    return list(enumerate(lines, 1))


def read(release: Release, lines: Lines, notice: bool = True, kept: bool = False) -> tuple[Read, list[ReadBatch]]:
    batches = list(reader(release, notice, kept).read(lines, "x.ndjson"))
    return taken(batches), batches


def same(release: Release, lines: Lines, *, fast: bool = False) -> None:
    """Reader and `extract` agree, unknown elements noticed or not; `fast`: and no line needed `extract`."""
    meant: dict[bool, Read] = {}
    for notice, kept in product((True, False), (True, False)):
        got, batches = read(release, lines, notice, kept)
        if notice not in meant:  # once, and after a reader, which may have added a mapping to the library
            meant[notice] = told(lines, library(release), notice=notice)
        wanted = meant[notice]
        got.unmapped = sorted(place for place in got.unmapped if "reserved" not in place[1])
        wanted.unmapped.sort()
        got.empty = got.empty if notice else []
        assert got == wanted
        assert not fast or (sum(batch.slow for batch in batches), got.unmapped) == (0, [])


def resources(mapping: Mapping, row: Row, lib: Library) -> list[bytes]:
    return [text.encode() for _, text in written(mapping, row, lib)]


# -- the law


@pytest.mark.parametrize(("release", "domain"), CASES)
def test_clean_rows_never_need_extract(release: Release, domain: str) -> None:
    hold_clean(release, domain)


def hold_clean(release: Release, domain: str, more: int = 1) -> None:
    lib = library(release)

    @law(release, more)
    @given(rows(lib.mappings[domain], lib, CLEAN))
    def check(row: Row) -> None:
        same(release, numbered(resources(lib.mappings[domain], row, lib)), fast=True)

    check()


@pytest.mark.parametrize(("release", "domain"), CASES)
def test_any_row_spelt_anyhow_or_spoilt_reads_as_extract_reads_it(release: Release, domain: str) -> None:
    hold_spoilt(release, domain)


def hold_spoilt(release: Release, domain: str, more: int = 1) -> None:
    lib = library(release)

    @law(release, more)
    @given(rows(lib.mappings[domain], lib), st.integers(0, 10**9))
    def check(row: Row, seed: int) -> None:
        rng = random.Random(seed)
        lines = resources(lib.mappings[domain], row, lib)
        odd = [dump(parse(line), rng).encode() for line in lines]
        bad = [spoilt(line, rng) for line in lines * 4]
        cut = [line[: rng.randrange(len(line))] for line in lines]
        same(release, numbered([*lines, *odd, *bad, *cut]))

    check()


def spoilt(line: bytes, rng: random.Random) -> bytes:
    resource = parse(line)
    for _ in range(rng.choice([1, 1, 2, 3])):
        if resource:
            spoil(resource, rng)
    return dump(resource).encode()


def test_spoiling_changes_nothing_that_other_lines_get() -> None:
    """Else each line would be odder than the one before, until none can be read at all."""
    before, rng = dump(reader_cases.ODD), random.Random(1)
    for _ in range(40):
        resource = parse(lab())
        for _ in range(20):
            spoil(resource, rng)
    assert dump(reader_cases.ODD) == before


def test_readers_share_their_code_and_nothing_that_they_read() -> None:
    """A block's reader is made once; cells that one has met are not those of another one."""
    made = []
    for number in ("1", "2"):
        mine = Reader(library("R4"))
        batches = list(mine.read([(1, lab(LBSEQ=number)), (2, lab(LBSEQ=number, LBORRES="7"))], "x.ndjson"))
        assert [[cell for _, row in some for cell in [row["LBSEQ"]]] for some in taken(batches).rows.values()] == [
            [number] * 2
        ]
        assert mine._last is not None
        made.append(mine._last.read)
    first, second = made
    assert first.__code__ is second.__code__
    held = [{id(each) for each in read.__globals__.values() if isinstance(each, Memo | Fold | list)} for read in made]
    assert len(held[0]) > 5
    assert held[0] & held[1] == set()


def test_a_dataset_that_one_reader_met_is_known_to_others() -> None:
    lib = Library("R4")
    line = lab().replace(b"https://fhirspace.org/LB", b"https://fhirspace.org/QJ")
    readers = [Reader(lib) for _ in range(2)]
    found = [taken(each.read([(1, line)], "x.ndjson")) for each in readers]
    assert found[0] == found[1]
    assert [len(rows) for rows in found[0].rows.values()] == [1]


# -- what a server adds


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_metadata_of_a_server_stays_on_the_fast_path(release: Release) -> None:
    lines = []
    for number in range(3):
        resource = json.loads(lab(release, LBSEQ=str(number + 1)))
        resource["meta"] |= {
            "versionId": str(number),
            "lastUpdated": f"2024-05-0{number + 1}T10:00:00Z",
            "source": "#a",
        }
        lines.append(json.dumps(resource).encode())
    same(release, numbered(lines), fast=True)


def lab(release: Release = "R4", **cells: str) -> bytes:
    base = {
        "STUDYID": "S1", "DOMAIN": "LB", "USUBJID": "S1-01", "LBSEQ": "1", "LBTESTCD": "HGB", "LBTEST": "Hemoglobin",
        "LBORRES": "5.50", "LBORRESU": "g/L", "LBDTC": "2024-05-01",
    }  # fmt: skip
    return render(library(release).mappings["LB"], base | cells)[0][1].encode()


@pytest.mark.parametrize("unit", ["beats/min", "breaths/min", "kg"])
def test_units_that_share_a_code_stay_on_the_fast_path(unit: str) -> None:
    row = {
        "STUDYID": "S1", "DOMAIN": "VS", "USUBJID": "S1-01", "VSSEQ": "1", "VSTESTCD": "X", "VSTEST": "x",
        "VSORRES": "16", "VSORRESU": unit,
    }  # fmt: skip
    lines = [text.encode() for _, text in render(library("R4").mappings["VS"], row)]
    same("R4", numbered(lines), fast=True)


def lab_row(line: bytes, notice: bool = True) -> dict[str, str]:
    got, _ = read("R4", [(1, line)], notice)
    return got.rows["LB", 0][0][1]


@pytest.mark.parametrize("spelling", ["5.50", "1e3", "-0", "0.10", "12345678901234567890.123456789", "1E-5"])
def test_numbers_keep_their_spelling(spelling: str) -> None:
    assert lab_row(lab().replace(b'"value":5.50', b'"value":' + spelling.encode()))["LBORRES"] == spelling


def carrying(**cells: str) -> bytes:
    """A lab resource with a second carrying extension."""
    parts = [{"url": name, "valueString": cell} for name, cell in cells.items()]
    return lab()[:-1] + b"," + json.dumps({"extension": [{"url": CARRIED_URL, "extension": parts}]}).encode()[1:]


def test_a_carried_cell_wins_over_the_element() -> None:
    row = lab_row(carrying(LBTEST="Hb", QQ="q"))
    assert (row["LBTEST"], row["QQ"], row["LBTESTCD"]) == ("Hb", "q", "HGB")


@pytest.mark.parametrize("name", ["@row", "_X", "@file"])
def test_a_carried_column_of_a_reserved_name_is_listed_not_read(name: str) -> None:
    got, _ = read("R4", [(7, carrying(**{name: "q"}))])
    assert got.unmapped == [(7, "LB: carried under a reserved name")]
    assert "q" not in got.rows["LB", 0][0][1].values()


# -- lines that are no resources of ours


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"resourceType":"Observation"', "FS401"),
        (b"not json", "FS401"),
        (b'{"resourceType":"Observation","x":"\xff"}', "FS401"),
        (b"[" * 100_000, "FS403"),
        (b"[1]", "FS414"),
        (b'"text"', "FS414"),
        (b"null", "FS414"),
    ],
)
def test_a_line_that_is_no_object_is_a_problem_at_its_place(line: bytes, code: str) -> None:
    got, batches = read("R4", [(1, lab()), (2, line), (3, lab(LBSEQ="2"))])
    assert got.problems == [(code, 2)]
    assert [number for number, _ in got.rows["LB", 0]] == [1, 3]
    assert batches[0].problems[0].place.file == "x.ndjson"


@pytest.mark.parametrize("broken", [b"\xff", b"\\ud800"])
@pytest.mark.parametrize("notice", [True, False])
def test_text_that_utf8_cannot_hold_is_a_problem_wherever_it_stands(broken: bytes, notice: bool) -> None:
    for place in (b"Hemoglobin", b"Patient/"):
        got, _ = read("R4", [(1, lab()), (2, lab(LBTEST="Hemoglobin").replace(place, place + broken))], notice)
        if broken == b"\xff" or place == b"Hemoglobin":
            assert got.problems == [("FS401", 2)]
        assert len(got.rows["LB", 0]) == 2 - len(got.problems)


@pytest.mark.parametrize(
    "line",
    [
        b'{"resourceType":"Observation"}',
        b'{"resourceType":"Basic","identifier":[{"system":"https://fhirspace.org/LB","value":"a|1"}]}',
        b'{"resourceType":"Observation","identifier":[{"system":"https://elsewhere.org","value":"a|1"}]}',
        b'{"resourceType":"Observation","identifier":"x"}',
    ],
)
def test_a_resource_that_no_block_claims_is_foreign(line: bytes) -> None:
    got, _ = read("R4", [(4, line), (5, lab())])
    assert got.foreign == [4]
    assert len(got.rows["LB", 0]) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"resourceType":["Observation"],"identifier":[{"system":"https://fhirspace.org/LB"}]}',
        b'{"resourceType":5,"identifier":[{"system":"https://fhirspace.org/LB"}]}',
        b'{"resourceType":""}',
    ],
)
def test_what_has_no_resource_type_is_none(line: bytes) -> None:
    got, _ = read("R4", [(4, line), (5, lab())])
    assert (got.foreign, got.problems) == ([], [("FS410", 4)])
    assert len(got.rows["LB", 0]) == 1


@pytest.mark.parametrize("kept", [True, False])
def test_a_byte_order_mark_does_no_harm(kept: bool) -> None:
    lines = numbered([b"\xef\xbb\xbf" + lab(LBCAT="CHEM", LBSPEC="BLOOD"), lab(LBSEQ="2", LBSPEC="BLOOD")])
    got = taken((Keeping if kept else Reader)(library("R4")).read(lines, "x"))
    assert got == told(lines, library("R4"), notice=True)


def test_content_that_no_slot_reads_is_listed_by_its_path_without_its_value() -> None:
    line = lab().replace(b'"status":"final"', b'"status":"amended","note":[{"text":"secret"}]')
    got, batches = read("R4", [(3, line)])
    assert got.unmapped == [(3, "Observation.status"), (3, "Observation.note")]
    assert batches[0].slow == 1
    ignored, batches = read("R4", [(3, line)], notice=False)
    assert (ignored.unmapped, batches[0].slow, ignored.rows) == ([], 0, got.rows)


# -- nested rows


def adverse_event(supplemental: str) -> bytes:
    lib = library("R4")
    cells = {"STUDYID": "S1", "DOMAIN": "AE", "USUBJID": "S1-01", "AESEQ": "1", "AETERM": "Headache"}
    child = {"STUDYID": "S1", "USUBJID": "S1-01", "RDOMAIN": "AE", "QVAL": "v"}
    items = [render(lib.mappings["SUPPAE"], child | {"QNAM": name})[0][1] for name in ("ONE", "TWO")]
    return render(lib.mappings["AE"], cells, {"SUPPAE": items})[0][1].encode().replace(b'"TWO"', supplemental.encode())


def test_attached_rows_have_the_columns_of_their_parent() -> None:
    got, batches = read("R4", [(1, adverse_event('"TWO"'))])
    wanted = {"STUDYID": "S1", "USUBJID": "S1-01", "RDOMAIN": "AE", "QVAL": "v"}
    assert got.rows["SUPPAE", 0] == [(1, wanted | {"QNAM": "ONE"}), (1, wanted | {"QNAM": "TWO"})]
    assert batches[0].slow == 0


def test_a_refused_attached_item_leaves_no_row_twice() -> None:
    got, batches = read("R4", [(1, adverse_event('"TWO"')), (2, adverse_event("5"))])
    assert [number for number, _ in got.rows["SUPPAE", 0]] == [1, 1, 2, 2]
    assert [number for number, _ in got.rows["AE", 0]] == [1, 2]
    assert batches[0].slow == 1
    assert got.unmapped


# -- batches


def test_batches_are_bounded_and_the_collector_of_garbage_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    lines = ((number, lab(LBSEQ=str(number))) for number in range(1, 11))
    sizes = []
    for batch in reader("R4", True).read(lines, "x"):
        assert gc.isenabled()
        sizes.append(batch.tables["LB"][0].num_rows)
    assert sizes == [4, 4, 2]
    gc.disable()
    try:
        assert len(list(reader("R4", True).read([(1, lab())], "x"))) == 1
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_memory_of_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_memo, "LIMIT", 3)
    lines = numbered([lab(LBSEQ=str(number), LBORRES=f"{number}.50", LBTESTCD=f"T{number}") for number in range(1, 40)])
    reader.cache_clear()
    for start in range(0, 39, 5):
        same("R4", lines[start : start + 5])
    program = reader("R4", True, True)._last
    assert program is not None
    assert all(len(fold) <= 8 for part in program.parts for fold in part.folds)


def test_places_and_columns_of_a_table() -> None:
    _, (batch,) = read("R4", [(12, lab()), (19, lab(LBSEQ="2", LBCAT="CHEM"))])
    table = batch.tables["LB"][0]
    assert table["@row"].to_pylist() == [12, 19]
    assert table["@file"].to_pylist() == ["x.ndjson"] * 2
    assert table["LBCAT"].to_pylist() == [None, "CHEM"]
    assert "LBSCAT" not in table.column_names


def test_elements_that_repeat_are_found() -> None:
    root = library("R4").mappings["LB"].blocks[0].root
    lines = [lab(LBSEQ=str(number), LBORRES=str(number)) for number in range(100)]
    found = repeated(root, [*lines, b"broken"])
    assert {"code", "subject", "meta"} <= set(found)
    assert not {"valueQuantity", "identifier", "extension", "effectiveDateTime"} & set(found)
    assert repeated(root, lines[:5]) == []
