"""The record that a finding is about: certain or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from fhirspace.sdtm.related import about, links
from tests.small_study import table

AE = "USUBJID,AESEQ,AELNKID,AETERM\n1,1,L1,RASH\n1,2,L2,PAIN\n1,3,L3,Pain\n2,1,L1,Rash\n"
CM = "USUBJID,CMSEQ,CMLNKID,CMTRT\n1,1,L9,ASPIRIN\n"
FA = "USUBJID,FASEQ,FALNKID,FALNKGRP,FAOBJ\n1,1,L1,,RASH\n1,2.0,,L2,PAIN\n2,1,,,RASH\n3,1,L1,,RASH\n"
RELREC = "RDOMAIN,USUBJID,IDVAR,IDVARVAL,RELTYPE,RELID\n"
TARGETS = ("AE", "CM")


def found(target: str, dataset: str = "FA", **given: str) -> list[Any]:
    tables = {name: table(rows) for name, rows in ({"AE": AE, "CM": CM, dataset: FA} | given).items()}

    def read(name: str, columns: Sequence[str]) -> pa.Table | None:
        here = tables.get(name)
        return here and here.select([each for each in columns if each in here.column_names])

    ways = links(dataset, "FA", [each for each in TARGETS if each in tables], read)
    return list(about(ways, tables[dataset], target).to_pylist())


@pytest.mark.parametrize(
    ("relations", "expected"),
    [
        ("AE,1,AESEQ,1,,R\nFA,1,FASEQ,2,,R\n", [None, "1", None, None]),
        ("AE,1,AESEQ,1.0,,R\nFA,1,FASEQ,1,,R\nFA,1,FASEQ,2,,R\n", ["1", "1", None, None]),
        ("AE,1,AELNKID,L2,,R\nFA,1,FALNKID,L1,,R\n", ["2", None, None, None]),
        # a record that is not there, two records, a record of another subject, a variable that names none
        ("AE,1,AESEQ,9,,R\nFA,1,FASEQ,1,,R\n", [None] * 4),
        ("AE,1,AESEQ,1,,R\nAE,1,AESEQ,2,,R\nFA,1,FASEQ,1,,R\n", [None] * 4),
        ("AE,2,AESEQ,1,,R\nFA,1,FASEQ,1,,R\n", [None] * 4),
        ("AE,1,AETERM,RASH,,R\nFA,1,FASEQ,1,,R\n", [None] * 4),
        # beside the event something else, or in two relationships
        ("AE,1,AESEQ,1,,R\nDS,1,DSSEQ,1,,R\nFA,1,FASEQ,1,,R\n", [None] * 4),
        ("AE,1,AESEQ,1,,R\nFA,1,FASEQ,1,,R\nAE,1,AESEQ,2,,Q\nFA,1,FASEQ,1,,Q\n", [None] * 4),
        ("AE,1,AESEQ,1,,R\nFA,1,FASEQ,1,,R\nCM,1,CMSEQ,1,,Q\nFA,1,FASEQ,1,,Q\n", [None] * 4),
        # by datasets; of two columns each gives its own
        ("AE,,AELNKID,,ONE,R\nFA,,FALNKID,,MANY,R\n", ["1", None, None, None]),
        ("AE,,AELNKID,,ONE,R\nFA,,FALNKGRP,,MANY,R\n", [None, "2", None, None]),
        ("AE,,AELNKID,,ONE,R\nFA,,FALNKGRP,,MANY,R\nFA,,FALNKID,,MANY,R\n", ["1", "2", None, None]),
        ("AE,,AELNKID,,ONE,R\nFA,,FALNKID,,MANY,Q\n", [None] * 4),
        ("AE,,AETERM,,ONE,R\nFA,,FAOBJ,,MANY,R\n", [None] * 4),
        ("", [None] * 4),
    ],
)
def test_relationships(relations: str, expected: list[str | None]) -> None:
    assert found("AE", RELREC=RELREC + relations) == expected
    assert found("CM", RELREC=RELREC + relations) == [None] * 4


def test_the_name_of_a_split_says_of_what_the_record_is() -> None:
    """FALNKID first, then the term where just one record of the subject has it: PAIN are two, subject 3 has none."""
    assert found("AE", "FAAE") == ["1", None, "1", None]
    assert found("AE", "FACM") == [None] * 4
    assert found("CM", "FACM", FACM=FA.replace("RASH", "ASPIRIN")) == ["1", None, None, None]
    assert found("AE", "FA") == [None] * 4


def test_a_relationship_wins_over_the_term() -> None:
    relations = RELREC + "AE,2,AESEQ,1,,R\nFA,2,FASEQ,1,,R\nAE,1,AESEQ,3,,Q\nFA,1,FASEQ,1,,Q\n"
    assert found("AE", "FAAE", RELREC=relations) == ["3", None, "1", None]


def test_events_with_one_number_are_none() -> None:
    assert found("AE", "FAAE", AE=AE + "1,1,L5,COUGH\n") == [None, None, "1", None]
