"""A client that pushes, undoes and is killed at any request, beside another one that writes to the same server."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from fhirspace.delivery.push.options import Options
from fhirspace.delivery.push.push import PushReport, push
from fhirspace.delivery.runs import runs
from fhirspace.delivery.undo import UndoReport, undo
from fhirspace.fhirserver.http.client import Client, Transport
from fhirspace.fhirserver.http.transport import Response
from fhirspace.testing import FaultyServer
from tests.support.resources import dump, organization, patient, write

NAMES = [f"p-{n}" for n in range(8)]


class Killed(BaseException):
    """The end of a client."""


class Mortal:
    """A transport whose client dies at one of its requests, before it is sent or after it was answered."""

    def __init__(self, seam: Transport, left: int, *, after: bool) -> None:
        self.seam, self.left, self.after = seam, left, after

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        answer = self.seam.send(method, path, body, headers)
        if self.left == 0:
            raise Killed
        return answer


class Story:
    """What happens by chance, and what must hold after each push and undo. The dates of birth tell whose a form is."""

    def __init__(self, faulty: FaultyServer, client: Client, folder: Path, seed: int) -> None:
        self.faulty, self.client, self.folder = faulty, client, folder
        self.seam, self.dice = client.seam, random.Random(seed)
        self.ours, self.numbers = dict[str, str](), count()

    def date(self, whose: str) -> str:
        return f"{whose}{next(self.numbers):03d}"

    def held(self) -> dict[str, str]:
        """The dates of birth on the server."""
        found = {key: json.loads(body).get("birthDate", "") for key, body in self.faulty.store.items()}
        return {key.partition("/")[2]: date for key, date in found.items() if key.startswith("Patient/")}

    def lived(self, act: Callable[[], Any], *, mortal: bool) -> Any:
        """What `act` gives; None where the client was killed."""
        if mortal:
            self.client.transport = Mortal(self.seam, self.dice.randint(1, 9), after=self.dice.random() < 0.5)
        with suppress(Killed):
            return act()
        return None

    def push(self, *, mortal: bool) -> None:
        self.ours |= {name: self.date("1") for name in self.dice.sample(NAMES, self.dice.randint(1, 5))}
        people = [patient(name, birthDate=date) for name, date in self.ours.items()]
        write(self.folder, {"Patient": people, "Organization": [organization()]})
        before = self.held()
        how: Options = {"client": self.client, "connections": 1, "provenance": False}
        how["size"] = self.dice.choice([1, 3, 50])
        report: PushReport | None = self.lived(lambda: push(self.folder, self.faulty.url, **how), mortal=mortal)
        after = self.held()
        self.nothing_of_theirs_changed(before, after)
        if report is not None:
            left = {each.key.partition("/")[2] for each in report.conflicting}
            assert not report.refused
            assert not [name for name in left if before.get(name, "2")[0] == "1"], "ours is never a conflict"
            unwritten = {name for name, date in self.ours.items() if after.get(name, date) != date}
            assert {name for name in unwritten - left if after[name][0] == "1"} == set()

    def undo(self, *, mortal: bool) -> None:
        pushed = self.pushed()
        if pushed:
            before = self.held()
            how: dict[str, Any] = {"client": self.client, "journal": self.folder}
            report: UndoReport | None = self.lived(lambda: undo(pushed[-1], **how), mortal=mortal)
            after = self.held()
            self.nothing_of_theirs_changed(before, after)
            assert after.keys() <= before.keys()
            if report is not None:
                assert undo(pushed[-1], **how).total == report.left, "it is done once"
            elif self.dice.random() < 0.5:
                undo(pushed[-1], **how)

    def other(self, *, mortal: bool) -> None:
        name = self.dice.choice(NAMES)
        if mortal:
            self.client.request("DELETE", f"Patient/{name}")
        if not mortal or self.dice.random() < 0.5:
            body = {**patient(name, birthDate=self.date("2")), "managingOrganization": {"display": "Site"}}
            assert self.client.request("PUT", f"Patient/{name}", dump(body).encode()).ok

    def nothing_of_theirs_changed(self, before: dict[str, str], after: dict[str, str]) -> None:
        self.client.transport = self.seam
        theirs = {name: date for name, date in before.items() if date[0] == "2"}
        assert {name: after.get(name) for name in theirs} == theirs

    def pushed(self) -> list[str]:
        """The names of the pushes."""
        found = runs(self.folder) if (self.folder / "journal.db").exists() else []
        return [each["run"] for each in found if not each["run"].endswith("undo")]

    def happen(self, steps: int) -> None:
        for _ in range(steps):
            act = self.dice.choice([self.push, self.push, self.undo, self.other])
            act(mortal=self.dice.random() < 0.5)
        for run in reversed(self.pushed()):
            undo(run, client=self.client, journal=self.folder)
        assert not [date for date in self.held().values() if date[0] == "1"], "all of ours is taken back"
