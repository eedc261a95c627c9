"""Everything that a server holds of some patients, whoever wrote it: ``Patient/<id>/$everything``, page by page.

Source: FHIR, "Patient" (operation everything), "Group" (members).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from urllib.parse import urlencode

import msgspec

from fhirspace.errors import Place, Problem, ServerError, UsageError
from fhirspace.fhir.references import parsed
from fhirspace.fhir.wire import bundle_of, head_of
from fhirspace.fhirserver.address import is_id, is_type, key
from fhirspace.fhirserver.answers import absent, decoded, no_fhir
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.fhirserver.http.links import Paging
from fhirspace.fhirserver.search import FRESH, PAGE, by_identifier, escaped
from fhirspace.foreign import counted
from fhirspace.json import JsonError, decoder

EVERYONE = "all"
_FORM = {**FRESH, "Content-Type": "application/x-www-form-urlencoded"}


class _Reference(msgspec.Struct):
    reference: str = ""


class _Member(msgspec.Struct):
    entity: _Reference = msgspec.field(default_factory=_Reference)
    inactive: bool = False


class _Group(msgspec.Struct):
    resourceType: str = ""  # noqa: N815
    member: list[_Member] = []


class _Owned(msgspec.Struct, rename={"task": "for"}):
    """The elements that say whose a resource is, in one type or another."""

    subject: msgspec.Raw = msgspec.Raw(b"")
    patient: msgspec.Raw = msgspec.Raw(b"")
    individual: msgspec.Raw = msgspec.Raw(b"")
    beneficiary: msgspec.Raw = msgspec.Raw(b"")
    task: msgspec.Raw = msgspec.Raw(b"")


_group, _owned, _references = decoder(_Group), decoder(_Owned), decoder(list[_Reference])


class Patients:
    """The patients that were asked for, and what the server holds of them.

    Args:
        client: the server. asked: of each patient the id, ``Patient/<id>`` or an identifier ``system|value``, or of
            several ``Group/<id>``, or ``all``.

    Attributes:
        problems: FS468 for what is not on the server, FS585 for resources of other patients in its answers.
    """

    def __init__(self, client: Client, asked: Iterable[str]) -> None:
        self._client, self._asked = client, list(asked)
        self.problems: list[Problem] = []

    def ids(self) -> list[str]:
        """The ids of the patients, each once.

        Raises:
            UsageError: FS641, one of them is none of these. ServerError: as `Client.request`; FS512.
        """
        return list(dict.fromkeys(name for each in self._asked for name in self._named(each)))

    def _named(self, asked: str) -> list[str]:
        if asked == EVERYONE:
            return [head_of(each).id for each in self._searched({"_elements": "id", "_count": str(PAGE)})]
        if "|" in asked:
            system, _, value = asked.partition("|")
            return self._found(by_identifier(self._client, "Patient", escaped(system, value)))
        if asked.startswith("Group/") and is_id(asked.removeprefix("Group/")):
            return self._members(asked)
        name = asked.removeprefix("Patient/")
        if not is_id(name):
            raise UsageError("FS641", "--patients", "ids, system|value, Group/<id>, all, or an enrolment table")
        return [name]

    def _found(self, resources: list[bytes]) -> list[str]:
        if not resources:
            self.problems.append(Problem("FS468", Place(self._client.server), "a Patient with each identifier"))
        return [head_of(each).id for each in resources]

    def _members(self, group: str) -> list[str]:
        answer = self._client.request("GET", group, headers=FRESH)
        found = decoded(answer.body, _group)
        if not answer.ok:
            raise self._client.unexpected(answer)
        if found is None or found.resourceType != "Group":
            raise no_fhir(self._client.server, "a Group", answer)
        named = [self._patient(each.entity.reference) for each in found.member if not each.inactive]
        return [name for name in named if name]

    def _patient(self, reference: str) -> str:
        """The id of the Patient of this server that a reference names; "" for another one."""
        found = parsed(reference)
        here = found is not None and found.base in ("", f"{self._client.server}/")
        return found.id if found and here and found.type == "Patient" and is_id(found.id) else ""

    def resources(self) -> Iterator[tuple[str, bytes]]:
        """Everything of each patient, as the server spells it, with its type; the same resource may come again.

        Patients who were not asked for, and what is of such patients only, are left out and counted.

        Raises:
            ServerError: as `Client.request`; FS512 the answer is no Bundle of resources, FS519 too many pages,
                FS530 a link that leads away.
        """
        missing, ids, others = 0, dict.fromkeys(self.ids()), dict[tuple[str, str], None]()
        for name in ids:
            path = f"{key('Patient', name, self._client.server)}/$everything?_count={PAGE}"
            answer = self._client.request("GET", path, headers=FRESH)
            if absent(answer):
                missing += 1
                continue
            for kind, raw in self._paged(answer):
                if self._is_of(kind, raw, ids):
                    yield kind, raw
                else:
                    others[kind, head_of(raw).id] = None
        for kind, count in sorted(Counter(kind for kind, _ in others).items()):
            detail = f"{count:,} of other patients came"
            self.problems.append(
                Problem("FS585", Place(self._client.server), "resources of these patients only", kind, detail)
            )
        if missing:
            detail = counted(missing, "patient is", "patients are") + " not there"
            self.problems.append(Problem("FS468", Place(self._client.server), table="Patient", detail=detail))

    def _is_of(self, kind: str, raw: bytes, ids: Container[str]) -> bool:
        """Whether a resource is of one of these patients, or of nobody."""
        if kind == "Patient":
            return head_of(raw).id in ids
        owned, names = decoded(raw, _owned), set[str]()
        for each in msgspec.structs.astuple(owned) if owned is not None else ():
            one_or_more = bytes(each)
            listed = one_or_more if one_or_more.startswith(b"[") else b"[%b]" % one_or_more
            names.update(self._patient(one.reference) for one in decoded(listed, _references) or ())
        names.discard("")
        return not names or any(name in ids for name in names)

    def _searched(self, form: dict[str, str]) -> Iterator[bytes]:
        answer = self._client.request("POST", "Patient/_search", urlencode(form).encode("ascii"), headers=_FORM)
        yield from (each for kind, each in self._paged(answer) if kind == "Patient")

    def _paged(self, answer: Response) -> Iterator[tuple[str, bytes]]:
        """The resources of a Bundle and of those that its links lead to."""
        client, paging = self._client, Paging(self._client.server)
        while True:
            if not answer.ok:
                raise client.unexpected(answer)
            bundle = decoded(answer.body, bundle_of)
            try:
                if bundle is None or bundle.resourceType != "Bundle":
                    raise no_fhir(client.server, "a Bundle", answer)
                for entry in bundle.entry:
                    yield from self._checked(bytes(entry.resource), answer)
                link = paging.next(bundle.links, answer.url)
            except JsonError:
                raise no_fhir(client.server, "a Bundle", answer) from None
            if link is None:
                return
            answer = client.request("GET", link, headers=FRESH)

    def _checked(self, raw: bytes, answer: Response) -> Iterator[tuple[str, bytes]]:
        head = decoded(raw, head_of) if raw else None
        if head is None or not is_type(head.resourceType):
            raise no_fhir(self._client.server, "resources in a Bundle", answer)
        if head.resourceType == "OperationOutcome":
            return
        if not is_id(head.id):
            raise ServerError("FS512", self._client.server, "resources with a legal type and id")
        yield head.resourceType, raw
