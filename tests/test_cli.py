"""The command line: what it says, where it says it, and with which exit code it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fhirspace
from fhirspace import cli
from fhirspace.cli import commands, console as talk, main
from fhirspace.delivery.journal import Journal
from fhirspace.delivery.pull.pull import PullReport
from fhirspace.delivery.push.push import PushReport
from fhirspace.errors import FhirspaceError, Place, Problem, ServerError, UsageError, catalogue
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import Response
from fhirspace.idkey import PUBLIC
from fhirspace.localserver import server
from tests import small_study

COMMAND = [sys.executable, "-m", "fhirspace.cli"]
SUBCOMMANDS = [
    "demo",
    "convert",
    "validate",
    "roundtrip",
    "doctor",
    "plan",
    "push",
    "pull",
    "runs",
    "server",
    "mapping",
    "rules",
    "terminology",
    "explain",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study.write(tmp_path_factory.mktemp("tiny") / "in")


@pytest.fixture(scope="module")
def tiny_fhir(tiny: Path) -> Path:
    out = tiny.parent / "fhir-out"
    assert main(["convert", str(tiny), "--to", "fhir", "--out", str(out)]) == 0
    return out


@pytest.fixture
def document(capsys: pytest.CaptureFixture[str]) -> Callable[[], Any]:
    """What stdout holds: exactly one JSON document."""
    return lambda: json.loads(capsys.readouterr().out)


# -- help and the public API


def test_help_is_light() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3
    assert "exit codes:" in said
    assert all(re.search(rf"^    {name} ", said, re.M) for name in SUBCOMMANDS)


def test_nothing_heavy_is_imported_for_help_or_for_the_package() -> None:
    program = """
import sys
import fhirspace, fhirspace.cli
try:
    fhirspace.cli.main(["convert", "--help"])
except SystemExit:
    pass
print([name for name in ("pyarrow", "msgspec", "yaml", "requests", "tqdm", "pandas", "fhir") if name in sys.modules])
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_subcommand_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert f"examples:\n  fhirspace {name}" in said
    assert "--json" in said
    assert re.search(r"^[A-Z].*\.$", said, re.M)


