import pytest

from fhirspace.errors import UsageError
from fhirspace.sdtm.derive.design import Element, StudyDesign, Visit, load_study

GOOD = """
visits:
  - {number: 01.0, label: SCREENING, day: -14}
  - {number: 2, label: "NO"}
elements:
  - {etcd: SCRN, element: Screening, epoch: SCREENING, start: RFICDTC}
  - {etcd: FU, element: Follow-up, epoch: FOLLOW-UP, start: RFXENDTC + 1}
  - {etcd: RUN, element: Run-in, epoch: RUN-IN, start: RFXSTDTC - 7}
units: {LB: {HGB: g/L}}
unscheduled: EXTRA
reference: {start: RFICDTC, end: RFPENDTC}
actual arm: as planned
"""


def test_a_design_is_read(tmp_path):
    (tmp_path / "study.yaml").write_text(GOOD, "utf-8")
    assert load_study(tmp_path / "study.yaml") == StudyDesign(
        visits=(Visit("1", "SCREENING", "-14"), Visit("2", "NO")),
        elements=(
            Element("SCRN", "Screening", "SCREENING", "RFICDTC"),
            Element("FU", "Follow-up", "FOLLOW-UP", "RFXENDTC", 1),
            Element("RUN", "Run-in", "RUN-IN", "RFXSTDTC", -7),
        ),
        units={"LB": {"HGB": "g/L"}},
        unscheduled="EXTRA",
        reference_start="RFICDTC",
        reference_end="RFPENDTC",
        actual_arm_as_planned=True,
    )


@pytest.mark.parametrize(
    "text",
    ["[a]", "{a: [", "{vists: []}", "{visits: [{number: x, label: y}]}", "{visits: [{label: y}]}", "{units: x}",
     "{elements: [{etcd: A, element: B, epoch: C, start: sometime}]}", "{reference: {start: RFDTC}}", "{visits: [x]}",
     "{elements: [{etcd: A, element: B, epoch: C, start: RFXDTC}]}",
     "{elements: [{etcd: A, element: B, epoch: C, start: RFXSTDTC + 9999999}]}"],
)  # fmt: skip
def test_a_bad_design_is_refused(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        load_study(tmp_path / "study.yaml")
    assert caught.value.code == "FS703"


def test_a_missing_design_is_refused(tmp_path):
    with pytest.raises(UsageError):
        load_study(tmp_path / "none.yaml")


@pytest.mark.parametrize("zone", ["Europe/Berln", "{'01': Europe/Berln}"])
def test_a_zone_that_is_none_is_named_with_what_fits(tmp_path, zone):
    (tmp_path / "study.yaml").write_text(f"zone: {zone}\n")
    with pytest.raises(UsageError, match=r"FS703 study.yaml:zone: .*Europe/Berlin"):
        load_study(tmp_path / "study.yaml")
