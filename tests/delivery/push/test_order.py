"""Order of sending, and input that must not be sent."""

from __future__ import annotations

import itertools
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from fhirspace.delivery.plan.plan import order as types
from fhirspace.delivery.push.order import Order, inputs
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.references import redirected
from tests.support.resources import dump, observation, patient, ref, resource, trial, write


def keys(folder: Path) -> list[list[str]]:
    with Order(inputs(folder)) as found:
        return [[item.key for item in unit] for unit in found.units()]


def test_types_come_after_those_they_refer_to(tmp_path: Path) -> None:
    assert types(trial(tmp_path)) == [("Organization", 1), ("Patient", 3), ("Observation", 12), ("ResearchStudy", 1)]


def test_resources_of_one_type_that_refer_to_each_other_are_ordered(tmp_path: Path) -> None:
    names = [f"e-{number}" for number in range(6)]
    encounters = [
        resource("Encounter", name, status="finished", partOf=ref("Encounter", before))
        for before, name in itertools.pairwise(names)
    ] + [resource("Encounter", names[0], status="finished")]
    random.Random(1).shuffle(encounters)
    write(tmp_path, {"Encounter": encounters})
    assert keys(tmp_path) == [[f"Encounter/{name}"] for name in names]


def test_a_circle_of_resources_stays_in_one_piece(tmp_path: Path) -> None:
    def link(kind: str, name: str, *targets: dict[str, str]) -> dict[str, Any]:
        return resource(kind, name, extension=[{"url": "x", "valueReference": target} for target in targets])

    write(
        tmp_path,
        {
            "Condition": [link("Condition", "c-1", ref("Encounter", "e-1")), link("Condition", "c-2")],
            "Encounter": [
                link("Encounter", "e-1", ref("Condition", "c-1")),
                link("Encounter", "e-2", ref("Condition", "c-2")),
            ],
            "Task": [link("Task", "t-1", ref("Encounter", "e-1"), ref("Task", "t-1"))],
        },
    )
    assert keys(tmp_path) == [
        ["Condition/c-2"],
        ["Encounter/e-2"],
        ["Condition/c-1", "Encounter/e-1"],
        ["Task/t-1"],
    ]


@pytest.mark.parametrize("length", [3, 63, 64, 65, 200])
def test_chains_of_any_length_with_a_spoilt_line_among_them(tmp_path: Path, length: int) -> None:
    chain = [
        resource("Task", f"t-{n:03}") | ({"partOf": [ref("Task", f"t-{n - 1:03}")]} if n else {}) for n in range(length)
    ]
    knot = [
        resource("Task", f"k-{n}", partOf=[ref("Task", f"k-{1 - n}"), ref("Task", f"t-{length - 1:03}")])
        for n in range(2)
    ]
    tasks = [*chain, *knot, resource("Task", "away", partOf=[ref("Task", "elsewhere")])]
    random.Random(2).shuffle(tasks)
    write(tmp_path, {"Task": [*tasks, "{spoilt"]})
    found = [sorted(unit) for unit in keys(tmp_path)]
    assert ["Task/away"] in found
    assert [unit for unit in found if unit != ["Task/away"]] == [
        *([f"Task/t-{n:03}"] for n in range(length)),
        ["Task/k-0", "Task/k-1"],
    ]


@pytest.mark.slow
@given(st.dictionaries(st.integers(0, 9), st.sets(st.integers(0, 9), max_size=3), max_size=10))
def test_targets_come_first_and_circles_together(graph: dict[int, set[int]]) -> None:
    nodes = graph.keys() | {target for targets in graph.values() for target in targets}
    with tempfile.TemporaryDirectory() as folder:
        tasks = [resource("Task", f"t{n}", partOf=[ref("Task", f"t{to}") for to in graph.get(n, ())]) for n in nodes]
        found = keys(write(Path(folder), {"Task": tasks or [resource("Task", "t0")]}))
    at = {int(key[6:]): number for number, unit in enumerate(found) for key in unit}
    for source, targets in graph.items():
        assert all(at[target] <= at[source] for target in targets)
    for unit in found:
        reach = {int(key[6:]) for key in unit}
        assert all(len(unit) == 1 or any(to in reach for to in graph[node] if to != node) for node in reach)


def test_quoted_text_is_no_reference(tmp_path: Path) -> None:
    note = resource("Patient", "p-1", text={"div": 'say "reference":"Observation/o-1" aloud'})
    write(tmp_path, {"Patient": [note], "Observation": [observation("o-1", "p-1")]})
    assert keys(tmp_path) == [["Patient/p-1"], ["Observation/o-1"]]


