"""Ids are pseudonyms: who sees them, or a journal, cannot get at identifiers by trying; who mixes keys is stopped.

The attack that must fail is shown to work where the key is known: a test that could find nothing would prove nothing.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.journal import Journal
from fhirspace.errors import UsageError
from fhirspace.fhir.canonical import content
from fhirspace.idkey import DEMO_KEY, IdKey, chosen, site_key
from fhirspace.mapping.library import Library
from fhirspace.study.convert import convert
from fhirspace.study.demo.run import sample
from fhirspace.study.to_fhir import DomainJob
from fhirspace.tables.durable import key_of, manifest
from fhirspace.template.codecs import hashed_id
from fhirspace.testing import FaultyServer, serving
from tests import small_study
from tests.hostile.wordlist import plausible

SUBJECTS = 26


@pytest.fixture
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has named no key."""
    monkeypatch.delenv("FHIRSPACE_ID_KEY_FILE")
    monkeypatch.setenv("FHIRSPACE_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with serving() as running:
        yield running


@pytest.fixture
def emptied(server: FaultyServer) -> FaultyServer:
    server.store.clear()
    server.requests.clear()
    return server


def key_file(path: Path) -> Path:
    """A key of its own in a file as the user makes one."""
    path.write_bytes(hashlib.sha256(path.name.encode()).hexdigest().encode() + b"\n")
    path.chmod(0o600)
    return path


def lines(folder: Path, kind: str) -> list[bytes]:
    return (folder / "fhir" / f"{kind}.ndjson").read_bytes().splitlines()


def found(ids: set[str], key: IdKey) -> set[str]:
    """The identifiers behind ids, as far as trying finds them."""
    hashed = hashed_id(key)
    return {tried for tried in plausible() if hashed(tried) in ids}


# -- identifiers behind ids


@pytest.mark.usefixtures("_own_key")
def test_ids_cannot_be_undone_by_trying_without_the_key(tmp_path: Path) -> None:
    done = convert([sample() / "records" / "demographics.csv"], to="fhir", out=tmp_path / "out")
    patients = [json.loads(line) for line in lines(tmp_path / "out", "Patient")]
    subjects, ids = {each["identifier"][0]["value"] for each in patients}, {each["id"] for each in patients}
    assert len(subjects) == len(ids) == SUBJECTS
    assert found(ids, site_key()) == subjects  # who has the key can, and so the next lines prove something
    assert found(ids, DEMO_KEY) == set()
    assert found(ids, IdKey.random()) == set()
    assert not any(subject in each for subject in subjects for each in ids)
    assert done.id_key == site_key().fingerprint


def test_ids_of_the_published_key_hide_nothing(tmp_path: Path) -> None:
    convert([sample() / "records" / "demographics.csv"], to="fhir", out=tmp_path / "out", id_key=DEMO_KEY)
    assert len(found({json.loads(line)["id"] for line in lines(tmp_path / "out", "Patient")}, DEMO_KEY)) == SUBJECTS
    assert "not pseudonyms" in manifest(tmp_path / "out")["id_key"]["note"]


@pytest.mark.parametrize("named", ["option", "environment", "keyring", "site"])
def test_the_key_is_taken_from_where_the_user_says(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _own_key: None
) -> None:
    first, second = key_file(tmp_path / "first"), key_file(tmp_path / "second")
    site = site_key().fingerprint
    monkeypatch.setattr(
        "fhirspace.idkey.from_keyring", lambda *entry: second.read_text() if entry == ("a/b", "c") else ""
    )
    if named in ("option", "environment"):
        monkeypatch.setenv("FHIRSPACE_ID_KEY_FILE", str(second))
    if named in ("option", "environment", "keyring"):
        monkeypatch.setenv("FHIRSPACE_ID_KEY_KEYRING", "a/b/c")
    option = ["--id-key", str(first)] if named == "option" else []
    source = small_study.write(tmp_path / "in")
    assert main(["convert", str(source), "--to", "fhir", "--out", str(tmp_path / "out"), *option]) == 0
    wanted = {"option": IdKey.load(first).fingerprint, "site": site}.get(named, IdKey.load(second).fingerprint)
    assert key_of(manifest(tmp_path / "out")) == wanted


@pytest.mark.usefixtures("_own_key")
def test_worker_processes_make_the_ids_of_the_same_key() -> None:
    key = IdKey.random()
    job: DomainJob = pickle.loads(pickle.dumps(DomainJob(Library("R4", key=key), "AE", None, {})))  # type: ignore[arg-type]
    assert job.library.__getstate__()["_key"] == key
    assert key.digits("x") == pickle.loads(pickle.dumps(key)).digits("x") != site_key().digits("x")


# -- mappings that would show a cell in an id

MAPPING = """
domain: ZZ
key: [USUBJID, ZZSEQ]
Basic:
  id: @ID
  identifier: [{system: http://example.org/zz, value: <USUBJID>|<ZZSEQ integer>}]
  code: {text: <ZZTERM>}
  extension: [<carried>]
"""


def library(folder: Path, made: str) -> Library:
    """A library of this one mapping, whose id is `made` like this."""
    (folder / "domains").mkdir()
    (folder / "domains" / "zz.yaml").write_text(MAPPING.replace("@ID", made))
    return Library("R4", [folder], bare=True)


@pytest.mark.parametrize(
    "shown",
    [
        "<USUBJID>",
        "<SUBJID text>",
        "<SUBJID integer>",
        "<ZZDUR duration>",
        "<USUBJID id>-<ZZREFID>",
        "<USUBJID id>-<ZZMRN decimal>",
        "x-<INVNAM>",
    ],
)
def test_a_mapping_cannot_show_a_cell_in_an_id(shown: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="FS349"):
        library(tmp_path, shown).mappings  # noqa: B018


@pytest.mark.parametrize("column", ["SUBJID", "ZZREFID", "SITEID"])
def test_a_short_part_of_an_id_names_no_person(column: str, tmp_path: Path) -> None:
    leaf = dict(library(tmp_path, f"<USUBJID id>-<{column} fhirid>").mappings["ZZ"].blocks[0].root.fields)["id"]
    part = leaf.slots[-1].codec.out  # type: ignore[union-attr]
    for cell in ("MILLER", "J.MILLER", "00412345", "AB1970"):
        assert cell not in (part(cell) or "")
    assert (part("0042") == "0042") is (column == "SITEID")


# -- identifiers behind what a delivery leaves


def pushed(folder: Path, server: FaultyServer, *options: str) -> int:
    return main(["push", str(folder), "--server", server.url, *options])


@pytest.mark.usefixtures("_own_key")
@pytest.mark.parametrize("way", ["transaction", "conditional"])
def test_a_journal_a_plan_and_urls_give_nothing_to_try(
    way: str, tmp_path: Path, emptied: FaultyServer, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["convert", str(small_study.write(tmp_path / "in")), "--to", "fhir", "--out", str(out)]) == 0
    subjects = [json.loads(line)["identifier"][0]["value"].encode() for line in lines(out, "Patient")]
    assert subjects == [b"TINY-1", b"TINY-2"]
    if way == "transaction":
        assert main(["plan", str(out), "--server", emptied.url]) == 0
    assert pushed(out, emptied, "--way", way) == 0
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".db", ".log", ".db-wal")]
    assert {"journal.db", "audit.log"} <= {path.name for path in left}
    kept = b"".join(path.read_bytes() for path in left)
    urls = "\n".join(f"{each.place}?{each.query}" for each in emptied.requests).encode()
    told = "".join(capfd.readouterr()).encode()
    assert not any(subject in place for subject in subjects for place in (kept, urls, told))
    # Whoever guesses a whole resource, or a search for an identifier, must not see the guess confirmed.
    guesses = [hashlib.sha256(line).digest() for kind in ("Patient", "ResearchSubject") for line in lines(out, kind)]
    guesses += [content(line) for kind in ("Patient", "ResearchSubject") for line in lines(out, kind)]
    guesses += [
        hashlib.sha256(b"Patient?https://fhirspace.org/usubjid\\|" + subject).digest() for subject in subjects
    ] + [hashlib.sha256(b"Patient?https://fhirspace.org/usubjid|" + subject).digest() for subject in subjects]
    assert not any(guess in kept for guess in guesses)
    assert any(site_key().seal(guess) in kept for guess in guesses)  # with the key it can be seen


