"""A study of a few rows for tests that need any study: as SDTM datasets in CSV files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from fhirspace.tables.text import from_columns

DM = """STUDYID,DOMAIN,USUBJID,SUBJID,SITEID,SEX,ARMCD,ARM,ACTARMCD,ACTARM,COUNTRY,RFICDTC
TINY,DM,TINY-1,1,10,F,A,Arm A,A,Arm A,AUS,2024-01-02
TINY,DM,TINY-2,2,10,M,A,Arm A,A,Arm A,AUS,2024-01-03
"""
AE = """STUDYID,DOMAIN,USUBJID,AESEQ,AETERM,AEDECOD,AESEV,AESER,AESTDTC
TINY,AE,TINY-1,1,Headache,Headache,MILD,N,2024-02-01
TINY,AE,TINY-1,2,Rash,Rash,MODERATE,N,2024-02
TINY,AE,TINY-2,1,Fall,Fall,SEVERE,Y,2024-03-01T10:20
"""


def write(folder: Path, **datasets: str) -> Path:
    """DM and AE, or whatever is given instead or as well, as CSV files of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ({"DM": DM, "AE": AE} | datasets).items():
        (folder / f"{name.lower()}.csv").write_text(text, "utf-8")
    return folder


def table(text: str, name: str = "x.csv") -> pa.Table:
    """A text table out of lines with commas; an empty cell is a missing one."""
    header, *rows = (line.split(",") for line in text.strip().splitlines())
    return from_columns({column: [row[at] or None for row in rows] for at, column in enumerate(header)}, file=name)
