"""Small Dataset-JSON files: what they hold, written in each way."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

WAYS = ("json", "ndjson", "dsjc", "gzip")
NAMES = {"json": "ae.json", "ndjson": "ae.ndjson", "dsjc": "ae.dsjc", "gzip": "ae.dsjc"}


def column(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"itemOID": f"IT.AE.{name}", "name": name, "label": f"The {name}", "dataType": kind, **more}


def dataset(columns: list[Any], rows: list[Any], more: dict[str, Any] | None = None) -> dict[str, Any]:
    """A dataset; attributes that are given as None are left out."""
    made = {
        "datasetJSONCreationDateTime": "2026-01-02T03:04:05",
        "datasetJSONVersion": "1.1.0",
        "itemGroupOID": "IG.AE",
        "records": len(rows),
        "name": "AE",
        "label": "Adverse Events",
        "columns": columns,
        "rows": rows,
    } | (more or {})
    return {name: value for name, value in made.items() if value is not None}


def lines(data: dict[str, Any]) -> bytes:
    about = {name: value for name, value in data.items() if name != "rows"}
    return b"".join(json.dumps(each).encode() + b"\n" for each in [about, *data.get("rows", [])])


def write(folder: Path, way: str, data: dict[str, Any]) -> Path:
    path = folder / NAMES[way]
    content = json.dumps(data).encode() if way == "json" else lines(data)
    packed = zlib.compress(content) if way == "dsjc" else gzip.compress(content) if way == "gzip" else content
    path.write_bytes(packed)
    return path
