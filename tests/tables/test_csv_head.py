"""A first line that is data: known by what is below it, and never quoted."""

from __future__ import annotations

import csv as reference
import io
from pathlib import Path

import pytest

from fhirspace.errors import InputError
from fhirspace.study.demo.run import sample
from fhirspace.tables import csv
from fhirspace.tables.csv.head import enough, looks_like_data
from tests.small_study import AE, DM


def parsed(text: str) -> list[list[str]]:
    return list(reference.reader(io.StringIO(text)))


DATA = {
    "dates": "SP-001,Nausea,2024-03-01\nSP-002,Rash,2024-03\nSP-003,Fall,UNK\n",
    "dates with words": "SP-001,3 Mar 2024\nSP-002,14-FEB-2024\n",
    "dates with points": "SP-001,03.03.2024 10:00\nSP-002,3.4.2024\n",
    "times": "a,10:30\nb,11:45:10\n",
    "numbers": "SP-001,63.5\nSP-002,71\nSP-003,<5\n",
    "codes": "1,Male\n2,Female\n",
    "answers": "Jansen,Utrecht,Y,M\nde Vries,Breda,N,M\nBakker,Utrecht,Y,F\n",
    "datasets": "TINY,AE,Headache,MILD\nTINY,AE,Rash,MODERATE\n",
    "of other widths": "SP-001,2024-03-01\nSP-002\nSP-003,2024-03-02,x\n",
}
HEADERS = {
    "our own": AE,
    "subjects": DM,
    "a wide table": "subject,0.5,1,2,4\nSP-001,12.1,8.0,4.4,1\nSP-002,11,9,5,2\n",
    "ticks": "subject,Nausea,Rash\nSP-001,Nausea,\nSP-002,,Rash\n",
    "a unit that is called unit": "subject,dose,unit\n1,5,mg\n2,1,unit\n",
    "a header in the middle": "site,arm\nA,x\nsite,arm\nB,y\n",
    "years above texts": "subject,2023,text\na,yes,b\nb,no,c\n",
    "nothing below": "1,2\n",
}


@pytest.mark.parametrize("text", DATA.values(), ids=DATA)
def test_data(text: str) -> None:
    first, *below = parsed(text)
    assert looks_like_data(first, below)


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_headers(text: str) -> None:
    first, *below = parsed(text)
    assert not looks_like_data(first, below)


@pytest.mark.parametrize("path", sorted((sample() / "records").glob("*.csv")), ids=lambda path: path.stem)
def test_every_form_of_the_sample_has_a_header_and_without_it_data(path: Path) -> None:
    first, *below = parsed(path.read_text("utf-8"))
    assert not looks_like_data(first, below)
    if len(below) > 3:
        assert looks_like_data(below[0], below[1:])


def test_few_rows_of_many_columns_are_looked_at() -> None:
    assert enough(4) == 200
    assert enough(10_000) == 5
    assert enough(10**9) == enough(0) // 200 == 1


@pytest.mark.parametrize("text", DATA.values(), ids=DATA)
def test_a_file_without_header_is_refused_and_not_quoted(text: str, tmp_path: Path) -> None:
    (tmp_path / "ae.csv").write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        csv.read(tmp_path / "ae.csv")
    assert caught.value.code == "FS118"
    assert str(caught.value).startswith("FS118 ae.csv:1: ")
    assert not [cell for line in parsed(text) for cell in line if len(cell) > 3 and cell in str(caught.value)]


def test_a_name_that_may_be_a_value_is_not_quoted_where_a_row_is_faulty(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("SP-001,term\n=1,x\nSP-003,=2\n", "utf-8")
    _, rejected = csv.read(tmp_path / "x.csv")
    assert [problem.place.column for problem in rejected.problems] == ["column 1", "term"]
