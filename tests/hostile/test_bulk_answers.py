"""Exports that prove nothing, and links that lead a token away: each stage of a pull by files, and a token by its name.

Each attack is told by the stage of the export and the kind of false answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.fhirserver.http.client import Client
from tests.hostile.liar import LIES, SECRET
from tests.hostile.raw import Asked, Raw, answer, listening, patient, searchset, statement

STAGES = ("$export", "/fhir/job", "/fhir/file")
LIED = ["page", "page that claims to be FHIR", "text", "empty", "no content", "list", "object", "null", "no type"]
LIED += ["outcome", "search result", "another type"]


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = Client.__post_init__

    def prepared(self: Client) -> None:
        prepare(self)
        self.sleep = lambda seconds: None

    monkeypatch.setattr(Client, "__post_init__", prepared)
    monkeypatch.setattr(Client, "wait", lambda *given: None)


def lied(name: str, url: str) -> bytes:
    """A false answer as bytes."""
    said = LIES[name]("GET", url)
    headers = {key.replace("-", "_"): value for key, value in said.headers.items()}
    return answer(said.status, said.body, **headers)


def exporting(stage: str, lie: str) -> Any:
    """The answers of a server that exports one Patient, but for one stage."""

    def answers(asked: Asked) -> bytes:
        if stage and (asked.path.startswith(stage) or stage in asked.path):
            return lied(lie, asked.path)
        base = f"http://{asked.headers['host']}/fhir"
        if asked.path.endswith("/metadata"):
            return answer(200, statement("Patient"))
        if "$export" in asked.path:
            return answer(202, content_location=f"{base}/job")
        if asked.path == "/fhir/job" and asked.method == "GET":
            return answer(200, {"output": [{"type": "Patient", "url": f"{base}/file", "count": 1}]})
        if asked.path == "/fhir/file":
            return answer(200, json.dumps(patient()).encode() + b"\n")
        return answer(404)

    return answers


def pulled(server: Raw, out: Path, *more: str) -> int:
    return main(["pull", "--server", server.url, "--study", "S", "--out", str(out), "--bulk", *more])


@pytest.mark.parametrize("lie", LIED)
@pytest.mark.parametrize("stage", STAGES)
def test_an_export_that_is_lied_about_brings_nothing_and_the_next_one_all(
    stage: str, lie: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with listening(exporting(stage, lie)) as server:
        assert pulled(server, out) in (1, 4)
        said = capsys.readouterr()
        assert "error: FS" in said.err or "warning: FS" in said.err
        assert SECRET not in said.out + said.err
        assert not list(out.rglob("Patient.ndjson"))
        server.answers = exporting("", "")
        assert pulled(server, out) == 0
    assert json.loads((out / "fhir" / "Patient.ndjson").read_bytes())["id"] == "p-1"


TOKEN = "BY-NAME-CANARY"
AWAY = ["http://EVIL/fhir?page=2", "//EVIL/fhir", "http://EVIL\\@SERVER/fhir", "http://SERVER@EVIL/fhir"]


@pytest.mark.parametrize("link", AWAY)
@pytest.mark.parametrize("how", ["FHIR_TOKEN", "FHIRSPACE_TOKEN"])
def test_a_next_link_does_not_lead_the_token_of_the_environment_away(
    how: str, link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The token is one that a file of servers names by its variable, or the one that is taken without being named."""
    monkeypatch.setenv(how, TOKEN)

    def answers(asked: Asked) -> bytes:
        if asked.path.endswith("/metadata"):
            return answer(200, statement("Patient"))
        away = link.replace("SERVER", server.place).replace("EVIL", evil.place)
        return answer(200, searchset(patient(), link=away, total=2))

    with listening() as evil, listening(answers) as server:
        file = tmp_path / "servers.toml"
        file.write_text(f'[servers.hospital]\nurl = "{server.url}"\nsign_in = "bearer"\ntoken_env = "{how}"\n')
        named = ["hospital", "--config", str(file)] if how == "FHIR_TOKEN" else [server.url]
        code = main(["pull", "--server", *named, "--study", "S", "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert (code, evil.connections) == (4, 0)
    assert "FS530" in said.err
    assert TOKEN not in said.out + said.err
    assert [each.token for each in server.asked] == [f"Bearer {TOKEN}"] * 2, "the server itself got it"
    assert not (tmp_path / "out").exists()