def test_references_are_led_elsewhere_and_nothing_else_is_touched() -> None:
    line = (
        rb'{"resourceType":"Observation","note":[{"text":"\"reference\":\"Patient/1\""}],"subject":{"reference":'
        rb'"Patient/1"},"focus":[{"reference" : "Patient/1/_history/2"},{"reference":"Patient/12"}],"value":5.50}'
    )
    moved = redirected(line, {"Patient/1": "Patient/900"}.get)
    expected = line.replace(b'"Patient/1"}', b'"Patient/900"}').replace(b"Patient/1/_", b"Patient/900/_")
    assert moved == expected
    assert moved != line
    assert redirected(line, lambda key: None) == line


def test_a_folder_or_one_file_of_ndjson_will_do(tmp_path: Path) -> None:
    (tmp_path / "some.ndjson").write_text("\n" + dump(patient("p-1")) + "\r\n\n" + dump(patient("p-2")))
    (tmp_path / "problems.ndjson").write_text('{"code":"FS101"}\n')
    expected = [["Patient/p-1"], ["Patient/p-2"]]
    assert keys(tmp_path) == keys(tmp_path / "some.ndjson") == expected


@pytest.mark.parametrize(
    ("lines", "code", "place"),
    [
        ([dump(patient("p-1")), dump(patient("p-2")), dump(patient("p-1", active=True))], "FS521", "Patient.ndjson:3"),
        ([dump(patient("p-1")), "{not json"], "FS401", "Patient.ndjson:2"),
        (['{"resourceType":"Patient"}'], "FS522", "Patient.ndjson:1"),
        (['{"resourceType":"Patient","id":7}'], "FS522", "Patient.ndjson:1"),
        (['{"resourceType":"Patient","id":"a/../b"}'], "FS522", "Patient.ndjson:1"),
        (['{"resourceType":"Patient","id":"' + "a" * 65 + '"}'], "FS522", "Patient.ndjson:1"),
        (['{"resourceType":"../x","id":"a"}'], "FS522", "Patient.ndjson:1"),
        (['{"resourceType":"Patient","id":"a","id":"a"}'], "FS402", "Patient.ndjson:1"),
        (['[{"resourceType":"Patient","id":"a"}]'], "FS414", "Patient.ndjson:1"),
    ],
)
def test_a_line_that_cannot_be_sent_does_not_hold_back_the_others(
    tmp_path: Path, lines: list[str], code: str, place: str
) -> None:
    write(tmp_path, {"Patient": [*lines, dump(patient("good"))]})
    with Order(inputs(tmp_path)) as found:
        assert [(fault, str(item.place)) for fault, item, _ in found.faults] == [(code, place)]
        assert "Patient/good" in [item.key for unit in found.units() for item in unit]


def test_the_same_said_twice_is_sent_once(tmp_path: Path) -> None:
    write(tmp_path, {"Patient": [dump(patient("p-1"))] * 3})
    with Order(inputs(tmp_path)) as found:
        assert (len(found), found.twins, found.faults) == (1, 2, [])


def test_a_file_without_resources_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"Patient": [""]})
    with pytest.raises(FhirspaceError, match="FS102") as caught:
        types(tmp_path)
    assert str(caught.value.problem.place) == "Patient.ndjson"


def test_nothing_to_push(tmp_path: Path) -> None:
    with pytest.raises(FhirspaceError, match="FS523"):
        inputs(tmp_path)


def test_of_a_file_that_breaks_off_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its resources nor its faults and twins count; the same resource in a later file does."""
    monkeypatch.setenv("FHIRSPACE_LIMITS", "line-bytes=500")
    twice, other = dump(patient("p-1")), dump(patient("p-1", active=True))
    (tmp_path / "a.ndjson").write_text("\n".join([twice, twice, other, dump(patient("p-2")), "x" * 600]))
    (tmp_path / "b.ndjson").write_text("\n".join([twice, dump(patient("p-3"))]))
    with Order(inputs(tmp_path)) as found:
        assert [item.key for unit in found.units() for item in unit] == ["Patient/p-1", "Patient/p-3"]
        assert (found.faults, found.twins) == ([], 0)
        assert [(problem.code, str(problem.place)) for problem in found.unread] == [("FS405", "a.ndjson:5")]
        assert [file.name for file in found.files] == ["b.ndjson"]
