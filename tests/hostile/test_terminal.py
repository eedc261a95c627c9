"""Names that steer a terminal, forge a line of a log or turn the direction of reading: in every place that is printed.

Each attack is one name in one place; every command that prints the place is run for text and for JSON. What comes out
holds no control character but line ends and our own colours, and no line that the name forged; it is no bug (70).
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.journal import Journal
from fhirspace.tables import parquet
from fhirspace.testing import FaultyServer, serving
from fhirspace.testing.messages import Answer, Request
from tests import small_study
from tests.support.resources import organization, patient, write

FORGED = "error: FORGED"
CONTROL = f"x\x1b]0;PWNED\x07\x1b[2J\x9b31m\x85\x7f\r\x08\n{FORGED}"
UNSEEN = f"x\u202egnp.exe\u2066\u200f\u200b\u200d\u2060\ufeff\u2028{FORGED}\u2029\U000e0041y\xa0"
NAMES = {"odd": CONTROL + UNSEEN, "surrogate": "x\udcff\udc9by", "long": "x" * 240}
PLAIN = {name: NAMES[name] for name in ("odd", "long")}
"""Those that UTF-8 can write: in the content of files."""
_OWN = re.compile(r"\x1b\[(?:0|1|2|32|33|36|1;31)m")

Run = Callable[..., str]


def raw(text: str) -> list[str]:
    """The characters that a terminal would act on, or that nobody sees."""
    return sorted({sign for sign in _OWN.sub("", text) if sign != "\n" and not sign.isprintable()})


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command for text and for JSON and looks at all that it prints; gives what the text run printed."""
    monkeypatch.setattr("fhirspace.fhirserver.http.client.Client.wait", lambda *given: None)

    def done(*arguments: object, as_json: bool = True) -> str:
        said = []
        for more in ([], ["--json"]) if as_json else ([],):
            capfd.readouterr()
            try:
                code: Any = main([*map(str, arguments), *more])
            except SystemExit as end:  # by the parser
                code = end.code
            out, err = capfd.readouterr()
            assert code in (0, 1, 2, 3, 4), err
            assert raw(out + err) == []
            assert not [line for line in (out + err).splitlines() if line.startswith(FORGED)]
            assert max(map(len, (out + err).splitlines()), default=0) < 6000
            if more and out:
                json.loads(out)
            said.append(out + err)
        return said[0]

    return done


