"""One variant of one kind: made, given to a command, and looked at afterwards."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from fhirspace.template.folders import shipped
from fhirspace.testing.messages import JSON, Answer, Request
from tests.hostile.broken import TEXTS, Form, broken, dice
from tests.hostile.inputs import KINDS, beside, few_mappings, lines
from tests.hostile.offline import URL, Ran, Respond, answered_by, ran
from tests.hostile.servers import TALKS, Talk, exporting, fhir

_SERVERS = {"state of an export": exporting}
_STATUS: tuple[int, ...] = (
    0,
    100,
    199,
    200,
    201,
    202,
    204,
    206,
    299,
    301,
    304,
    400,
    401,
    403,
    404,
    409,
    410,
    412,
    413,
    416,
    422,
    429,
    500,
)
_STATUS = (*_STATUS, 501, 503, 999)
_NAMES = (
    "Content-Type", "Retry-After", "Date", "ETag", "Last-Modified", "Location", "Content-Location", "X-Progress",
    "Content-Range", "Content-Encoding", "WWW-Authenticate",
)  # fmt: skip
_VALUES = (
    "-1", "1e999", "inf", "nan", "0.5", "9" * 30, "9" * 5_000, "²", "Mon, 99 Foo 99999 99:99:99 GMT", "Thu, 01 Jan 0001 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359", "Thu, 01 Jan 1970 00:00:00 +9999", "1", "0", 'W/"', 'W/"2"', '"1"', "W/" + '"' * 9,
    "bytes */9", "bytes 0-9/*", "bytes 9-0/5", "bytes 0-1/" + "9" * 5_000, "bytes x", "text/html", "application/fhir+xml",
    "application/json; charset=utf-16", "application/fhir+ndjson", "Patient/x/_history/1", f"{URL}/Patient/x", f"{URL}/jobs/1",
    "http://evil.example/x", "http://[", "../x", "100%", "999.9 %", "gzip", "", " ",
)  # fmt: skip
_SAFE = tuple(text for text in TEXTS if text.isascii() and text.isprintable() and len(text) < 5_000)
"""What a header can hold at all: the library that reads headers refuses the rest."""


def tried(kind: str, seed: str, number: int, folder: Path, *, quick: bool | None = None) -> tuple[str, Ran]:
    """The command that was given a variant of an input or of an answer, and how it ended.

    Args:
        kind: of `KINDS` or `TALKS`. seed, number: which variant. folder: an empty one, which it is again afterwards.
        quick: only by the commands that cost little; None: every fourth by any of them.
    """
    try:
        command = _chosen(kind, number, quick=quick)
        return command, _ended(kind, command, dice(f"{kind}/{seed}", number), folder)
    finally:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def tried_until(
    kind: str, seed: str, first: range, more: range, folder: Path, *, quick: bool | None = None
) -> list[tuple[int, str, Ran]]:
    """Try the first variants, and as many more as it takes until two have ended differently.

    Returns:
        The number of each, and what `tried` gives.
    """
    done = [(number, *tried(kind, seed, number, folder, quick=quick)) for number in first]
    for number in more:
        if len({ran.code for _, _, ran in done}) > 1:
            break
        done.append((number, *tried(kind, seed, number, folder, quick=quick)))
    return done


def right(kind: str, command: str, folder: Path) -> Ran:
    """How a command ends where nothing is broken."""
    return _ended(kind, command, None, folder)


def _chosen(kind: str, number: int, *, quick: bool | None) -> str:
    if kind in TALKS:
        return TALKS[kind].commands[number % len(TALKS[kind].commands)]
    given = KINDS[kind]
    if quick or (quick is None and number % 4):
        return given.commands[number % given.quick]
    return given.commands[number // (1 if quick is False else 4) % len(given.commands)]


def _ended(kind: str, command: str, rng: random.Random | None, folder: Path) -> Ran:
    return _answer(TALKS[kind], command, rng, folder) if kind in TALKS else _input(kind, command, rng, folder)


def _input(kind: str, command: str, rng: random.Random | None, folder: Path) -> Ran:
    given = KINDS[kind]
    home = folder / "in"
    for name, content in given.files().items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        spoilt = name == given.target and rng is not None
        path.write_bytes(broken(content, given.form, rng) if spoilt and rng else given.packed(name, content))
        path.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FHIRSPACE_DATA", str(folder / "data"))  # what a command adds there is for no other variant
        with answered_by(_SERVERS.get(kind, fhir)()), beside(few_mappings() if given.few else shipped()):
            return _run(command, folder)


def _run(command: str, folder: Path, run: str = "") -> Ran:
    return ran(*(word.format(**{"in": folder / "in", "out": folder / "out", "run": run}) for word in command.split()))


def _answer(talk: Talk, command: str, rng: random.Random | None, folder: Path) -> Ran:
    _study(folder / "in")
    respond = talk.server()
    run = _prepared(talk, respond, folder) if talk.before else ""
    with answered_by(_spoilt(talk, respond, rng) if rng else respond):
        return _run(command, folder, run)


@dataclass(frozen=True, slots=True)
class _Before:
    """What right commands left behind: the last run, the requests that they made, and the files in the folder."""

    run: str
    requests: list[Request]
    files: dict[str, bytes]


_DONE: dict[tuple[tuple[str, ...], Path], _Before] = {}


def _prepared(talk: Talk, respond: Respond, folder: Path) -> str:
    """Bring a server and a folder to where the commands before have brought them, and give the last run.

    The commands are run once for each folder, since journals may hold its name; then their requests are made again.
    """
    done = _DONE.get((talk.before, folder))
    if done is not None:
        for request in done.requests:
            respond(request)
        for name, content in done.files.items():
            (folder / name).write_bytes(content)
        return done.run
    requests: list[Request] = []

    def noted(request: Request) -> Answer:
        requests.append(request)
        return respond(request)

    with answered_by(noted):
        said = [_run(each, folder).said for each in talk.before]
    run = said[-1].partition("run: ")[2].partition("\n")[0]
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    _DONE[talk.before, folder] = _Before(run, requests, files)
    return run


def _study(home: Path) -> None:
    for name, content in _study_files().items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (home / "servers.toml").write_bytes(_servers(home))


@cache
def _study_files() -> dict[str, bytes]:
    found: dict[str, bytes] = {"key.pem": _key(), "secret": b"x"}
    for name, word in (("fhir", b""), ("next/fhir", b'"active":true,')):
        kept = [line.replace(b'"gender"', word + b'"gender"') for line in lines() if b'"AdverseEvent"' not in line[:40]]
        found[f"{name}/study.ndjson"] = b"\n".join(kept) + b"\n"
    for line in kept:
        name = f"types/{json.loads(line)['resourceType']}.ndjson"
        found[name] = found.get(name, b"") + line + b"\n"
    return found


def _servers(home: Path) -> bytes:
    return f"""
