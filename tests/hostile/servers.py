"""Small servers without a network, right in what they answer: exports, imports, tokens; and which answers are broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fhirspace.testing import FaultyServer
from fhirspace.testing.messages import Answer, Request, document, outcome
from tests.hostile.inputs import lines
from tests.hostile.offline import URL, Respond

_TYPES = ["AdverseEvent", "Observation", "Organization", "Patient", "Provenance", "ResearchStudy", "ResearchSubject"]
_NDJSON = {"Content-Type": "application/fhir+ndjson"}
_GOOGLE = "projects/p/locations/l/datasets/d"
GOOGLE = f"http://127.0.0.1:9/v1/{_GOOGLE}/fhirStores/s/fhir"


def fhir(**settings: Any) -> Respond:
    """A server that stores."""
    return FaultyServer(url=URL, types=list(_TYPES), **settings).respond


def filled(**settings: Any) -> Respond:
    """A server that has the study, in pages of three."""
    respond = fhir(page=3, **settings)
    for line in sorted(lines(), key=lambda line: b'"reference"' in line):
        for _ in range(2):
            head = json.loads(line)
            respond(Request("PUT", f"/fhir/{head['resourceType']}/{head['id']}", {}, line))
    return respond


def exporting() -> Respond:
    """A server that exports: one look, then a file a type, in pieces where they are asked for."""
    looks: Iterator[int] = iter(range(10_000))
    files: dict[str, bytes] = {}
    for line in lines():
        kind = json.loads(line)["resourceType"]
        files[kind] = files.get(kind, b"") + line + b"\n"
    store = fhir()

    def respond(request: Request) -> Answer:
        place = request.place
        if place == "$export":
            return Answer(202, b"", {"Content-Location": f"{URL}/jobs/1"})
        if place == "jobs/1":
            if request.method == "DELETE":
                return Answer(202)
            if next(looks) < 1:
                return Answer(202, b"", {"X-Progress": "50% done", "Retry-After": "1"})
            return document(200, _manifest(files))
        if place.startswith("files/"):
            return _piece(request, files.get(place[6:]) or json.dumps(outcome("x")).encode())
        return store(request)

    return respond


def _manifest(files: dict[str, bytes]) -> dict[str, Any]:
    output = [{"type": kind, "url": f"{URL}/files/{kind}", "count": text.count(b"\n")} for kind, text in files.items()]
    return {
        "transactionTime": "2026-03-01T00:00:00Z",
        "requiresAccessToken": True,
        "output": output,
        "error": [{"type": "OperationOutcome", "url": f"{URL}/files/error"}],
    }


def _piece(request: Request, text: bytes) -> Answer:
    asked = request.headers.get("range", "")
    if not asked:
        return Answer(200, text, _NDJSON)
    start, end = map(int, asked.removeprefix("bytes=").split("-"))
    piece = text[start : min(end + 1, start + 1_000)]
    span = f"bytes {start}-{start + len(piece) - 1}/{len(text)}"
    return Answer(206, piece, {**_NDJSON, "Content-Range": span})


def importing() -> Respond:
    """A server that imports in the way of HAPI and of Azure: one look, then the result of all files."""
    looks: Iterator[int] = iter(range(10_000))
    store, urls = fhir(), list[str]()

    def respond(request: Request) -> Answer:
        if request.place == "$import":
            urls[:] = re.findall(r'"valueUri":"((?:http|abfss?)[^"]+)"', request.body.decode())
            return Answer(202, b"", {"Content-Location": f"{URL}/jobs/1"})
        if request.place == "jobs/1":
            return document(200, _imported(urls)) if next(looks) else Answer(202, b"", {"X-Progress": "50.0%"})
        return store(request)

    return respond


def _imported(urls: list[str]) -> dict[str, Any]:
    parts = [f"Source: {url}\n  Outcomes:\n    * SUCCESSFUL_CREATE: 1\n  Errors:\n    * HAPI-1094: x\n" for url in urls]
    report = json.dumps({"reportMsg": "Bulk Import Report\n-----\n" + "".join(parts)})
    counts = [{"type": "Patient", "count": 1, "inputUrl": url} for url in urls]
    return {**outcome(report), "output": counts, "error": counts[:1]}


def operating() -> Respond:
    """A server that imports in the way of Google."""
    looks: Iterator[int] = iter(range(10_000))
    store = fhir()

    def respond(request: Request) -> Answer:
        if request.path.endswith(":import"):
            return document(200, {"name": f"{_GOOGLE}/operations/1"})
        if request.path.endswith("/operations/1"):
            counter = {"success": "1", "failure": "1"}
            done = {"done": True, "response": {}} if next(looks) % 2 else {}
            return document(200, {"name": f"{_GOOGLE}/operations/1", "metadata": {"counter": counter}, **done})
        return store(request._replace(path=request.path.replace(GOOGLE.removeprefix("http://127.0.0.1:9"), "/fhir")))

    return respond


def signing() -> Respond:
    """A server that gives tokens, says where, and wants them."""
    store = fhir(authorize=lambda value: value == "Bearer t")
    settings = {"token_endpoint": f"{URL}/token", "token_endpoint_auth_signing_alg_values_supported": ["ES384"]}

    def respond(request: Request) -> Answer:
        if request.place == "token":
            return document(200, {"access_token": "t", "token_type": "bearer", "expires_in": 300})
        if request.place == ".well-known/smart-configuration":
            return document(200, settings)
        return store(request)

    return respond


Match = Callable[[Request], bool]


@dataclass(frozen=True, slots=True)
class Talk:
    """A kind of answer.

    Args:
        server: makes a server that is right. match: the requests whose answers are broken.
        commands: what asks it, with ``{in}`` for a folder with the study and ``{out}`` for a new one.
        before: what is done before, with right answers; ``{in}/next`` is the study with other content.
    """

    server: Callable[[], Respond]
    match: Match
    commands: tuple[str, ...]
    before: tuple[str, ...] = ()


def _bundle(kind: str, method: str) -> Match:
    head, part = f'"type":"{kind}"'.encode(), f'"method":"{method}"'.encode()
    return lambda request: (
        request.method == "POST" and not request.place and head in request.body and part in request.body
    )


def _to(*methods: str, place: str) -> Match:
    return lambda request: request.method in methods and re.search(place, request.path) is not None


PUSH = f"push {{in}} --server {URL}"
PULL = f"pull --server {URL} --study TINY --out {{out}}"
_BULK = f"pull --bulk --server {URL} --study TINY --out {{out}}"
_TWICE = (PUSH + " --journal {out}.db", f"push {{in}}/next --server {URL} --journal {{out}}.db")
_LOOK_BACK = (f"undo last --server {URL} --journal {{out}}.db", f"verify last --server {URL} --journal {{out}}.db")
_PLAN = f"plan {{in}} --server {URL} --out {{out}}.plan"
_IMPORT = f"push {{in}} --bulk --server {URL} --bulk-shape"

TALKS = {
    "capability statement": Talk(
        filled, _to("GET", place="metadata"), (PUSH, PULL, f"doctor --server {URL}", _PLAN, _BULK, f"{_IMPORT} hapi")
    ),
    "transaction-response": Talk(fhir, _bundle("transaction", "PUT"), (PUSH,)),
    "batch-response": Talk(lambda: fhir(bundle_types={"batch"}), _bundle("batch", "PUT"), (PUSH,)),
    "batch-response of reads": Talk(filled, _bundle("batch", "GET"), (_PLAN, PUSH)),
    "write": Talk(lambda: fhir(bundle_types=set()), _to("PUT", place="/fhir/"), (PUSH + " --way single",)),
    "conditional write": Talk(
        lambda: fhir(client_ids=False), _bundle("transaction", "PUT"), (PUSH + " --no-provenance",)
    ),
    "searchset": Talk(filled, lambda request: "_search" in request.path or "_page" in request.path, (PULL,)),
    "history": Talk(fhir, _to("GET", place="_history"), _LOOK_BACK[:1], _TWICE),
    "read": Talk(lambda: filled(bundle_types=set()), _to("GET", place=r"/fhir/[A-Z]\w+/"), (_PLAN,)),
    "reads after a push": Talk(fhir, _bundle("batch", "GET"), _LOOK_BACK, _TWICE),
    "undo": Talk(fhir, lambda request: request.method in ("DELETE", "POST"), _LOOK_BACK[:1], _TWICE),
    "Provenance": Talk(
        fhir,
        _to("POST", place="Provenance/_search"),
        (f"undo {{run}} --server {URL} --journal {{out}}.new.db",),
        _TWICE[:1],
    ),
    "OperationOutcome": Talk(
        lambda: fhir(refuse=lambda resource: resource["resourceType"] == "Observation"),
        _bundle("transaction", "PUT"),
        (PUSH,),
    ),
    "kick-off": Talk(exporting, _to("POST", "GET", place=r"\$export"), (_BULK,)),
    "status of an export": Talk(exporting, _to("GET", place="jobs/"), (_BULK,)),
    "file of an export": Talk(exporting, _to("GET", place="files/"), (_BULK,)),
    "import by HAPI": Talk(importing, _to("POST", "GET", place=r"\$import|jobs/"), (f"{_IMPORT} hapi",)),
    "import by Azure": Talk(
        importing,
        _to("POST", "GET", place=r"\$import|jobs/"),
        (f"{_IMPORT.replace('{in}', '{in}/types')} azure --bulk-from https://a.blob.core.windows.net/c",),
    ),
    "import by Google": Talk(
        operating,
        _to("POST", "GET", place=":import|operations/"),
        (f"push {{in}}/types --bulk --server {GOOGLE} --bulk-shape google --bulk-from gs://bucket/x",),
    ),
    "token": Talk(signing, _to("POST", place="token"), ("push {in} --server basic --config {in}/servers.toml",)),
    "SMART configuration": Talk(
        signing,
        _to("GET", place="smart-configuration|metadata"),
        ("push {in} --server smart --config {in}/servers.toml", f"doctor --server {URL}"),
    ),
}
