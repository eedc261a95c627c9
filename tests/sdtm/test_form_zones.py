"""Which time zone a date gets where forms declare zones of their own."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fhirspace.sdtm.derive.design import FormZone, StudyDesign
from fhirspace.sdtm.zones import with_offsets, without_offsets
from fhirspace.tables.text import FORM

NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"
NOON = "2025-07-15T12:00"


def of(form: str, zone: str = "", dataset: str = "AE", *, merged: bool = False) -> FormZone:
    return FormZone(form, dataset, frozenset({"AESTDTC"}), zone, merged)


@pytest.mark.parametrize(
    ("forms", "study", "form", "expected"),
    [
        ([of("a", NEW_YORK)], "", "a", f"{NOON}-04:00"),
        ([of("a", NEW_YORK)], BERLIN, "a", f"{NOON}-04:00"),
        ([of("a", NEW_YORK), of("b")], BERLIN, "b", f"{NOON}+02:00"),
        ([of("a", NEW_YORK), of("b")], "", "b", NOON),
        # datasets that do not say which form made a row
        ([of("a", NEW_YORK)], BERLIN, None, f"{NOON}-04:00"),
        ([of("a", NEW_YORK), of("b", NEW_YORK)], "", None, f"{NOON}-04:00"),
        ([of("a", NEW_YORK), of("b")], BERLIN, None, NOON),
        # one row of several forms: the variable says which one it is
        ([of("a", NEW_YORK, merged=True)], BERLIN, "other", f"{NOON}-04:00"),
        # a date that no form writes
        ([of("a", NEW_YORK, "MH")], BERLIN, "a", NOON),
        ([of("a", BERLIN, "MH"), of("b", "", "MH")], BERLIN, "a", f"{NOON}+02:00"),
        ([of("a", BERLIN, "MH")], "", "a", NOON),
        ([of("a", NEW_YORK), of("b", BERLIN, "MH")], BERLIN, "b", NOON),
    ],
)
def test_the_zone_of_a_form_is_that_of_the_dates_it_writes(
    forms: list[FormZone], study: str, form: str | None, expected: str
) -> None:
    design = StudyDesign(zone=study, forms=tuple(forms))
    table = pa.table({"USUBJID": ["1"], "AESTDTC": [NOON]})
    table = table.append_column(FORM, pa.array([form])) if form else table
    made = with_offsets({"AE": table}, design)
    assert made["AE"]["AESTDTC"].to_pylist() == [expected]
    assert without_offsets(made, design.declared_zones)["AE"]["AESTDTC"].to_pylist() == [NOON]
