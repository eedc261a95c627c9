"""The user's files, whoever wants to have them deleted, overwritten, copied or read: nothing of that happens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.tables.outputs import OutputFolder
from fhirspace.testing import serving
from tests import small_study
from tests.hostile import planted
from tests.hostile.planted import Plant, in_time, state  # noqa: F401
from tests.hostile.studies import FHIR, SDTM, Told, home, made, refused, told  # noqa: F401

# ruff: noqa: F811 - fixtures that are imported

# ---- the input is in the folder that the output goes to


def _as_it_is(home: Path, study: Path) -> list[Path]:
    return [study]


def _by_a_link(home: Path, study: Path) -> list[Path]:
    (home / "link").symlink_to(study)
    return [home / "link"]


def _by_a_link_to_the_files(home: Path, study: Path) -> list[Path]:
    (home / "link").symlink_to(next(path for path in study.iterdir() if path.is_dir()))
    return [home / "link"]


def _by_a_way_round(home: Path, study: Path) -> list[Path]:
    return [study / ".." / study.name / "." / ".." / study.name]


def _relative(home: Path, study: Path) -> list[Path]:
    return [Path(study.name)]


def _the_inner_folder(home: Path, study: Path) -> list[Path]:
    return [path for path in study.iterdir() if path.is_dir()]


def _single_files(home: Path, study: Path) -> list[Path]:
    return sorted(path for path in study.rglob("*") if path.suffix in (".csv", ".ndjson") and path.parent != study)


def _hard_links(home: Path, study: Path) -> list[Path]:
    (home / "hard").mkdir()
    for path in _single_files(home, study):
        (home / "hard" / path.name).hardlink_to(path)
    return [home / "hard"]


@pytest.mark.parametrize("kind", ["sdtm", "fhir"])
@pytest.mark.parametrize(
    "way",
    [
        _as_it_is,
        _by_a_link,
        _by_a_link_to_the_files,
        _by_a_way_round,
        _relative,
        _the_inner_folder,
        _single_files,
        _hard_links,
    ],
)
def test_what_would_be_replaced_is_no_input(
    kind: str, way: Callable[[Path, Path], list[Path]], home: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`convert X --to sdtm --out study`, then `convert study --to fhir --out study`, and the reverse."""
    monkeypatch.chdir(home)
    given = way(home, home / kind)
    before = state(home)
    message = refused(told, "FS146", "convert", *given, *(FHIR if kind == "sdtm" else SDTM), "--out", home / kind)
    assert f"{kind}/{kind}/" in message
    assert state(home) == before


@pytest.mark.parametrize("out", ["in", "in/../in", "."])
def test_input_of_the_user_stays_beside_the_output(out: str, home: Path) -> None:
    """The output goes into the folder of the input, or above it: nothing that was read changes, however often."""
    given = state(home / "in")
    given = {path: content for path, content in given.items() if path.endswith(".csv")}
    for turn in range(2):
        assert main(["convert", str(home / "in"), *FHIR, "--out", str(home / out)]) == 0, turn
        assert given.items() <= state(home / "in").items()
        assert (home / out / "fhir" / "Patient.ndjson").is_file()


def test_quarantine_that_was_put_right_is_not_lost(home: Path, told: Told) -> None:
    """Rows that were held are corrected where they are, and converted into the same folder."""
    bad = small_study.write(home / "bad", AE=small_study.AE.replace("MILD", "\x07"))
    assert main(["convert", str(bad), *FHIR, "--out", str(home / "out")]) == 3
    held = home / "out" / "quarantine" / "ae.csv"
    if not held.exists():
        held = next((home / "out" / "quarantine").iterdir())
    refused(told, "FS146", "convert", held, *FHIR, "--out", home / "out")
    held.write_text(held.read_text().replace("\x07", "MILD"))
    before = state(home)
    refused(told, "FS144", "convert", held, *FHIR, "--out", home / "out")
    assert state(home) == before


# ---- a manifest that is not ours

