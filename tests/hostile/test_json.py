"""JSON made to exhaust or to mislead a reader: as a line of a file, and as the answer of a server."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from fhirspace.fhir.validation.validate import validate
from fhirspace.testing import FaultyServer
from fhirspace.testing.messages import Answer, Request
from tests.hostile.inputs import lines
from tests.hostile.offline import URL, Ran, answered_by, ran

HEAD = b'{"resourceType":"Patient","id":"x"'
LINES = {
    "101 levels": (HEAD + b',"extension":' + b"[" * 100 + b"]" * 100 + b"}", "FS403"),
    "900 levels": (HEAD + b',"extension":' + b"[" * 900 + b"]" * 900 + b"}", "FS403"),
    "900 levels of objects": (HEAD + b',"extension":' + b'{"extension":' * 900 + b"1" + b"}" * 901, "FS403"),
    "100,000 levels": (HEAD + b',"extension":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "FS403"),
    "levels without an end": (HEAD + b',"extension":' + b"[" * 100_000, "FS403"),
    "a name twice": (HEAD + b',"id":"y"}', "FS402"),
    "a name twice, further in": (HEAD + b',"name":[{"text":"a","text":"b"}]}', "FS402"),
    "NaN": (HEAD + b',"x":NaN}', "FS401"),
    "half a surrogate pair": (HEAD + b',"gender":"\\ud800"}', "FS401"),
    "NUL": (HEAD + b',"gender":"\x00"}', "FS401"),
    "not UTF-8": (HEAD + b',"gender":"\xff"}', "FS401"),
    "UTF-16": ((HEAD + b"}").decode().encode("utf-16-le"), "FS401"),
    "cut": (HEAD, "FS401"),
    "two on a line": (HEAD + b"}" + HEAD + b"}", "FS401"),
    "HTML": (b"<html><body>Sign in</body></html>", "FS401"),
    "an array": (b"[" + HEAD + b"}]", "FS414"),
    "a text": (b'"Patient"', "FS414"),
}
"""Bad lines, and how `convert` and `validate` call what is wrong with them."""
UNSENDABLE = {
    "a number of 5,000 digits": HEAD + b',"multipleBirthInteger":' + b"9" * 5_000 + b"}",
    "no id": b'{"resourceType":"Patient"}',
    "an id that is a path": b'{"resourceType":"Patient","id":"../x"}',
    "an id that is a number": b'{"resourceType":"Patient","id":7}',
    "a type that is a path": b'{"resourceType":"../x","id":"x"}',
    "nothing in it": b"{}",
}


ALL = {**{name: line for name, (line, _) in LINES.items()}, **UNSENDABLE}


def folder(home: Path, attacks: dict[str, bytes]) -> Path:
    """A right study, and a file with a right resource and a bad line for each attack."""
    (home / "fhir").mkdir(parents=True)
    (home / "fhir" / "study.ndjson").write_bytes(b"\n".join(lines()) + b"\n")
    for number, (name, line) in enumerate(attacks.items()):
        good = b'{"resourceType":"Basic","id":"b-%d","code":{"text":"x"}}' % number
        (home / "fhir" / file_of(name)).write_bytes(good + b"\n" + line + b"\n")
    return home


def file_of(name: str) -> str:
    return "line-" + "".join(sign if sign.isalnum() else "-" for sign in name) + ".ndjson"  # NUL is Windows' own


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaultyServer, Ran, Ran]:
    """What a server has of a study with all bad lines in it, and how `plan` and `push` ended."""
    home, server = folder(tmp_path_factory.mktemp("sent"), ALL), FaultyServer(url=URL)
    with answered_by(server.respond):
        return server, ran("plan", home, "--server", URL, "--json"), ran("push", home, "--server", URL, "--json")


@pytest.mark.parametrize("name", ALL)
def test_a_bad_line_is_rejected(name: str, sent: tuple[FaultyServer, Ran, Ran]) -> None:
    assert f'"file": "{file_of(name)}",\n      "row": 2' in sent[2].said


def test_the_rest_is_sent(sent: tuple[FaultyServer, Ran, Ran]) -> None:
    server, planned, pushed = sent
    assert (planned.code, pushed.code) == (1, 3), pushed.said
    assert len([key for key in server.versions if not key.startswith("Provenance/")]) == len(lines()) + len(ALL)


def test_the_message_names_the_bound_and_the_option(sent: tuple[FaultyServer, Ran, Ran]) -> None:
    assert "at most 100 objects and arrays within one another" in sent[2].said
    assert "--limit json-depth=N" in sent[2].said


def test_the_bound_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_LIMITS", "")
    home = folder(tmp_path / "in", {"x": LINES["101 levels"][0]})
    with answered_by(FaultyServer(url=URL).respond):
        assert ran("push", home, "--server", URL, "--limit", "json-depth=150").code == 0


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran, Ran, Ran]:
    """The output of a study with all bad lines in it, and how `convert`, `roundtrip` and `validate` ended."""
    folder_ = tmp_path_factory.mktemp("read")
    home, out = folder(folder_ / "in", {name: line for name, (line, _) in LINES.items()}) / "fhir", folder_ / "out"
    converted = ran("convert", home, "--to", "sdtm", "--format", "csv", "--out", out)
    return out, converted, ran("roundtrip", home, "--json"), ran("validate", home)


@pytest.mark.parametrize("name", LINES)
def test_a_bad_line_is_quarantined_by_its_code(name: str, read: tuple[Path, Ran, Ran, Ran]) -> None:
    out, _, proof, checked = read
    line, code = LINES[name]
    problems = [json.loads(each) for each in (out / "problems.ndjson").read_bytes().splitlines()]
    assert [each["code"] for each in problems if (each["file"], each["row"]) == (file_of(name), 2)] == [code]
    assert (out / "quarantine" / file_of(name)).read_bytes().strip() == line.strip()
    assert f"{code} {file_of(name)}:2" in checked.said
    assert f"{code} {file_of(name)}:2" in proof.said


def test_the_rest_is_read(read: tuple[Path, Ran, Ran, Ran]) -> None:
    out, converted, proof, checked = read
    assert (converted.code, proof.code, checked.code) == (3, 3, 1), converted.said
    assert (out / "sdtm" / "ae.csv").read_bytes().count(b"\n") == 4
    assert f'"quarantined": {len(LINES)}' in proof.said


DEEP = LINES["900 levels"][0]
DOCUMENTS = {
    "Patient.json": DEEP,
    "study.json": b'{"resourceType":"Bundle","type":"collection","entry":[{"resource":' + DEEP + b"}]}",
    "study.json.gz": gzip.compress(b'{"resourceType":"Bundle","entry":[{"resource":' + DEEP + b"}]}", mtime=0),
    "cut.json": LINES["levels without an end"][0],
    "later.json": b'{"a":' * 900 + b"1" + b"}" * 900,
}


@pytest.mark.parametrize("command", ["validate", "convert --to sdtm --out {out}", "roundtrip", "plan", "push --server"])
@pytest.mark.parametrize("beside", ["alone", "in a folder", "beside others"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_nested_too_deeply_is_called_so(
    name: str, beside: str, command: str, tmp_path: Path
) -> None:
    home = folder(tmp_path / "in", {}) / "fhir" if beside == "beside others" else tmp_path / "in"
    home.mkdir(exist_ok=True)
    (home / name).write_bytes(DOCUMENTS[name])
    word, *more = command.format(out=tmp_path / "out").split()
    with answered_by(FaultyServer(url=URL).respond):
        done = ran(
            word, home / name if beside == "alone" else home, *more, *([URL] if more[-1:] == ["--server"] else [])
        )
    assert f"FS403 {name}: " in done.said, done.said
    assert "at most 100 objects and arrays within one another (`--limit json-depth=N`" in done.said
    assert done.code == (3 if beside == "beside others" else 2)


def test_the_check_by_itself_calls_it_so_as_well(tmp_path: Path) -> None:
    (tmp_path / "Patient.json").write_bytes(DEEP)
    for path in (tmp_path, tmp_path / "Patient.json"):
        assert [problem.code for problem in validate([path])] == ["FS403"]


@pytest.mark.parametrize(
    ("command", "code", "exit_code"),
    [
        ("validate", "FS403", 1),
        ("convert --to sdtm --out {out}", "FS403", 3),
        ("roundtrip", "FS403", 3),
        ("plan", "FS403", 1),
    ],
)
def test_a_file_of_nothing_but_deep_lines_is_named_line_by_line(
    command: str, code: str, exit_code: int, tmp_path: Path
) -> None:
    (tmp_path / "deep.ndjson").write_bytes(DEEP + b"\n" + DEEP + b"\n")
    word, *more = command.format(out=tmp_path / "out").split()
    done = ran(word, tmp_path / "deep.ndjson", *more)
    assert done.code == exit_code, done.said
    assert f"{code} deep.ndjson:1 (2 times; rows 1, 2)" in done.said or all(
        f"{code} deep.ndjson:{line}: " in done.said for line in (1, 2)
    ), done.said


ANSWERS = {
    "101 levels": b'{"resourceType":"CapabilityStatement","x":' + b"[" * 100 + b"]" * 100 + b"}",
    "900 levels": b'{"resourceType":"CapabilityStatement","x":' + b"[" * 900 + b"]" * 900 + b"}",
    "100,000 levels": b'{"resourceType":"CapabilityStatement","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("command", ["push", "plan", "pull", "doctor", "pull --bulk"])
def test_an_answer_that_is_nested_too_deeply_ends_the_run(name: str, command: str, tmp_path: Path) -> None:
    home = folder(tmp_path / "in", {})
    more = {"push": [home], "plan": [home], "doctor": []}.get(command, ["--study", "TINY", "--out", tmp_path / "out"])
    with answered_by(lambda request: Answer(200, ANSWERS[name])):
        done = ran(*command.split(), *more, "--server", URL)
    assert done.code == 4, done.said
    assert "FS519" in done.said
    assert "--limit json-depth=N" in done.said


@pytest.mark.parametrize("kind", ["text/plain", "application/x-json-stream", "application/fhir+ndjson"])
def test_whatever_the_answer_is_called_its_depth_ends_the_run(kind: str, tmp_path: Path) -> None:
    with answered_by(lambda request: Answer(200, ANSWERS["100,000 levels"], {"Content-Type": kind})):
        done = ran("pull", "--study", "TINY", "--out", tmp_path / "out", "--server", URL)
    assert done.code == 4, done.said


def test_a_deep_resource_of_a_server_is_no_part_of_a_pull(tmp_path: Path) -> None:
    server = FaultyServer(url=URL, types=["Patient"])
    deep = json.loads(b"[" * 150 + b"]" * 150)

    def respond(request: Request) -> Answer:
        answer = server.respond(request)
        if "_search" in request.path:
            answer.body = json.dumps(
                {"resourceType": "Bundle", "entry": [{"resource": {"id": "x", "y": deep}}]}
            ).encode()
        return answer

    with answered_by(respond):
        done = ran("pull", "--study", "TINY", "--out", tmp_path / "out", "--server", URL)
    assert (done.code, "FS519" in done.said) == (4, True), done.said
    assert not list(tmp_path.glob("out/fhir/*.ndjson"))
