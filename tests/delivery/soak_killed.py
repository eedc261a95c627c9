"""Killed hundreds of times, the client and the server, with and without faults: nothing lost, doubled or written twice.

And one bad resource in 5,008. By hand: ``pytest tests/delivery/soak_killed.py -s``; it takes most of an hour.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from fhirspace.delivery.push.push import push
from fhirspace.errors import UsageError
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.fetch import fetch, version_of
from fhirspace.fhirserver.http.client import Client
from fhirspace.localserver import server
from fhirspace.testing import PASSING, FaultyServer
from tests.support.hospital import BAD, Bad, one_bad, outlived
from tests.support.killing import run_and_kill, started
from tests.support.resources import lines_of, trial

pytestmark = [pytest.mark.soak]

KILLS, SERVER_KILLS = 300, 20


def changed(folder: Path, turn: int) -> None:
    """Every resource of the folder gets another content, so that there is always something to send."""
    for file in (folder / "fhir").glob("*.ndjson"):
        # By text: numbers keep their spelling.
        lines = [re.sub(rb',"language":"x-\d+"\}$|\}$', b"", line) for line in file.read_bytes().splitlines()]
        file.write_bytes(b"".join(line + b',"language":"x-%d"}\n' % turn for line in lines))


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_client_is_killed(faulty: FaultyServer, tmp_path: Path, rate: float) -> None:
    folder = trial(tmp_path, patients=100, each=20)
    dice = random.Random(11)
    faulty.fault_rate, faulty.seed, faulty.delay = rate, 3, 0.05
    faulty.fault_names = list(PASSING)
    faulty.retry_after = 0
    kills = rounds = 0
    while kills < KILLS:
        while not run_and_kill(
            folder, faulty.url, dice.choice([7, 20, 60]), answers=dice.randrange(1, 3), after=dice.random() / 50
        ):
            kills += 1
        rounds += 1
        assert sorted(map(canonical, faulty.store.values())) == sorted(map(canonical, lines_of(folder)))
        assert set(faulty.versions.values()) == {rounds}, "each content is one version"
        changed(folder, rounds)
    print(f"\n{kills} kills in {rounds} rounds of 2,102 resources, {rate:.0%} faults: {dict(faulty.fired)}")


@pytest.fixture
def standing(tmp_path: Path) -> Any:
    """A real server on a database file, started again at the same port: `standing()` starts it, if it does not run."""
    running: list[server.RunningServer] = []

    def start() -> server.RunningServer:
        port = running[-1].port if running else None
        running.append(server.start("R4", port, validate=False, database=tmp_path / "db", folder=tmp_path / "home"))
        return running[-1]

    yield start
    with suppress(UsageError):  # it was killed, and a test failed before it ran again
        server.stop(port=running[-1].port)


def test_the_server_is_killed(standing: Callable[[], server.RunningServer], tmp_path: Path) -> None:
    folder = trial(tmp_path / "in", patients=100, each=20)
    dice = random.Random(12)
    now = standing()
    kills = rounds = 0
    while kills < SERVER_KILLS:
        with started(folder, now.url, 40) as child:
            assert child.stdout is not None
            for _ in range(dice.randrange(2, 8)):
                child.stdout.readline()
            time.sleep(dice.random() / 5)
            os.kill(now.pid, signal.SIGKILL)
            psutil.Process(now.pid).wait(30)
            kills += 1
            child.send_signal(signal.SIGKILL)
        now = standing()
        if kills % 4 == 0:
            client = Client(now.url)
            report = push(folder, now.url, client=client, connections=3)
            rounds += 1
            assert report.refused == 0
            held = {each.key: each.line for each in fetch(client, keys(folder))}
            assert sorted(map(canonical, held.values())) == sorted(map(canonical, lines_of(folder)))
            assert {version_of(line) for line in held.values()} == {str(rounds)}
            changed(folder, rounds)
    print(f"\n{kills} kills of the server in {rounds} rounds of 2,102 resources")


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad[0]))
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_one_bad_resource_in_five_thousand(hapi: Callable[[str], str], release: str, bad: Bad, tmp_path: Path) -> None:
    one_bad(Client(hapi(release)), bad, tmp_path, patients=91, each=54)


def test_what_was_delivered_outlives_the_servers_death(tmp_path: Path) -> None:
    with outlived("R5", tmp_path) as study:
        study.stands()


def keys(folder: Path) -> list[str]:
    return [f"{head['resourceType']}/{head['id']}" for head in map(json.loads, lines_of(folder))]