OURS: dict[str, Any] = {"versions": {"fhirspace": "0.1.0"}, "tables": {}, "files": {"problems.ndjson": {}}}
EMPTY = {"sha256": sha256(b"").hexdigest(), "size": 0}
PRECIOUS = {"sha256": sha256(b"precious\n").hexdigest(), "size": 9}


def _listing(**files: Any) -> dict[str, Any]:
    return OURS | {
        "files": {"problems.ndjson": EMPTY} | {name.replace("__", "/"): told for name, told in files.items()}
    }


MANIFESTS: dict[str, Any] = {
    "a list of names": {"files": ["precious.txt", "thesis.txt"]},
    "names and digests": {"files": {"thesis.txt": PRECIOUS, "fhir/thesis.ndjson": PRECIOUS}},
    "of a bag": {"bag-info": {}, "payload": {"thesis.txt": PRECIOUS}},
    "of a browser's extension": {"manifest_version": 3, "name": "x", "version": "1"},
    "nothing of ours in it": OURS | {"files": {"thesis.txt": PRECIOUS}},
    "a folder above": _listing(**{"../precious.txt": PRECIOUS}),
    "far above": _listing(**{"fhir/../../precious.txt": PRECIOUS}),
    "absolute": _listing(**{"/etc/passwd": EMPTY}),
    "a backslash": _listing(**{"fhir\\..\\..\\precious.txt": PRECIOUS}),
    "no version": OURS | {"versions": {}, "files": {"problems.ndjson": EMPTY}},
    "another version": OURS | {"versions": {"fhirspace": 7}},
    "no digest": _listing(fhir__thesis="x"),
    "a digest too short": _listing(fhir__thesis={"sha256": "00", "size": 9}),
    "a list": [],
    "a text": "manifest",
    "null": None,
}


@pytest.mark.parametrize(
    ("command", "manifest"),
    [*(("convert", name) for name in MANIFESTS), ("pull", "a list of names"), ("pull", "a folder above")],
)
def test_a_manifest_of_others(command: str, manifest: str, home: Path, told: Told) -> None:
    out = home / "out"
    (out / "fhir").mkdir(parents=True)
    for path in (out / "thesis.txt", out / "fhir" / "thesis.ndjson"):
        path.write_text("precious\n")
    (out / "manifest.json").write_text(json.dumps(MANIFESTS[manifest]))
    before = state(home)
    if command == "convert":
        refused(told, "FS145", "convert", home / "in", *FHIR, "--out", out)
    else:
        with serving() as server:
            refused(told, "FS145", "pull", "--server", server.url, "--study", "S", "--out", out)
    assert state(home) == before


