"""The public functions on studies, called as in a notebook: strings and paths, and every wrong argument by name."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest

import fhirspace
from fhirspace.errors import UsageError
from tests import small_study


def _alike(names: tuple[str, ...], values: list[tuple[Any, str]]) -> dict[str, list[tuple[Any, str]]]:
    return dict.fromkeys(names, values)


WRONG: dict[str, list[tuple[Any, str]]] = {
    "paths": [("", "FS641"), ([], "FS641"), (7, "FS641"), (b"x", "FS641"), (None, "FS641"), ("a\0b", "FS641")],
    "to": [("FHIR", "FS640"), ("", "FS640"), (None, "FS640"), (["fhir"], "FS640")],
    "out": [("", "FS641"), (None, "FS641"), (7, "FS641"), (b"x", "FS641")],
    "source": [("", "FS641"), (7, "FS641")],
    "mappings": [(7, "FS641"), ([""], "FS641"), ([None], "FS641"), (b"x", "FS641")],
    "fhir": [("r4", "FS640"), ("R6", "FS640"), (4, "FS640"), (None, "FS640")],
    "formats": [("xlsx", "FS640"), (["xlsx"], "FS640"), (["xpt", "XPT"], "FS640"), ([], "FS640"), (7, "FS641")],
    "engine": [("spark", "FS640"), ("Inline", "FS640"), (None, "FS640")],
    "workers": [(0, "FS641"), (True, "FS641"), ("2", "FS641"), (2, "FS641")],
    "gzip": [("no", "FS641"), (1, "FS641"), (True, "FS641")],
    "shared": [("no", "FS641")],
    "id_key": [("", "FS641"), (7, "FS641")],
    "new_ids": [("no", "FS641")],
    "follow_links": [("no", "FS641")],
    "strict": [("no", "FS641")],
    **_alike(("define", "derive", "guide"), [("no", "FS641"), (1, "FS641")]),
    "define": [("no", "FS641"), (1, "FS641")],
    **_alike(("views", "enrolment"), [("", "FS641"), (7, "FS641")]),
    "encoding": [("latin-99", "FS641"), ("", "FS641"), (7, "FS641"), ("hex", "FS641")],
    "progress": [("bar", "FS641")],
    "full": [("no", "FS641")],
    "terminology": [("", "FS641"), (7, "FS641"), ([""], "FS641"), (b"x", "FS641")],
    "profile": [("", "FS641"), (7, "FS641")],
    **_alike(
        ("folder", "plan", "journal", "config", "server", "study", "run", "since", "level", "bind"),
        [("", "FS641"), (7, "FS641"), (b"x", "FS641"), ("a\0b", "FS641"), (["a"], "FS641"), (None, "FS641")],
    ),
    **_alike(
        ("size", "connections", "piece"), [(0, "FS641"), (-1, "FS641"), (True, "FS641"), ("2", "FS641"), (2.5, "FS641")]
    ),
    **_alike(
        ("rate", "longest"),
        [(0, "FS641"), (-1, "FS641"), (True, "FS641"), ("2", "FS641"), (math.inf, "FS641"), (math.nan, "FS641")],
    ),
    **_alike(("client", "anonymous"), [("http://x", "FS641"), (7, "FS641")]),
    **_alike(("provenance", "overwrite", "insecure_http", "signed"), [("no", "FS641"), (1, "FS641")]),
    "types": [(7, "FS641"), ("", "FS641"), ([7], "FS641"), (b"x", "FS641")],
    "way": [("Batch", "FS640"), ("", "FS640"), (7, "FS640")],
    "validate": [("yes", "FS640"), ("", "FS640"), (True, "FS640"), ("errors", "FS641")],
    "fail_on": [("errors", "FS640"), ("", "FS640"), (7, "FS640"), (None, "FS640")],
    "shape": [("HAPI", "FS640"), ("", "FS640"), (7, "FS640"), (None, "FS640")],
}
STUDY = (fhirspace.convert, fhirspace.roundtrip, fhirspace.validate)
DELIVERY = (
    fhirspace.push,
    fhirspace.retry,
    fhirspace.plan,
    fhirspace.verify,
    fhirspace.undo,
    fhirspace.pull,
    fhirspace.bulk_pull,
    fhirspace.bulk_push,
    fhirspace.doctor,
    fhirspace.runs,
    fhirspace.status,
    fhirspace.connect,
)
FUNCTIONS = STUDY + DELIVERY
CASES = [
    pytest.param(function, name, value, code, id=f"{function.__name__}-{name}-{value!r}".replace("\0", "NUL"))
    for function in FUNCTIONS
    for name, parameter in inspect.signature(function).parameters.items()
    for value, code in WRONG[name]  # a parameter without an entry here fails at once
    if value is not None or parameter.default is not None  # None is what is not given
    if function is fhirspace.convert or (name, value) not in (("gzip", True), ("validate", "errors"))  # only FHIR there
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return small_study.write(tmp_path / "in")


@pytest.mark.parametrize(("function", "name", "value", "code"), CASES)
def test_a_wrong_argument_is_refused_by_its_name(function, name, value, code, study):
    tmp_path = study.parent
    good: dict[str, Any] = {"paths": study}
    good |= {"to": "sdtm", "out": tmp_path / "out"} if function is fhirspace.convert else {}
    if function in DELIVERY:  # a server that is not there: arguments are checked before it is asked
        good = {"folder": study, "server": "http://127.0.0.1:9/fhir", "run": "last", "study": "TINY"}
        good |= {"out": tmp_path / "out", "journal": study}
        needed = [each.name for each in inspect.signature(function).parameters.values() if each.default is each.empty]
        good = {each: good[each] for each in needed}
    with pytest.raises(UsageError) as caught:
        function(**(good | {name: value}))
    assert (caught.value.code, caught.value.problem.place.file) == (code, name)
    assert caught.value.problem.expected
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("to", "fhir, sdtm, records"),
        ("fhir", "R4, R4B, R5"),
        ("formats", "xpt, parquet, csv"),
        ("engine", "inline, processes"),
    ],
)
def test_the_choices_are_listed(name, listed, study, tmp_path):
    with pytest.raises(UsageError, match=listed):
        fhirspace.convert(**({"paths": study, "to": "sdtm", "out": tmp_path / "out"} | {name: "none of them"}))


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize(
    ("formats", "suffixes"), [("parquet", {".parquet"}), (["csv", "parquet", "csv"], {".csv", ".parquet"})]
)
def test_strings_and_paths_are_the_same(kind, formats, suffixes, study, tmp_path):
    fhirspace.convert(kind(study), to="fhir", out=kind(tmp_path / "fhir"), id_key="demo")
    done = fhirspace.convert(kind(tmp_path / "fhir"), to="sdtm", out=kind(tmp_path / "back"), formats=formats)
    assert {path.suffix for path in (tmp_path / "back" / "sdtm").iterdir()} == suffixes
    assert done.exit_code < 2
    assert list(fhirspace.validate(kind(tmp_path / "fhir"))) == []
    assert fhirspace.roundtrip([kind(study / "dm.csv"), kind(study / "ae.csv")]).exit_code == 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_help_names_every_parameter(function):
    text = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters.values()
    assert all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in parameters)
    assert [each.name for each in parameters if each.name not in text] == []


def test_the_repr_of_a_report_does_not_list_problems(study, tmp_path):
    broken = (study / "ae.csv").read_text("utf-8") + "TINY,AE,,4,Lost,Lost,MILD,N,2024-03-01\n" * 50
    (study / "ae.csv").write_text(broken, "utf-8")
    done = fhirspace.convert(study, to="fhir", out=tmp_path / "out", id_key="demo")
    assert len(done.problems) >= 50
    assert len(repr(done)) < 1000
    names = ("PushReport", "PullReport", "BulkReport", "UndoReport", "VerifyReport", "Planned", "Conversion", "Proof")
    for name in names:
        fields = getattr(fhirspace, name).__dataclass_fields__
        assert not fields["problems"].repr, name
