"""`fhirspace mapping`: what it lists, shows and covers is what the mappings make."""

import json
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from fhirspace.errors import InputError, MappingError, UsageError
from fhirspace.fhir.validation.check import check as check_fhir
from fhirspace.json import parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import CARRIED_URL
from fhirspace.mapping.read.extract import extract
from fhirspace.mapping.schema import CODECS, schema
from fhirspace.standards.fhir import RELEASES
from fhirspace.study.inspect import mappings as views
from fhirspace.study.inspect.sample import examples, sample
from fhirspace.study.inspect.variables import condition_text, targets, variable_states
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codecs import NAMES
from fhirspace.template.folders import shipped
from tests.support.shipped import roots

LIBRARIES = {release: Library(release) for release in RELEASES}

FORM = """
form: pulse
key: [subject, visit]
codes:
  POS: {lying: SUPINE, sitting: SITTING}
makes: VS
rows:
  STUDYID: S1
  USUBJID: S1-<subject>
  VISIT: <visit>
  VSPOS: <position codes(POS)>
each:
  - {VSTESTCD: PULSE, VSTEST: Pulse Rate, VSORRES: <rate>, VSORRESU: beats/min}
  - {VSTESTCD: TEMP, VSTEST: Temperature, when: not rate, VSORRES: {one of: [<oral>, <ear>]}, VSORRESU: C}
columns: [remark]
"""


@cache
def domains() -> list[str]:
    """All datasets that have a mapping."""
    return sorted(LIBRARIES["R4"].complete())


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    (folder / "sources" / "clinic").mkdir(parents=True)
    (folder / "sources" / "clinic" / "pulse.yaml").write_text(FORM, "utf-8")
    return folder


@pytest.mark.parametrize("full", [False, True], ids=["expected", "all"])
@pytest.mark.parametrize("release", RELEASES)
def test_every_example_is_valid_fhir_and_carries_nothing(release, full):
    library = LIBRARIES[release]
    for domain in domains():
        for kind, text in examples(library, domain, full=full):
            assert CARRIED_URL not in text, domain
            if kind:
                assert check_fhir(json.loads(text), release) == [], domain


@pytest.mark.parametrize("domain", roots())
def test_a_sample_row_reads_back_as_it_was(domain):
    mapping = LIBRARIES["R4"].mappings[domain]
    cells = sample(mapping, full=True)
    read: dict[str, str] = {}
    for block, (_, text) in zip(mapping.blocks, examples(LIBRARIES["R4"], domain, full=True), strict=True):
        read |= extract(mapping, block, parse(text), LIBRARIES["R4"].mappings).cells
    assert {name: cell for name, cell in cells.items() if name[0] != "_"}.items() <= read.items()


def test_a_sample_fills_what_the_guide_expects():
    cells = sample(LIBRARIES["R4"].mappings["LB"])
    assert {"LBTESTCD", "LBTEST", "LBORRES", "LBORRESU", "LBDTC", "_LOINC"} <= cells.keys()


@pytest.mark.slow
def test_list_gives_each_dataset_once_with_its_releases():
    data, text = views.list()
    by_name = {entry["dataset"]: entry for entry in data["datasets"]}
    assert sorted(by_name) == domains()
    assert by_name["DM"]["resources"] == ["ResearchStudy", "Organization", "Patient", "ResearchSubject"]
    assert by_name["DM"]["releases"] == ["R4", "R4B", "R5"]
    assert by_name["DS"]["hangs_into"] == "DM"
    assert len([line for line in text.splitlines() if line.startswith("DM ")]) == 1


@pytest.mark.slow
def test_list_of_a_user_has_the_own_forms(own):
    data, text = views.list("pulse", mappings=[own], source="clinic")
    expected = {"form": "pulse", "source": "clinic", "file": "pulse.yaml", "key": ["subject", "visit"], "makes": ["VS"]}
    assert data == {"datasets": [], "forms": [expected]}
    assert "pulse  clinic" in text


@pytest.mark.slow
def test_check_says_ok_and_how_much_it_checked(own):
    data, text = views.check(mappings=[own], source="clinic")
    assert data["ok"] and data["forms"] == {"clinic": 1} and set(data["datasets"]) == set(RELEASES)
    assert text.endswith("OK")


def test_check_tells_where_a_mapping_is_wrong(own):
    (own / "domains").mkdir()
    (own / "domains" / "zz.yaml").write_text(
        "domain: ZZ\nkey: [USUBJID]\nObservation:\n  id: x\n  colour: red\n", "utf-8"
    )
    with pytest.raises(MappingError) as caught:
        views.check(mappings=[own])
    assert (caught.value.code, str(caught.value.problem.place)) == ("FS332", "zz.yaml:5:colour")