def test_a_manifest_that_lists_files_where_runs_write_none(home: Path) -> None:
    """It has the shape of ours, and right digests, of files of the user: it proves nothing of them."""
    out = home / "out"
    out.mkdir()
    kept = {out / name: b"precious\n" for name in ("thesis.txt", ".bashrc", "notes/a.txt", "journal.db", "fhir.d/x")}
    for path, content in kept.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    listing = {str(path.relative_to(out)): PRECIOUS for path in kept}
    (out / "manifest.json").write_text(json.dumps(_listing(**listing)))
    assert main(["convert", str(home / "in"), *FHIR, "--out", str(out)]) == 0
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_forged_manifest_removes_what_it_lists_in_the_folders_of_runs_and_says_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not promised (see docs/security.md), to its limits: right digests, and the folders where runs write."""
    out = home / "out"
    listed, wrong, beside = out / "fhir" / "mine.ndjson", out / "sdtm" / "mine.csv", out / "mine" / "a.txt"
    for path in (listed, wrong, beside):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"precious\n")
    forged = {str(path.relative_to(out)): PRECIOUS for path in (listed, beside)}
    (out / "manifest.json").write_text(json.dumps(_listing(**forged)))
    assert main(["convert", str(home / "in"), *FHIR, "--out", str(out)]) == 0
    assert not listed.exists()
    assert wrong.read_bytes() == beside.read_bytes() == b"precious\n"
    assert re.search(r"^replaced the earlier result of \S+ \(fhir: 1 file\)$", capsys.readouterr().out, re.M)


def test_a_forged_manifest_with_another_digest_removes_nothing(home: Path, told: Told) -> None:
    (home / "fhir" / "fhir" / "mine.ndjson").write_bytes(b"mine\n")
    manifest = json.loads((home / "fhir" / "manifest.json").read_text())
    manifest["files"]["fhir/mine.ndjson"] = PRECIOUS
    (home / "fhir" / "manifest.json").write_text(json.dumps(manifest))
    before = state(home)
    refused(told, "FS144", "convert", home / "in", *FHIR, "--out", home / "fhir")
    assert state(home) == before


RAW: dict[str, bytes] = {
    "empty": b"",
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000,
    "deep in ours": b'{"versions":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    "cut": json.dumps(_listing()).encode()[:-3],
    "large": b" " * (64 * 1024**2 + 1),
}


@pytest.mark.parametrize("raw", RAW)
def test_a_manifest_that_cannot_be_read(raw: str, home: Path, told: Told) -> None:
    (home / "fhir" / "manifest.json").write_bytes(RAW[raw])
    before = state(home)
    refused(told, "FS160" if raw == "large" else "FS145", "convert", home / "in", *FHIR, "--out", home / "fhir")
    assert state(home) == before


PLANTS: list[Plant] = [
    planted.fifo,
    planted.named_socket,
    planted.endless,
    planted.link,
    planted.dangling,
    planted.loop,
    planted.folder,
]


@pytest.mark.parametrize("plant", PLANTS)
def test_something_else_in_place_of_the_manifest(plant: Plant, home: Path, told: Told) -> None:
    (home / "fhir" / "manifest.json").unlink()
    plant(home / "fhir" / "manifest.json", home / "precious.txt")
    before = state(home)
    message = refused(told, "FS14", "convert", home / "in", *FHIR, "--out", home / "fhir")
    assert "FS144" in message or "FS145" in message
    assert state(home) == before


# ---- something is in the way


@pytest.mark.parametrize("plant", [*PLANTS, planted.text])
@pytest.mark.parametrize("place", ["fhir/Patient.ndjson", "problems.ndjson"])
def test_something_else_where_a_file_would_go(place: str, plant: Plant, home: Path, told: Told) -> None:
    out = home / "out"
    (out / "fhir").mkdir(parents=True)
    plant(out / place, home / "precious.txt")
    before = state(home)
    assert place in refused(told, "FS144", "convert", home / "in", *FHIR, "--out", out)
    assert state(home) == before


@pytest.mark.parametrize("plant", [*PLANTS, planted.text])
@pytest.mark.parametrize("place", ["fhir/Patient.ndjson", "problems.ndjson", "fhir/Organization.ndjson"])
def test_something_else_where_a_file_of_ours_was(place: str, plant: Plant, home: Path, told: Told) -> None:
    """Also where this run would only remove it: datasets without an Organization."""
    (home / "fhir" / place).unlink()
    plant(home / "fhir" / place, home / "precious.txt")
    before = state(home)
    assert place in refused(told, "FS144", "convert", home / "in", *FHIR, "--out", home / "fhir")
    assert state(home) == before


@pytest.mark.parametrize("change", [b"\n", b" "], ids=["longer", "of the same size"])
def test_a_file_of_ours_that_was_edited_is_not_overwritten(change: bytes, home: Path, told: Told) -> None:
    path = home / "fhir" / "fhir" / "Patient.ndjson"
    content = path.read_bytes()
    path.write_bytes(content + change if change == b"\n" else change + content[1:])
    before = state(home)
    assert "Patient.ndjson" in refused(told, "FS144", "convert", home / "in", *FHIR, "--out", home / "fhir")
    assert state(home) == before


def test_a_file_of_ours_that_is_gone_does_not_matter(home: Path) -> None:
    whole = state(home / "fhir")
    (home / "fhir" / "fhir" / "Patient.ndjson").unlink()
    assert main(["convert", str(home / "in"), *FHIR, "--out", str(home / "fhir")]) == 0
    assert state(home / "fhir") == whole


@pytest.mark.parametrize("place", ["fhir", "quarantine", ".fhirspace-staging"])
@pytest.mark.parametrize("plant", [planted.link, planted.dangling, planted.loop, planted.text, planted.fifo])
def test_something_else_in_place_of_a_folder(place: str, plant: Plant, home: Path, told: Told) -> None:
    out = home / "out"
    out.mkdir()
    bad = small_study.write(home / "bad", AE=small_study.AE.replace("MILD", "\x07"))
    plant(out / place, home / "precious.txt")
    before = state(home)
    assert place in refused(told, "FS14", "convert", bad, *FHIR, "--out", out)
    assert state(home) == before


@pytest.mark.parametrize("place", ["fhir", ".fhirspace-staging", "quarantine"])
def test_a_link_to_a_folder_of_the_user_is_not_written_through(place: str, home: Path, told: Told) -> None:
    """Neither where the run begins, nor where the link is put in the place of a folder of ours that was moved."""
    (home / "elsewhere").mkdir()
    for name in ("Patient.ndjson", "AdverseEvent.ndjson", "manifest.json", "ae.csv"):
        (home / "elsewhere" / name).write_text("precious\n")
    out = home / "fhir"
    if (out / place).exists():
        (out / place).rename(home / "moved")
    (out / place).symlink_to(home / "elsewhere")
    bad = small_study.write(home / "bad", AE=small_study.AE.replace("MILD", "\x07"))
    before = state(home)
    refused(told, "FS14", "convert", bad, *FHIR, "--out", out)
    assert state(home) == before


def test_the_moved_files_of_ours_behind_a_link_are_not_removed(home: Path, told: Told) -> None:
    out = home / "fhir"
    (out / "fhir").rename(home / "archive")
    (out / "fhir").symlink_to(home / "archive")
    before = state(home)
    refused(told, "FS141", "convert", home / "in", *FHIR, "--out", out)
    assert state(home) == before


@pytest.mark.parametrize("plant", [planted.fifo, planted.text, planted.dangling, planted.loop, planted.endless])
def test_something_else_in_place_of_the_output_folder(plant: Plant, home: Path, told: Told) -> None:
    plant(home / "out", home / "precious.txt")
    before = state(home)
    refused(told, "FS143", "convert", home / "in", *FHIR, "--out", home / "out")
    assert state(home) == before


# ---- runs that fail, and two at once


def test_a_failed_run_leaves_the_earlier_one_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full while the second run closes its books."""
    small_study.write(home / "in", AE=small_study.AE.replace("Rash", "Itch"))
    before = state(home)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(OutputFolder, "_write_problems", full)
        assert main(["convert", str(home / "in"), *FHIR, "--out", str(home / "fhir")]) == 2
    assert state(home) == before
    assert main(["convert", str(home / "in"), *FHIR, "--out", str(home / "fhir")]) == 0


def test_a_run_over_nothing_leaves_the_earlier_one_whole(home: Path, told: Told) -> None:
    (home / "none").mkdir()
    (home / "none" / "ae.csv").write_text(small_study.AE.splitlines()[0] + "\n")
    (home / "none" / "dm.csv").write_text(small_study.DM.splitlines()[0] + "\n")
    before = state(home)
    refused(told, "FS103", "convert", home / "none", *FHIR, "--out", home / "fhir")
    assert state(home) == before


@pytest.mark.parametrize("command", ["convert", "demo", "pull", "pull --bulk"])
def test_the_second_of_two_runs_is_refused(command: str, home: Path, told: Told) -> None:
    out = home / "fhir"
    with OutputFolder(out), serving() as server:
        before = state(home)
        there = ["--server", server.url, "--study", "S", "--out", str(out)]
        commands: dict[str, list[str]] = {
            "convert": ["convert", str(home / "in"), *FHIR, "--out", str(out)],
            "demo": ["demo", "--out", str(out)],
            "pull": ["pull", *there],
            "pull --bulk": ["pull", *there, "--bulk"],
        }
        assert f"{out}" in refused(told, "FS147", *commands[command])
        assert state(home) == before
