"""LB rows to NDJSON files, plain or compressed: one process beside two, and a plain write of the same bytes.

Each run is a command line of its own, timed from its start to its end: where the first process is warm from the run
before and the second never is, two are compared with what no user has. Plain files of this size may wait for the
disk, whatever makes them; the write alone, in the same minute, tells how long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rows_to_fhir import made
from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.library import Library
from fhirspace.study.accounting import Accounting
from fhirspace.study.dataset import InParquet
from fhirspace.study.to_fhir import to_fhir
from fhirspace.tables.outputs import OutputFolder

_BLOCK = 1 << 24


def to_files(rows: int, turns: int, gzip: bool = False) -> dict[str, float]:
    """Rates of one and two processes in turns (the medians of `turns`), and of writing the same bytes alone.

    With `gzip` the files are compressed; megabytes are those of the files.
    """
    home = Path(tempfile.mkdtemp(prefix="fhirspace-bench-"))
    try:
        source = _datasets_only(made("LB", rows, Path(tempfile.gettempdir())), home / "lb.parquet")
        one, two, plain = [], [], []
        for _ in range(turns):
            one.append(_timed(source, home / "out", 1, gzip))
            two.append(_timed(source, home / "out", 2, gzip))
            os.sync()
            made_file = next((home / "out" / "fhir").iterdir())
            plain.append(_write(made_file, home / "plain"))
        size = made_file.stat().st_size
    finally:
        shutil.rmtree(home)
    middle = turns // 2
    first, second, bare = sorted(one)[middle], sorted(two)[middle], sorted(plain)[middle]
    return {
        "rows": rows,
        "megabytes": size / 1e6,
        "one process, rows/s": rows / first,
        "one process, MB/s": size / 1e6 / first,
        "two processes, rows/s": rows / second,
        "two processes, MB/s": size / 1e6 / second,
        "two against one": sorted(a / b for a, b in zip(one, two, strict=True))[middle],
        "plain write of the same bytes, MB/s": size / 1e6 / bare,
    }


def _datasets_only(made_: Path, path: Path) -> Path:
    """The file without helper columns: the study's pipeline computes them itself."""
    file = pq.ParquetFile(made_)
    names = [name for name in file.schema_arrow.names if name[0] != "_"]
    with pq.ParquetWriter(path, pa.schema([(name, pa.string()) for name in names]), compression="zstd") as writer:
        for group in range(file.num_row_groups):
            writer.write_table(file.read_row_group(group, columns=names))
    return path


def _timed(source: Path, out: Path, workers: int, gzip: bool) -> float:
    """Seconds of a process that converts, from its start to its end."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()  # what others left to the disk is not this run's
    command = [sys.executable, "-m", __name__, str(source), str(out), str(workers), *(["gzip"] if gzip else [])]
    begun = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - begun


def convert(source: Path, out: Path, workers: int, gzip: bool) -> None:
    """One run."""
    with OutputFolder(out) as folder:
        to_fhir(
            {"LB": InParquet(source)}, Library("R4", key=DEMO_KEY), folder, Accounting(), workers=workers, gzip=gzip
        )


def _write(source: Path, target: Path) -> float:
    """Seconds to write a file's bytes to a fresh file and onto the disk, without the reading."""
    spent = 0.0
    with source.open("rb") as given, target.open("wb", buffering=0) as sink:
        while block := given.read(_BLOCK):
            begun = time.perf_counter()
            sink.write(block)
            spent += time.perf_counter() - begun
        begun = time.perf_counter()
        os.fsync(sink.fileno())
        spent += time.perf_counter() - begun
    target.unlink()
    return spent


if __name__ == "__main__":
    source, out, workers, *packed = sys.argv[1:]
    convert(Path(source), Path(out), int(workers), bool(packed))