@pytest.fixture(params=list(NAMES.values()), ids=list(NAMES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(PLAIN.values()), ids=list(PLAIN))
def plain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# -- names of files and folders


def test_names_of_record_files(name: str, tmp_path: Path, run: Run) -> None:
    given = tmp_path / name / f"{name}.csv"
    given.parent.mkdir()
    given.write_text("subject,visit,rate\n1,A,60\n2,B,61\n2,B\n", "utf-8")
    run("convert", given, "--to", "sdtm", "--out", tmp_path / "out")
    run("convert", given, "--to", "sdtm", "--out", tmp_path / "out", "--source", "space")
    run("validate", given.parent)
    run("roundtrip", given, as_json=False)
    run("mapping", "new", given)
    run("plan", given.parent)


def test_names_of_dataset_files(name: str, tmp_path: Path, run: Run) -> None:
    given = small_study.write(tmp_path / name)
    shutil.copy(given / "ae.csv", given / f"{name}.csv")
    out = tmp_path / f"out{name}"
    run("convert", given, "--to", "fhir", "--out", out)
    for path in out.rglob("*"):
        assert raw(path.name) == []
    run("validate", given)
    run("validate", out)


def test_names_of_fhir_files(name: str, tmp_path: Path, run: Run) -> None:
    home = write(tmp_path / name, {"Patient": [patient("p-1")]}) / "fhir"
    (home / "Patient.ndjson").rename(home / f"{name}.jsonl")
    (home / f"{name}.ndjson").write_text('{"resourceType":"Observation","id":"x","strange":1}\nnot JSON\n', "utf-8")
    (home / f"{name}.json").write_text('{"resourceType":"Bundle",', "utf-8")
    run("validate", home)
    run("convert", home, "--to", "sdtm", "--out", tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        assert raw(path.name) == []
    run("plan", home.parent)
    run("push", home.parent, "--server", "http://127.0.0.1:9/fhir")


# -- names of columns


@pytest.mark.parametrize("plain", [CONTROL, UNSEEN], ids=["control", "unseen"])
def test_names_of_columns_in_csv(plain: str, tmp_path: Path, run: Run) -> None:
    small_study.write(tmp_path / "given", AE=small_study.AE.replace("AESEV", f'"{plain}"'))
    run("convert", tmp_path / "given", "--to", "fhir", "--out", tmp_path / "out")
    run("validate", tmp_path / "given")
    run("mapping", "new", tmp_path / "given" / "ae.csv")


def test_names_of_columns_in_parquet(plain: str, tmp_path: Path, run: Run) -> None:
    given = small_study.write(tmp_path / "given")
    table = small_study.table(small_study.AE)
    parquet.write(
        table.rename_columns([plain if each == "AESEV" else each for each in table.column_names]), given / "ae.parquet"
    )
    (given / "ae.csv").unlink()
    run("convert", given, "--to", "fhir", "--out", tmp_path / "out")
    run("convert", given, "--to", "records", "--source", "space", "--out", tmp_path / "out")
    run("validate", given)
    run("roundtrip", given, as_json=False)


def test_names_of_columns_of_a_known_form(plain: str, tmp_path: Path, run: Run) -> None:
    from fhirspace.study.demo.run import sample

    lines = (sample() / "records" / "vitals.csv").read_text("utf-8").splitlines()[:3]
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "vitals.csv").write_text(
        "\n".join([f'{lines[0]},"{plain}"', *(f"{line},1" for line in lines[1:])]), "utf-8"
    )
    run("convert", tmp_path / "given", "--to", "sdtm", "--out", tmp_path / "out")


# -- elements of FHIR


@pytest.fixture(scope="module")
def patient_of_ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A Patient as a conversion writes it, so that a mapping reads it."""
    home = tmp_path_factory.mktemp("study")
    assert main(["convert", str(small_study.write(home / "given")), "--to", "fhir", "--out", str(home / "out")]) == 0
    found: dict[str, Any] = json.loads((home / "out" / "fhir" / "Patient.ndjson").read_text("utf-8").splitlines()[0])
    return found


def test_names_of_elements(plain: str, patient_of_ours: dict[str, Any], tmp_path: Path, run: Run) -> None:
    """Of members that nobody knows neither the name nor the value is shown, unless the name could be FHIR's."""
    odd = {plain: {plain: 1}, "extension": [{"url": plain, plain: [1]}]}
    body = {"resourceType": "Patient", **odd, "gender": plain, **patient_of_ours, "birthDate": plain}
    other = {"resourceType": plain, "id": plain}
    given, profile = tmp_path / "given.ndjson", tmp_path / "profile"
    given.write_text("".join(json.dumps(each) + "\n" for each in (body, other)), "utf-8")
    profile.mkdir()
    (profile / "x.json").write_text(json.dumps(_extension(plain)), "utf-8")
    assert "Patient.<member 2>" in run("validate", given)
    run("validate", given, "--full", "--profile", profile)
    run("convert", given, "--to", "sdtm", "--out", tmp_path / "out")
    assert raw((tmp_path / "out" / "unread.ndjson").read_text("utf-8")) == []
    given.write_text(json.dumps(body) + "\n", "utf-8")
    assert "Patient.<member 2>" in run("roundtrip", given, as_json=False)
    run("plan", given)


def _extension(url: str) -> dict[str, Any]:
    elements = [{"id": "Extension"}, {"id": "Extension.value[x]", "type": [{"code": url}]}]
    return {
        "resourceType": "StructureDefinition",
        "type": "Extension",
        "url": url,
        "differential": {"element": elements},
    }


# -- mappings

ODD = CONTROL + UNSEEN.replace("\U000e0041", "") + NAMES["long"]  # JSON's pairs are no YAML
KEY = json.dumps(ODD)
FILE = CONTROL + "\u202e"
FORM = f"form: {KEY}\nkey: [{KEY}]\nmakes: LB\nrows:\n  STUDYID: S\n  USUBJID: {json.dumps('<' + KEY + '>')}\n"
MAPPINGS = {
    "a form": ("sources/own", FORM),
    "a dataset": ("domains", f"{KEY}: {KEY}\n"),
    "a key": ("domains", f"domain: {KEY}\nkey: [{KEY}]\n"),
    "an element": ("domains", f"domain: ZZ\nkey: [{KEY}]\nPatient:\n  {KEY}: {KEY}\n"),
    "a constant": ("domains", f"domain: ZZ\nkey: [ZZSEQ]\nPatient:\n  ${KEY}: {KEY}\n"),
    "no YAML": ("domains", f"domain: [{CONTROL}\n"),
}


@pytest.mark.parametrize(("folder", "text"), MAPPINGS.values(), ids=MAPPINGS)
def test_names_in_mappings(folder: str, text: str, tmp_path: Path, run: Run) -> None:
    """Keys, forms and columns of a mapping that somebody sent."""
    place = tmp_path / FILE / folder
    place.mkdir(parents=True)
    (place / f"{FILE}.yaml").write_text(text, "utf-8")
    more = ["--source", place] if folder.startswith("sources") else ["--mappings", tmp_path / FILE]
    assert "error: FS3" in run("mapping", "show", "ZZ", *more, as_json=False)


def test_a_mapping_with_odd_names_that_is_right(tmp_path: Path, run: Run) -> None:
    place = tmp_path / FILE / "sources" / FILE
    place.mkdir(parents=True)
    rows = "always: true\nrows:\n  STUDYID: S\n  USUBJID: '<\"x\u202ey\">'\n  AETERM: T\n"
    (place / f"{FILE}.yaml").write_text(f'form: {KEY}\nkey: ["x\u202ey"]\nmakes: AE\n{rows}', "utf-8")
    for action in ("check", "list", "show", "coverage"):
        said = run("mapping", action, *([ODD] if action == "show" else []), "--source", place)
        assert "\\u202e" in said
        assert "error" not in said.replace(FORGED, "")


FORMS = {"up": "../../outside", "absolute": "/abs", "hidden": ".hidden", "device": "CON", "control": CONTROL}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_file_called_after_a_form_stays_in_the_folder(form: str, tmp_path: Path, run: Run) -> None:
    source, given, out = tmp_path / "source", small_study.write(tmp_path / "given"), tmp_path / "out"
    source.mkdir()
    rows = "rows:\n  STUDYID: TINY\n  USUBJID: <subject>\n  AETERM: <term>\n"
    (source / "form.yaml").write_text(f"form: {json.dumps(form)}\nkey: [subject]\nmakes: AE\n{rows}", "utf-8")
    run("convert", given, "--to", "records", "--source", source, "--out", out)
    (made,) = (out / "records").iterdir()
    assert raw(made.name) == []
    assert made.name[0] not in ".-C"
    assert {each.name for each in tmp_path.iterdir()} == {"source", "given", "out"}


# -- arguments


ARGUMENTS: dict[str, tuple[str, ...]] = {
    "code": ("explain", "{}"),
    "command": ("{}",),
    "option": ("explain", "--{}"),
    "choice": ("convert", "x", "--to", "{}", "--out", "y"),
    "surplus": ("explain", "FS101", "{}"),
    "limit": ("explain", "FS101", "--limit", "{}=1"),
    "number": ("convert", "x", "--to", "fhir", "--out", "y", "--workers", "{}"),
    "input": ("convert", "{}", "--to", "fhir", "--out", "y"),
    "source": ("convert", "mappings/domains", "--to", "fhir", "--out", "y", "--source", "{}"),
    "mappings": ("mapping", "list", "--mappings", "{}"),
    "mapping": ("mapping", "show", "{}"),
    "sources": ("mapping", "list", "--source", "{}"),
    "new": ("mapping", "new", "{}"),
    "path": ("validate", "{}"),
    "profile": ("validate", "mappings", "--profile", "{}"),
    "server": ("doctor", "--server", "{}"),
    "address": ("doctor", "--server", "http://127.0.0.1:9/{}"),
    "config": ("doctor", "--server", "x", "--config", "{}"),
    "study": ("pull", "--server", "http://127.0.0.1:9/fhir", "--study", "{}", "--out", "{}"),
    "since": ("pull", "--server", "http://127.0.0.1:9/fhir", "--study", "S", "--out", "y", "--since", "{}"),
    "level": (
        "pull",
        "--server",
        "http://127.0.0.1:9/fhir",
        "--study",
        "S",
        "--out",
        "y",
        "--bulk",
        "--bulk-level",
        "{}",
    ),
    "folder": ("push", "{}", "--server", "http://127.0.0.1:9/fhir"),
    "plan": ("push", "mappings", "--plan", "{}", "--server", "http://127.0.0.1:9/fhir"),
    "run": ("undo", "{}"),
    "journal": ("verify", "last", "--journal", "{}"),
    "status": ("status", "{}"),
    "runs": ("runs", "{}"),
    "audit": ("runs", "audit", "{}"),
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(
    arguments: tuple[str, ...], name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(*(each.replace("{}", name) for each in arguments))


# -- servers


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as faulty:
        yield faulty


def test_what_a_server_says_of_itself(
    plain: str, server: FaultyServer, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fhir_version = plain
    resource = {"type": plain, "interaction": [{"code": plain}], "versioning": plain, "searchParam": [{"name": plain}]}
    security = {"service": [{"text": plain, "coding": [{"code": plain}]}]}
    server.statement = {
        "software": {"name": plain, "version": plain},
        "name": plain,
        "publisher": plain,
        "implementation": {"description": plain},
        "format": [plain],
        "rest": [
            {
                "resource": [resource],
                "operation": [{"name": plain}],
                "security": security,
                "interaction": [{"code": plain}],
            }
        ],
    }
    there, folder = ("--server", server.url), write(tmp_path, {"Organization": [organization()]})
    run("doctor", *there)
    run("doctor", *there, "--fhir", "R4")
    run("plan", folder, *there)
    run("push", folder, *there)
    run("pull", *there, "--study", "TRIAL01", "--out", tmp_path / "out")
    server.fhir_version = "4.0.1"
    monkeypatch.setattr("fhirspace.cli.commands.coloured", lambda: True)
    assert "\x1b[2m" in run("doctor", *there)
    run("push", folder, *there)


def test_what_a_server_answers(plain: str, server: FaultyServer, tmp_path: Path, run: Run) -> None:
    """OperationOutcomes, headers and bodies; then what journal, plan and log say of it."""
    issue = {
        "severity": "error",
        "code": plain,
        "diagnostics": plain,
        "details": {"text": plain},
        "expression": [plain],
    }
    said = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()
    good, header = server.respond, plain.replace("\r", "").replace("\n", "").encode("utf-8").decode("latin-1")

    def spoilt(request: Request) -> Answer:
        answer = good(request)
        if request.method != "GET":
            return Answer(
                422, said, dict.fromkeys(("ETag", "Location", "Retry-After", "Content-Location", "X-Y"), header)
            )
        return Answer(answer.status, answer.body, answer.headers | {"ETag": header, "Date": header})

    server.respond = spoilt  # type: ignore[method-assign]
    there, folder = ("--server", server.url), write(tmp_path, {"Organization": [organization()]})
    run("plan", folder, *there)
    run("push", folder, *there)
    run("pull", *there, "--study", plain, "--out", tmp_path / "out")
    run("pull", *there, "--study", "S", "--out", tmp_path / "out", "--bulk")
    run("push", folder, *there, "--bulk")
    run("retry", folder, *there)
    for command in (("status",), ("runs",), ("runs", "audit")):
        run(*command, folder)
    for path in tmp_path.rglob("*"):
        assert raw(path.name) == []
    assert raw((tmp_path / "audit.log").read_text("utf-8")) == []


def test_a_journal_and_a_log_that_somebody_wrote(plain: str, tmp_path: Path, run: Run) -> None:
    with Journal(tmp_path / "journal.db", "http://x/fhir") as book:
        book.begin("run-1")
        book.finish({"created": 3})
    with sqlite3.connect(tmp_path / "journal.db") as base:
        report = json.dumps({plain: 3, "undo": plain})
        base.execute("UPDATE runs SET run = ?, server = ?, finished = ?, report = ?", (plain, plain, plain, report))
        base.execute("INSERT INTO delivered VALUES (?, ?, ?, ?, ?, ?)", (plain, f"{plain}/1", b"", plain, plain, b""))
    base.close()
    (tmp_path / "audit.log").write_text(json.dumps({"sequence": 1, "event": plain}), "utf-8")
    run("runs", tmp_path)
    run("status", tmp_path)
    run("runs", "audit", tmp_path)
    run("verify", "last", "--journal", tmp_path)


def test_a_folder_that_is_pushed_may_be_called_anything(
    name: str, server: FaultyServer, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a delivery notes goes by its name: journal, log, plan, dead letters, what is remembered."""
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))
    folder = write(tmp_path / name, {"Organization": [organization(), organization("bad")]})
    (folder / "fhir" / "Organization.ndjson").rename(folder / "fhir" / f"{name}.ndjson")
    server.refuse = lambda body: body["id"] == "bad"
    there = ("--server", server.url)
    assert run("plan", folder, *there, as_json=False).count("Organization") == 1
    assert "refused: 1" in run("push", folder, *there, as_json=False)
    assert "same: 2" in run("verify", "last", "--journal", folder, *there, as_json=False)
    run("retry", folder, *there, as_json=False)
    run("runs", "audit", folder)
    assert "1 delivered" in run("status", folder)
    if "\n" not in name:
        assert "created" in run("runs")
    assert raw((folder / "audit.log").read_text("utf-8")) == []


def test_a_run_of_a_journal_names_no_file_elsewhere(server: FaultyServer, tmp_path: Path, run: Run) -> None:
    """The journal came with the folder; dead letters of a run that is taken up again are begun anew."""
    folder, precious = write(tmp_path / "in", {"Organization": [organization()]}), tmp_path / "precious.ndjson"
    (folder / "dead").mkdir()
    precious.write_text("mine", "utf-8")
    with Journal(folder / "journal.db", server.url) as book:
        book.begin("../../precious")
    server.refuse = lambda body: True
    said = run("push", folder, "--server", server.url, as_json=False)
    assert "run: ../../precious" in said
    assert precious.read_text("utf-8") == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"in", "precious.ndjson"}
    assert len(list((folder / "dead").glob("*-.._.._precious.ndjson"))) == 1
    run("retry", folder, "--server", server.url, "--run", "../../precious", as_json=False)
    assert precious.read_text("utf-8") == "mine"


# -- the bars, where a person watches


def test_bars(name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from fhirspace.cli.console import Bars

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Bars() as bars:
        bars.show(name, 1, 2)
        bars.show(f"{name}2", 1, 2)
    said = capfd.readouterr().err.replace("\r", "").replace("\x1b[A", "")
    assert "%" in said
    assert raw(said) == []
