"""SDTM files to FHIR and back: what a file says beside its cells, the order of its rows and its empty datasets."""

import json
import shutil
from collections import Counter

import pytest

from fhirspace.cli import main
from fhirspace.standards import sdtm
from fhirspace.study.metadata.written import fitting
from fhirspace.tables import description, parquet, text, xpt
from fhirspace.tables.description import Column, Description

Columns = dict[str, list[str | None]]
DM: Columns = {
    "STUDYID": ["S1", "S1"], "DOMAIN": ["DM", "DM"], "USUBJID": ["S1-2", "S1-1"], "SUBJID": ["2", "1"],
    "SITEID": ["01", "01"], "SEX": ["F", "M"], "AGE": ["41", "39"], "AGEU": ["YEARS", "YEARS"],
    "ARM": ["A", "A"], "ARMCD": ["A", "A"], "COUNTRY": ["DEU", "DEU"], "DTHFL": [None, None],
}  # fmt: skip
AE: Columns = {
    "STUDYID": ["S1", "S1", "S1"], "USUBJID": ["S1-1", "S1-2", "S1-1"], "DOMAIN": ["AE", "AE", "AE"],
    "AESEQ": ["2", "1", "1"], "AETERM": ["Headache", "Nausea", "Fever"], "AEDECOD": ["Headache", "Nausea", "Pyrexia"],
    "AESER": ["N", "N", "N"], "AESTDTC": ["2024-01-02", "2024-01-03", "2024-01-01"], "AELLT": [None, None, None],
}  # fmt: skip
CM: Columns = {"STUDYID": [], "DOMAIN": [], "USUBJID": [], "CMSEQ": [], "CMTRT": [], "CMDOSE": []}
TABLES = {"DM": DM, "AE": AE, "CM": CM}
LABELS = {"AETERM": "Term as the sponsor calls it"}
FORMATS = {"AESEQ": ("8.", "F8."), "AETERM": ("$40.", "$CHAR40."), "AGE": ("3.", ""), "CMDOSE": ("8.2", "")}
NUMBERS: dict[str, int] = {"AGE": 3, "AESEQ": 8, "CMSEQ": 8, "CMDOSE": 5}


