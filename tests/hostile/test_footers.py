"""Footers that pyarrow's library refuses where it cannot say so, and damaged ones: read in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hostile.parquet_files import I32, Column, plain, write

CELL = plain(b"x")
FOOTERS: dict[str, Sequence[Column]] = {
    "a histogram of levels for a column without levels": [Column([CELL], {16: {3: [1, 1]}})],
    "a histogram of repetitions for a column without any": [Column([CELL], {16: {2: [1, 1, 1]}})],
    "an encrypted column": [Column([CELL], more={8: {2: {1: [b"A"]}}})],
    "an encrypted column, and nothing of it in the open": [Column([CELL], more={3: None, 8: {2: {1: [b"A"]}}})],
    "a column that is not described": [Column([CELL], more={3: None})],
    "no chunk for the column": [],
    "two chunks for the column": [Column([CELL]), Column([CELL])],
    "no place of the first page": [Column([CELL], {9: None})],
    "a place of another type": [Column([CELL], {9: I32(4)})],
    "a negative size": [Column([CELL], {7: -5})],
    "a compression that there is not": [Column([CELL], {4: I32(99)})],
}
READ = """
import sys
from pathlib import Path
from fhirspace.errors import InputError
from fhirspace.tables import parquet
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.stem, end=" ", flush=True)
    try:
        parquet.read(path)
        print("read", flush=True)
    except InputError as fault:
        print(fault.code, flush=True)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How the reading of each file ended, by the file's number."""
    folder = tmp_path_factory.mktemp("footers")
    for number, columns in enumerate(FOOTERS.values()):
        write(folder / f"{number:02}.parquet", [(1, columns)], ["A"])
    done = subprocess.run([sys.executable, "-c", READ, folder], capture_output=True, text=True, timeout=60, check=False)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", FOOTERS)
def test_a_footer_does_not_end_the_process(name: str, ended: dict[str, str]) -> None:
    assert ended.get(f"{list(FOOTERS).index(name):02}") == "FS121"


@pytest.mark.slow
def test_such_a_file_without_faults_is_read(tmp_path: Path) -> None:
    write(tmp_path / "00.parquet", [(1, [Column([CELL])])], ["A"])
    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "00 read\n"
