"""Twenty thousand resources in bulk there and back, and an export that is killed: by hand, since it takes minutes.

pytest -m soak -s tests/delivery/bulk/soak_bulk.py
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.delivery.bulk.export import bulk_pull
from fhirspace.delivery.bulk.load import bulk_push
from fhirspace.delivery.bulk.manifest import FOLDER
from fhirspace.delivery.pull.pull import PullReport
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client, HttpTransport, Response
from tests.support.hospital import renamed
from tests.support.resources import lines_of, trial

pytestmark = [pytest.mark.soak, pytest.mark.server, pytest.mark.slow]

KILLS = 5
CHILD = [sys.executable, "-m", "tests.delivery.bulk.soak_bulk"]


class Noting:
    """Notes in a file which files are asked for, one a line."""

    def __init__(self, server: str, log: Path) -> None:
        self.inner = HttpTransport(server)
        self.log = log

    def send(self, method: str, path: str, *rest: object) -> Response:
        if "/Binary/" in path:
            with self.log.open("a") as log:
                log.write(path + "\n")
        return self.inner.send(method, path, *rest)  # type: ignore[arg-type]


def exported(url: str, out: Path, log: Path) -> PullReport:
    return bulk_pull(url, "SOAK", out, longest=1, connections=2, client=Client(url, Noting(url, log)))


def whole(out: Path) -> set[str]:
    """The URLs of the files that are whole, by the state on the disk."""
    try:
        state = json.loads((out / FOLDER / "state.json").read_text())
    except (OSError, ValueError):
        return set()
    return {file["url"] for file in (state["manifest"] or {"output": []})["output"] if file["sha256"]}


def test_twenty_thousand_there_and_back(hapi: Callable[[str], str], tmp_path: Path) -> None:
    url = hapi("R4")
    folder = renamed(trial(tmp_path / "in", patients=400, each=49), "SOAK")
    assert len(lines_of(folder)) == 20_002
    report = bulk_push(folder, url, longest=1)
    assert (report.stored, report.failed) == (20_002, 0)
    print(f"\n$import: {report.total:,} resources in {report.jobs} jobs, {report.seconds:.0f} s")
    killed_and_resumed(url, folder, tmp_path / "out", tmp_path / "log")


def killed_and_resumed(url: str, folder: Path, out: Path, log: Path) -> None:
    log.touch()
    begin = time.monotonic()
    turns: list[tuple[set[str], int]] = []
    for turn in range(KILLS):
        before = len(whole(out))
        with subprocess.Popen([*CHILD, url, str(out), str(log)]) as child:
            while child.poll() is None and len(whole(out)) < before + 2 + turn:
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
        held, asked = whole(out), log.read_text().split()
        print(f"$export: killed with {len(held)} files whole after {len(asked)} requests for files")
        turns.append((held, len(asked)))
    report = exported(url, out, log)
    assert report.problems == []
    asked = log.read_text().split()
    for held, count in turns:
        assert not held & set(asked[count:]), "a file that was whole was fetched again"
    print(
        f"$export: {report.total:,} resources in {len(set(asked))} files by {len(asked)} requests, {time.monotonic() - begin:.0f} s"
    )
    assert sorted(map(canonical, lines_of(out))) == sorted(map(canonical, lines_of(folder)))


if __name__ == "__main__":
    exported(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
