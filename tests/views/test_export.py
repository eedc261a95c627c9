"""Views as ViewDefinitions: other programs read them, and here they make the same records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.errors import EXIT_USAGE
from fhirspace.fhir.files import find
from fhirspace.standards.fhir import RELEASES
from fhirspace.tables.text import data_columns
from fhirspace.views.definition.build import build
from fhirspace.views.definition.export import exported
from fhirspace.views.flatten import flatten
from fhirspace.views.notation.library import view_set
from tests.views.ehr import resources, write


@pytest.mark.slow
def test_shipped_views_and_their_definitions_make_the_same_records(tmp_path: Path) -> None:
    files = find([write(tmp_path / "in", resources())]).files
    views, folder = view_set("us-core"), tmp_path / "definitions"
    assert main(["mapping", "export", "us-core", "--view-definition", "--out", str(folder)]) == 0
    own, other = flatten(files, views), flatten(files, view_set(str(folder)))
    filled = [name for name, table in own.records.items() if table.num_rows]
    assert {"lab", "vital", "patient"} <= set(filled)
    for name in filled:
        both = [each for each in data_columns(own.records[name]) if each in other.records[name].column_names]
        assert len(both) > 3
        rows, others = (sorted(map(str, each.records[name].select(both).to_pylist())) for each in (own, other))
        assert rows == others


@pytest.mark.parametrize(
    ("view", "part", "why"),
    [
        ("lab", "specimen", "it follows a reference, whose key is a column"),
        ("lab", "visit", "it is computed (visit)"),
        ("vital", "when", "section reads resources that refer to this one: taken as empty"),
        ("lab", "outside participation", "it looks at phase, which is computed"),
    ],
)
def test_what_a_definition_cannot_say_is_listed(view: str, part: str, why: str) -> None:
    assert (part, why) in exported(view_set("us-core").views[view]).lost


@pytest.mark.parametrize("release", RELEASES)
def test_definitions_of_all_shipped_views_are_read_again(release: str) -> None:
    for each in view_set("vulcan-ae", release=release).views.values():  # type: ignore[arg-type]
        made = json.loads(json.dumps(exported(each, release).definition))  # type: ignore[arg-type]
        assert build(made, "x.json", release).columns  # type: ignore[arg-type]


def test_a_code_list_and_an_ordinal_are_spelt_out(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text(
        "view: v\nof: Patient\nwhen: gender in [male, 'not known']\n"
        "columns:\n  second: second name.family\n  home: 'address[use=home].city'\n"
    )
    made = exported(view_set(str(tmp_path)).views["v"]).definition
    assert {"path": "gender.where($this = 'male' or $this = 'not known').exists()"} in made["where"]
    paths = [each["path"] for each in made["select"][0]["column"]]
    assert paths == ["name.family[1]", "address.where(use = 'home').city"]


def test_the_format_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mapping", "export", "us-core"]) == EXIT_USAGE
    assert "`--view-definition`" in capsys.readouterr().err
