"""A law of forms: each filled cell is in its variable, or a problem names it; never in a supplemental qualifier alone."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from fhirspace.forms.carried import SAYS_UNKNOWN
from fhirspace.forms.library import SourceLibrary

FORM = """
form: log
key: [id]
codes: {UNITS: {mg: mg, milligram: mg}}
makes: EX
rows:
  STUDYID: T
  USUBJID: T-<id>
  EXTRT: DRUG
  EXDOSE: <dose decimal+>
  EXDOSU: <unit codes+(UNITS)>
  EXDOSTXT: <text>
  EXSTDTC: {one of: [<start day+>T<clock time+>, <start day+>]}
  EXENDTC: <end>
  EXLNKID: {one of: [{when: text, text: <link>}]}
"""
VARIABLES = {
    "dose": "EXDOSE", "unit": "EXDOSU", "text": "EXDOSTXT", "start": "EXSTDTC", "end": "EXENDTC", "link": "EXLNKID",
}  # fmt: skip

_DATES = st.sampled_from(
    ["05 MAR 2024", "UN MAR 2024", "UN UNK 2024", "2024-03-05", "2024-03", "5.3.2024", "soon", "31 FEB 2024", "UNK",
     "2024-03-05/2024-03-07", "2024-03-05 10:00", "20240305", "45356"],
)  # fmt: skip
_NUMBERS = st.sampled_from(["10", ".94", "070", "1.0", "1,5", "1E2", "ten", "<5", "", "NaN", "1/2", "١"])
_CELLS = {
    "dose": _NUMBERS, "unit": st.sampled_from(["mg", "milligram", "µg", "MG", ""]), "text": st.sampled_from(["", "x"]),
    "start": _DATES, "clock": st.sampled_from(["08:30", "8:30", "UN:UN", "24:00", "noon", ""]), "end": _DATES,
    "link": st.sampled_from(["", "L1"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> SourceLibrary:
    folder = tmp_path_factory.mktemp("forms")
    (folder / "log.yaml").write_text(FORM, "utf-8")
    return SourceLibrary(folder)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(record=st.fixed_dictionaries(_CELLS))
def test_a_filled_cell_is_in_its_variable_or_reported(form: SourceLibrary, record: dict[str, str]) -> None:
    cells = {"id": "1", **record}
    table = pa.table({name: pa.array([cell or None], pa.string()) for name, cell in cells.items()})
    made = form.to_rows({"log": table})
    reported = {problem.place.column for problem in made.problems}
    if made.quarantined.get("log") is not None and made.quarantined["log"].num_rows:
        assert made.problems
        return
    row = made.tables["EX"].to_pylist()[0]
    for name, variable in VARIABLES.items():
        if record[name] and not re.fullmatch(SAYS_UNKNOWN[1:-1], record[name]):
            assert row.get(variable) or name in reported, (name, record[name], row)
    clock = record["clock"]
    if clock and not re.fullmatch(SAYS_UNKNOWN[1:-1], clock):
        assert "T" in (row.get("EXSTDTC") or "") or "clock" in reported
