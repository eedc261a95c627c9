"""Source forms: what records make, what is carried, what is quarantined, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fhirspace.errors import InputError
from fhirspace.forms.library import SourceLibrary, SourceRows
from fhirspace.forms.scaffold import make_form_skeleton
from fhirspace.tables.text import FILE, ROW, data_columns, from_columns

WIDE = """\
form: wide
key: [site, subject, visit, repeat?]
needs: {wt: wt_unit}
let: {subject: T-<site>-<subject>}
---
makes: VS
codes: {ND: {"1": NOT DONE, "0": ""}, POS: {S: SITTING, L: SUPINE}}
rows: {STUDYID: T, USUBJID: $subject, VSGRPID: <repeat>, VISIT: <visit>, VSDTC: $when, VSPOS: <pos codes+(POS)>}
let:
  when: {one of: [<vdate day>T<vtime time+>, <vdate day>]}
each:
  - {VSTESTCD: WEIGHT, VSTEST: Weight, VSORRES: <wt decimal+>, VSORRESU: <wt_unit>, VSSTAT: <wt_nd codes+(ND)>}
  - {VSTESTCD: PULSE, VSTEST: Pulse Rate, VSORRES: <pulse integer>, VSORRESU: beats/min}
---
makes: FA
given: {rash: "Yes"}
rows: {STUDYID: T, USUBJID: $subject, FASPID: <repeat>, VISIT: <visit>, FATESTCD: OCCUR, FATEST: Occurrence}
each:
  - {always: true, FAOBJ: RASH, FAORRES: Y}