[servers.basic]
url = "{URL}"
sign_in = "oauth2"
token_url = "{URL}/token"
client_id = "me"
client_secret_file = "{home}/secret"

[servers.smart]
url = "{URL}"
sign_in = "smart"
client_id = "me"
kid = "k"
private_key_file = "{home}/key.pem"
""".encode()


@cache
def _key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)


def _spoilt(talk: Talk, respond: Respond, rng: random.Random) -> Respond:
    """Spoil the first answers of a kind, one after some right ones, or all of them."""
    first, last = rng.choice(((0, 1), (0, 1), (0, 3), (1, 2), (2, 3), (0, 10_000)))
    count = 0

    def spoilt(request: Request) -> Answer:
        nonlocal count
        answer = respond(request)
        if not talk.match(request):
            return answer
        count += 1
        return _broken(answer, rng) if first < count <= last else answer

    return spoilt


def _broken(answer: Answer, rng: random.Random) -> Answer:
    headers = {"Content-Type": JSON, **answer.headers}
    made = Answer(answer.status, answer.body, headers)
    way = rng.random()
    if way < 0.7 and answer.body:
        made.body = broken(answer.body, _form(headers["Content-Type"], answer.body), rng)
    elif way < 0.7:
        made.body = rng.choice(
            (b"{}", b"[]", b"null", b"<html></html>", b'{"resourceType":"Bundle"}', rng.randbytes(30))
        )
    if way > 0.55:
        for _ in range(rng.choice((1, 1, 2, 4))):
            name = rng.choice([*headers, *_NAMES])
            headers[name] = rng.choice((*_VALUES, *_SAFE))
            if rng.random() < 0.2:
                del headers[name]
    if rng.random() < 0.15:
        made.status = rng.choice(_STATUS)
    return made


def _form(kind: str, body: bytes) -> Form:
    if "ndjson" in kind:
        return "ndjson" if body.endswith(b"\n") else "text"
    return "json"


@contextmanager
def peak() -> Iterator[list[int]]:
    """How much more memory than before was in use at most, in MB, in the list once the block is left; Linux only."""
    found: list[int] = []
    status = Path("/proc/self/status")
    if not status.exists():
        yield found
        return
    Path("/proc/self/clear_refs").write_text("5")
    before = high()
    yield found
    found.append(high() - before)


def high() -> int:
    """The most memory that this process had in use, in MB; Linux only. (`getrusage` counts what its parent had too.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
