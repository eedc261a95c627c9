"""Files that the user names and that are none: a pipe that nobody writes to, a device without an end, links, folders."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.delivery.plan.compare import PlanFile
from fhirspace.errors import UsageError
from fhirspace.folders import read_ordinary

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such files")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _large(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)  # a hole: it takes no place on the disk


NONE: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "socket": _socket,
    "device without an end": lambda path: path.symlink_to("/dev/zero"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "link to nowhere": lambda path: path.symlink_to(path.parent / "nowhere"),
    "link to itself": lambda path: path.symlink_to(path),
    "folder": Path.mkdir,
    "terabyte of nothing": _large,
}


@pytest.fixture(params=NONE)
def named(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Something of each kind; a run that waits for it is let go after some seconds, and fails the test."""
    monkeypatch.chdir(tmp_path)
    path = Path("named.csv")
    NONE[request.param](path.absolute() if "link" in request.param else path)
    waited: list[bool] = []

    def let_go() -> None:
        waited.append(True)
        if path.is_fifo():
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))

    timer = threading.Timer(8, let_go)
    timer.start()
    yield path
    timer.cancel()
    assert not waited


SECRET = '[servers.s]\nurl = "http://127.0.0.1:9/fhir"\nsign_in = "bearer"\ntoken_file = "named.csv"\n'


def test_a_file_of_servers_that_is_no_file_is_refused(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--server", "s", "--config", str(named)]) == 2
    assert "FS540" in capsys.readouterr().err or named.resolve() == Path("/dev/null")


def test_a_secret_in_what_is_no_file_is_refused(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named.with_name("servers.toml").write_text(SECRET, "utf-8")
    assert main(["doctor", "--server", "s", "--config", "servers.toml"]) == 2
    assert "FS544" in capsys.readouterr().err


def test_a_form_that_is_no_file_is_refused(named: Path) -> None:
    if named.is_file():
        pytest.skip("an ordinary file")
    assert main(["mapping", "new", str(named)]) == 2


def test_a_file_is_read_by_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_ordinary(tmp_path / "link", 7) == b"content"
    with pytest.raises(OSError, match="More than 6 bytes"):
        read_ordinary(tmp_path / "link", 6)


@pytest.mark.parametrize("command", [("runs",), ("status",), ("verify", "last", "--journal")])
def test_a_journal_that_cannot_be_opened_is_no_bug(command: tuple[str, ...]) -> None:
    assert main([*command, "/proc/self/mem"]) == 2  # an ordinary file to look at, which SQLite cannot open


def test_a_plan_that_cannot_be_opened_is_no_bug() -> None:
    with pytest.raises(UsageError, match="FS537"):
        PlanFile(Path("/proc/self/mem"))
