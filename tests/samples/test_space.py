"""The sample study: its bytes, its published figures computed from the forms, its laws at any size."""

from __future__ import annotations

import csv
import os
import re
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

SPACE = Path(__file__).parents[2] / "samples" / "space"
RECORDS = SPACE / "records"
Rows = list[dict[str, str]]
NEUTROPHILS = {"1": ("1.50", "1.99"), "2": ("1.00", "1.49"), "3": ("0.50", "0.99")}
BINARY_FORMS = ("visits", "blood_count", "chemistry", "vitals", "cd4_cd8_viral_load", "immune_monitoring")


def make(*arguments: str, seed: str = "0", zone: str = "UTC") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, str(SPACE / "make.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@cache
def read(form: str, folder: Path = RECORDS) -> Rows:
    with (folder / f"{form}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def day(text: str) -> datetime:
    return datetime.strptime(text.title(), "%d %b %Y")


def by_man(form: str) -> dict[str, Rows]:
    rows: dict[str, Rows] = defaultdict(list)
    for row in read(form):
        rows[row["subject_no"]].append(row)
    return rows


@cache
def dictionary() -> dict[str, Rows]:
    items: dict[str, Rows] = defaultdict(list)
    for item in read("dictionary", SPACE):
        items[item["form"]].append(item)
    return items


FORMS = sorted(dictionary())
OF_SUBJECT = [form for form in FORMS if form not in ("study", "sites")]


def key_of(form: str) -> list[str]:
    lead = [] if form in ("study", "sites") else ["site_no", "subject_no"]
    return lead + [item["column"] for item in dictionary()[form] if item["key"]]


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thousand")
    done = make("--out", str(folder), "--subjects", "1000")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def with_hiv() -> set[str]:
    return {
        row["subject_no"] for row in read("medical_history") if row["mh_category"] == "1" and row["present"] == "Yes"
    }


@pytest.fixture(scope="module")
def subjects() -> dict[str, dict[str, str]]:
    return {row["SUBJID"]: row for row in read("subjects", SPACE)}


# the bytes


@pytest.mark.parametrize(("seed", "zone"), [("1", "UTC"), ("4242", "Australia/Sydney")])
def test_a_fresh_run_gives_the_committed_bytes(tmp_path: Path, seed: str, zone: str) -> None:
    assert make("--out", str(tmp_path), seed=seed, zone=zone).returncode == 0
    fresh = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert fresh == {path.name: path.read_bytes() for path in RECORDS.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("form", OF_SUBJECT)
def test_the_first_26_of_a_thousand_are_the_sample(thousand: Path, form: str) -> None:
    base = (RECORDS / f"{form}.csv").read_bytes()
    assert (thousand / f"{form}.csv").read_bytes().startswith(base)


def test_a_form_made_alone_and_in_a_smaller_study_is_the_same(thousand: Path, tmp_path: Path) -> None:
    assert make("--out", str(tmp_path), "--subjects", "300", "--forms", "vitals,adverse_events").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"vitals.csv", "adverse_events.csv"}
    for path in tmp_path.iterdir():
        assert (thousand / path.name).read_bytes().startswith(path.read_bytes())


def test_files_are_utf8_with_line_feeds_and_some_text_beyond_ascii() -> None:
    whole = b"".join(path.read_bytes() for path in RECORDS.iterdir())
    assert b"\r" not in whole
    assert not whole.startswith(b"\xef\xbb\xbf")
    assert not whole.decode("utf-8").isascii()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--forms", "vitals,nosuch"], "no such form: nosuch"), (["--subjects", "0"], "must be 1 or more")],
)
def test_a_wrong_call_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = make("--out", str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


# the shape


def test_there_is_a_file_a_form_and_nothing_else() -> None:
    assert {path.name for path in RECORDS.iterdir()} == {f"{form}.csv" for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
def test_columns_are_those_of_the_dictionary(form: str) -> None:
    lead = [] if form in ("study", "sites") else ["site_no", "subject_no"]
    columns = lead + [item["column"] for item in dictionary()[form]]
    assert list(read(form)[0]) == columns
    assert len(set(columns)) == len(columns)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_keys_name_one_record_and_no_record_is_empty(thousand: Path, form: str) -> None:
    for folder in (RECORDS, thousand):
        rows = read(form, folder)
        keys = Counter(tuple(row[column] for column in key_of(form)) for row in rows)
        assert max(keys.values()) == 1
        assert all(all(part) for part in keys)
        assert all(any(cell for column, cell in row.items() if column not in key_of(form)) for row in rows)


@pytest.mark.parametrize("form", FORMS)
def test_cells_are_of_the_choices_listed(thousand: Path, form: str) -> None:
    for item in dictionary()[form]:
        found = {row[item["column"]] for row in read(form, thousand)} - {""}
        if item["values"].startswith(("1 = ", "CR = ")):
            assert found <= {choice.split(" = ")[0] for choice in item["values"].split("; ")}, item["column"]
        elif item["values"].startswith("Checked"):
            assert found <= {"Checked", "Unchecked"}, item["column"]
        elif item["values"] == "Yes; No":
            assert found <= {"Yes", "No"}, item["column"]
        elif item["values"] == "integer":
            assert all(re.fullmatch(r"-?\d+", cell) for cell in found), item["column"]
        elif item["values"] == "decimal":
            assert all(re.fullmatch(r"-?\d+(\.\d+)?", cell) for cell in found), item["column"]
        elif "YYYY" in item["values"]:
            shape = r"(\d\d [A-Z]{3}|UN [A-Z]{3}|UN UNK) \d{4}"
            assert all(re.fullmatch(shape, cell) for cell in found), item["column"]


def test_the_readme_shows_every_form_as_made() -> None:
    told = make("--describe")
    assert told.returncode == 0
    assert (SPACE / "README.md").read_text(encoding="utf-8").endswith(told.stdout)


def test_the_study_says_that_it_is_synthetic() -> None:
    (study,) = read("study")
    assert study["synthetic"] == "Yes"
    assert "SYNTHETIC" in study["synthetic_note"]
    assert "SYNTHETIC" in (SPACE / "README.md").read_text(encoding="utf-8")


# the published figures


@pytest.mark.parametrize(
    ("timepoint", "overall", "hiv", "no_hiv"),
    [("1", (23, 8, 4), (5, 9), (7, 14)), ("2", (24, 8, 7), (6, 9), (9, 15))],
)
def test_response_is_as_published(
    with_hiv: set[str], timepoint: str, overall: tuple[int, int, int], hiv: tuple[int, int], no_hiv: tuple[int, int]
) -> None:
    able = [row for row in read("response") if row["timepoint"] == timepoint and row["evaluable"] == "Yes"]
    verdicts = Counter(row["response"] for row in able)
    assert (len(able), verdicts["CR"], verdicts["PR"]) == overall
    for inside, wanted in ((True, hiv), (False, no_hiv)):
        stratum = [row["response"] for row in able if (row["subject_no"] in with_hiv) is inside]
        assert (sum(verdict in ("CR", "PR") for verdict in stratum), len(stratum)) == wanted


def test_baseline_is_as_published(with_hiv: set[str]) -> None:
    ages = {row["subject_no"]: int(row["age"]) for row in read("demographics")}
    assert (len(ages), len(with_hiv)) == (26, 10)
    assert (statistics.median(ages.values()), min(ages.values()), max(ages.values())) == (54, 41, 74)
    assert statistics.median(ages[man] for man in with_hiv) == 58
    assert statistics.median(age for man, age in ages.items() if man not in with_hiv) == 48
    months = [int(row["hsil_duration_months"]) for row in read("medical_history") if row["mh_category"] == "2"]
    assert (statistics.median(months), min(months), max(months)) == (37, 15, 86)
    octants = [row["baseline_octants"] for row in read("response") if row["timepoint"] == "1"]
    assert statistics.median(map(Decimal, octants)) == 2
    smokers = {row["subject_no"] for row in read("smoking") if row["current_smoker"] == "Yes"}
    assert (len(smokers & with_hiv), len(smokers - with_hiv)) == (4, 5)


def test_cells_and_virus_are_as_published(with_hiv: set[str]) -> None:
    rows = read("cd4_cd8_viral_load")
    assert {row["subject_no"] for row in rows} == with_hiv
    counts = [int(row["cd4_cells_ul"]) for row in rows if row["visit"] == "Screening"]
    assert (statistics.median(counts), min(counts), max(counts)) == (700, 320, 1070)
    assert {row["hiv_rna_copies_ml"] for row in rows if row["sample_done"] == "Yes"} == {"<20"}
    typed = [row for row in read("hpv_typing") if row["typing_done"] == "Yes"]
    several = sum(row["multiple_high_risk"] == "Yes" for row in typed)
    assert (len(typed), sum(row["hpv___16"] == "Checked" for row in typed), several) == (22, 12, 11)


def test_safety_is_as_published() -> None:
    events = read("adverse_events")
    serious = {row["pt_name"]: row["relationship"] for row in events if row["serious"] == "Yes"}
    assert serious == {"Pneumonia": "1", "Acute coronary syndrome": "3", "Appendicitis": "1"}
    assert {row["treatment_stopped_for_ae"] for row in read("end_of_study")} == {"No"}
    assert {row["led_to_withdrawal"] for row in events} == {"No"}
    men = Counter(term for _, term in {(row["subject_no"], row["pt_name"]) for row in events})
    assert men.most_common(4) == [("Neutropenia", 12), ("Constipation", 10), ("Fatigue", 9), ("Rash", 8)]


# the forms agree with the subjects and with each other


def test_each_man_is_the_man_of_the_subject_list(subjects: dict[str, dict[str, str]]) -> None:
    races = {"WHITE": {"1"}, "ASIAN": {"2"}, "MULTIPLE": {"1", "2"}}
    for row in read("demographics"):
        man = subjects[row["subject_no"]]
        assert {column[-1] for column, cell in row.items() if cell == "Checked"} == races[man["RACE"]]
        assert (row["site_no"], row["age"]) == (man["SITEID"], man["AGE"])
        consent, born = datetime.fromisoformat(man["RFICDTC"]), int(row["birth_date"][-4:])
        assert consent.year - born in (int(man["AGE"]), int(man["AGE"]) + 1)
    for row in read("end_of_study"):
        man = subjects[row["subject_no"]]
        assert day(row["treatment_end_date"]) == datetime.fromisoformat(man["RFXENDTC"])
        assert (row["cycles_completed"], row["treatment_status"] == "1") == (man["CYCLES"], man["DSTRT"] == "COMPLETED")
    for row in read("eligibility"):
        assert day(row["consent_date"]) == datetime.fromisoformat(subjects[row["subject_no"]]["RFICDTC"])


def test_lesions_add_up_to_the_octants_of_the_man(subjects: dict[str, dict[str, str]]) -> None:
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in read("lesion_octants"):
        sums[row["subject_no"], row["visit"]] += Decimal(row["size_octants"])
    wanted = {
        (number, visit): Decimal(man[column])
        for number, man in subjects.items()
        for visit, column in (("Screening", "OCTBL"), ("End of treatment", "OCTEOT"), ("Follow-up 2", "OCTEXT"))
        if man[column]
    }
    assert dict(sums) == wanted


def test_histology_is_that_of_the_subject_list(subjects: dict[str, dict[str, str]]) -> None:
    columns = {"End of treatment": "HISTEOT", "Follow-up 2": "HISTEXT"}
    for row in read("anoscopy_biopsy"):
        wanted = subjects[row["subject_no"]].get(columns.get(row["visit"], ""), "HSIL")
        assert row["hsil_present"] == {"HSIL": "Yes", "NO HSIL": "No", "": ""}[wanted]
        assert (row["histology"] == "3") is (wanted == "HSIL")


def test_neutropenia_is_seen_in_the_blood_count_of_its_day(thousand: Path) -> None:
    for folder in (RECORDS, thousand):
        onset = {
            (row["subject_no"], row["start_date"]): row["ctcae_grade"]
            for row in read("adverse_events", folder)
            if row["pt_name"] == "Neutropenia"
        }
        for row in read("blood_count", folder):
            grade = onset.pop((row["subject_no"], row["sample_date"]), "")
            low, high = NEUTROPHILS.get(grade, ("2.00", "9.99"))
            if row["panel_done"] == "Yes":
                assert Decimal(low) <= Decimal(row["neutrophils_10e9_l"]) <= Decimal(high)
        assert not onset


def test_events_begin_in_the_first_four_cycles_unless_in_follow_up() -> None:
    first = {man: day(rows[0]["start_date"]) for man, rows in by_man("dosing_diary").items()}
    for row in read("adverse_events"):
        if row["start_date"].startswith("UN"):
            continue
        study_day = (day(row["start_date"]) - first[row["subject_no"]]).days + 1
        assert 270 < study_day < 351 if row["pt_name"] == "Appendicitis" else 1 < study_day <= 112
        assert (row["end_date"] == "") is (row["ongoing"] == "Checked")
        if row["end_date"]:
            assert timedelta(7) <= day(row["end_date"]) - day(row["start_date"]) <= timedelta(21)


def test_capsules_add_up_and_interruptions_have_their_event(thousand: Path) -> None:
    actions = {(row["subject_no"], row["ae_no"]): row["action_taken"] for row in read("adverse_events", thousand)}
    held = set()
    for row in read("dosing_diary", thousand):
        start, end = day(row["start_date"]), day(row["end_date"])
        assert int(row["capsules_taken"]) + int(row["capsules_returned"]) == 21 == (end - start).days + 1
        if row["interrupted"] == "Checked":
            since, until = day(row["interruption_start"]), day(row["interruption_end"])
            assert start <= since <= until <= end
            assert int(row["capsules_taken"]) <= 21 - (until - since).days - 1
            held.add((row["subject_no"], row["interruption_ae_no"]))
    assert held == {event for event, action in actions.items() if action == "3"}


@pytest.mark.parametrize("form", [form for form in OF_SUBJECT if "visit" in key_of(form)])
def test_a_record_of_a_visit_belongs_to_a_visit_that_took_place(thousand: Path, form: str) -> None:
    dates = {(row["subject_no"], row["visit"]): row["visit_date"] for row in read("visits", thousand)}
    for row in read(form, thousand):
        held = dates[row["subject_no"], row["visit"]]
        assert held or form in ("visits", "response")
        for column in ("sample_date", "assessment_date", "hra_date", "response_date"):
            assert row.get(column, "") in ("", held)


def test_visits_fall_within_their_windows(thousand: Path) -> None:
    first = {row["subject_no"]: day(row["start_date"]) for row in reversed(read("dosing_diary", thousand))}
    for row in read("visits", thousand):
        if row["visit_type"] == "1" and row["visit_done"] == "Yes":
            elapsed = (day(row["visit_date"]) - first[row["subject_no"]]).days
            late = (elapsed + 1 if elapsed >= 0 else elapsed) - int(row["planned_day"])
            assert -int(row["window_before_days"]) <= late <= int(row["window_after_days"])


@pytest.mark.parametrize("form", BINARY_FORMS)
def test_what_was_not_done_has_a_reason_and_no_value(thousand: Path, form: str) -> None:
    done = next(column for column in read(form)[0] if column.endswith("_done"))
    seen: Counter[str] = Counter()
    for row in read(form, thousand):
        seen[row[done]] += 1
        assert (row["not_done_reason"] == "") is (row[done] == "Yes")
        measured = [column for column in row if column.endswith(("_date", "_l", "_pct", "_ul", "_bpm", "_mmhg"))]
        if row[done] == "No":
            assert not any(row[column] for column in measured)
    assert seen["Yes"] > seen["No"] > 0


def test_every_hard_case_is_in_the_sample() -> None:
    whole = "\n".join(path.read_text(encoding="utf-8") for path in sorted(RECORDS.iterdir()))
    for text in (
        "UN UNK 2014",
        "UN JUL 2017",
        "<20",
        "<7",
        "<0.02",
        "<0.01",
        ">90",
        ",lb,",
        '""',
        "Unscheduled 2",
    ):
        assert text in whole, text
    assert re.search(r",\d\.\d0,", whole)
    assert any("\n" in row["comment"] for row in read("adverse_events"))
    assert {row["visit_type"] for row in read("visits")} == {"1", "2"}
    untyped = [row for row in read("hpv_typing") if row["typing_done"] == "No"]
    assert len(untyped) == 4
    assert not any(row["hpv___16"] for row in untyped)


def test_larger_studies_spread_over_sites_and_vary(thousand: Path) -> None:
    people = read("demographics", thousand)
    assert len({row["subject_no"] for row in people}) == 1000
    assert {row["site_no"] for row in people} == {row["site_no"] for row in read("sites", thousand)}
    assert len({row["site_no"] for row in people}) > 30
    assert len({(row["demographics_date"], row["age"]) for row in people}) > 500
    assert read("study", thousand)[0]["actual_subjects"] == "1000"
