"""Reconciles what was pulled with changes on the server while its pages were read.

Pages are links over a set that others may change meanwhile. Some servers page through a snapshot: then what was
deleted is still in it. Others count rows anew for each page: then a resource that was deleted, or moved to the end by
an update, pulls a later one to a page that was read already, and that one is missed. So after the last page:

1. Everything that was changed since the first search began, by the server's clock, is fetched (``_lastUpdated``).
2. There is nothing such, and the server counted as many resources at the beginning and at the end as have come: then
   nothing was deleted either, and all is well. This is the usual case; it costs two small searches a type.
3. Otherwise all ids are listed. What has come and is not listed, or is listed and has not come, is read by itself:
   404 or 410 mean that it was deleted. Then once more from step 1, until nothing was changed since the round before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fhirspace.delivery.pull.spool import Spool
from fhirspace.errors import ServerError
from fhirspace.fhir.wire import head_of
from fhirspace.fhirserver import address
from fhirspace.fhirserver.answers import absent, decoded, no_fhir
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.search import FRESH, NotSearchableError, Study
from fhirspace.json import JsonError

_ROUNDS = 6
# `lastUpdated` is set when a resource is written, but it becomes visible when its transaction commits, possibly some
# seconds later. Hence the overlap.
_LATE = timedelta(seconds=10)


def reconcile(study: Study, spools: Sequence[Spool]) -> bool:
    """Bring the spooled resources up to date; returns False if the data kept changing.

    Raises:
        ServerError: as `Study.pages`.
    """
    begin = study.opened or datetime.now(UTC)
    since = (begin - _LATE).isoformat(timespec="seconds")
    for turn in range(_ROUNDS):
        if turn:
            # Its clock is read in whole seconds: what was changed in this one must not count in the next round.
            study.client.sleep(1.0)
        before, study.opened = study.opened or begin, None
        # A type that was empty matters only when something changes: a new resource may refer to one of it.
        chosen = [one for one in spools if turn or len(one) or one.total]
        moved = [one for one in chosen if _caught_up(study, one, since, before)]
        if not moved and all(_steady(study, one) for one in chosen):
            return True
        wrong = [one for one in chosen if _reconciled(study, one)]
        if not moved and not wrong:
            return True
    return False


def add(one: Spool, resource: bytes, client: Client) -> bool:
    """`Spool.add`. Raises ServerError (FS512): what the server sent is no resource."""
    try:
        return one.add(resource)
    except JsonError as error:
        raise ServerError("FS512", client.server, "resources with an id") from error


def _caught_up(study: Study, one: Spool, since: str, before: datetime) -> bool:
    """Fetch what was changed since; gives whether something was changed after `before`, or had not come."""
    try:
        pages = study.pages(one.kind, _lastUpdated=f"ge{since}")
    except NotSearchableError:
        one.total = None
        return False
    moved = False
    for resource in pages:
        moved |= add(one, resource, study.client) or head_of(resource).moment >= before.timestamp()
    return moved


def _steady(study: Study, one: Spool) -> bool:
    """Whether the server counts, at the beginning and now, as many as have come (what was left out among them)."""
    come = len(one) + study.others.count(one.kind)
    if one.total is None or one.total != come:
        return False
    return come == 0 or study.count(one.kind) == come


def _reconciled(study: Study, one: Spool) -> bool:
    """Compare with a list of all ids; returns whether something was corrected."""
    pages = study.pages(one.kind, _elements="id")
    listed = {head_of(resource).id for resource in pages} - study.others.ids(one.kind)
    one.total = pages.total
    return sum(_read_alone(study, one, name) for name in sorted(listed ^ one.ids())) > 0


def _read_alone(study: Study, one: Spool, name: str) -> bool:
    answer = study.client.request("GET", address.key(one.kind, name, study.client.server), headers=FRESH)
    head = decoded(answer.body, head_of)
    if answer.ok and (head is None or (head.resourceType, head.id) != (one.kind, name)):
        raise no_fhir(study.client.server, f"the {one.kind} that was asked for", answer)
    if answer.ok and head is not None and head.tagged(study.system, study.name):
        return add(one, answer.body, study.client)
    if not answer.ok and not absent(answer):
        raise study.client.unexpected(answer)
    known = name in one.ids()
    one.drop(name)
    return known
