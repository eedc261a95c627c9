"""Twenty thousand resources in bulk there and back, and an export that is killed: by hand, since it takes minutes.

pytest -m soak -s tests/delivery/bulk/soak_bulk.py
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.delivery.bulk.export import bulk_pull
from fhirspace.delivery.bulk.load import bulk_push
from fhirspace.delivery.canonical import canonical
from fhirspace.delivery.client import Client, HttpTransport, Response

from ..resources import lines_of, trial
from ..test_real_server import renamed

pytestmark = [pytest.mark.soak, pytest.mark.server, pytest.mark.slow]

KILLS = 12
CHILD = """
import sys
from pathlib import Path
from fhirspace.delivery.bulk.export import bulk_pull
bulk_pull(sys.argv[1], "SOAK", Path(sys.argv[2]), longest=1, piece=1 << 20)
"""


class Counting:
    """Notes which files are asked for."""

    def __init__(self, server: str) -> None:
        self.inner = HttpTransport(server)
        self.files: list[str] = []

    def send(self, method: str, path: str, *rest: object) -> Response:
        if "/Binary/" in path:
            self.files.append(path)
        return self.inner.send(method, path, *rest)  # type: ignore[arg-type]


def test_twenty_thousand_there_and_back(hapi: Callable[[str], str], tmp_path: Path) -> None:
    url = hapi("R4")
    folder = renamed(trial(tmp_path / "in", patients=400, each=49), "SOAK")
    sent = sorted(map(canonical, lines_of(folder)))
    assert len(sent) == 20_002
    report = bulk_push(folder, url, longest=1)
    assert (report.stored, report.failed) == (20_002, 0)
    print(f"\n$import: {report.total:,} resources in {report.jobs} jobs, {report.seconds:.0f} s")

    kills = 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", CHILD, url, str(tmp_path / "out")]) as child:
            time.sleep(random.uniform(0.5, 4))
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                kills += 1
        if child.returncode == 0:
            break
    whole = {file.name for file in (tmp_path / "out").glob(".bulk-export/*.ndjson")}
    transport = Counting(url)
    begin = time.monotonic()
    pulled = bulk_pull(url, "SOAK", tmp_path / "out", longest=1, client=Client(url, transport))
    print(
        f"$export: killed {kills} times with {len(whole)} files whole; the last run fetched {len(transport.files)} files"
    )
    print(f"         {pulled.total:,} resources, last run {time.monotonic() - begin:.0f} s")
    assert len(transport.files) == len(set(transport.files))
    assert sorted(map(canonical, lines_of(tmp_path / "out"))) == sent