SPOILT: dict[str, dict[str, str]] = {
    "damaged": {"DM": "\0\0\0", "AE": "\0"},
    "without rows": {"DM": small_study.DM.partition("\n")[0], "AE": small_study.AE.partition("\n")[0]},
    "without header": {"DM": "1,2,3\n4,5,6\n", "AE": "1,2\n3,4\n"},
}


@pytest.mark.usefixtures("_own_key")
@pytest.mark.parametrize("spoilt", SPOILT)
def test_no_key_is_made_for_an_input_that_cannot_be_read(
    spoilt: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, source = tmp_path / "out", small_study.write(tmp_path / "in", **SPOILT[spoilt])
    assert main(["convert", str(source), "--to", "fhir", "--out", str(out)]) == 2
    assert "was made" not in capfd.readouterr().err
    assert not (tmp_path / "data").exists()
    assert not out.exists()
    small_study.write(source)
    assert main(["convert", str(source), "--to", "fhir", "--out", str(out)]) == 0
    assert "A key for the ids of your site was made" in capfd.readouterr().err
    assert key_of(manifest(out)) == site_key().fingerprint


@pytest.mark.slow
@pytest.mark.usefixtures("_own_key")
def test_no_key_is_made_for_a_wrong_mapping_or_beside_ids_of_another_key(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, mine = small_study.write(tmp_path / "in"), tmp_path / "mine" / "domains"
    mine.mkdir(parents=True)
    (mine / "ae.yaml").write_text("domain: AE\nresource: {resourceType: Nothing}\n")
    command = ["convert", str(source), "--to", "fhir", "--out", str(tmp_path / "out")]
    assert main([*command, "--mappings", str(mine.parent)]) == 2
    assert main([*command, "--id-key", "demo"]) == 0
    capfd.readouterr()
    assert main(command) == 2
    assert "FS634" in capfd.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.usefixtures("_own_key")
def test_several_processes_use_the_key_that_was_made(tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in")
    command = ["convert", str(source), "--to", "fhir", "--out"]
    assert main([*command, str(tmp_path / "first"), "--engine", "processes", "--workers", "2"]) == 0
    assert main([*command, str(tmp_path / "second")]) == 0
    for name in ("Patient", "AdverseEvent"):
        first, second = (tmp_path / each / "fhir" / f"{name}.ndjson" for each in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.usefixtures("_own_key")
def test_the_key_is_in_nothing_that_is_written_or_said(
    tmp_path: Path, emptied: FaultyServer, capfd: pytest.CaptureFixture[str]
) -> None:
    out, source = tmp_path / "out", small_study.write(tmp_path / "in")
    assert main(["convert", str(source), "--to", "fhir", "--out", str(out), "--json"]) == 0
    said = capfd.readouterr()
    assert "A key for the ids of your site was made" in said.err
    assert pushed(out, emptied) == 0
    assert main(["roundtrip", str(source)]) == 0
    other = key_file(tmp_path / "other")
    assert main(["convert", str(source), "--to", "fhir", "--out", str(out), "--id-key", str(other)]) == 2
    assert pushed(out, emptied, "--id-key", str(other)) == 2
    again = capfd.readouterr()
    assert "was made" not in again.err.replace("was made with", "")
    secrets = [(tmp_path / "data" / "id.key").read_bytes().strip(), other.read_bytes().strip()]
    places = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("id.key", "other")]
    texts = [path.read_bytes() for path in places] + ["".join((*said, *again)).encode()]
    texts += [b"".join(each.body for each in emptied.requests), repr([site_key(), chosen(other)]).encode()]
    for secret in secrets:
        assert not any(each in text for text in texts for each in (secret, bytes.fromhex(secret.decode())))


# -- one subject under two ids


@pytest.fixture
def delivered(tmp_path: Path, emptied: FaultyServer) -> tuple[Path, Path]:
    """A study that was delivered with a key, and that key."""
    key = key_file(tmp_path / "first")
    convert(small_study.write(tmp_path / "in"), to="fhir", out=tmp_path / "out", id_key=key)
    assert pushed(tmp_path / "out", emptied, "--id-key", str(key)) == 0
    return tmp_path / "out", key


def state(server: FaultyServer) -> dict[str, Any]:
    return dict(server.store)


def converted(source: Path, out: Path, key: Path, *more: str) -> int:
    return main(["convert", str(source), "--to", "fhir", "--out", str(out), "--id-key", str(key), *more])


def test_a_folder_of_another_key_is_not_mixed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, out = small_study.write(tmp_path / "in"), tmp_path / "out"
    first, second = key_file(tmp_path / "first"), key_file(tmp_path / "second")
    assert converted(source, out, first) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert converted(source, out, second) == 2
    assert "FS634" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert converted(source, out, first) == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert converted(source, out, second, "--new-ids") == 0
    assert key_of(manifest(out)) == IdKey.load(second).fingerprint


REFUSED = {
    "the folder is of another key": (["push"], "FS591"),
    "a plan for a folder of another key": (["plan"], "FS591"),
    "a journal of another key": (["push", "new ids"], "FS590"),
    "a plan with a journal of another key": (["plan", "new ids"], "FS590"),
    "the server has the study, and there is no journal": (["push", "new ids", "no journal"], "FS592"),
    "a plan where the server has the study": (["plan", "new ids", "no journal"], "FS592"),
    "a bulk push where the server has the study": (["push", "new ids", "no journal", "bulk"], "FS592"),
    "verify with another key": (["verify"], "FS590"),
    "dead letters with another key": (["retry"], "FS590"),
}


@pytest.mark.parametrize(("how", "code"), REFUSED.values(), ids=REFUSED)
def test_a_study_is_not_delivered_under_new_ids(
    *,
    how: list[str],
    code: str,
    delivered: tuple[Path, Path],
    tmp_path: Path,
    emptied: FaultyServer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out, _ = delivered
    second, before = key_file(tmp_path / "second"), state(emptied)
    if "new ids" in how:
        assert converted(tmp_path / "in", out, second, "--new-ids") == 0
    if "no journal" in how:
        (out / "journal.db").unlink()
    if how[0] == "retry":
        (out / "dead").mkdir()
        (out / "dead" / "20260101T000000Z-0000.ndjson").write_bytes(b"\n".join(lines(out, "Patient")) + b"\n")
    what = [how[0], *(["last", "--journal", str(out)] if how[0] == "verify" else [str(out)])]
    assert main([*what, "--server", emptied.url, *["--bulk"] * ("bulk" in how), "--id-key", str(second)]) in (2,)
    assert code in capfd.readouterr().err
    assert state(emptied) == before


def test_what_was_sent_and_never_answered_counts_as_delivered(tmp_path: Path) -> None:
    first, second = key_file(tmp_path / "first"), key_file(tmp_path / "second")
    with Journal(tmp_path / "journal.db", "http://127.0.0.1:1/fhir", first) as book:
        book.begin("20260101T000000Z-0000")
        book.intend([("Patient/p", b"d" * 32, b"c" * 32)], "2026-01-01T00:00:00Z")
    with Journal(tmp_path / "journal.db", "http://127.0.0.1:1/fhir", second) as book:
        with pytest.raises(UsageError, match="FS590"):
            book.seal.bind()
        book.mark("20260101T000000Z-0000", ["Patient/p"], "undone")
        book.seal.bind()


def test_after_an_undo_new_ids_may_come(delivered: tuple[Path, Path], tmp_path: Path, emptied: FaultyServer) -> None:
    out, first = delivered
    second = key_file(tmp_path / "second")
    # An undo needs no key: who lost it must be able to take back what it made.
    assert main(["undo", "last", "--journal", str(out), "--server", emptied.url, "--id-key", str(second)]) == 0
    assert converted(tmp_path / "in", out, second, "--new-ids") == 0
    assert pushed(out, emptied, "--id-key", str(second)) == 0
    assert pushed(out, emptied, "--id-key", str(first)) == 2
    ids = {key.partition("/")[2] for key in state(emptied) if key.startswith("Patient/")}
    assert ids >= {json.loads(line)["id"] for line in lines(out, "Patient")}


def test_a_plan_of_another_key_is_not_carried_out(
    delivered: tuple[Path, Path], tmp_path: Path, emptied: FaultyServer, capfd: pytest.CaptureFixture[str]
) -> None:
    out, first = delivered
    assert main(["plan", str(out), "--server", emptied.url, "--id-key", str(first)]) == 0
    (out / "journal.db").unlink()
    (out / "manifest.json").unlink()
    second = key_file(tmp_path / "second")
    assert pushed(out, emptied, "--plan", str(out / "plan.db"), "--id-key", str(second)) == 2
    assert "the id key" in capfd.readouterr().err


# -- journals from before


def unsealed(journal: Path, folder: Path) -> list[bytes]:
    """Makes a journal one of a version that knew no keys; its digests."""
    texts = {}
    for path in (folder / "fhir").glob("*.ndjson"):
        for line in path.read_bytes().splitlines():
            texts[f"{path.stem}/{json.loads(line)['id']}"] = (hashlib.sha256(line).digest(), content(line))
    with sqlite3.connect(journal) as base:
        for table in ("delivered", "writes"):
            for key, (digest, text) in texts.items():
                base.execute(f"UPDATE {table} SET digest = ?, content = ? WHERE key = ?", (digest, text, key))
        base.execute("DROP TABLE id_key")
    base.close()
    return [each for pair in texts.values() for each in pair]


@pytest.fixture
def before(tmp_path: Path, emptied: FaultyServer, _own_key: None) -> tuple[Path, list[bytes]]:
    """A study that a version before keys of sites has delivered, and the plain digests in its journal."""
    out = tmp_path / "out"
    convert(small_study.write(tmp_path / "in"), to="fhir", out=out, id_key=DEMO_KEY)
    assert pushed(out, emptied) == 0
    return out, unsealed(out / "journal.db", out)


def test_a_journal_from_before_takes_no_new_ids(
    before: tuple[Path, list[bytes]], tmp_path: Path, emptied: FaultyServer, capfd: pytest.CaptureFixture[str]
) -> None:
    out, _ = before
    assert main(["convert", str(tmp_path / "in"), "--to", "fhir", "--out", str(out), "--new-ids"]) == 0
    assert pushed(out, emptied) == 2
    assert "FS590" in capfd.readouterr().err


def test_a_journal_from_before_is_sealed_and_goes_on(before: tuple[Path, list[bytes]], emptied: FaultyServer) -> None:
    out, plain = before
    assert any(each in (out / "journal.db").read_bytes() for each in plain)
    emptied.requests.clear()
    assert pushed(out, emptied) == 0  # it is known by its manifest, and its journal by its ids, to be of that key
    assert not emptied.transactions()
    kept = b"".join(path.read_bytes() for path in out.glob("journal.db*"))
    assert not any(each in kept for each in plain)
    assert all(DEMO_KEY.seal(each) in kept for each in plain)


def test_a_journal_of_foreign_resources_takes_any_key(tmp_path: Path, emptied: FaultyServer) -> None:
    (tmp_path / "in" / "fhir").mkdir(parents=True)
    (tmp_path / "in" / "fhir" / "Patient.ndjson").write_text('{"resourceType":"Patient","id":"p-1"}\n')
    first, second = key_file(tmp_path / "first"), key_file(tmp_path / "second")
    assert pushed(tmp_path / "in", emptied, "--id-key", str(first)) == 0
    unsealed(tmp_path / "in" / "journal.db", tmp_path / "in")
    emptied.requests.clear()
    assert pushed(tmp_path / "in", emptied, "--id-key", str(second)) == 0
    assert not emptied.transactions()
    with Journal(tmp_path / "in" / "journal.db", emptied.url, IdKey.load(second)) as book:
        assert book.seal.key == IdKey.load(second)


# -- what needs no key


@pytest.mark.slow
@pytest.mark.usefixtures("_own_key")
def test_fhir_of_another_key_is_read_exactly_and_without_any_key(tmp_path: Path) -> None:
    source = [sample() / "records" / name for name in ("demographics.csv", "adverse_events.csv")]
    made = {}
    for name, key in (("a", DEMO_KEY), ("b", IdKey.random())):
        convert(source, to="fhir", out=tmp_path / name / "fhir", id_key=key)
        done = convert(tmp_path / name / "fhir", to="sdtm", out=tmp_path / name / "sdtm", formats=("csv",))
        assert (done.exit_code, done.unread) == (0, 0)
        made[name] = {path.name: path.read_bytes() for path in (tmp_path / name / "sdtm" / "sdtm").iterdir()}
    assert set(made["a"]) == {"ae.csv", "co.csv", "dm.csv", "suppae.csv", "suppdm.csv"}
    assert made["a"] == made["b"]
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("_own_key")
def test_a_round_trip_needs_no_key_and_sees_a_changed_reference_all_the_same(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(small_study.write(tmp_path / "in"), to="fhir", out=out, id_key=key_file(tmp_path / "key"))
    assert main(["roundtrip", str(out)]) == 0
    assert main(["roundtrip", str(out), "--id-key", str(tmp_path / "key")]) == 0
    assert main(["roundtrip", str(out), "--id-key", str(key_file(tmp_path / "other"))]) == 1
    assert not (tmp_path / "data").exists()
    # An event that now belongs to the other subject is a difference, whatever its ids are.
    file = out / "fhir" / "AdverseEvent.ndjson"
    first, second = (json.loads(line)["id"].encode() for line in lines(out, "Patient"))
    text = file.read_bytes()
    file.write_bytes(text.replace(b"Patient/" + first, b"Patient/" + second, 1))
    assert file.read_bytes() != text
    assert main(["roundtrip", str(out)]) == 3  # FS447: the row is quarantined