def test_every_name_of_the_public_api_is_there() -> None:
    assert fhirspace.__all__ == sorted(fhirspace.__all__)
    for name in fhirspace.__all__:
        value = getattr(fhirspace, name)
        assert name == "__version__" or value.__doc__
    assert set(fhirspace.__all__) <= set(dir(fhirspace))
    assert fhirspace._MODULE_OF.keys() | {"__version__"} == set(fhirspace.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = fhirspace.nonsense


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"fhirspace {fhirspace.__version__}\n"


NOTICE = (Path(__file__).parents[1] / "NOTICE").read_text("ascii")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--notices"], NOTICE),
        (["--version", "--notices"], f"fhirspace {fhirspace.__version__}\n\n{NOTICE}"),
        (["--notices", "--version"], f"fhirspace {fhirspace.__version__}\n\n{NOTICE}"),
    ],
)
def test_the_notices_are_printed(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert (caught.value.code, capsys.readouterr().out) == (0, said)


@pytest.mark.parametrize(
    "source", ["HL7", "CC0", "NCI EVS", "COSMoS", "CC BY 4.0", "loinc.org/license", "CDISC", "UCUM"]
)
def test_the_notices_name_each_source(source: str) -> None:
    assert source in NOTICE


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert (caught.value.code, "required: COMMAND" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["convert", "x"],
        ["convert", "x", "--to", "pdf", "--out", "y"],
        ["convert", "x", "--to", "fhir", "--out", "y", "--workers", "2"],
        ["convert", "x", "--to", "sdtm", "--out", "y", "--gzip"],
        ["convert", "x", "--to", "fhir", "--out", "y", "--engine", "processes", "--workers", "0"],
        ["convert", "x", "--to", "fhir", "--out", "y", "--engine", "processes", "--workers", "two"],
        ["push", "x"],
        ["server", "restart"],
        ["mapping", "eat"],
        ["validate", "x", "--fhir", "R3"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert "usage: fhirspace" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "x", "--too", "fhir"], "error: unknown option --too (did you mean --to?)\n"),
        (["convert", "x", "--xyz=1"], "error: unknown option --xyz=1\n"),
        (["convert", "x", "--out", "y"], "error: the following arguments are required: --to\n"),
    ],
)
def test_a_misspelt_option_is_named_instead_of_what_is_missing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    usage, *said = capsys.readouterr().err.splitlines(keepends=True)
    assert usage == "usage: fhirspace convert --to {fhir,sdtm,records} --out DIR INPUT [INPUT ...]\n"
    assert said == [message, "`fhirspace convert --help` describes all arguments.\n"]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["runs", "audit"], "runs"),
        (["convert", "x", "--to", "sdtm", "--out", "y", "--gzip"], "convert"),
        (["convert", "x", "--to", "sdtm", "--out", "y", "--workers", "2"], "convert"),
    ],
)
def test_arguments_that_do_not_go_together_name_the_command(
    arguments: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    printed = capsys.readouterr().err
    assert printed.startswith(f"usage: fhirspace {command} ")
    assert printed.endswith(f"`fhirspace {command} --help` describes all arguments.\n")


# -- convert, validate, roundtrip


def test_convert_tells_a_table_on_stdout_and_lines_on_stderr(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(tiny), "--to", "fhir", "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert re.search(r"^AE +3 +3 +0$", captured.out, re.M)
    assert captured.out.endswith(f"written to {tmp_path / 'out'}\n")
    assert captured.err == f"DM: 2 rows\nAE: 3 rows\n{PUBLIC}\n"


def test_convert_says_what_it_replaced(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Callable[[], Any]
) -> None:
    command = ["convert", str(tiny), "--out", str(tmp_path / "out"), "--to"]
    assert main([*command, "fhir", "--json"]) == 0
    assert document()["replaced"] is None
    files = len(list((tmp_path / "out" / "fhir").iterdir()))
    os.utime(tmp_path / "out" / "manifest.json", (1_777_630_500, 1_777_630_500))
    assert main([*command, "fhir"]) == 0
    assert f"\nreplaced the earlier result of 2026-05-01T10:15:00Z (fhir: {files} files)\n" in capsys.readouterr().out
    assert main([*command, "records"]) == 2
    assert "replaced" not in capsys.readouterr().out
    os.utime(tmp_path / "out" / "manifest.json", (1_777_630_500, 1_777_630_500))
    assert main([*command, "fhir", "--fhir", "R5", "--json"]) == 0
    expected = {"written": "2026-05-01T10:15:00Z", "files": files, "folders": {"fhir": files}}
    assert document()["replaced"] == expected


def test_convert_as_json_is_one_document(tiny: Path, tmp_path: Path, document: Callable[[], Any]) -> None:
    command = ["convert", str(tiny), "--to", "fhir", "--out", str(tmp_path), "--json", "--fhir", "R5"]
    assert main([*command, "--engine", "processes", "--workers", "2"]) == 0
    found = document()
    assert found["tables"]["AE"] == {"in": 3, "out": 3, "quarantined": 0}
    assert found["exit_code"] == 0


def test_rows_in_quarantine_end_with_3_and_no_value_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = small_study.write(tmp_path / "in", AE=small_study.AE.replace("2024-02-01", "SECRET"))
    assert main(["convert", str(source), "--to", "fhir", "--strict", "--out", str(tmp_path / "out")]) == 3
    captured = capsys.readouterr()
    assert "error: FS" in captured.err
    assert "ae.csv:2:AESTDTC" in captured.err
    assert "SECRET" not in captured.err + captured.out
    assert "SECRET" in (tmp_path / "out" / "quarantine" / "AE.csv").read_text()


def test_only_the_first_problems_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"TINY,AE,TINY-1,{n},Rash,Rash,MILD,N,never\n" for n in range(1, 31))
    source = small_study.write(tmp_path / "in", AE=small_study.AE.splitlines()[0] + "\n" + rows)
    assert main(["convert", str(source), "--to", "fhir", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert (
        len(re.findall(r"^error: FS\d+ ae\.csv:2:AESTDTC \(30 times; rows 2, 3, 4, 5, 6, \.\.\.\): ", said, re.M)) == 1
    )
    assert re.search(r"^\d+ findings; all of them are in .*problems\.ndjson$", said, re.M)


def test_kinds_beyond_the_first_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = [f"SPARE{number:02}" for number in range(30)]
    head, *rows = small_study.AE.splitlines()
    text = "".join(f"{line},{','.join(odd if line is head else ['x'] * 30)}\n" for line in (head, *rows))
    source = small_study.write(tmp_path / "in", AE=text)
    assert main(["convert", str(source), "--to", "fhir", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.count("warning: ") == 20
    assert re.search(r"^\.\.\. and \d+ more: FS\d+ \(\d+\).*; all of them are in .*problems\.ndjson$", said, re.M)


def test_a_missing_input_ends_with_2_in_words_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", str(tmp_path / "none"), "--to", "fhir", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: FS101 none: ")
    assert captured.out == ""
    assert main([*command, "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "FS101"
    assert json.loads(captured.out)["exit_code"] == 2
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_validate_tells_findings_on_stdout(tiny_fhir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tiny_fhir)]) == 0
    assert capsys.readouterr() == ("", "no findings\n")
    bad = tmp_path / "Patient.ndjson"
    bad.write_text('{"resourceType":"Patient","id":"a","gender":"secret"}\n')
    assert main(["validate", str(bad)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("error: FS4")
    assert "Patient.ndjson:1:Patient.gender" in captured.out
    assert "secret" not in captured.out
    assert captured.err == "1 finding (1 error)\n"


def test_validate_as_json_is_one_document(tiny_fhir: Path, tmp_path: Path, document: Callable[[], Any]) -> None:
    assert main(["validate", str(tiny_fhir), "--json"]) == 0
    assert document() == {"findings": [], "exit_code": 0}
    (tmp_path / "Patient.ndjson").write_text('{"resourceType":"Patient","id":"a","gender":1}\n{"a":')
    assert main(["validate", str(tmp_path), "--json"]) == 1
    assert {finding["row"] for finding in document()["findings"]} == {1, 2}


def test_notes_are_told_and_are_no_findings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fhirspace.study import validate as checks

    monkeypatch.setattr(checks, "validate", lambda *paths, **more: iter([Problem("FS526", Place("x"))]))
    assert main(["validate", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("note: FS526")
    assert captured.err == "1 finding (1 note)\n"


def test_roundtrip_gives_its_proof(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roundtrip", str(tiny)]) == 0
    assert "exact: every cell came back (R4)" in capsys.readouterr().out
    assert main(["roundtrip", str(tiny), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exact"] is True
    assert {leg["table"] for leg in found["tables"]} == {"AE", "DM"}


# -- delivery


def report(**more: Any) -> PushReport:
    return PushReport("r1", "http://127.0.0.1:9/fhir", 5, created=4, seconds=2.0, **more)


@pytest.mark.parametrize(
    ("made", "code", "told"),
    [
        (report(), 0, ""),
        (
            report(
                refused=22,
                dead=Path("dead/r1.ndjson"),
                problems=[Problem("FS520", Place("AE.ndjson", row)) for row in range(1, 23)],
            ),
            3,
            "(22 times; rows 1, 2, 3, 4, 5, ...): ",
        ),
        (
            report(refused=22, problems=[Problem("FS534", Place("Observation"))] * 22),
            3,
            "FS534 Observation (22 times): ",
        ),
    ],
)
def test_push_tells_its_report(
    made: PushReport,
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: dict[str, Any] = {}

    def push(
        folder: Path, url: str, *, client: Client, progress: Callable[[int, int], None], **more: Any
    ) -> PushReport:
        asked.update(more, folder=folder, server=url)
        assert client.server == url
        progress(5, 5)
        progress(5, 5)
        return made

    monkeypatch.setattr("fhirspace.delivery.push.push.push", push)
    command = ["push", "study", "--server", made.server, "--size", "7", "--fhir", "R5", "--journal", "j.db"]
    assert main([*command, "--connections", "3"]) == code
    captured = capsys.readouterr()
    assert "created: 4\n" in captured.out
    assert "rate: 2.0\n" in captured.out
    refused = f", refused: {made.refused}" if made.refused else ""
    assert captured.err.startswith(f"done: 5 resources (sent: 4, unchanged: 0{refused})\n")
    assert told in captured.err
    assert asked == {
        "folder": Path("study"),
        "server": made.server,
        "journal": Path("j.db"),
        "size": 7,
        "connections": 3,
        "fhir": "R5",
        "plan": None,
        "provenance": True,
    }
    assert main([*command, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["created"] == 4


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"unchanged": 54}, "done: 54 resources (sent: 0, unchanged: 54)\n"),
        ({"created": 1, "unchanged_on_server": 2, "unchanged": 51}, "done: 54 resources (sent: 3, unchanged: 51)\n"),
        (
            {"updated": 1, "unchanged": 51, "conflicts": 2},
            "done: 54 resources (sent: 1, unchanged: 51, conflicts: 2)\n",
        ),
    ],
)
@pytest.mark.parametrize("command", ["push", "retry"])
def test_what_was_not_sent_is_not_told_as_pushed(
    counts: dict[str, int],
    told: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*given: Any, progress: Callable[[int, int], None], **more: Any) -> PushReport:
        progress(54, 54)
        return PushReport("r1", "http://127.0.0.1:9/fhir", 54, **counts)  # type: ignore[arg-type]

    monkeypatch.setattr(f"fhirspace.delivery.push.push.{command}", run)
    main([command, "study", "--server", "http://127.0.0.1:9/fhir"])
    said = capsys.readouterr()
    assert said.err == told
    assert "pushed" not in said.out + said.err


def test_the_file_of_servers_says_how_much_to_send_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "servers.toml"
    file.write_text(
        '[servers.main]\nurl = "http://127.0.0.1:9/fhir"\nsize = 11\nconnections = 4\nfhir = "R5"\nrate = 8\n'
    )
    asked: list[tuple[Any, ...]] = []

    def push(folder: Path, url: str, *, client: Client, **more: Any) -> PushReport:
        asked.append((url, client.rate, *(more[name] for name in ("size", "connections", "fhir"))))
        return report()

    monkeypatch.setattr("fhirspace.delivery.push.push.push", push)
    command = ["push", "study", "--server", "main", "--config", str(file)]
    assert main(command) == 0
    assert main([*command, "--size", "7", "--connections", "2", "--fhir", "R4"]) == 0
    assert asked == [("http://127.0.0.1:9/fhir", 8.0, 11, 4, "R5"), ("http://127.0.0.1:9/fhir", 8.0, 7, 2, "R4")]
    assert main(["push", "study", "--server", "other", "--config", str(file)]) == 2
    assert "FS543" in capsys.readouterr().err


def test_plan_lists_what_would_be_sent(tiny_fhir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(tiny_fhir), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["types"]["AdverseEvent"] == {"resources": 3}
    assert found["total"] == {"resources": sum(each["resources"] for each in found["types"].values())}
    assert main(["plan", str(tiny_fhir)]) == 0
    text = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in text] == list(found["types"])


def test_a_server_that_is_not_there_ends_with_4(tiny_fhir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*args: Any, **more: Any) -> PullReport:
        raise ServerError("FS510", "http://127.0.0.1:9/fhir", "an answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fhirspace.delivery.pull.pull.pull", refuse)
        assert main(["pull", "--server", "http://127.0.0.1:9/fhir", "--study", "S", "--out", "x"]) == 4
    assert capsys.readouterr().err.startswith("error: FS510")


def test_pull_tells_what_came(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def pull(url: str, study: str, out: Path, *, progress: Callable[[str, int], None], **chosen: Any) -> PullReport:
        assert (chosen.pop("client").server, chosen) == (url, {"types": None, "since": None})
        progress("Patient", 500)
        progress("Patient", 620)
        progress("Group", 1)
        return PullReport(url, study, {"Patient": 620, "Group": 1})

    monkeypatch.setattr("fhirspace.delivery.pull.pull.pull", pull)
    assert main(["pull", "--server", "https://x/fhir", "--study", "S", "--out", "o"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "Patient: 620 resources\nGroup: 1 resource\n"
    assert "total: 621\n" in captured.out
    assert captured.out.endswith("written to o\n")
    assert main(["pull", "--server", "https://x/fhir", "--study", "S", "--out", "o", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"Patient": 620, "Group": 1}


@pytest.mark.parametrize("number", ["0", "-1", "65536", "70000", "x"])
def test_a_port_that_there_is_not(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["server", "start", "--port", number])
    assert (caught.value.code, "--port" in capsys.readouterr().err) == (2, True)


def test_ctrl_c_before_the_command_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "fhirspace.cli.run":
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "fhirspace.cli.run")
        patch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
        assert main(["runs"]) == 5
    assert capsys.readouterr().err == "interrupted: give the same command again\n"


def test_runs_takes_the_journal_or_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(tmp_path / "journal.db", "http://x/fhir") as book:
        book.begin("run-1")
        book.finish({"created": 3})
    for path in (tmp_path, tmp_path / "journal.db"):
        assert main(["runs", str(path), "--json"]) == 0
        (run,) = json.loads(capsys.readouterr().out)
        assert (run["run"], run["created"]) == ("run-1", 3)
    assert main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "run-1: 3 created; http://x/fhir\n"
    (tmp_path / "empty").mkdir()
    assert main(["runs", str(tmp_path / "empty")]) == 2
    assert "FS594" in capsys.readouterr().err


def test_server_starts_stops_and_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = [
        server.RunningServer("http://127.0.0.1:81/fhir", 11, 81, "R4", tmp_path),
        server.RunningServer("http://127.0.0.1:82/fhir", 12, 82, "R5", tmp_path),
    ]
    asked: list[Any] = []

    def start(fhir: str, port: int | None, *, progress: Callable[[str], None], **more: Any) -> server.RunningServer:
        progress("starting")
        asked.append((fhir, port, more))
        return found[0]

    def stop(fhir: str | None, port: int | None) -> list[server.RunningServer]:
        asked.append((fhir, port))
        return []

    monkeypatch.setattr(server, "start", start)
    monkeypatch.setattr(server, "stop", stop)
    monkeypatch.setattr(server, "status", lambda: found)
    assert main(["server", "start", "--no-validate", "--port", "81"]) == 0
    assert capsys.readouterr() == ("ready: http://127.0.0.1:81/fhir (R4, process 11)\n", "starting\n")
    assert main(["server", "stop", "--fhir", "R5"]) == 0
    assert capsys.readouterr().out == "no server\n"
    assert main(["server", "status", "--fhir", "R5", "--json"]) == 0
    row = {"url": "http://127.0.0.1:82/fhir", "fhir": "R5", "pid": 12, "port": 82}
    assert json.loads(capsys.readouterr().out) == [row]
    more = ["--timeout", "9", "--database", "x/db", "--no-client-ids"]
    assert main(["server", "start", *more]) == 0
    usual = {"validate": False, "client_ids": True, "database": None, "timeout": 240}
    chosen = {"validate": True, "client_ids": False, "database": Path("x/db"), "timeout": 9}
    assert asked == [("R4", 81, usual), ("R5", None), ("R4", None, chosen)]


# -- mappings and codes


@pytest.mark.parametrize(
    ("arguments", "within"),
    [
        (["list", "AE"], "AdverseEvent"),
        (["check"], "OK"),
        (["show", "AE", "--fhir", "R5"], "AETERM"),
        (["coverage", "DM"], "DM"),
        (["schema"], "$schema"),
    ],
)
def test_mapping_shows_text_and_json(arguments: list[str], within: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mapping", *arguments]) == 0
    assert within in capsys.readouterr().out
    assert main(["mapping", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_mapping_new_makes_a_skeleton(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ecg.csv").write_text("subject,visit,rate\n1,A,60\n2,A,61\n")
    assert main(["mapping", "new", str(tmp_path / "ecg.csv")]) == 0
    assert "form: ecg" in capsys.readouterr().out
    assert main(["mapping", "show"]) == 2
    assert "FS620" in capsys.readouterr().err


def test_explain_tells_one_code_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "fs601"]) == 0
    assert capsys.readouterr().out.startswith("FS601 (error)\n")
    assert main(["explain", "FS601", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "FS601"
    assert main(["explain"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(catalogue())
    assert main(["explain", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(catalogue())
    assert main(["explain", "FS000"]) == 2
    assert "FS601" in capsys.readouterr().err


# -- faults


def broken(error: BaseException) -> Callable[..., int]:
    def command(options: object) -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UsageError("FS612", "space"), 2, "error: FS612 space"),
        (ServerError("FS511", "http://x"), 4, "error: FS511 http://x"),
        (FhirspaceError("FS142", "AE"), 70, "error: FS142 AE"),
        (KeyboardInterrupt(), 5, "interrupted"),
        (OSError(28, "No space left on device", "/data/SECRET-folder/AE.ndjson"), 2, "No space left on device"),
        (MemoryError("SECRET"), 2, "enough memory"),
        (KeyError("SECRET"), 70, "error: FS699 KeyError"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_each_fault_has_its_exit_code_and_shows_no_value(
    error: BaseException,
    code: int,
    told: str,
    as_json: bool,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch, capsys = (request.getfixturevalue(name) for name in ("monkeypatch", "capsys"))
    monkeypatch.setattr(commands, "explain", broken(error))
    assert main(["explain", *(["--json"] if as_json else [])]) == code
    captured = capsys.readouterr()
    assert told in captured.err
    assert "SECRET" not in captured.err + captured.out
    assert (json.loads(captured.out)["exit_code"] == code) if as_json else (captured.out == "")


def test_a_bug_shows_where_it_came_from(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def outer(options: object) -> int:
        try:
            int("SECRET")
        except ValueError as error:
            error.add_note("In a worker process")
            raise RuntimeError("SECRET") from error
        return 0

    monkeypatch.setattr(commands, "explain", outer)
    assert main(["explain"]) == 70
    said = capsys.readouterr().err
    assert said.index("ValueError") < said.index("RuntimeError")
    assert "In a worker process" in said
    assert "in outer" in said


def test_a_reader_that_goes_away_is_no_fault() -> None:
    with subprocess.Popen([*COMMAND, "explain"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 0


@pytest.mark.slow
def test_ctrl_c_ends_with_5_and_leaves_no_manifest(tmp_path: Path) -> None:
    fifo = tmp_path / "in" / "ae.csv"
    small_study.write(tmp_path / "in")
    program = (
        # A suite that runs in the background of a shell hands down that Ctrl-C is ignored.
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fhirspace import cli; import fhirspace.study.pipeline as p;\n"
        "def wait(*a, **k):\n    print('ready', flush=True); time.sleep(60)\n"
        "p.to_fhir = wait\n"
        f"sys.exit(cli.main(['convert', {str(fifo.parent)!r}, '--to', 'fhir', '--out', {str(tmp_path / 'out')!r}]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=20)
    assert child.returncode == 5
    assert said == "interrupted: give the same command again\n"
    assert not (tmp_path / "out" / "manifest.json").exists()


# -- progress


def watched(command: list[str]) -> str:
    """What a program says on stderr where that is a terminal of 100 columns."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=child) as process:
        os.close(child)
        said = b""
        while True:
            try:
                data = os.read(parent, 65_536)
            except OSError:
                break
            if not data:
                break
            said += data
    os.close(parent)
    assert process.returncode == 0
    return said.decode()


@pytest.mark.slow
def test_a_person_sees_bars_with_rate_and_time_left(tiny: Path, tmp_path: Path) -> None:
    said = watched([*COMMAND, "convert", str(tiny), "--to", "fhir", "--out", str(tmp_path / "out")])
    bars = re.findall(r"(\w\w) +: 100%\|\S+\| (\d)/\d \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ ?\S* rows/s\]", said)
    assert list(dict.fromkeys(bars)) == [("DM", "2"), ("AE", "3")]


def test_where_nobody_watches_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with talk.Bars() as bars:
        for done in range(0, 4001, 1000):
            bars.show("LB", done, 4000)
            clock[0] += 8
        for done in range(0, 1001, 500):
            bars.show("Patient", done)
            clock[0] += 8
    assert capsys.readouterr().err.splitlines() == [
        "LB: 2,000 of 4,000 rows (50 %), 125 rows/s, 16 s left",
        "LB: 4,000 rows",
        "Patient: 1,000 rows, 62 rows/s",
        "Patient: 1,000 rows",
    ]


@pytest.mark.parametrize(("seconds", "reason"), [(0.0, "no answer of the server yet"), (0.3, "status 429 of the")])
def test_who_waits_for_a_server_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float, reason: str
) -> None:
    monkeypatch.setattr(talk, "_QUIET", 0.1)

    class Slow:
        def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
            time.sleep(0.0 if seconds else 0.3)
            return Response(429 if seconds else 200, {"retry-after": "1"}, b"{}")

    client = Client("http://127.0.0.1/fhir", Slow(), sleep=lambda _: time.sleep(seconds), attempts=2)
    with talk.Bars("resource", news=client.news) as bars:
        bars.show("done", 0, 4)
        with contextlib.suppress(ServerError):
            client.request("GET", "metadata")
    said = capsys.readouterr().err.splitlines()
    assert len(said) >= 2, "again and again"
    assert said[0].startswith(f"done: 0 of 4 resources (0 %), 0 resources/s, {reason}")
    assert client.news() == ""


def test_what_is_broken_off_is_not_told_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), talk.Bars() as bars:
        bars.show("LB", 10, 20)
        raise KeyError
    assert capsys.readouterr().err == ""


def test_bars_of_large_tables_count_in_thousands(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with talk.Bars("resource") as bars:
        bars.show("pushed", 0, 2_000_000)
        bars.show("pushed", 2_000_000, 2_000_000)
        bars.show("Patient", 3)
    said = capsys.readouterr().err
    assert "2.00M/2.00M" in said
    assert "3 resources [" in said


def test_main_gives_what_the_parser_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "demo", lambda options: 1 if options.out == Path("fhirspace-demo") else 70)
    assert cli.main(["demo"]) == 1