def variable(name):
    kind = "Num" if name in NUMBERS else "Char"
    return name, LABELS.get(name, f"Label of {name}"), kind, NUMBERS.get(name, 60)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three datasets as another program may write them."""
    folder = tmp_path_factory.mktemp("sdtm")
    for name, columns in TABLES.items():
        table = text.from_columns(columns, file="x")
        variables = [variable(each) for each in columns]
        forms = {each: form for each, form in FORMATS.items() if each in columns}
        path = folder / f"{name.lower()}.xpt"
        xpt.write(table, path, name=name, label=f"Our {name}", variables=variables, formats=forms)
    return folder


@pytest.fixture(scope="module", params=["R4"])
def fhir(files, tmp_path_factory, request):
    out = tmp_path_factory.mktemp("fhir") / "out"
    main(["convert", str(files), "--to", "fhir", "--fhir", request.param, "--out", str(out), "--id-key", "demo"])
    return out / "fhir", request.param


def codes(out):
    return Counter(json.loads(line)["code"] for line in (out / "problems.ndjson").read_text().splitlines())


def back(folder, release, out, *formats):
    assert main(["convert", str(folder), "--to", "sdtm", "--fhir", release, "--out", str(out), *formats]) in (0, 1)
    return out / "sdtm"


@pytest.mark.parametrize("name", ["dm", "ae", "cm"])
def test_a_dataset_comes_back_as_it_was(name, files, fhir, tmp_path):
    again = back(*fhir, tmp_path / "out") / f"{name}.xpt"
    before, after = (xpt.read(path, empty=True)[0] for path in (files / f"{name}.xpt", again))
    assert description.of(after) == description.of(before)
    assert text.without_reserved(after).to_pylist() == text.without_reserved(before).to_pylist()
    assert again.read_bytes() == (files / f"{name}.xpt").read_bytes()


def test_rows_in_another_order_on_the_server_come_back_in_that_of_the_file(fhir, files, tmp_path):
    folder, release = fhir
    shutil.copytree(folder, tmp_path / "fhir")
    for path in (tmp_path / "fhir").glob("*.ndjson"):
        path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    again = back(tmp_path / "fhir", release, tmp_path / "out")
    for path in files.glob("*.xpt"):
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_rows_of_which_one_is_gone_are_sorted_by_their_keys(fhir, tmp_path):
    folder, release = fhir
    shutil.copytree(folder, tmp_path / "fhir")
    events = tmp_path / "fhir/AdverseEvent.ndjson"
    events.write_text("".join(events.read_text().splitlines(keepends=True)[1:]))
    table, _ = xpt.read(back(tmp_path / "fhir", release, tmp_path / "out") / "ae.xpt")
    assert table.column("AETERM").to_pylist() == ["Fever", "Nausea"]
    assert codes(tmp_path / "out")["FS450"] == 1


def test_values_that_are_not_there_any_more_are_counted(fhir, tmp_path):
    folder, release = fhir
    shutil.copytree(folder, tmp_path / "fhir")
    events = tmp_path / "fhir/AdverseEvent.ndjson"
    resources = [json.loads(line) for line in events.read_text().splitlines()]
    for each in resources:
        del each["date"]
        each.pop("extension", None)
    events.write_text("".join(json.dumps(each) + "\n" for each in resources))
    back(tmp_path / "fhir", release, tmp_path / "out")
    found = [json.loads(line) for line in (tmp_path / "out/problems.ndjson").read_text().splitlines()]
    (lost,) = [each for each in found if each["code"] == "FS473"]
    assert (lost["table"], lost["level"]) == ("AE", "warning")
    assert "AESTDTC 0 of 3" in lost["detail"]


def test_metadata_that_were_edited_are_reported_and_the_guide_is_followed(fhir, tmp_path):
    folder, release = fhir
    shutil.copytree(folder, tmp_path / "fhir")
    path = tmp_path / "fhir/Library.ndjson"
    path.write_text(path.read_text().replace('"active"', '"retired"'))
    again = back(tmp_path / "fhir", release, tmp_path / "out")
    assert not (again / "cm.xpt").exists()
    found = description.of(xpt.read(again / "ae.xpt")[0]).column("AETERM")
    assert found == Column("AETERM", "Reported Term for the Adverse Event", "Char", 8)
    assert codes(tmp_path / "out")["FS449"] == 3


def test_metadata_themselves_come_back_from_sdtm(fhir, tmp_path):
    folder, release = fhir
    again = tmp_path / "again"
    arguments = ["--to", "fhir", "--fhir", release, "--out", str(again), "--id-key", "demo"]
    main(["convert", str(back(folder, release, tmp_path / "out")), *arguments])
    assert (again / "fhir/Library.ndjson").read_bytes() == (folder / "Library.ndjson").read_bytes()


def test_datasets_that_follow_the_guide_need_no_metadata(fhir, tmp_path):
    """Their lengths, labels, types and order are what fhirspace itself would write."""
    folder, release = fhir
    shutil.copytree(folder, tmp_path / "fhir")
    (tmp_path / "fhir/Library.ndjson").unlink()
    arguments = ["--to", "fhir", "--fhir", release, "--out", str(tmp_path / "again"), "--id-key", "demo"]
    main(["convert", str(back(tmp_path / "fhir", release, tmp_path / "out")), *arguments])
    assert sorted(path.name for path in (tmp_path / "again/fhir").iterdir()) == sorted(
        path.name for path in (tmp_path / "fhir").iterdir()
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_dataset_without_rows_is_written_in_every_format(form, files, fhir, tmp_path):
    again = back(*fhir, tmp_path / "out", "--format", form)
    assert sorted(path.name for path in again.iterdir()) == [f"ae.{form}", f"cm.{form}", f"dm.{form}"]
    if form == "parquet":
        before = description.of(xpt.read(files / "ae.xpt")[0])
        assert description.of(parquet.read(again / "ae.parquet")) == before
    else:
        assert (again / "cm.csv").read_text().strip() == "STUDYID,DOMAIN,USUBJID,CMSEQ,CMTRT,CMDOSE"


def test_only_datasets_without_rows_are_no_input(files, tmp_path):
    shutil.copytree(files, tmp_path / "in", ignore=lambda _, names: set(names) - {"cm.xpt"})
    assert main(["convert", str(tmp_path / "in"), "--to", "fhir", "--out", str(tmp_path / "out")]) == 2


def test_gzip(files, fhir, tmp_path):
    release = fhir[1]
    arguments = ["--to", "fhir", "--fhir", release, "--gzip", "--id-key", "demo", "--out", str(tmp_path / "z")]
    main(["convert", str(files), *arguments])
    again = back(tmp_path / "z/fhir", release, tmp_path / "out")
    assert (again / "ae.xpt").read_bytes() == (files / "ae.xpt").read_bytes()


def test_validation_takes_a_dataset_without_rows(files, capsys):
    assert main(["validate", str(files)]) in (0, 1)
    assert "FS103" not in capsys.readouterr().err


def test_types_that_are_not_those_of_the_standard_are_reported_and_stay(tmp_path, capsys):
    """BRTHDTC as a number without a format of dates, VISITNUM as text."""
    (tmp_path / "in").mkdir()
    dm: Columns = DM | {"BRTHDTC": ["5644", None]}
    numbers = {"BRTHDTC": "Num", "AGE": "Char"}
    variables: list[xpt.Variable] = [(name, name, "Num" if numbers.get(name) == "Num" else "Char", None) for name in dm]
    table = text.from_columns(dm, file="x")
    xpt.write(table, tmp_path / "in/dm.xpt", name="DM", label="DM", variables=variables)
    assert main(["validate", str(tmp_path / "in")]) == 1
    shown = capsys.readouterr()
    assert "FS164 dm.xpt:BRTHDTC" in shown.out + shown.err
    assert "FS164 dm.xpt:AGE" in shown.out + shown.err
    assert main(["convert", str(tmp_path / "in"), "--to", "sdtm", "--out", str(tmp_path / "out")]) == 1
    assert codes(tmp_path / "out")["FS164"] == 2
    again = description.of(xpt.read(tmp_path / "out/sdtm/dm.xpt")[0])
    assert {each.name: each.type for each in again.columns if each.name in numbers} == {"AGE": "Char", "BRTHDTC": "Num"}


def test_a_label_that_does_not_fit_is_not_cut():
    column = Column("AETERM", "x" * 41, "Char", 3, "TOOLONGAFORMAT8.")
    fit, problems = fitting(Description("AE", "y" * 41, (column, Column("ZZ", "\u00e9" * 21))), "ae.xpt")
    assert fit.label == "Adverse Events"
    assert fit.columns[0] == Column("AETERM", "Reported Term for the Adverse Event", "Char", 3)
    assert fit.columns[1].label == "ZZ"
    assert [str(each.place) for each in problems] == ["ae.xpt:AETERM", "ae.xpt:AETERM", "ae.xpt:ZZ", "ae.xpt"]


@pytest.mark.parametrize(
    ("dataset", "name", "label"),
    [
        ("CM", "CMLOC", "Location of Dose Administration"),
        ("PR", "PRREASND", "Reason Not Done"),
        ("AE", "AEREASND", "Reason Not Done"),
        ("CE", "CEDECOD", "Dictionary-Derived Term"),
        ("VS", "VSSPEC", "Specimen Material Type"),
        ("LB", "LBPOS", "Position of Subject During Observation"),
        ("MH", "MHDUR", "Duration"),
        ("XB", "XBDTC", "Date/Time of Collection"),
        ("XB", "XBCAT", "Category"),
        ("AE", "AESTDTC", "Start Date/Time of Adverse Event"),
    ],
)
def test_a_lent_variable_has_the_label_of_the_model(dataset, name, label):
    found = sdtm.variable(dataset, name)
    assert found is not None and found.label == label
