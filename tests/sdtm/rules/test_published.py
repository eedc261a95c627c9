"""Every rule that CDISC publishes for SDTMIG 3.4 runs over made-up data of all datasets of the guide."""

import tarfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.model import load
from fhirspace.sdtm.rules.study import About, Dataset, Study
from fhirspace.standards import sdtm
from tests.sdtm.rules.rules_data import ARCHIVE

ROWS = 6
TEXTS: list[Any] = ["Y", "N", "x", None, "NOT DONE", "P1D", "A b"]
DATES = ["2020-01-02", "2020-02", "2020-01-02T10:00", None, "bad"]
NUMBERS: list[Any] = [1.0, 2.0, 0.0, -1.5, None]
NAMED: dict[str, list[Any]] = {
    "STUDYID": ["S"],
    "USUBJID": ["S-1", "S-2"],
    "RDOMAIN": ["AE", "CM", "LB"],
    "IDVAR": ["AESEQ", "CMSEQ", "LBSEQ"],
    "IDVARVAL": ["1", "2", "3"],
}


def column(dataset: str, variable: sdtm.Variable, *, empty: bool) -> pa.Array:
    kind = pa.float64() if variable.type == "Num" else pa.string()
    cells: list[Any] = NAMED.get(variable.name) or (NUMBERS if variable.type == "Num" else TEXTS)
    if variable.name == "DOMAIN":
        cells = [dataset[:2]]
    elif variable.name.endswith("SEQ"):
        cells = [float(at) for at in range(ROWS)]
    elif variable.name.endswith("DTC"):
        cells = DATES
    elif empty and variable.name not in NAMED:
        cells = [None]
    return pa.array(list(islice(cycle(cells), ROWS)), kind)


def datasets(*, every: int, empty: bool) -> Iterator[Dataset]:
    """A dataset for each of the guide's, with every so-many-th variable left out (0: none)."""
    names = [*(name for name in sdtm.domains() if name != "SUPPQUAL"), "SUPPAE", "SUPPDM", "SUPPLB"]
    for name in names:
        spec = sdtm.domain("SUPPQUAL" if name.startswith("SUPP") else name)
        kept = [each for at, each in enumerate(spec.variables, 1) if not every or at % every or each.name == "DOMAIN"]
        about = {each.name: About(each.label, each.type, 8) for each in kept}
        table = pa.table({each.name: column(name, each, empty=empty) for each in kept})
        yield Dataset(name, table, spec.label, f"{name.lower()}.xpt", 1000, about)


@pytest.mark.slow
@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"CDISC's rules are not here: {ARCHIVE.name}")
@pytest.mark.parametrize(("every", "empty"), [(0, False), (0, True), (5, False)])
def test_each_published_rule_runs(*, every: int, empty: bool, tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    engine = Engine(Study(datasets(every=every, empty=empty)))
    outcomes = [engine.run(load(file)) for file in sorted((tmp_path / "open-rules" / "rules").glob("*.yml"))]
    assert len(outcomes) == 330
    assert {each.rule.id: each.errors for each in outcomes if each.errors} == {}
    assert sum(bool(each.judged) for each in outcomes) >= (200 if every else 315)
