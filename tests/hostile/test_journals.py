"""Journals, plans and audit logs that somebody planted, changed or damaged: refused, and never run, hung on or obeyed."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fhirspace.delivery import database
from fhirspace.delivery.audit.chain import Chain
from fhirspace.delivery.journal import FORM, Journal
from fhirspace.delivery.plan.compare import PlanFile
from fhirspace.errors import UsageError
from fhirspace.idkey import DEMO_KEY
from fhirspace.testing import FaultyServer
from tests.hostile.broken import broken, dice
from tests.hostile.inputs import lines
from tests.hostile.offline import URL, answered_by, ran
from tests.hostile.servers import fhir

Attack = Callable[[Path], object]

READS = ("runs {journal}", "status {journal}")
WRITES = (
    f"push {{folder}}/fhir --server {URL} --journal {{journal}}",
    f"undo {{run}} --server {URL} --journal {{journal}}",
)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that was pushed, with its journal, plan and audit log."""
    home = tmp_path_factory.mktemp("delivered")
    (home / "fhir").mkdir()
    (home / "fhir" / "study.ndjson").write_bytes(b"\n".join(lines()) + b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FHIRSPACE_DATA", str(tmp_path_factory.mktemp("data")))
        with answered_by(fhir()):
            assert ran("push", home / "fhir", "--server", URL, "--journal", home / "journal.db").code == 0
            assert ran("plan", home / "fhir", "--server", URL, "--journal", home / "journal.db").code == 0
        yield home


@pytest.fixture
def folder(delivered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(delivered, tmp_path / "study"))


def _end(folder: Path, command: str) -> int:
    """The exit code of a command that is given the journal; the server is empty."""
    path = folder / "journal.db"
    words = command.format(journal=path, folder=folder, run=_run(folder)).split()
    with answered_by(fhir()):
        return ran(*words).code


def _run(folder: Path) -> str:
    """The name of the run, as its audit log tells it."""
    return next(Chain().records(folder / "audit.log")).run


def _sql(*statements: str) -> Attack:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as base:
            for statement in statements:
                base.execute(statement)
            base.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return change


def _schema(name: str, sql: str) -> Attack:
    """An entry of the schema written by hand, as SQLite itself would refuse to make it."""
    row = f"INSERT INTO sqlite_master VALUES ('table', '{name}', '{name}', 0, '{sql}')"
    return _sql("PRAGMA writable_schema = ON", row)


def _replaced(make: Attack) -> Attack:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def _beside(end: str, make: Attack) -> Attack:
    return lambda path: make(path.with_name(path.name + end))


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def _spoilt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = random.Random(1).randbytes(len(content) - 4096)
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
PLANTED: dict[str, Attack] = {
    "trigger": _sql("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM delivered; END"),
    "trigger on reading's side": _sql("CREATE TRIGGER t BEFORE UPDATE ON places BEGIN SELECT randomblob(1e9); END"),
    "view": _sql("CREATE VIEW extra AS SELECT 1"),
    "endless view for runs": _sql(
        "ALTER TABLE runs RENAME TO old",
        f"CREATE VIEW runs AS {ENDLESS} SELECT x AS run, '' AS server, '' AS started, '' AS finished, '{{}}' AS report FROM n",
    ),
    "endless view for delivered": _sql(
        "DROP TABLE delivered",
        f"CREATE VIEW delivered AS {ENDLESS} SELECT '' AS server, x AS key, '' AS digest, '' AS version, '' AS run FROM n",
    ),
    "calculated column": _sql("ALTER TABLE runs ADD COLUMN evil TEXT GENERATED ALWAYS AS (upper(run))"),
    "calculated column of a known name": _sql(
        "DROP INDEX searched",
        "ALTER TABLE places DROP COLUMN search",
        "ALTER TABLE places ADD COLUMN search BLOB GENERATED ALWAYS AS (zeroblob(9))",
    ),
    "more columns": _sql("ALTER TABLE writes ADD COLUMN evil TEXT"),
    "more tables": _sql("CREATE TABLE evil (x)"),
    "index of an expression": _sql("CREATE INDEX evil ON runs (abs(run))"),
    "virtual table": _schema("evil", "CREATE VIRTUAL TABLE evil USING fts5(x)"),
    "virtual table of a known name": _schema("places", "CREATE VIRTUAL TABLE places USING dbstat"),
    "of another program": _sql("PRAGMA application_id = 252006673"),
    "of a later version": _sql("PRAGMA user_version = 99"),
    "browser's database": _replaced(_sql("CREATE TABLE moz_places (url TEXT)")),
    "geopackage": _replaced(_sql("CREATE TABLE delivered (x)", "PRAGMA application_id = 1196444487")),
    "empty": _replaced(Path.touch),
    "text": _replaced(lambda path: path.write_text("127.0.0.1 localhost\n")),
    "head only": _replaced(lambda path: path.write_bytes(b"SQLite format 3\0")),
    "folder": _replaced(Path.mkdir),
    "pipe": _replaced(os.mkfifo),
    "link": _linked,
    "link to nothing": _replaced(lambda path: path.symlink_to("nowhere")),
    "cut": _cut,
    "spoilt": _spoilt,
    "a terabyte of nothing": _sparse,
    "log is a link": _beside("-wal", lambda path: path.symlink_to("/etc/hostname")),
    "log is a pipe": _beside("-wal", os.mkfifo),
    "memory is a link": _beside("-shm", lambda path: path.symlink_to("/etc/hostname")),
    "rollback is a pipe": _beside("-journal", os.mkfifo),
    "rollback is a folder": _beside("-journal", Path.mkdir),
    "report is no JSON": _sql("UPDATE runs SET report = '{'"),
    "report is a list": _sql("UPDATE runs SET report = '[]'"),
    "report is deep": _sql(f"UPDATE runs SET report = '{'[' * 100_000}'"),
    "report has a wrong head": _sql("""UPDATE runs SET report = '{"audit": {"sequence": "1", "hash": 1}}'"""),
    "report has half a head": _sql("""UPDATE runs SET report = '{"audit": {"sequence": 1}}'"""),
    "report undoes a number": _sql("""UPDATE runs SET report = '{"undo": 7}'"""),
    "report of a gigabyte": _sql("UPDATE runs SET report = hex(zeroblob(20000000))"),
    "server is bytes": _sql("UPDATE runs SET server = x'31'"),
    "run is no UTF-8": _sql("UPDATE runs SET server = CAST(x'ff' AS TEXT)"),
}
MIXED: dict[str, Attack] = {
    "key is bytes": _sql("UPDATE delivered SET key = CAST(key AS BLOB)"),
    "digest is a text": _sql("UPDATE delivered SET digest = 'x'"),
    "digest is a number": _sql("UPDATE writes SET digest = 0"),
    "bundle is a text": _sql("UPDATE writes SET bundle = 'x'"),
    "version is bytes": _sql("UPDATE delivered SET version = x'31'"),
    "fingerprint is bytes": _sql("UPDATE id_key SET fingerprint = x'31'"),
}
"""What commands refuse that open a journal to write; `runs` and `status` do not look at it."""
GOES_ON = {"empty", "run is no UTF-8", *(name for name in PLANTED if name.startswith("report "))}
"""A push makes a journal of an empty file, and does not read what earlier runs to other servers noted."""


@pytest.mark.parametrize("attack", PLANTED)
def test_a_planted_journal_is_refused_by_what_reads(attack: str, folder: Path) -> None:
    PLANTED[attack](folder / "journal.db")
    before = _content(folder)
    assert [_end(folder, command) for command in READS] == [2, 2]
    assert _content(folder) == before


@pytest.mark.parametrize("attack", [*PLANTED, *MIXED])
def test_a_planted_journal_is_refused_by_what_writes(attack: str, folder: Path) -> None:
    {**PLANTED, **MIXED}[attack](folder / "journal.db")
    before = _content(folder)
    assert [_end(folder, command) for command in WRITES] == [0 if attack in GOES_ON else 2, 2]
    assert attack in GOES_ON or _content(folder) == before


def _content(folder: Path) -> list[bytes]:
    """What the journal holds, and what is beside it (SQLite's own files come and go)."""
    files = [path for path in sorted(folder.glob("*.db")) if path.is_file() and path.stat().st_size < 1 << 30]
    return [path.read_bytes() for path in files]


KEYS = (
    "../../admin",
    "Patient/..",
    "Patient/.",
    "Patient/x?y=1",
    "Patient/%2e%2e",
    "//evil.example/x",
    "Patient/a/b",
    "x",
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("table", ["writes SET key", "places SET place"])
def test_a_planted_key_becomes_no_address(key: str, table: str, folder: Path) -> None:
    row = "INSERT OR IGNORE INTO places SELECT server, key, NULL, key FROM delivered"
    one = f"UPDATE {table} = '{key}' WHERE key = (SELECT key FROM {table.split(maxsplit=1)[0]} LIMIT 1)"
    _sql(row, one)(folder / "journal.db")
    asked: list[str] = []
    respond = fhir()
    with answered_by(lambda request: (asked.append(request.path), respond(request))[1]):
        assert ran("undo", _run(folder), "--server", URL, "--journal", folder / "journal.db").code == 2
    assert not [target for target in asked if not target.startswith(("/fhir/metadata", "/fhir/?", "/fhir"))]
    assert not [target for target in asked if "admin" in target or ".." in target or "%2e" in target]


VALUES = {
    "action": ("UPDATE writes SET action = 'erased', state = 'done'", lambda book: book.unproven(10)),
    "no action": ("UPDATE writes SET action = NULL, state = 'done'", lambda book: book.unproven(10)),
    "time": ("UPDATE runs SET started = '2026-02-31T00:00:00'", lambda book: book.started()),
    "word for a time": ("UPDATE runs SET started = 'now'", lambda book: book.started()),
    "key": ("UPDATE delivered SET key = '../x'", lambda book: list(book.delivered())),
    "sample": ("UPDATE delivered SET key = 'x/../y'", lambda book: book.samples()),
}


@pytest.mark.parametrize("attack", VALUES)
def test_a_planted_value_is_refused_where_it_is_used(attack: str, folder: Path) -> None:
    statement, use = VALUES[attack]
    _sql(statement.replace("UPDATE delivered", "UPDATE OR REPLACE delivered"))(folder / "journal.db")
    with Journal(folder / "journal.db", URL, DEMO_KEY) as book, pytest.raises(UsageError, match="FS525"):
        book.run = _run(folder)
        use(book)


def test_a_database_of_ours_has_no_way_out(folder: Path) -> None:
    with closing(database.opened(folder / "journal.db", FORM)) as base:
        for statement in (
            "SELECT load_extension('x')",
            f"ATTACH '{folder}/other.db' AS other",
            "SELECT readfile('/etc/hostname')",
            "SELECT length(hex(zeroblob(20000000)))",
        ):
            with pytest.raises(UsageError, match="FS525"):
                base.execute(statement)
        assert base.execute("PRAGMA trusted_schema").fetchone() == (0,)
    assert not (folder / "other.db").exists()


def test_a_fault_in_the_middle_of_a_run_names_the_journal(folder: Path) -> None:
    """What SQLite says later (a full disk, a file damaged meanwhile) is no bug: it names the file and the reason."""
    with Journal(folder / "journal.db", URL, DEMO_KEY) as book:
        book._base.execute("PRAGMA query_only = ON")  # as a disk that was mounted anew
        with pytest.raises(UsageError, match=r"journal.db.*it cannot be written"):
            book.begin("20260501T101500Z-aaaa", resume=False)
    with Journal(folder / "journal.db", URL, DEMO_KEY) as book:
        book._base.execute(f"PRAGMA max_page_count = {book._base.execute('PRAGMA page_count').fetchone()[0]}")
        book.begin("20260501T101500Z-bbbb", resume=False)
        with pytest.raises(UsageError, match=r"FS603 .*journal.db: The disk is full"):
            book.intend(((f"Patient/{number}", b"x" * 32, b"y" * 32) for number in range(10_000)), "now")


def test_the_token_goes_to_no_server_that_a_foreign_journal_names(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))  # a user who never pushed by this journal
    monkeypatch.setenv("FHIRSPACE_TOKEN", "secret")
    sent: list[str] = []
    with answered_by(lambda request: pytest.fail(f"asked {request.path}")):
        for command in ("verify", "undo"):
            ended = ran(command, "last", "--journal", folder / "journal.db", "--insecure-http")
            assert (ended.code, "FS588" in ended.said, sent) == (2, True, [])


PLANS: dict[str, Attack] = {
    "endless view": _sql(
        "ALTER TABLE head RENAME TO old", f"CREATE VIEW head AS {ENDLESS} SELECT 'x' AS name, 'y' AS value FROM n"
    ),
    "trigger": _sql("CREATE TRIGGER t AFTER INSERT ON step BEGIN DELETE FROM head; END"),
    "no server": _sql("DELETE FROM head WHERE name = 'server'"),
    "another format": _sql("UPDATE head SET value = 'fhirspace plan 99' WHERE name = 'format'"),
    "changes are no list": _sql("UPDATE step SET changes = '{}'"),
    "changes are deep": _sql(f"UPDATE step SET changes = '{'[' * 100_000}'"),
    "digest is a text": _sql("UPDATE step SET digest = 'x'"),
    "a journal": lambda path: shutil.copy(path.parents[1] / "journal.db", path),
    "empty": _replaced(Path.touch),
    "text": _replaced(lambda path: path.write_text("x")),
    "pipe": _replaced(os.mkfifo),
    "link": _linked,
    "folder": _replaced(Path.mkdir),
    "cut": _cut,
    "spoilt": _spoilt,
}


@pytest.mark.parametrize("attack", PLANS)
def test_a_planted_plan_is_refused(attack: str, folder: Path) -> None:
    plan = folder / "fhir" / "plan.db"
    PLANS[attack](plan)
    server = FaultyServer(url=URL)
    with answered_by(server.respond):
        ended = ran("push", folder / "fhir", "--server", URL, "--plan", plan, "--journal", folder / "new.db")
    assert (ended.code, "FS53" in ended.said, server.versions) == (2, True, {})


def test_an_action_that_no_plan_has_is_not_obeyed(folder: Path) -> None:
    plan = folder / "fhir" / "plan.db"
    _sql("UPDATE step SET action = 'erase'")(plan)
    with PlanFile(plan) as found, pytest.raises(UsageError, match="FS537"):
        list(found.steps())


LOGS: dict[str, Attack] = {
    "a line without end": lambda path: path.write_bytes(b"x" * 100_000),
    "a long line": lambda path: path.write_bytes(path.read_bytes() + b'{"about":"' + b"x" * 100_000 + b'"}\n'),
    "nulls": lambda path: path.write_bytes(b"\0" * 100_000),
    "deep": lambda path: path.write_bytes(b"[" * 90_000 + b"\n"),
    "a number of many digits": lambda path: path.write_bytes(
        path.read_bytes() + b'{"counts":{"a":' + b"9" * 5_000 + b'},"event":"undo"}\n'
    ),
    "half a pair": lambda path: path.write_bytes(path.read_bytes().replace(b"run started", b"\\ud800")),
    "separators": lambda path: path.write_bytes(b"\x1e" * 50_001),
}


@pytest.mark.parametrize("attack", LOGS)
def test_a_planted_audit_log_is_reported(attack: str, folder: Path) -> None:
    LOGS[attack](folder / "audit.log")
    ended = ran("runs", "audit", folder / "journal.db", "--limit", "line-bytes=50000")
    assert (ended.code, "FS571" in ended.said) == (1, True)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_an_audit_log_that_is_no_file_hangs_nothing(make: Attack, folder: Path) -> None:
    (folder / "audit.log").unlink()
    make(folder / "audit.log")
    assert ran("runs", "audit", folder / "journal.db").code == 2


FILES = {
    "journal.db": (*READS, "runs audit {journal}", *WRITES),
    "fhir/plan.db": (
        f"push {{folder}}/fhir --server {URL} --plan {{folder}}/fhir/plan.db --journal {{folder}}/new.db",
    ),
    "audit.log": ("runs audit {journal}", WRITES[0]),
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", FILES)
def test_what_was_damaged_by_chance_is_never_a_bug(name: str, seed: int, folder: Path) -> None:
    """Bytes flipped, cut, doubled, exchanged: 306 variants in all, each given to one command."""
    content, run = (folder / name).read_bytes(), _run(folder)
    for number in range(17):
        rng = dice(f"{name}/{seed}", number)
        for path in [*folder.glob("*.db*"), *folder.glob("fhir/*.db-*")]:
            if name != "journal.db" and path.name.startswith("journal.db"):
                continue
            path.unlink()
        (folder / name).write_bytes(_flipped(content, rng) if number % 2 else broken(content, "bytes", rng))
        command = FILES[name][number % len(FILES[name])].format(journal=folder / "journal.db", folder=folder, run=run)
        with answered_by(fhir()):
            ended = ran(*command.split())
        assert not ended.fault, (name, seed, number, command, ended.fault)


def _flipped(content: bytes, rng: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)
