"""Files of views: what is wrong is refused with its file, its line, and what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.errors import MappingError, UsageError
from fhirspace.standards.fhir import RELEASES, Release
from fhirspace.template.folders import shipped
from fhirspace.views.notation.library import view_set

SHIPPED = sorted(path.name for path in (shipped() / "views").iterdir())
VIEW = "view: lab\nof: Observation\n"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_views_fit_the_definitions(name: str, release: Release) -> None:
    assert view_set(name, release=release).views


@pytest.mark.parametrize(
    ("text", "code", "key", "hint"),
    [
        ("view: lab\nof: Observaton\n", "FS371", "of", "Observation"),
        ("view: Lab\nof: Observation\n", "FS373", "view", "small letters"),
        (f"{VIEW}colums: {{}}\n", "FS304", "colums", "columns"),
        (f"{VIEW}each: status\n", "FS373", "each", "component"),
        (f"{VIEW}columns: {{a: stats}}\n", "FS371", "a", "status"),
        (f"{VIEW}columns: {{a: {{visit: b}}}}\n", "FS373", "a", "column"),
        (f"{VIEW}columns: {{a: {{least: dose.x}}}}\n", "FS373", "dose.x", "view"),
        (f"{VIEW}columns: {{a: $loin}}\n", "FS331", "$loin", "$loinc"),
        (f"{VIEW}when: status is\n", "FS317", "when", "condition"),
        (f"{VIEW}when: stats is final\n", "FS371", "stats", "status"),
        (f"{VIEW}when: status in XYZ\n", "FS311", "XYZ", "list"),
        (f"{VIEW}left: {{why: code is x}}\n", "FS372", "code", "text"),
        (f"{VIEW}columns: {{a: status}}\nmerge: {{by: [b]}}\n", "FS373", "merge", "columns of this view"),
        (f"{VIEW}columns: {{a: status}}\nmerge: {{least: [a]}}\n", "FS373", "merge", "by"),
        (f"{VIEW}columns: {{a: status}}\nmerge: {{by: [a], most: [a]}}\n", "FS373", "merge", "greatest"),
        (f"{VIEW}each: component\ncolumns: {{a: {{item: code}}}}\n", "FS373", "a", "each"),
        (f"{VIEW}subject: status\n", "FS372", "subject", "Reference"),
    ],
)
def test_what_is_wrong_in_a_view_is_refused_with_a_hint(
    tmp_path: Path, text: str, code: str, key: str, hint: str
) -> None:
    (tmp_path / "common.yaml").write_text("let: {loinc: http://loinc.org}\n")
    (tmp_path / "views.yaml").write_text(text)
    with pytest.raises(MappingError) as caught:
        view_set(str(tmp_path))
    problem = caught.value.problem
    assert (problem.code, problem.place.file, problem.place.column) == (code, "views.yaml", key)
    assert hint in problem.expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("extends: us-cor\n", "FS374"),
        ("extends: .\n", "FS303"),
        ("left: [Clam]\n", "FS371"),
        ("zone: Europe/Nowhere\n", "FS364"),
        ("zone: localtime\n", "FS364"),  # it is another one on each machine
        ("subject: x\n", "FS304"),
        ("day one: dose\n", "FS373"),
    ],
)
def test_what_is_wrong_in_the_common_file_is_refused(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "common.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        view_set(str(tmp_path))
    assert caught.value.code == code


def test_a_name_that_is_none_names_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="us-core") as caught:
        view_set("nothing")
    assert caught.value.code == "FS374"