"""
COLUMNS = ("site", "subject", "visit", "repeat", "vdate", "vtime", "pos", "wt", "wt_unit", "wt_nd", "pulse", "rash")
GOOD = dict(
    zip(COLUMNS, ("01", "7", "V1", None, "14 JUN 2017", "07:30", "S", "5.50", "kg", "0", "70", "Yes"), strict=True)
)


def load(folder: Path, **files: str) -> SourceLibrary:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    return SourceLibrary(folder)


def form(*records: Mapping[str, str | None], name: str = "wide") -> pa.Table:
    columns = dict.fromkeys(column for record in records for column in record)
    return from_columns({column: [record.get(column) for record in records] for column in columns}, file=f"{name}.csv")


def said(made: SourceRows) -> list[tuple[str, str]]:
    return [(problem.code, str(problem.place)) for problem in made.problems]


def plain(table: pa.Table) -> list[dict[str, str | None]]:
    names = data_columns(table)
    return [{name: row[name] for name in names} for row in table.to_pylist()]


@pytest.fixture
def wide(tmp_path: Path) -> SourceLibrary:
    return load(tmp_path, wide=WIDE)


def test_a_record_makes_a_row_a_line_in_each_dataset(wide: SourceLibrary) -> None:
    made = wide.to_rows({"wide": form(GOOD)})
    weight, pulse = made.tables["VS"].to_pylist()
    assert weight == {
        "STUDYID": "T", "USUBJID": "T-01-7", "VSGRPID": None, "VISIT": "V1", "VSDTC": "2017-06-14T07:30",
        "VSPOS": "SITTING", "VSTESTCD": "WEIGHT", "VSTEST": "Weight", "VSORRES": "5.50", "VSORRESU": "kg",
        "VSSTAT": None, FILE: "wide.csv", ROW: 2,
    }  # fmt: skip
    assert (pulse["VSTESTCD"], pulse["VSORRES"], pulse["VSORRESU"]) == ("PULSE", "70", "beats/min")
    assert made.tables["FA"]["FAORRES"].to_pylist() == ["Y"]
    assert (made.problems, made.quarantined, made.labels) == ([], {}, {"VS": {}, "FA": {}})


def test_a_line_without_any_cell_of_its_own_makes_no_row(wide: SourceLibrary) -> None:
    made = wide.to_rows({"wide": form({**GOOD, "wt": None, "wt_unit": None, "rash": None})})
    assert made.tables["VS"]["VSTESTCD"].to_pylist() == ["PULSE"]
    assert "FA" not in made.tables


def test_what_does_not_come_back_rides_along_with_the_first_row(wide: SourceLibrary) -> None:
    odd = {
        **GOOD,
        "wt": "5,5",
        "vdate": "3 jun 2017",
        "vtime": "7.30",
        "pos": "KNEELING",
        "wt_nd": None,
        "pulse": "070 ",
    }
    made = wide.to_rows({"wide": form(odd)})
    assert made.tables["VS"].to_pylist()[0]["PULSE"] == "\\070 \\"  # a number, whose spelling is carried
    made = wide.to_rows({"wide": form({**odd, "pulse": "070"})})
    weight, pulse = made.tables["VS"].to_pylist()
    assert (weight["WT"], weight["VDATE"], weight["VTIME"], weight["POS"]) == ("5,5", "3 jun 2017", "7.30", "KNEELING")
    assert (weight["PULSE"], pulse["PULSE"], pulse["VSORRES"]) == ("070", None, "70")
    assert made.labels["VS"]["WT"] == "wt"
    assert weight[next(name for name, label in made.labels["VS"].items() if label == "wt_nd")] == "\\\\"  # was empty
    assert plain(wide.to_records(made.tables).records["wide"]) == [{**odd, "pulse": "070"}]


@pytest.mark.parametrize("cell", ["a", "ends in a blank ", "\\", "\\\\", "\\a", "a\\", "two\nlines", 'ünï – “q”, "q"'])
def test_a_column_that_no_document_reads_becomes_a_supplemental_variable(wide: SourceLibrary, cell: str) -> None:
    record = {**GOOD, "Site staff (initials)": cell, "note": None}
    made = wide.to_rows({"wide": form(record, {**GOOD, "repeat": "2", "note": cell})})
    assert said(made) == [("FS254", "wide.csv:1:Site staff (initials)"), ("FS254", "wide.csv:1:note")]
    assert all(len(name) <= 8 and name.isalnum() and name.isupper() for name in made.labels["VS"])
    assert not any(str(text).endswith(" ") for text in made.tables["VS"].to_pylist()[0].values())
    back = wide.to_records(made.tables, made.labels)
    assert back.records["wide"]["Site staff (initials)"].to_pylist() == [cell, None]
    assert back.records["wide"]["note"].to_pylist() == [None, cell]


def test_a_column_kept_on_purpose_needs_no_label_to_come_back(tmp_path: Path) -> None:
    text = "form: f\nkey: [s]\nmakes: DM\ncolumns: [extra, AGE]\nalways: true\nrows: {STUDYID: T, USUBJID: <s>}\n"
    library = load(tmp_path, f=text)
    made = library.to_rows({"f": form({"s": "1", "extra": "x", "AGE": "old"}, name="f")})
    assert made.problems == []
    assert made.tables["DM"]["EXTRA"].to_pylist() == ["x"]
    assert "AGE" not in made.tables["DM"].column_names  # a standard variable is not taken for the column of that name
    assert plain(library.to_records(made.tables).records["f"]) == [{"s": "1", "extra": "x", "AGE": "old"}]


def test_numbers_take_the_form_that_transport_files_keep(tmp_path: Path) -> None:
    text = "form: f\nkey: [s]\nmakes: DM\nrows: {STUDYID: T, USUBJID: <s>, AGE: <age decimal>}\n"
    library = load(tmp_path, f=text)
    made = library.to_rows({"f": form({"s": "1", "age": "58.0"}, {"s": "2", "age": "58"}, name="f")})
    assert made.tables["DM"]["AGE"].to_pylist() == ["58", "58"]
    assert library.to_records(made.tables).records["f"]["age"].to_pylist() == ["58.0", "58"]


FAULTS: list[tuple[dict[str, str | None], list[tuple[str, str]]]] = [
    ({"pulse": "fast"}, [("FS204", "wide.csv:3:pulse")]),
    ({"pulse": "fast", "vdate": "31 FEB 2017"}, [("FS206", "wide.csv:3:vdate"), ("FS204", "wide.csv:3:pulse")]),
    ({"wt_unit": None}, [("FS250", "wide.csv:3:wt_unit")]),
    ({"subject": None}, [("FS255", "wide.csv:3:subject")]),
    ({"site": "0", "subject": "1-2"}, [("FS256", "wide.csv:3:site"), ("FS256", "wide.csv:3:subject")]),
    ({"wt": None, "wt_unit": None, "pulse": None, "rash": "No"}, [("FS252", "wide.csv:3")]),
    ({"visit": "\x07"}, [("FS201", "wide.csv:3:visit")]),
    ({"wt": "\x07"}, [("FS201", "wide.csv:3:wt")]),
]


@pytest.mark.parametrize(("change", "problems"), FAULTS)
def test_a_faulty_record_makes_no_row_in_any_dataset(
    wide: SourceLibrary, change: dict[str, str | None], problems: list[tuple[str, str]]
) -> None:
    good, other = {**GOOD, "subject": "1"}, {**GOOD, "subject": "3"}
    made = wide.to_rows({"wide": form(good, {**GOOD, **change}, other)})
    assert [each for each in said(made) if each in problems] == problems
    assert {place for _, place in said(made)} == {place for _, place in problems}
    assert plain(made.quarantined["wide"]) == [{**GOOD, **change}]
    assert made.tables["FA"][ROW].to_pylist() == [2, 4]
    assert plain(wide.to_records(made.tables).records["wide"]) == [good, other]


def test_records_of_one_key_are_all_quarantined(wide: SourceLibrary) -> None:
    made = wide.to_rows({"wide": form(GOOD, {**GOOD, "repeat": "2"}, {**GOOD, "pulse": "80"})})
    assert said(made) == [("FS251", "wide.csv:2:repeat"), ("FS251", "wide.csv:4:repeat")]
    assert made.tables["FA"][ROW].to_pylist() == [3]


def test_a_missing_column_stops_the_form(wide: SourceLibrary) -> None:
    table = form({name: cell for name, cell in GOOD.items() if name not in ("pulse", "wt")})
    made = wide.to_rows({"wide": table})
    assert said(made) == [("FS253", "wide.csv:1:wt"), ("FS253", "wide.csv:1:pulse")]
    assert (made.tables, made.quarantined["wide"].num_rows) == ({}, 1)


NAMES = {
    "forty bytes": "x" * 40,
    "more": "completion_project_questionnaire_complete",
    "the same forty bytes": "completion_project_questionnaire_completed_by",
    "hundreds of bytes": "Have you ever been told that this medicine is not for you? " * 5,
    "not ASCII": "größe",
    "no ASCII at all": "환자의 체중을 킬로그램으로 적어 주십시오",
    "a blank at its end": "weight ",
    "a new line in it": "Weight\n(kg)",
    "a backslash": "\\weight of the patient in kilograms",
    "the words of a name": "Column name of WEI23456",
}


def test_a_column_with_any_name_comes_back_under_it(wide: SourceLibrary) -> None:
    record = {**GOOD, **{name: str(at) for at, name in enumerate(NAMES.values())}}
    made = wide.to_rows({"wide": form(record, {**record, "repeat": "2"})})
    assert {code for code, _ in said(made)} == {"FS254"}
    labels = [label for variables in made.labels.values() for label in variables.values()]
    assert len(set(labels)) == len(labels) and max(len(label.encode()) for label in labels) <= 40
    assert "x" * 40 in labels and any(label.startswith("completion_project_questionnair~COM") for label in labels)
    back = plain(wide.to_records(made.tables, made.labels).records["wide"])
    assert [{name: row[name] for name in NAMES.values()} for row in back] == [
        {name: str(at) for at, name in enumerate(NAMES.values())}
    ] * 2


def test_a_column_that_has_no_variable_of_its_own_stops_the_form(
    wide: SourceLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [code for code, _ in said(wide.to_rows({"wide": form({**GOOD, "odd\x01": "1"})}))] == ["FS261"]
    monkeypatch.setattr("fhirspace.forms.to_sdtm.hashed_name", lambda form, column: "XSAME123")
    made = wide.to_rows({"wide": form({**GOOD, "one": "1", "two": "2"})})
    assert [code for code, _ in said(made)] == ["FS261", "FS261"]
    assert made.quarantined["wide"].num_rows == 1


def test_forms_without_mapping_and_mappings_without_form_are_named(wide: SourceLibrary) -> None:
    table = form({"a": "1"}, name="other")
    made = wide.to_rows({"other": table, "empty": table.slice(0, 0)})
    assert said(made) == [("FS257", "empty"), ("FS257", "other.csv:2"), ("FS262", "wide.csv")]
    assert sorted(made.quarantined) == ["empty", "other"]


def test_rows_that_no_form_recognises_are_reported(wide: SourceLibrary) -> None:
    made = wide.to_rows({"wide": form(GOOD)})
    vs = made.tables["VS"]
    strange = vs.set_column(vs.schema.get_field_index("VSTESTCD"), "VSTESTCD", pa.array(["WEIGHT", "HEIGHT"]))
    keyless = vs.set_column(vs.schema.get_field_index("USUBJID"), "USUBJID", pa.array(["T-01-7", "OTHER"]))
    se = pa.table({"USUBJID": ["T-01-7"]})
    for tables, found in (
        ({"VS": strange}, [("FS258", "wide.csv:2")]),
        ({"VS": keyless}, [("FS258", "wide.csv:2")]),
        ({"VS": pa.concat_tables([vs, vs.slice(0, 1)])}, [("FS260", "wide.csv:2")]),
        ({"VS": vs, "SE": se}, [("FS259", ":2")]),
    ):
        back = wide.to_records(tables)
        assert [(problem.code, str(problem.place)) for problem in back.problems] == found
        assert back.records["wide"].num_rows == 1


def test_records_come_back_in_the_order_of_their_keys(wide: SourceLibrary) -> None:
    keys = [("01", "10", "V1"), ("01", "9", "V1"), ("01", "9", "Screening"), ("02", "1", "V1")]
    records = [{**GOOD, "site": site, "subject": subject, "visit": visit} for site, subject, visit in keys]
    back = wide.to_records(wide.to_rows({"wide": form(*records)}).tables).records["wide"]
    assert [(row["site"], row["subject"], row["visit"]) for row in plain(back)] == [keys[2], keys[1], keys[0], keys[3]]
    assert back[ROW].to_pylist() == [2, 3, 4, 5]


def test_nothing_in_is_nothing_out(wide: SourceLibrary) -> None:
    made = wide.to_rows({"wide": form(GOOD).slice(0, 0)})
    assert (made.tables, made.problems, made.quarantined) == ({}, [], {})
    assert wide.to_records({}).records == {}


TOGETHER = """\
form: {form}
key: [s]
makes: DM
one per: [STUDYID, USUBJID]
rows: {{STUDYID: T, USUBJID: T-<s>, {cell}}}
columns: [note]
"""


def test_several_forms_make_one_row(tmp_path: Path) -> None:
    library = load(
        tmp_path, a=TOGETHER.format(form="a", cell="SEX: <sex>"), b=TOGETHER.format(form="b", cell="ARM: <arm>")
    )
    first = form({"s": "1", "sex": "M", "note": "x"}, {"s": "2", "sex": "F", "note": None}, name="a")
    second = form({"s": "3", "arm": "A", "note": "y"}, {"s": "1", "arm": "B", "note": "z"}, name="b")
    made = library.to_rows({"a": first, "b": second})
    found = [(row["USUBJID"], row["SEX"], row["ARM"], row[FILE]) for row in made.tables["DM"].to_pylist()]
    assert found == [("T-1", "M", "B", "a.csv"), ("T-2", "F", None, "a.csv"), ("T-3", None, "A", "b.csv")]
    back = library.to_records(made.tables)
    assert back.problems == []
    assert plain(back.records["a"]) == plain(first)
    assert plain(back.records["b"]) == plain(second.take([1, 0]))
    alone = library.to_rows({"a": first})
    assert list(library.to_records(alone.tables).records) == ["a"]


def test_an_empty_variable_tells_lines_apart_where_nothing_else_does(tmp_path: Path) -> None:
    one = "form: one\nkey: [s]\nmakes: CM\nrows: {STUDYID: T, USUBJID: <s>, CMTRT: <drug>}\n"
    two = "form: two\nkey: [s]\nmakes: CM\nrows: {STUDYID: T, USUBJID: <s>, CMTRT: <drug>, CMCAT: PROPHYLAXIS}\n"
    library = load(tmp_path, one=one, two=two)
    record = {"s": "1", "drug": "aspirin"}
    made = library.to_rows({"one": form(record, name="one"), "two": form(record, name="two")})
    back = library.to_records(made.tables)
    assert back.problems == []
    assert (plain(back.records["one"]), plain(back.records["two"])) == ([record], [record])


def test_alternatives_are_read_by_what_they_write(tmp_path: Path) -> None:
    text = """\