@pytest.mark.parametrize(
    ("action", "name", "error", "code"),
    [
        (views.show, None, UsageError, "FS620"),
        (views.show, "nowhere", UsageError, "FS621"),
        (views.list, "nowhere", UsageError, "FS621"),
        (views.coverage, "nowhere", UsageError, "FS621"),
        (views.new, None, UsageError, "FS620"),
        (views.new, "nowhere.csv", InputError, "FS101"),
    ],
)
def test_a_name_that_is_not_there_is_told(action, name, error, code):
    with pytest.raises(error) as caught:
        action(name)
    assert caught.value.code == code


@pytest.mark.parametrize("action", [views.list, views.check, views.show, views.coverage])
def test_a_folder_without_mappings_is_refused(action, tmp_path):
    with pytest.raises(MappingError) as caught:
        action("AE", mappings=[tmp_path / "typo"])
    assert caught.value.code == "FS348"


def test_a_source_that_is_not_there_is_refused():
    with pytest.raises(MappingError) as caught:
        views.list(source="nowhere")
    assert caught.value.code == "FS350"


def test_show_names_every_place_of_a_variable_in_both_releases():
    data, text = views.show("ae")
    variables = {entry["variable"]: entry for entry in data["variables"]}
    paths = {release: [home["path"] for home in variables["AETERM"][release]] for release in ("R4", "R5")}
    assert paths == {"R4": ["AdverseEvent.event.text"], "R5": ["AdverseEvent.code.text"]}
    death = variables["AESDTH"]["R4"][0]["path"]
    assert death.endswith("coding.code=C48275].extension[url=criterionPresent].valueBoolean")
    assert variables["EPOCH"]["note"] == "carried on purpose"
    assert variables["DOMAIN"]["note"] == "always AE"
    assert not variables["_SYNTHETIC"]["R4"][0]["readable"]
    assert "R5  AdverseEvent.code.text" in text and '"resourceType": "AdverseEvent"' in text


def test_show_in_r5_compares_with_r4():
    data, _ = views.show("AE", fhir="R5")
    assert data["release"] == "R5" and {"R4", "R5"} <= data["variables"][0].keys()


def test_show_of_attached_rows_gives_their_item():
    data, text = views.show("DS")
    assert [example["resource"] for example in data["examples"]] == [""]
    assert data["examples"][0]["json"]["url"].endswith("/progress")
    assert "STUDYID   Study Identifier  (as in the row of DM)" in text


def test_every_home_path_leads_to_a_value_of_the_example():
    library = LIBRARIES["R4"]
    mapping = library.mappings["AE"]
    (_, text), *_ = examples(library, "AE", full=True)
    cells = sample(mapping, full=True)
    paths = {home.path for home in targets(mapping) if home.variable in cells and "one of" not in home.note}
    assert len(paths) > 50
    assert not {path for path in paths if _at(json.loads(text), path) is None}


def _at(value, path):
    """Follows a path of names and selectors from a resource."""
    import re

    for name, selector in re.findall(r"\.([A-Za-z]+)(?:\[([^\]]*)\])?", path):
        value = (value if isinstance(value, dict) else value[0]).get(name)
        if value is None:
            return None
        pairs = [pair.partition("=") for pair in (selector or "").split(", ") if pair]
        if pairs:
            value = next(each for each in value if all(text in _all(each, at.split(".")) for at, _, text in pairs))
    return value


def _all(value, names):
    if isinstance(value, list):
        return [text for item in value for text in _all(item, names)]
    if not names:
        return [value]
    return _all(value[names[0]], names[1:]) if isinstance(value, dict) and names[0] in value else []


def test_conditions_are_written_as_in_a_mapping():
    library = LIBRARIES["R4"]
    notes = {home.note for domain in ("LB", "CM") for home in targets(library.mappings[domain])}
    assert any("when SV has USUBJID VISITNUM" in note for note in notes)
    assert any("when not LBLOINC" in note for note in notes)


@pytest.mark.slow
def test_show_of_a_form_tells_both_ways(own):
    data, text = views.show("pulse", mappings=[own], source="clinic")
    columns = {item["column"]: item for item in data["columns"]}
    assert columns["subject"] == {"column": "subject", "to": ["VS.USUBJID"], "state": "home"}
    assert columns["rate"]["to"] == ["VS.VSORRES", "VS (condition)"]
    assert columns["remark"] == {"column": "remark", "to": [], "state": "kept"}
    assert data["rows"][1]["when"] == "not rate"
    assert data["rows"][1]["cells"]["VSORRES"] == "<oral> or <ear>"
    assert data["rows"][0]["cells"]["VSPOS"] == "<position codes(POS)>"
    assert "VS, row 2 of a record, when not rate" in text


def test_coverage_adds_up_and_matches_standing():
    data, text = views.coverage()
    assert [entry["dataset"] for entry in data["datasets"]] == domains()
    for entry in data["datasets"]:
        assert len(entry["home"]) + len(entry["carried"]) + len(entry["without"]) == entry["variables"]
        assert entry["percent"] == round(100 * len(entry["home"]) / entry["variables"], 1)
    assert text.splitlines()[0].startswith("dataset")


