"""Single cells that once held up a whole run: units and numbers no computer can write out, and texts tried in all ways."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.mapping.read.memo import LONG, Fold, Memo
from fhirspace.remember import LONGEST, MOST, remembered
from fhirspace.sdtm.dates import day_of
from fhirspace.standards import ucum, units
from fhirspace.tables.xpt import checks
from fhirspace.template.codec import CellError
from fhirspace.template.codecs import NAMES, codec

LENGTH = 200_000
CELLS = {
    "digits and a letter": "1" * LENGTH + "x",
    "digits": "1" * LENGTH,
    "digits with points": "1." * (LENGTH // 2),
    "blanks and a letter": " " * LENGTH + "x",
    "blanks and a number": " " * LENGTH + "1",
    "a number of many decimals": "0." + "1" * LENGTH,
    "a number beyond any": "1e999999999",
    "years of a duration": "P" + "1" * LENGTH + "x",
    "parts of a duration": "P" + "1Y" * (LENGTH // 2),
    "signs": "+" * LENGTH,
    "a range of ranges": "1-" * (LENGTH // 2),
    "comparators": "<" * LENGTH + "1",
    "dates": "2024-01-01/" * (LENGTH // 11),
    "a time of many decimals": "2024-01-01T00:00:00." + "1" * LENGTH,
    "digits of another script": "\u0661" * LENGTH,
}
UNITS = {
    "a power of ten": "10^99999999/L",
    "a power of ten as UCUM has it": "10*99999999/L",
    "a power of ten of many digits": "10^" + "9" * 5_000 + "/L",
    "a factor of many digits": "9" * 5_000 + "/L",
    "a power of a unit": "cm99999999",
    "a power of a unit of many digits": "cm" + "9" * 5_000,
    "powers of large units": "Gm99." * 19 + "Gm99",
    "many parts": "m." * 100_000 + "m",
    "many fractions": "/m" * 100_000,
    "digits and a letter": "1" * LENGTH + "x",
    "digits of another script": "m\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661",
}


def soon(function: Callable[[], object]) -> object:
    """The result of a function that takes less than a second."""
    begin = time.process_time()
    try:
        return function()
    finally:
        assert time.process_time() - begin < 1


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("name", NAMES)
def test_codecs(name: str, cell: str) -> None:
    found = codec(name)
    if found is None:
        return
    try:
        text = soon(lambda: found.out(cell))
    except CellError:
        return
    assert text is None or isinstance(text, str)
    soon(lambda: found.back(cell))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_numbers_and_dates(cell: str) -> None:
    soon(lambda: units.canonical_number(cell))
    soon(lambda: units.convert(cell, "mg/dL", "g/L"))
    soon(lambda: units.convert(cell, "C", "F"))
    soon(lambda: checks.number_fault(cell))
    assert soon(lambda: day_of(cell)) in {None, 738_886}  # 2024-01-01


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_units(unit: str) -> None:
    assert soon(lambda: units.convert("5", unit, "g/L")) is None
    assert soon(lambda: units.convert("5", "g/L", unit)) is None
    soon(lambda: units.ucum(unit))
    soon(lambda: ucum.size(unit))


def test_units_that_are_large_and_real_are_still_known() -> None:
    assert units.convert("5", "10^9/L", "10^3/uL") == "5"
    assert ucum.size("10*12/L") is not None
    assert ucum.size("cm3") is not None


def test_a_unit_in_a_study_does_not_hold_it_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "in"
    home.mkdir()
    (home / "dm.csv").write_text("STUDYID,DOMAIN,USUBJID,SUBJID,SITEID\nS,DM,S-1,1,1\n")
    (home / "lb.csv").write_text(
        "STUDYID,DOMAIN,USUBJID,LBSEQ,LBTESTCD,LBTEST,LBORRES,LBORRESU\n"
        "S,LB,S-1,1,WBC,Leukocytes,5,10^99999999/L\n"
        f"S,LB,S-1,2,WBC,Leukocytes,{'1' * 10_000}x,10^9/L\n"
    )
    begin = time.process_time()
    assert main(["convert", str(home), "--to", "fhir", "--out", str(tmp_path / "out")]) in {0, 1, 3}
    assert time.process_time() - begin < 20


def test_what_is_remembered_of_texts_is_bounded() -> None:
    called = []

    @remembered
    def length(text: str) -> int:
        called.append(text)
        return len(text)

    assert [length("a"), length("a"), length("b" * (LONGEST + 1)), length("b" * (LONGEST + 1))] == [1, 1, 257, 257]
    assert called == ["a", "b" * (LONGEST + 1), "b" * (LONGEST + 1)]
    tracemalloc.start()
    for number in range(300):
        length(str(number) * LENGTH)
    called.clear()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1_000_000
    assert MOST <= 1 << 16


@pytest.mark.parametrize("function", [units.canonical, units.ucum, ucum.size, day_of], ids=lambda each: each.__name__)
def test_functions_of_cells_remember_no_long_ones(function: Callable[[str], object]) -> None:
    function("warm")
    tracemalloc.start()
    for number in range(200):
        function(f"{number} {'x' * 10_000}")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 300_000


def test_the_reader_remembers_no_long_texts() -> None:
    memo = Memo(len)
    assert memo["x" * (LONG + 1)] == LONG + 1
    assert not memo
    assert memo["x"] == 1
    assert set(memo) == {"x"}


def test_the_reader_forgets_elements_that_take_much() -> None:
    fold = Fold(lambda raw: (raw.decode(),), ("A",))
    for number in range(70):
        fold[b"%d" % number * 1_000_000]
    assert len(fold.cells) == 70
    fold.trim()
    assert not fold
    assert not fold.cells
    fold[b"x"]
    fold.trim()
    assert set(fold) == {b"x"}