form: f
key: [s]
makes: DM
rows:
  STUDYID: T
  USUBJID: <s>
  RACE:
    one of:
      - {given: {white: "1", asian: "0"}, text: WHITE}
      - {given: {white: "0", asian: "1"}, text: ASIAN}
      - {when: white is 1 and not asian is 0, text: MULTIPLE}
"""
    library = load(tmp_path, f=text)
    boxes = [("1", "0"), ("0", "1"), ("1", "1")]
    table = form(*({"s": str(at), "white": white, "asian": asian} for at, (white, asian) in enumerate(boxes)), name="f")
    made = library.to_rows({"f": table})
    assert made.tables["DM"]["RACE"].to_pylist() == ["WHITE", "ASIAN", "MULTIPLE"]
    assert made.tables["DM"]["WHITE"].to_pylist() == [None, None, "1"]  # nothing in MULTIPLE says which
    assert plain(library.to_records(made.tables).records["f"]) == plain(table)


def test_a_cell_goes_where_its_spelling_belongs(tmp_path: Path) -> None:
    text = """\
form: f
key: [s]
makes: CM
forms: {dose: {number: <value decimal>, other: <text>}}
rows: {STUDYID: T, USUBJID: <s>, CMTRT: X, CMDOSE: <dose.number decimal>, CMDOSTXT: <dose.other>}
"""
    library = load(tmp_path, f=text)
    table = form({"s": "1", "dose": "2"}, {"s": "2", "dose": "800/100"}, name="f")
    made = library.to_rows({"f": table})
    assert [(row["CMDOSE"], row["CMDOSTXT"]) for row in made.tables["CM"].to_pylist()] == [
        ("2", None),
        (None, "800/100"),
    ]
    assert plain(library.to_records(made.tables).records["f"]) == plain(table)


def test_common_constants_and_code_lists_are_seen_by_all_forms(tmp_path: Path) -> None:
    common = "let: {who: T-<s>}\ncodes: {SEX: {'1': M, '2': F}}\n"
    text = "form: f\nkey: [s]\nmakes: DM\nrows: {STUDYID: T, USUBJID: $who, SEX: <sex codes(SEX)>}\n"
    library = load(tmp_path, common=common, f=text)
    made = library.to_rows({"f": form({"s": "1", "sex": "2"}, name="f")})
    assert made.tables["DM"]["SEX"].to_pylist() == ["F"]
    assert library.study is None
    assert library.forms["f"].datasets == ("DM",)


def test_a_form_alone_reads_what_it_wrote(wide: SourceLibrary) -> None:
    each = wide.forms["wide"]
    made = each.rows(form(GOOD))
    assert plain(each.records(made.tables).table) == [GOOD]


@pytest.mark.parametrize(
    ("content", "code", "expected"),
    [(None, "FS101", "a CSV file"), (b"\xff\xfe", "FS105", ""), (b"", "FS102", "a header")],
)
def test_a_skeleton_needs_a_header(tmp_path: Path, content: bytes | None, code: str, expected: str) -> None:
    path = tmp_path / "f.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=code) as caught:
        make_form_skeleton(path)
    assert caught.value.problem.expected.startswith(expected)


def test_a_skeleton_of_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("SP-001,Nausea,2024-03-01\nSP-002,Rash,2024-03-02\n", "utf-8")
    with pytest.raises(InputError, match="FS118") as caught:
        make_form_skeleton(path)
    assert "Nausea" not in str(caught.value)


def test_a_skeleton_of_odd_names_loads(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("Subject ID,It's,'q': x,größe,a\u202eb\u2028c\n1,a,b,c,d\n", "utf-8")
    skeleton = make_form_skeleton(path)
    assert all(map(str.isprintable, skeleton.splitlines()))
    library = load(tmp_path, odd=skeleton)
    table = form({"Subject ID": "1", "It's": "a", "'q': x": "b", "größe": "c", "a\u202eb\u2028c": "d"}, name="odd")
    made = library.to_rows({"odd": table})
    assert made.problems == []
    assert plain(library.to_records(made.tables).records["odd"]) == plain(table)


@pytest.mark.parametrize(
    "names",
    [
        ("ecg", "questionnaire"), ("ae", "adverse_events"), ("demog", "demog_more"), ("visit_a", "visit_b"),
        ("end_of_study", "completion"), ("ae", "labs"), ("response", "response <b>"),
    ],
)  # fmt: skip
def test_skeletons_of_forms_of_one_dataset_load_together(tmp_path: Path, names: tuple[str, str]) -> None:
    forms = {name: form({"subject": "1", "visit": "V1", "q1": name, "Q1": "2"}, name=name) for name in names}
    source = tmp_path / "source"
    source.mkdir()
    for name in names:
        path = tmp_path / f"{name}.csv"
        path.write_text("subject,visit,q1,Q1\n1,V1,x,2\n", "utf-8")
        (source / f"{name}.yaml").write_text(make_form_skeleton(path), "utf-8")
    library = SourceLibrary(source)
    made = library.to_rows(forms)
    assert made.problems == []
    back = library.to_records(made.tables, made.labels)
    assert back.problems == []
    assert {name: plain(table) for name, table in back.records.items()} == {n: plain(t) for n, t in forms.items()}


def test_a_skeleton_has_a_variable_for_each_column_of_a_long_key(tmp_path: Path) -> None:
    path = tmp_path / "demog.csv"
    record = dict.fromkeys(["site", "subject", "visit", "page_no", "form_repeat", "cycle", "row_seq", "x_seq"], "1")
    path.write_text(",".join([*record, "sex"]) + "\n" + "1," * len(record) + "M\n", "utf-8")
    library = load(tmp_path, demog=make_form_skeleton(path))
    table = form(record | {"sex": "M"}, name="demog")
    made = library.to_rows({"demog": table})
    assert made.problems == []
    assert plain(library.to_records(made.tables, made.labels).records["demog"]) == plain(table)


def test_a_skeleton_leaves_persons_out_of_fhir_and_names_what_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("record_id,repeat_instance,Phone,weight_note\n1,,0170 555,NA\n1,1,,x\n", "utf-8")
    skeleton = make_form_skeleton(path)
    assert "key: [record_id, 'repeat_instance?']" in skeleton
    assert "# Not named, so they stay out of FHIR. Out of SDTM as well: drop: [Phone]\n" in skeleton
    assert "# If these texts mean an empty cell: missing: [NA]\n" in skeleton
    library = load(tmp_path, export=skeleton)
    records = [
        {"record_id": "1", "repeat_instance": None, "Phone": "0170 555", "weight_note": "NA"},
        {"record_id": "1", "repeat_instance": "1", "Phone": None, "weight_note": "x"},
    ]
    made = library.to_rows({"export": form(*records, name="export")})
    assert said(made) == [("FS254", "export.csv:1:Phone")] and made.unmapped
    assert plain(library.to_records(made.tables, made.labels).records["export"]) == records
    for line in skeleton.splitlines():
        if ": drop:" in line or ": missing:" in line:  # what the comments propose can be written as it is
            skeleton += line.partition(": ")[2] + "\n"
    declared = load(tmp_path, export=skeleton).forms["export"].mapping.declared
    assert (declared.drop, declared.missing) == (("Phone",), {"NA"})


@pytest.mark.parametrize(
    ("pattern", "name", "dropped"),
    [
        ("note", "note", True),
        ("note", "note_1", False),
        ("note_*", "note_1", True),
        ("*_note", "note", False),
        ("?", "ü", True),
        ("[ab]*", "a", False),
        ("[ab]*", "[ab] c", True),
        ("a.c", "abc", False),
        ("*", "two\nlines", True),
        ("*a" * 400 + "b", "a" * 20_000, False),
        ("*" * 400 + "b", "a" * 20_000, False),
    ],
)
def test_a_pattern_of_columns_to_drop(tmp_path: Path, pattern: str, name: str, dropped: bool) -> None:
    head = "form: f\nkey: [s]\nmakes: DM\nrows: {USUBJID: <s>}\nalways: true\n"
    library = load(tmp_path, f=f"{head}drop: ['{pattern}']\n")
    assert library.forms["f"].mapping.drops(name) is dropped
    assert not library.forms["f"].mapping.drops("s")


NASTY = st.sampled_from(
    [None, " ", "0", "007", "-1", "1e3", "<0.5", "5,5", "5.50", "UN JUN 2017", "14 JUN 2017", "99 JUN 2017", "07:30",
     "UN UNK 2014", "24:00", "Yes", "No", "1", "S", "SITTING", "NOT DONE", "a-b", "-", "T-1-2", "\\", "\\\\", "x ",
     " x", "\x07", "line\nbreak", "\r", "ü", "\U0001f600", "'", '"', "a\x00b"]
) | st.text(max_size=4)  # fmt: skip
RECORD = st.fixed_dictionaries(dict.fromkeys(COLUMNS, NASTY) | {"extra": NASTY})
MOSTLY = st.tuples(RECORD, st.sets(st.sampled_from([*COLUMNS, "extra"]))).map(
    lambda pair: {**GOOD, "extra": None} | {name: cell for name, cell in pair[0].items() if name in pair[1]}
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MOSTLY, min_size=1, max_size=6))
def test_nasty_records_come_back_exactly_or_are_quarantined(
    wide: SourceLibrary, records: list[dict[str, str | None]]
) -> None:
    table = form(*records)
    made = wide.to_rows({"wide": table})
    back = wide.to_records(made.tables, made.labels)
    assert back.problems == []
    held = set(made.quarantined["wide"][ROW].to_pylist()) if made.quarantined else set()
    assert held == {problem.place.row for problem in made.problems if problem.level == "error"}
    kept = [row for row in table.to_pylist() if row[ROW] not in held]
    names = [*COLUMNS, "extra"]
    found = plain(back.records["wide"]) if back.records else []
    assert sorted(str([row[name] for name in names]) for row in kept) == sorted(
        str([row.get(name) for name in names]) for row in found
    )
    for rows in made.tables.values():  # and nothing ends in a blank, which transport files would drop
        assert not any(str(cell).endswith(" ") for row in plain(rows) for cell in row.values())