@pytest.mark.slow
def test_a_variable_that_the_mapping_forgets_is_without(own):
    (own / "domains").mkdir()
    text = (shipped() / "domains" / "ae.yaml").read_text("utf-8").replace("<AETERM>", "history")
    (own / "domains" / "ae.yaml").write_text(text, "utf-8")
    data, shown = views.coverage("AE", mappings=[own], source="clinic")
    assert data["datasets"][0]["without"] == ["AETERM"]
    assert "AETERM" in shown
    before = [item.variable for item in variable_states(LIBRARIES["R4"], "AE") if item.state == "without"]
    assert "AETERM" not in before


@pytest.mark.slow
def test_coverage_of_a_form(own):
    data, _ = views.coverage("pulse", mappings=[own], source="clinic")
    entry = data["forms"][0]
    assert entry["home"] == ["subject", "visit", "position", "rate", "oral", "ear"]
    assert (entry["carried"], entry["without"], entry["percent"]) == (["remark"], [], 85.7)


def plain(node):
    if isinstance(node, nodes.Text):
        return node.text
    if isinstance(node, nodes.Seq):
        return [plain(item) for item in node.items]
    return {key.text: plain(value) for key, value in node.items}


FILES = sorted(path for path in shipped().rglob("*.yaml") if path.name != "study.yaml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shipped_mapping_fits_the_schema(path):
    validator = jsonschema.Draft202012Validator(schema())
    for document in nodes.load(path):
        validator.validate(plain(document))


@pytest.mark.parametrize(
    "text",
    [
        "domain: AE",
        "domain: AE\nkey: [AESEQ]\nAdverseEvent: {date: <AESTDTC}",
        "domain: AE\nkey: [AESEQ]\nadverseEvent: {id: x}",
        "class: findings\ndomain: AE\nObservation: {id: x}",
        "domain: AE\nkey: [AESEQ]\nattach: {on: [USUBJID]}",
        "form: x\nmakes: VS\nrows: {vstest: a}",
        "form: x\nmakes: VS\nrow: {VSTEST: a}",
        "form: x\nmakes: VS\nrows: {VSTEST: {one of: []}}",
        "let: {a: b}\nother: c",
        "form: x\ndrops: [a]",
        "form: x\ndrop: {a: b}",
        "form: x\ncarry unmapped: maybe",
        "form: x\nskip when: [a]",
        "form: x\nzone: [Europe/Berlin]",
        "let: {a: b}\nskip when: a",
        "let: {a: b}\nzone: Europe/Berlin",
    ],
)
def test_the_schema_refuses(text):
    validator = jsonschema.Draft202012Validator(schema())
    (document,) = nodes.read(text, "x.yaml")
    assert not validator.is_valid(plain(document))


@pytest.mark.parametrize(
    "text",
    [
        "form: x\ndrop: ['*_note', mail]\nskip when: a is b\nmissing: [-99, NA, .]\ncarry unmapped: true\nzone: Asia/Seoul",
        "form: x\ndrop: mail\nmissing: []\ncarry unmapped: 'false'",
        "drop: [mail]\nmissing: NA\ncarry unmapped: true",
    ],
)
def test_the_schema_knows_what_is_not_converted(text):
    (document,) = nodes.read(text, "x.yaml")
    jsonschema.Draft202012Validator(schema()).validate(plain(document))


def test_the_schema_itself_is_one_and_is_what_the_command_prints():
    jsonschema.Draft202012Validator.check_schema(schema())
    data, text = views.schema()
    assert data == schema() == json.loads(text)


def test_each_codec_is_described():
    assert tuple(CODECS) == NAMES


def test_a_skeleton_loads_and_brings_every_cell_back(tmp_path):
    source = tmp_path / "clinic"
    source.mkdir()
    path = tmp_path / "ecg.csv"
    path.write_text("subject,day,QT (ms),position\n01,05 MAR 2024,400,lying\n02,UN MAR 2024,,sitting\n", "utf-8")
    data, text = views.new(str(path))
    assert data == {"form": "ecg", "yaml": text + "\n"}
    (source / "ecg.yaml").write_text(data["yaml"], "utf-8")
    covered, _ = views.coverage("ecg", source=str(source))
    assert set(covered["forms"][0]["home"] + covered["forms"][0]["carried"]) == {
        "subject",
        "day",
        "QT (ms)",
        "position",
    }
    assert covered["forms"][0]["without"] == []


def test_a_condition_with_values_and_brackets():
    from fhirspace.errors import MappingError
    from fhirspace.template.codelists import CodeLists
    from fhirspace.template.syntax import Syntax

    syntax = Syntax("x", CodeLists(), b"")  # type: ignore[arg-type]
    for text in ("A is 'b'", "A in ['b', 'c']", "not (A or B)", "A or (B and not C)"):
        assert condition_text(syntax.condition(text, 1)) == text
    with pytest.raises(MappingError):
        syntax.condition("A or", 1)
