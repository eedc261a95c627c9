"""Plans: in which order a push would send, and what it would create, update or not touch.

`plan` saves it as a plan file (see `compare`), and ``push --plan`` does just that, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from fhirspace.delivery.journal import JOURNAL, Journal
from fhirspace.delivery.plan.compare import ACTIONS, Action, OursOnly, PlanFile, Step, compare
from fhirspace.delivery.push.options import Options, chosen, client_of
from fhirspace.delivery.push.order import Item, Order, Reader, inputs
from fhirspace.delivery.report import Counts
from fhirspace.delivery.same_key import check_study, folder_key
from fhirspace.errors import Problem, UsageError
from fhirspace.fhirserver.http.client import Client, require_release
from fhirspace.foreign import counted, shown
from fhirspace.idkey import IdKey, chosen as chosen_key

PLAN = "plan.db"
_SHOWN, _SUMMARISED, _EVERY = 1000, 20, 100


@dataclass(slots=True)
class Planned:
    """What a push would do: by resource type (in the order of sending) how many resources of each action.

    `changes` are the first updates and conflicts with the elements that differ; all of them are in the plan `file`.
    `problems` are the files that are not read and the resources that cannot be sent.
    """

    server: str
    file: Path
    types: dict[str, dict[str, int]] = field(default_factory=dict)
    changes: list[Step] = field(default_factory=list, repr=False)
    problems: list[Problem] = field(default_factory=list, repr=False)

    def total(self, action: Action) -> int:
        """How many resources have this action."""
        return sum(row[action] for row in self.types.values())

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: counts, and key, action, version and changed elements of the first changes."""
        return {
            "server": self.server,
            "file": str(self.file),
            "total": {action: self.total(action) for action in ACTIONS},
            "types": self.types,
            "changes": [
                {"key": step.key, "action": step.action, "version": step.version, "changes": list(step.changes)}
                for step in self.changes
            ],
            "problems": [problem.as_dict() for problem in self.problems],
        }

    def summary(self) -> str:
        """The counts as a table, and the first changes with their elements, for people."""
        rows = [
            ("type", *ACTIONS),
            *((kind, *(f"{row[action]:,}" for action in ACTIONS)) for kind, row in self.types.items()),
        ]
        table = [f"{shown(row[0], 64):<26}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows]
        changed = [
            f"{step.action} {shown(step.key)}: {shown(', '.join(step.changes), 1000)}"
            for step in self.changes[:_SUMMARISED]
        ]
        more = self.total("update") + self.total("conflict") - len(changed)
        return "\n".join(
            [
                *table,
                *changed,
                *([f"... and {counted(more, 'more change')}"] if more else []),
                f"saved as {shown(self.file, 4096)}",
            ]
        )


def order(folder: Path, *, follow_links: bool = False, problems: list[Problem] | None = None) -> list[tuple[str, int]]:
    """What `push` would send: resource types in the order of sending, with how many there are of each.

    `problems` gets the files that are not read, and the lines that `push` would reject unsent (FS521, FS522).

    Raises:
        InputError: as `push`.
    """
    with Order(inputs(folder, follow_links=follow_links, problems=problems)) as found:
        if problems is not None:
            problems.extend(_unsendable(found))
        return found.types()


def order_as_dict(types: list[tuple[str, int]], problems: list[Problem]) -> dict[str, Any]:
    """The result of `order` for ``--json``, with the members of a plan: no server, no plan file, nothing compared."""
    return {
        "server": None,
        "file": None,
        "total": {"resources": sum(count for _, count in types)},
        "types": {kind: {"resources": count} for kind, count in types},
        "changes": [],
        "problems": [problem.as_dict() for problem in problems],
    }


def _unsendable(found: Order, server: str = "") -> list[Problem]:
    rejected = [Problem(code, item.place, expected) for code, item, expected in found.faults]
    return found.unread + rejected + found.unresolved(server)


def plan(folder: Path, server: str, *, out: Path | None = None, **options: Unpack[Options]) -> Planned:
    """Compare the resources of a folder with what a server holds, and save what a push would do; nothing is sent.

    Args:
        folder: as in `push`. server: the FHIR base URL.
        out: the plan file for ``push --plan``; None means ``plan.db`` in the folder. An earlier plan is replaced when
            the new one is whole, a file that is something else is not.
        options: see `Options`; with `overwrite`, what other clients changed is planned as an update, not as a conflict.

    Raises:
        InputError, UsageError, ServerError: as `push`; FS517, the server makes the ids; FS537, `out` is
            something else.
    """
    client, progress = client_of(server, options), options.get("progress")
    statement = require_release(client, options.get("fhir"))
    home = folder.parent if folder.is_file() else folder
    path, noted = out or home / PLAN, options.get("journal") or home / JOURNAL
    with ExitStack() as stack:
        problems: list[Problem] = []
        files = inputs(folder, follow_links=options.get("follow_links", False), problems=problems)
        given = folder_key(files, options.get("id_key"))
        journal = stack.enter_context(Journal(noted, client.server, given)) if noted.is_file() else None
        key = journal.seal.key if journal else chosen_key(given)
        order, reader = stack.enter_context(Order(files)), stack.enter_context(Reader())
        types, placed = [kind for kind, _ in order.types()], journal is not None and journal.placed()
        how = chosen(statement, client.server, types, options, placed=placed)
        if how.conditional:
            raise UsageError("FS517", client.server, "a server that accepts ids from clients")
        if journal is None or not journal.samples():
            check_study(client, order.files)
        file = stack.enter_context(PlanFile(path, client.server, key))
        items = (item for unit in order.units() for item in unit)
        word = None if options.get("overwrite") else OursOnly(journal)
        steps = compare(client, items, reader, word, batch=how.kind != "single", connections=how.connections)
        found = Planned(client.server, path)
        for done, step in enumerate(file.add(steps), 1):
            if len(found.changes) < _SHOWN and step.action in ("update", "conflict"):
                found.changes.append(step)
            if progress and (done % _EVERY == 0 or done == len(order)):
                progress(done, len(order))
        found.types = file.counts()
        found.problems = problems + _unsendable(order, client.server)
        file.keep()
    return found


def by_plan(plan: PlanFile, client: Client, order: Order, reader: Reader, key: IdKey) -> Callable[[Item], str | None]:
    """What a plan requires of each resource, after checking that it still applies to the input and the server."""
    if plan.server != client.server:
        raise UsageError("FS538", plan.server, "the server that the plan was made for")
    if plan.id_key != key.fingerprint:
        raise UsageError("FS538", client.server, f"the id key {plan.id_key}, with which the plan was made")
    moved = 0
    done: set[str] = set()
    items = (item for unit in order.units() for item in unit)
    for step in compare(client, items, reader, None):
        planned = plan.step(step.key)
        if planned is None or planned.digest != key.seal(step.digest):
            raise UsageError("FS538", step.key.split("/")[0], "the input that the plan was made for")
        if step.action == "unchanged":
            done.add(step.key)
        elif step.version != planned.version:
            moved += 1
    if moved:
        differing = counted(moved, "resource differs", "resources differ")
        raise UsageError("FS538", client.server, "what it held when the plan was made", f"{differing}")

    def wanted(item: Item) -> str | None:
        planned = plan.step(item.key)
        if planned is None or item.key in done or planned.action in ("unchanged", "conflict"):
            return None
        return planned.version

    return wanted


def left_alone(plan: PlanFile, order: Order, counts: Counts, problems: list[Problem]) -> None:
    """Reports the conflicts, which a push by a plan skips as if they were unchanged."""
    left = {step.key: step.version for step in plan.steps("conflict")}
    for item in (item for unit in order.units() for item in unit if item.key in left) if left else ():
        counts.conflicts += 1
        counts.unchanged -= 1
        found = f"{item.key}, the server holds version {left[item.key]}"
        problems.append(Problem("FS539", item.place, table=item.key.partition("/")[0], detail=found))
