"""Links, pipes and devices in an input folder: they are neither followed nor waited for, whatever reads them."""
# ruff: noqa: F811 - fixtures that are imported

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.errors import MappingError
from fhirspace.template import yaml_nodes as nodes
from tests.hostile import planted
from tests.hostile.planted import Plant, in_time, state  # noqa: F401
from tests.hostile.studies import FHIR, Told, home, made, refused, told  # noqa: F401

NOBODY = "http://127.0.0.1:9/fhir"
NAMES = ["ae.csv", "ae.parquet", "ae.xpt", "AdverseEvent.ndjson", "AdverseEvent.json", "AdverseEvent.ndjson.gz"]
READERS: dict[str, list[str]] = {
    "convert": ["convert", "IN", "--to", "TO", "--out", "OUT", "--format", "csv"],
    "validate": ["validate", "IN"],
    "roundtrip": ["roundtrip", "IN"],
    "plan": ["plan", "IN"],
    "push": ["push", "IN", "--server", NOBODY],
    "push --bulk": ["push", "IN", "--server", NOBODY, "--bulk"],
}
FOR_TABLES = ("convert", "validate", "roundtrip")
IN_INPUT: dict[str, tuple[Plant, str]] = {
    "a link out": (planted.link, "FS152"),
    "a link to nothing": (planted.dangling, "FS157"),
    "a loop": (planted.loop, "FS157"),
    "a pipe": (planted.fifo, "FS156"),
    "a socket": (planted.named_socket, "FS156"),
    "a link to a device": (planted.endless, "FS152"),
}

NO_FILES = ("a pipe", "a socket")
"""What all commands name and leave out, as they do with files that are damaged."""


def _cases() -> Iterator[Any]:
    """Every command and kind of file with a link that leads out; the other things once for tables and for FHIR."""
    for command in READERS:
        for name in NAMES:
            for plant in IN_INPUT:
                table = name.startswith("ae")
                once = plant == "a link out" or name in ("ae.csv", "AdverseEvent.ndjson")
                passed_over = plant in NO_FILES
                if once and not passed_over and not (table and command not in FOR_TABLES):
                    yield pytest.param(command, name, plant, id=f"{command}-{name}-{plant}")


def _command(command: str, given: Path, name: str, *more: str) -> list[str]:
    to = "fhir" if name.startswith("ae") else "sdtm"
    words = {"IN": str(given), "OUT": str(given.parent / "new"), "TO": to}
    return [*(words.get(word, word) for word in READERS[command]), *more]


@pytest.mark.parametrize(("command", "name", "plant"), list(_cases()))
def test_what_is_no_file_of_the_input_folder_is_refused(
    command: str, name: str, plant: str, home: Path, told: Told
) -> None:
    given = home / "in" if name.startswith("ae") else home / "fhir" / "fhir"
    secret = home / "secret"
    shutil.move(given / ("dm.csv" if given.name == "in" else "Patient.ndjson"), secret)
    (given / name).unlink(missing_ok=True)
    put, code = IN_INPUT[plant]
    put(given / name, secret)
    before = state(home)
    message = refused(told, code, *_command(command, given, name))
    assert name.split(".", maxsplit=1)[0] in message
    assert state(home) == before


