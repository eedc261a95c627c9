"""Small studies for tests of rules: datasets out of Python lists, rules out of short texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from fhirspace.sdtm.rules.frame import Frame, of_dataset
from fhirspace.sdtm.rules.model import Rule, build
from fhirspace.sdtm.rules.study import About, Dataset, Study

ARCHIVE = Path(__file__).parents[4] / "shared" / "rules" / "sdtmig34.tar.xz"


def dataset(name: str, columns: dict[str, list[Any]]) -> Dataset:
    """A dataset whose columns of numbers are numeric variables."""
    numeric = {key for key, cells in columns.items() if any(isinstance(cell, (int, float)) for cell in cells)}
    arrays = {key: pa.array(cells, pa.float64() if key in numeric else pa.string()) for key, cells in columns.items()}
    about = {key: About(type="Num" if key in numeric else "Char") for key in columns}
    return Dataset(name, pa.table(arrays), f"Label of {name}", f"{name.lower()}.csv", 100, about)


def study(**datasets: dict[str, list[Any]]) -> Study:
    """A study out of datasets by name."""
    return Study(dataset(name, columns) for name, columns in datasets.items())


def frame(columns: dict[str, list[Any]], name: str = "AE") -> Frame:
    """The rows of one dataset; DOMAIN is filled in."""
    size = len(next(iter(columns.values())))
    return of_dataset(dataset(name, {"DOMAIN": [name] * size, **columns}))


def rule(text: str, **parts: Any) -> Rule:
    """A rule out of the YAML of its check and of other parts."""
    content = {
        "Core": {"Id": "T-1"},
        "Rule Type": "Record Data",
        "Sensitivity": "Record",
        "Check": yaml.safe_load(text),
    }
    return build({**content, **parts}, "rule.yml")
