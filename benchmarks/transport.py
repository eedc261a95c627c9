"""SAS transport files: CPU seconds and memory for a million LB rows of 23 variables, beside pyreadstat.

    python -m benchmarks.transport [ROWS]

Each measurement is a process of its own; its memory is the most that the system counted for it.
"""

from __future__ import annotations

import random
import resource
import subprocess  # nosec B404  # measures in processes of its own
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from fhirspace.standards import sdtm
from fhirspace.tables import xpt
from fhirspace.tables.text import FILE, ROW, data_columns, file_column, row_column

TESTS = [("ALT", "U/L"), ("AST", "U/L"), ("BILI", "umol/L"), ("CREAT", "umol/L"), ("GLUC", "mmol/L"), ("HGB", "g/L")]
NUMERIC = ("LBSEQ", "LBSTRESN", "LBSTNRLO", "LBSTNRHI", "VISITNUM", "LBDY")


def table(rows: int) -> pa.Table:
    """LB rows with varied results, 23 variables, 6 of them numbers."""
    at, source = np.arange(rows), random.Random(1)
    subject, test, visit = at // 300, at % len(TESTS), at // len(TESTS) % 50
    values = np.array([f"{source.uniform(1, 400):.1f}" for _ in range(min(rows, 40_000))])[at % 40_000 % rows]
    names, units = (np.array(each) for each in zip(*TESTS, strict=True))
    days = np.datetime64("2024-01-01") + visit * 7 + subject % 90
    upper = np.full(rows, "120.5")
    columns = {
        "STUDYID": np.full(rows, "STUDY-01"),
        "DOMAIN": np.full(rows, "LB"),
        "USUBJID": np.char.add("STUDY-01-", subject.astype(str)),
        "LBSEQ": (at % 300 + 1).astype(str),
        "LBREFID": np.char.add("R", at.astype(str)),
        "LBTESTCD": names[test],
        "LBTEST": np.char.add("Test of ", names[test]),
        "LBCAT": np.full(rows, "CHEMISTRY"),
        "LBORRES": values,
        "LBORRESU": units[test],
        "LBORNRLO": np.full(rows, "5"),
        "LBORNRHI": upper,
        "LBSTRESC": values,
        "LBSTRESN": values,
        "LBSTRESU": units[test],
        "LBSTNRLO": np.full(rows, "5"),
        "LBSTNRHI": upper,
        "LBNRIND": np.array(["NORMAL", "HIGH"])[at % 2],
        "LBSPEC": np.full(rows, "SERUM"),
        "VISITNUM": (visit + 1).astype(str),
        "VISIT": np.char.add("VISIT ", visit.astype(str)),
        "LBDTC": days.astype(str),
        "LBDY": (visit * 7 + 1).astype(str),
    }
    arrays = {name: pa.array(cells.tolist(), pa.string()) for name, cells in columns.items()}
    return pa.table({**arrays, FILE: file_column("lb", rows), ROW: row_column(2, rows)})


def variables(names: list[str]) -> list[xpt.Variable]:
    """The variables as the guide describes them."""
    known = {variable.name: variable.label for variable in sdtm.standard_variables("LB")}
    return [(name, known[name], "Num" if name in NUMERIC else "Char", None) for name in names]


def measured(what: str, file: str, rows: int) -> None:
    """One measurement in this process, printed as a line of the table."""
    path = Path(file)
    if what == "read, pyreadstat":
        import pyreadstat  # noqa: PLC0415 - a witness, not a dependency

        before = time.process_time()
        pyreadstat.read_xport(path)
    elif what == "read":
        before = time.process_time()
        xpt.read(path)
    elif what == "write":
        made = table(rows)
        before = time.process_time()
        xpt.write(made, path, name="LB", label="Laboratory", variables=variables(data_columns(made)))
    else:
        import pyreadstat  # noqa: PLC0415 - as above

        frame, _ = pyreadstat.read_xport(path)
        before = time.process_time()
        pyreadstat.write_xport(frame, f"{path}.2", table_name="LB", file_format_version=5)
    spent = time.process_time() - before
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<20}{spent:>8.2f} CPU s{most:>10,.0f} MB at most", flush=True)


def main() -> None:
    """All measurements, the file written first."""
    if len(sys.argv) == 4:
        measured(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        for what in ("write", "read", "read, pyreadstat", "write, pyreadstat"):
            command = [sys.executable, "-m", "benchmarks.transport", what, f"{folder}/lb.xpt", str(rows)]
            subprocess.run(command, check=True)  # nosec B603  # this module itself


if __name__ == "__main__":
    main()