@pytest.mark.parametrize("plant", NO_FILES)
@pytest.mark.parametrize("name", ["AdverseEvent.ndjson", "zz.json"])
def test_a_plan_names_it_and_has_the_rest(
    name: str, plant: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = home / "fhir" / "fhir"
    (given / name).unlink(missing_ok=True)
    put, code = IN_INPUT[plant]
    put(given / name, home / "precious.txt")
    assert main(["plan", str(given)]) == 3
    said = capsys.readouterr()
    assert f"{code} {name}" in said.err
    assert "Patient" in said.out


@pytest.mark.parametrize("plant", NO_FILES)
@pytest.mark.parametrize("name", ["ae.csv", "zz.xpt", "AdverseEvent.ndjson", "zz.json", "beside.ndjson"])
@pytest.mark.parametrize("command", FOR_TABLES)
def test_what_nobody_can_read_is_named_and_counted_and_the_rest_is_read(
    command: str, name: str, plant: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = name in ("ae.csv", "zz.xpt", "beside.ndjson")
    given = home / "in" if tables else home / "fhir" / "fhir"
    (given / name).unlink(missing_ok=True)
    put, code = IN_INPUT[plant]
    put(given / name, home / "precious.txt")
    words = _command(command, given, "ae.csv" if tables else name)
    assert main(words) == 3
    assert f"{code} {name}: " in "".join(capsys.readouterr())
    if command == "convert":
        out = given.parent / "new"
        problems = [json.loads(line) for line in (out / "problems.ndjson").read_bytes().splitlines()]
        assert [each["file"] for each in problems if each["code"] == code] == [name]
        assert (out / ("fhir/Patient.ndjson" if tables else "sdtm/dm.csv")).is_file()
        assert not (out / "quarantine" / name).exists()


@pytest.mark.parametrize("command", FOR_TABLES)
def test_where_there_is_nothing_else_the_run_is_refused(command: str, tmp_path: Path, told: Told) -> None:
    (tmp_path / "in").mkdir()
    for name in ("ae.csv", "x.ndjson"):
        planted.fifo(tmp_path / "in" / name, tmp_path)
    refused(told, "FS156", *_command(command, tmp_path / "in", "ae.csv"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", READERS)
def test_a_folder_that_is_a_link_out_is_refused(command: str, home: Path, told: Told) -> None:
    (home / "study").mkdir()
    (home / "study" / "fhir").symlink_to(home / "fhir" / "fhir")
    before = state(home)
    refused(told, "FS152", *_command(command, home / "study", "x"))
    assert state(home) == before


@pytest.mark.parametrize("command", ["convert", "validate", "roundtrip", "plan"])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_are_followed_when_asked(what: str, command: str, home: Path, told: Told) -> None:
    (home / "study").mkdir()
    if what == "folder":
        (home / "study" / "fhir").symlink_to(home / "fhir" / "fhir")
    else:
        for path in (home / "fhir" / "fhir").iterdir():
            (home / "study" / path.name).symlink_to(path)
    refused(told, "FS152", *_command(command, home / "study", "x"))
    assert main(_command(command, home / "study", "x", "--follow-links")) == 0


def test_links_that_stay_in_the_folder_and_a_link_that_is_named_are_read(home: Path) -> None:
    (home / "in" / "ae.csv").rename(home / "in" / "adverse.txt")
    (home / "in" / "ae.csv").symlink_to("adverse.txt")
    (home / "link").symlink_to(home / "in")
    assert main(["convert", str(home / "link"), *FHIR, "--out", str(home / "new")]) == 0
    assert (home / "new" / "fhir" / "AdverseEvent.ndjson").is_file()


@pytest.mark.parametrize("plant", [planted.fifo, planted.named_socket, planted.endless, planted.loop, planted.dangling])
@pytest.mark.parametrize("command", READERS)
def test_what_is_no_file_is_no_input(command: str, plant: Plant, home: Path, told: Told) -> None:
    plant(home / "given.ndjson", home / "precious.txt")
    before = state(home)
    refused(told, "FS15", *_command(command, home / "given.ndjson", "x"))
    assert state(home) == before


@pytest.mark.parametrize("plant", [planted.fifo, planted.endless, planted.named_socket])
@pytest.mark.parametrize("name", ["domains/ae.yaml", "codes/sex.csv", "common.yaml", "sources/mine/ae.yaml"])
def test_what_is_no_file_among_mappings(name: str, plant: Plant, home: Path, told: Told) -> None:
    mine = home / "mine" / name
    mine.parent.mkdir(parents=True)
    plant(mine, home / "precious.txt")
    more = ["--source", "mine"] if "sources" in name else []
    assert mine.name in refused(told, "FS", "mapping", "check", "--mappings", home / "mine", *more)
    command = ["convert", home / "in", *FHIR, "--out", home / "new", "--mappings", home / "mine"]
    if "sources" not in name:
        refused(told, "FS300", *command)
    if name.endswith(".yaml"):
        with pytest.raises(MappingError, match="FS300"):
            nodes.load(mine)
    assert not (home / "new").exists()


@pytest.mark.parametrize("plant", [planted.fifo, planted.endless, planted.named_socket])
def test_what_is_no_file_among_profiles(plant: Plant, home: Path, told: Told) -> None:
    (home / "profiles").mkdir()
    plant(home / "profiles" / "x.json", home / "precious.txt")
    refused(told, "FS156", "validate", home / "fhir", "--profile", home / "profiles")
