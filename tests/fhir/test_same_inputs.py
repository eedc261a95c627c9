"""Whatever takes FHIR takes the same files: for each kind of file all commands say the same.

Each resource has one flaw that only `validate` sees, so that its findings count the resources that it has read.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fhirspace.cli import main
from fhirspace.testing import FaultyServer
from tests.hostile.offline import URL, answered_by


def resource(name: str) -> dict[str, Any]:
    return {"resourceType": "Basic", "id": name, "code": {"text": "a"}, "flaw": 1}


def bundle(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", **more, "entry": [{"resource": each} for each in resources]}


def dumped(content: Any, indent: int | None = None) -> bytes:
    return json.dumps(content, indent=indent).encode()


TWO = [resource("a"), resource("b")]
LINES = b"".join(dumped(each) + b"\n" for each in TWO)


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


class Kind(NamedTuple):
    """A file, the code that it is refused with ("": it is accepted), and how many resources it has.

    `beside` is the code where it is found in a folder with other files ("": the same).
    """

    name: str
    content: bytes
    code: str = ""
    count: int = 0  # type: ignore[assignment]
    beside: str = ""


KINDS = {
    "NDJSON": Kind("study.ndjson", LINES, count=2),
    "NDJSON, gzip": Kind("study.ndjson.gz", packed(LINES), count=2),
    "NDJSON as .json": Kind("study.json", LINES, count=2),
    "one line of .jsonl": Kind("study.jsonl", dumped(TWO[0]), count=1),
    "Bundle": Kind("study.json", dumped(bundle(*TWO), 2), count=2),
    "Bundle, gzip": Kind("study.json.gz", packed(dumped(bundle(*TWO), 2)), count=2),
    "Bundle in a Bundle": Kind("study.json", dumped(bundle(bundle(TWO[0], id="inner"))), count=1),
    "resource": Kind("study.json", dumped(TWO[0], 2), count=1),
    "resource, gzip": Kind("study.json.gz", packed(dumped(TWO[0])), count=1),
    "array": Kind("study.json", dumped(TWO, 2), count=2),
    "array, gzip": Kind("study.json.gz", packed(dumped(TWO)), count=2),
    "a suffix in upper case": Kind("STUDY.JSON", dumped(TWO[0]), count=1),
    "other JSON": Kind("study.json", b'{"name": "x"}', "FS406", beside="FS180"),
    "an array of something else": Kind("study.json", b"[1, 2]", "FS406", beside="FS180"),
    "lines of other JSON": Kind("study.ndjson", b'{"a": 1}\n{"a": 2}\n', "FS406"),
    "empty": Kind("study.ndjson", b"", "FS102"),
    "empty, gzip": Kind("study.json.gz", packed(b""), "FS102"),
    "gzip cut short": Kind("study.ndjson.gz", packed(LINES * 200)[:-9], "FS404"),
    "Bundle cut short": Kind("study.json", dumped(bundle(*TWO))[:-9], "FS401"),
    "text": Kind("study.json", b"subject,term\n1,headache\n", "FS401"),
    "text as lines": Kind("study.ndjson", b"subject,term\n1,headache\n", "FS406"),
    "UTF-16": Kind("study.ndjson", LINES.decode().encode("utf-16"), "FS105"),
    "UTF-16 without its mark": Kind("study.ndjson", LINES.decode().encode("utf-16-le"), "FS105"),
    "UTF-16, a Bundle": Kind("study.json", dumped(bundle(*TWO)).decode().encode("utf-16-be"), "FS105"),
    "a name twice in an entry": Kind(
        "study.json",
        b'{"resourceType":"Bundle","type":"collection","entry":[{"resource":%b,"resource":%b}]}'
        % tuple(map(dumped, TWO)),
        "FS402",
    ),
    "a name twice": Kind("study.json", b'{"resourceType":"Bundle","entry":[],"entry":' + dumped([]) + b"}", "FS402"),
}


class Capability(NamedTuple):
    """How a command ended: its exit code, the codes about the file as a whole, how many resources it read."""

    exit_code: int
    codes: set[str]
    count: int  # type: ignore[assignment]


def validate(out: str) -> int:
    return sum(int(times or 1) for times in re.findall(r"FS411 \S+flaw(?: \((\d+) times)?", out))


COMMANDS: dict[str, tuple[list[str], Callable[[str], int]]] = {
    "convert": (["--to", "sdtm", "--json", "--out", "{out}"], lambda out: int(json.loads(out)["resources"])),
    "validate": ([], validate),
    "plan": (["--json"], lambda out: int(json.loads(out)["total"]["resources"])),
    "push": (["--json", "--server", URL, "--id-key", "demo"], lambda out: int(json.loads(out)["sent"])),
    "roundtrip": (["--json"], lambda out: sum(each["rows"] for each in json.loads(out)["tables"])),
}


CONVERTING = ("convert", "roundtrip")
"""No mapping claims a Basic: where it is to be converted, the exit code is 3."""


def run(command: str, path: Path, name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> Capability:
    options, counted = COMMANDS[command]
    with answered_by(FaultyServer(url=URL).respond):
        exit_code = main([command, str(path), *(each.format(out=home / "out") for each in options)])
    out, err = capsys.readouterr()
    codes = set(re.findall(rf"(FS\d{{3}}) {re.escape(name)}: ", out + err))
    return Capability(exit_code, codes, counted(out) if exit_code != 2 else 0)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_alone(kind: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, content, code, count, _ = KINDS[kind]
    (tmp_path / name).write_bytes(content)
    said = run(command, tmp_path / name, name, tmp_path, capsys)
    assert (said.codes, said.count) == ({code} if code else set(), count)
    if code:
        assert said.exit_code == 2 or (command, said.exit_code) == ("validate", 3)
    else:
        assert said.exit_code in ((3,) if command in CONVERTING else (0, 1))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_beside_others(kind: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read is named, and the rest is read."""
    name, content, code, count, beside = KINDS[kind]
    home = tmp_path / "in"
    home.mkdir()
    (home / "a.ndjson").write_bytes(dumped(resource("first")))
    (home / name).write_bytes(content)
    (home / "z.json").write_bytes(dumped(resource("last")))
    said = run(command, home, name, tmp_path, capsys)
    expected = beside or code
    assert (said.codes, said.count) == ({expected} if expected else set(), 2 + count)
    assert said.exit_code in ((1, 3) if expected or command in CONVERTING else (0, 1))
    if expected:
        assert said.exit_code == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_of_all_kinds(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "in"
    home.mkdir()
    total = 0
    for at, kind in enumerate(KINDS.values()):
        content = kind.content
        if kind.count and not kind.name.lower().endswith(".gz"):
            content = (
                content.replace(b'"a"', b'"a%d"' % at).replace(b'"b"', b'"b%d"' % at).replace(b"inner", b"i%d" % at)
            )
            total += kind.count
        elif kind.count:
            continue
        (home / f"f{at:02}-{kind.name}").write_bytes(content)
    (home / "notes.txt").write_text("x")
    (home / "Patient.xml").write_text("<Patient/>")
    said = run(command, home, "Patient.xml", tmp_path, capsys)
    assert (said.codes, said.count) == ({"FS180"}, total)
    assert said.exit_code == 3


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("content", [b'{"name": "x"}', b""])
def test_a_folder_without_fhir(
    content: bytes, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "in"
    home.mkdir()
    (home / "package.json").write_bytes(content)
    said = run(command, home, "package.json", tmp_path, capsys)
    assert (said.exit_code, said.codes) == (2, {"FS406" if content else "FS102"})
