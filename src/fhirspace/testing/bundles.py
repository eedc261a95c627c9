"""Bundles to be done: a transaction, all or nothing, or a batch, entry by entry (FHIR, "transaction")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from fhirspace.testing.facts import redirected, referring
from fhirspace.testing.messages import Answer, Refused
from fhirspace.testing.operation import Done, Operation
from fhirspace.testing.rest import Rest

Spoil = Callable[[int, str, str], Refused | None]
"""What an entry is refused with for no fault of its own, by its index, method and URL; None lets it be."""
_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 3, "GET": 4}
_SAME = {
    "severity": "information",
    "code": "informational",
    "details": {
        "coding": [
            {
                "system": "https://hapifhir.io/fhir/CodeSystem/hapi-fhir-storage-response-code",
                "code": "SUCCESSFUL_UPDATE_NO_CHANGE",
            }
        ]
    },
}


class Part(msgspec.Struct):
    """``Bundle.entry.request``."""

    method: str
    url: str
    ifMatch: str = ""  # noqa: N815 - FHIR's name
    ifNoneExist: str = ""  # noqa: N815 - FHIR's name


class Entry(msgspec.Struct):
    """``Bundle.entry``."""

    request: Part
    resource: msgspec.Raw = msgspec.Raw(b"")
    fullUrl: str = ""  # noqa: N815 - FHIR's name


class Bundle(msgspec.Struct):
    """A Bundle that was sent."""

    resourceType: str  # noqa: N815 - FHIR's name
    type: str = ""
    entry: list[Entry] = []


_decode = msgspec.json.Decoder(Bundle).decode


def bundle_of(body: bytes) -> Bundle:
    """The Bundle, decoded. Raises Refused (400) when it is none that can be done."""
    try:
        bundle = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, "HAPI-1861: Failed to parse request as a Bundle of requests") from None
    if bundle.resourceType != "Bundle":
        raise Refused(400, "HAPI-0446: Bundle expected at the base")
    return bundle


class Bundles:
    """Does Bundles on a store."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._settings = rest.settings

    def answer(self, bundle: Bundle, spoil: Spoil, *, whole: bool = False) -> Answer:
        """Do it; `whole` puts the resources into the answer. Raises Refused: 413 too many entries, kind not taken."""
        settings = self._settings
        if bundle.type not in settings.bundle_types:
            raise Refused(settings.bundle_status, f"HAPI-0522: Unable to process a Bundle of type {bundle.type}")
        if settings.most_entries is not None and len(bundle.entry) > settings.most_entries:
            raise Refused(413, f"at most {settings.most_entries} entries")
        operations = [self._operation(entry) for entry in bundle.entry]
        if bundle.type == "batch":
            answers = [self._single(index, operation, spoil, whole) for index, operation in enumerate(operations)]
        else:
            links = [entry.fullUrl for entry in bundle.entry]
            answers = [self._entry(done, whole) for done in self._transaction(operations, links, spoil)]
        kind = f"{bundle.type}-response"
        return Answer(200, msgspec.json.encode({"resourceType": "Bundle", "type": kind, "entry": answers}))

    def _operation(self, entry: Entry) -> Operation:
        part = entry.request
        url = part.url.removeprefix(self._settings.url).lstrip("/")
        return Operation(part.method, url, bytes(entry.resource), part.ifMatch, part.ifNoneExist)

    def _single(self, index: int, operation: Operation, spoil: Spoil, whole: bool) -> dict[str, Any]:
        refused = spoil(index, operation.method, operation.url)
        if refused is None:
            try:
                return self._entry(self._rest.alone(operation), whole)
            except Refused as error:
                refused = error
        done = Done(operation.method, refused.status)
        return {"response": {"status": done.phrase, "outcome": refused.outcome}}

    def _transaction(self, operations: list[Operation], links: list[str], spoil: Spoil) -> list[Done]:
        for index, operation in enumerate(operations):
            if refused := spoil(index, operation.method, operation.url):
                raise refused
        self._prepare(operations)
        with self._rest.store.atomic():
            for operation in operations:
                self._rest.resolve(operation)
            _only_once(operations)
            self._link(operations, links)
            done: dict[int, Done] = {}
            for index in sorted(range(len(operations)), key=lambda index: _ORDER.get(operations[index].method, 9)):
                done[index] = self._rest.run(operations[index])
            for item in done.values():
                self._rest.check_references(item)
        return [done[index] for index in range(len(operations))]

    def _prepare(self, operations: list[Operation]) -> None:
        """All entries that are invalid are named, as a validating server does."""
        bad: dict[int, Refused] = {}
        for index, operation in enumerate(operations):
            try:
                self._rest.prepare(operation)
            except Refused as error:
                bad[index] = error
        if bad:
            first = next(iter(bad.values()))
            places = (
                [f"Bundle.entry[{index}].resource.code" for index in bad]
                if self._settings.name_entries and first.status != 500
                else []
            )
            raise Refused(first.status, first.diagnostics, places)

    def _link(self, operations: list[Operation], links: list[str]) -> None:
        """References to entries, by their ``fullUrl``, and by conditions, become references to what they resolve to."""
        pairs = zip(operations, links, strict=True)
        places = {link: operation.key for operation, link in pairs if link and not link.endswith("/" + operation.key)}
        for operation in operations:
            if not operation.resource or (not places and b"?" not in operation.body):
                continue
            conditional = {
                text: self._one(text) for text in referring(operation.resource) if "?" in text and "://" not in text
            }
            resource = redirected(operation.resource, places | conditional)
            if resource != operation.resource:
                operation.body, operation.resource = msgspec.json.encode(resource), resource

    def _one(self, reference: str) -> str:
        kind, _, query = reference.partition("?")
        key = self._rest.matched(kind, query)
        if not key:
            raise Refused(412, "HAPI-1091: Invalid match URL, no resources match this search")
        return key

    def _entry(self, done: Done, whole: bool) -> dict[str, Any]:
        response: dict[str, Any] = {"status": done.phrase}
        if done.version is not None:
            response |= {"etag": done.etag, "lastModified": done.version.moment}
            if done.method != "GET":
                response["location"] = f"{done.key}/_history/{done.version.number}"
        if done.unchanged and done.method == "PUT":
            response["outcome"] = {"resourceType": "OperationOutcome", "issue": [_SAME]}
        content = done.content or (done.written if whole else b"")
        return {"response": response, **({"resource": msgspec.Raw(content)} if content else {})}


def _only_once(operations: list[Operation]) -> None:
    keys = [operation.key for operation in operations if operation.method != "GET" and not operation.found]
    if len(set(keys)) < len(keys):
        raise Refused(400, "HAPI-0535: Transaction bundle contains multiple resources with the same ID")
