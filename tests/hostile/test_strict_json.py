"""JSON that programs read in two ways, or that FHIR does not have, inside resources of ours: one verdict everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from fhirspace.testing import FaultyServer
from tests.hostile.inputs import lines
from tests.hostile.offline import URL, Ran, answered_by, ran

_TERM = b'"text":"Headache"'
_DATE = b'"date":"2024-02-01"'
_VALUE = b'"value":'
REFUSED: dict[str, tuple[bytes, bytes, str]] = {
    "a name twice": (_TERM, b'"text":"Headache","text":"Rash"', "FS402"),
    "a name twice with one value": (_TERM, _TERM + b"," + _TERM, "FS402"),
    "a name twice, spelt with an escape": (_TERM, _TERM + b',"t\\u0065xt":"Rash"', "FS402"),
    "a name twice between blanks": (_TERM, b'"text" : "Headache" , "text" : "Rash"', "FS402"),
    "a name twice beside escaped quotes": (_TERM, b'"text":"\\"Head\\\\\\"ache","text":"Rash"', "FS402"),
    "a name twice far inside": (b'"valueCode":"PT"', b'"valueCode":"LLT","valueCode":"PT"', "FS402"),
    "a name twice that no mapping reads": (_DATE, b'"note":[{"text":"a","text":"b"}],' + _DATE, "FS402"),
    "an element twice": (b'"event":', b'"event":{"text":"Rash"},"event":', "FS402"),
    "the type twice": (_DATE, b'"resourceType":"AdverseEvent",' + _DATE, "FS402"),
    "a version twice": (b'"meta":{', b'"meta":{"versionId":"1","versionId":"2",', "FS402"),
    "a name twice beside a number": (_VALUE, b'"value":45,"value":', "FS402"),
    "NaN": (_VALUE, b'"value":NaN,"x":', "FS401"),
    "Infinity": (_VALUE, b'"value":-Infinity,"x":', "FS401"),
    "a number that is infinite": (_VALUE, b'"value":1e999,"x":', "FS414"),
    "an infinite number that no mapping reads": (_DATE, b'"x":-1E+309,' + _DATE, "FS414"),
    "a number of 5,000 digits": (_VALUE, b'"value":' + b"9" * 5_000 + b',"x":', "FS414"),
    "too deep": (_DATE, b'"extension":' + b"[" * 100 + b"1" + b"]" * 100 + b"," + _DATE, "FS403"),
}
"""What is replaced in a resource of ours, by what, and the code."""
EMPTY: dict[str, tuple[bytes, bytes, str]] = {
    "null": (_DATE, b'"date":null', "AdverseEvent.date"),
    "an empty text": (_DATE, b'"date":""', "AdverseEvent.date"),
    "an empty object": (_DATE, b'"location":{},' + _DATE, "AdverseEvent.location"),
    "an empty array": (_DATE, b'"extension":[],' + _DATE, "AdverseEvent.extension"),
    "null in an array": (_DATE, b'"category":[null],' + _DATE, "AdverseEvent.category[0]"),
    "an empty object in an array": (b'"study":[', b'"study":[{},', "AdverseEvent.study[0]"),
    "an element that no mapping reads": (_DATE, b'"note":null,' + _DATE, "AdverseEvent.note"),
    "inside an element": (_TERM, _TERM + b',"id":""', "AdverseEvent.event.id"),
}
"""The same for values that say nothing, and the path that is named."""
COMMANDS = ("convert", "roundtrip", "validate", "plan", "push")


class Done(NamedTuple):
    out: Path
    ran: dict[str, Ran]
    server: FaultyServer


def _aged() -> bytes:
    """A subject with an age: the other resources have no number that is read."""
    subject = next(line for line in lines() if b'"ResearchSubject"' in line)
    value = b'{"value":44,"unit":"YEARS","system":"http://unitsofmeasure.org","code":"a"}'
    age = b'{"url":"https://fhirspace.org/StructureDefinition/age","valueQuantity":%s}' % value
    return subject.replace(b'"extension":[', b'"extension":[' + age + b",", 1)


def _line(number: int, old: bytes, new: bytes) -> bytes:
    """The first resource that has a text, as one more row of its table, with another text in its place."""
    line = next(each for each in (lines()[0], _aged()) if old in each)
    mine = line.replace(b"-AE-1", b"-AE-%d" % number).replace(b"|1", b"|%d" % number)
    mine = mine.replace(b'-RS"', b'-RS-%d"' % number).replace(b'"TINY-1"', b'"TINY-%d"' % number)
    return mine.replace(old, new, 1)


def _file(name: str) -> str:
    return "line-" + "".join(sign if sign.isalnum() else "-" for sign in name) + ".ndjson"


def _done(folder: Path, attacks: dict[str, tuple[bytes, bytes, str]]) -> Done:
    """Each command once, over a right study and a file with one bad resource for each attack."""
    home = folder / "in" / "fhir"
    home.mkdir(parents=True)
    (home / "study.ndjson").write_bytes(b"\n".join(lines()) + b"\n")
    for number, (name, (old, new, _)) in enumerate(attacks.items(), 101):
        (home / _file(name)).write_bytes(b'{"resourceType":"Basic","id":"b-%d","code":{"text":"x"}}\n' % number)
        with (home / _file(name)).open("ab") as stream:
            stream.write(_line(number, old, new) + b"\n")
    server = FaultyServer(url=URL)
    done = {
        "convert": ran("convert", home, "--to", "sdtm", "--format", "csv", "--out", folder / "out"),
        "roundtrip": ran("roundtrip", home),
        "validate": ran("validate", home),
    }
    with answered_by(server.respond):
        done["plan"] = ran("plan", home.parent, "--server", URL)
        done["push"] = ran("push", home.parent, "--server", URL)
    return Done(folder / "out", done, server)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return _done(tmp_path_factory.mktemp("refused"), REFUSED)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return _done(tmp_path_factory.mktemp("empty"), EMPTY)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_read_in_two_ways_is_refused_by_each_command(name: str, command: str, refused: Done) -> None:
    assert f"{REFUSED[name][2]} {_file(name)}:2" in refused.ran[command].said
    assert refused.ran[command].code == {"validate": 1, "plan": 1}.get(command, 3), refused.ran[command].said


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_quarantined_whole_and_nothing_of_it_is_written(name: str, refused: Done) -> None:
    old, new, _ = REFUSED[name]
    number = 101 + list(REFUSED).index(name)
    line = _line(number, old, new)
    assert (refused.out / "quarantine" / _file(name)).read_bytes().splitlines() == [line]
    assert not [key for key in refused.server.versions if key.endswith((f"-AE-{number}", f"-RS-{number}"))]
    for file in (refused.out / "sdtm").iterdir():
        assert str(number) not in file.read_text()


@pytest.mark.parametrize("command", ["convert", "roundtrip", "validate"])
@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_value_is_a_finding(name: str, command: str, empty: Done) -> None:
    assert f"FS420 {_file(name)}:2:{EMPTY[name][2]}" in empty.ran[command].said, empty.ran[command].said


@pytest.mark.parametrize("name", EMPTY)
def test_the_resource_is_read_as_if_it_were_left_out_and_is_sent_as_it_is(name: str, empty: Done) -> None:
    number = 101 + list(EMPTY).index(name)
    assert f",{number}," in (empty.out / "sdtm" / "ae.csv").read_text()
    assert [key for key in empty.server.versions if key.endswith(f"-AE-{number}")]


def test_empty_values_quarantine_nothing(empty: Done) -> None:
    codes = {command: done.code for command, done in empty.ran.items()}
    assert codes == {"convert": 3, "roundtrip": 3, "validate": 1, "plan": 0, "push": 0}  # a Basic beside each
    assert (
        "line-null.ndjson: AdverseEvent.date is empty and is left out" in empty.ran["roundtrip"].said
    )  # a declared loss
    assert not (empty.out / "quarantine").exists()
    problems = [json.loads(each) for each in (empty.out / "problems.ndjson").read_bytes().splitlines()]
    named = {(each["file"], each["column"]) for each in problems if each["code"] == "FS420"}
    assert named == {(_file(name), path) for name, (_, _, path) in EMPTY.items()}
