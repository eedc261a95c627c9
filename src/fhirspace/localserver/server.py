"""A real FHIR server on this machine, without Java, Maven or Docker installed: HAPI FHIR JPA on H2.

`start` brings the jars (`jars`), starts one Java process that listens on 127.0.0.1 and outlives this one, and leaves
a file about it in the cache folder, by which `status` and `stop` find it again. What it is made of: see the decision
record on delivery.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import msgspec

from fhirspace.errors import Place, ServerError, UsageError
from fhirspace.localserver import jars

Release = Literal["R4", "R4B", "R5"]
Progress = Callable[[str], None]

# Both of Java's compilers and a collector of several threads: validation is the long part (decision 3 has the figures).
_JVM = ["-Xmx1500m", "-XX:+UseParallelGC", "-Dfile.encoding=UTF-8"]
_EVERY = 15.0
"""Seconds between two lines of progress, and the most between two looks at whether the server goes on."""
_LONGEST = 10
"""So many times its time limit a server may take, whatever it does."""
# Children of this very process: kept, so that one that ended is reaped and not taken for a living one.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A local server: its FHIR base `url`, process id, port, release, and the folder of its log and settings."""

    url: str
    pid: int
    port: int
    fhir: str
    folder: Path

    @property
    def log(self) -> Path:
        """The server's output while it started (it logs nothing that it is sent)."""
        return self.folder / "server.log"


def start(
    fhir: Release = "R4",
    port: int | None = None,
    *,
    validate: bool = True,
    client_ids: bool = True,
    folder: Path | None = None,
    database: Path | None = None,
    timeout: float = 240,
    progress: Progress | None = None,
) -> RunningServer:
    """Start a FHIR server on 127.0.0.1 and wait until it answers.

    Args:
        fhir: the release it speaks (one a process; several servers may run side by side).
        port: where it listens; None takes a free one.
        validate: refuse content that is not valid FHIR with 422; otherwise it stores anything.
        client_ids: take resources under ids made by the client; otherwise only the server makes them.
        folder: for its log and settings; None makes one in the cache folder.
        database: a file (without ending) to keep the data in; None keeps them in memory until it stops.
        timeout: seconds to wait for it while nothing shows that it goes on: no work of its process, no line in its log.
        progress: called with a line of text now and then.

    Raises:
        UsageError: FS501 the extra `server` is missing, FS503 the port is taken, FS508 others can write into the cache
            folder.
        ServerError: FS502 a jar is missing or differs, FS504 it ended or was not up in time (the place is its log).
    """
    java = jars.java()
    _refuse_taken(port)
    lock = jars.packaged("lock-r4.txt" if fhir == "R4" else "lock-all.txt")
    library = jars.fetch(jars.read_lock(lock), progress)
    classes = jars.compiled(library, lock, progress)
    home = (folder or _notes() / uuid.uuid4().hex).absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "ready").unlink(missing_ok=True)
    options = _options(fhir, validate=validate, client_ids=client_ids, database=database)
    options += [f"-Dfhirspace.port={port or 0}", f"-Dfhirspace.ready={home / 'ready'}"]
    path = os.pathsep.join(map(str, [classes, *library]))
    arguments = jars.argument_file(home / "java.args", [*_JVM, *options, "-cp", path, "Server"])
    if progress:
        progress(f"starting HAPI FHIR ({fhir})")
    child = _spawn([str(java), f"@{arguments}"], home)
    ready = _wait(child, home, port, timeout, progress)
    server = RunningServer(f"http://127.0.0.1:{ready}/fhir", child.pid, ready, fhir, home)
    _note(server).write_text(json.dumps({**asdict(server), "folder": str(home)}), "utf-8")
    return server


def status() -> list[RunningServer]:
    """The local servers that run now, by port; notes of those that ended are removed."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]
    found = []
    for note in filter(Path.is_file, _notes().glob("*.json")):
        server = _read(note)
        if server is not None and _alive(server):
            found.append(server)
        else:
            note.unlink(missing_ok=True)
    return sorted(found, key=lambda server: server.port)


def like(
    fhir: Release = "R4",
    port: int | None = None,
    *,
    validate: bool = True,
    client_ids: bool = True,
    database: Path | None = None,
) -> RunningServer | None:
    """A server that runs with these settings already, as `start` takes them; None if there is none."""
    wanted = set(map(jars.quoted, _options(fhir, validate=validate, client_ids=client_ids, database=database)))
    for each in status():
        with contextlib.suppress(OSError):
            arguments = (each.folder / "java.args").read_text("utf-8").splitlines()
            if port in (None, each.port) and wanted <= set(arguments):
                return each
    return None


def _options(fhir: str, *, validate: bool, client_ids: bool, database: Path | None) -> list[str]:
    settings = {
        "release": fhir,
        "validate": str(validate).lower(),
        "ids": str(client_ids).lower(),
        "jdbc": _jdbc(database),
    }
    return [f"-Dfhirspace.{name}={value}" for name, value in settings.items()]


def _read(note: Path) -> RunningServer | None:
    try:
        return msgspec.json.decode(
            note.read_bytes(),
            type=RunningServer,
            dec_hook=lambda _, text: Path(text),  # all other fields are plain
        )
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError, OSError):
        return None


def stop(fhir: Release | None = None, port: int | None = None, *, timeout: float = 20) -> list[RunningServer]:
    """Stop the servers that `start` started, and no other process.

    Args:
        fhir: only those of this release.
        port: only the one at this port.
        timeout: seconds after which a server that does not stop is killed.

    Returns:
        Those that were stopped (without `port` or `fhir` perhaps none).

    Raises:
        UsageError: FS506, a release or port was named and no such server runs.
    """
    chosen = [item for item in status() if fhir in (None, item.fhir) and port in (None, item.port)]
    if not chosen and (fhir is not None or port is not None):
        raise UsageError("FS506", f"127.0.0.1:{port}" if port else str(fhir))
    for server in chosen:
        _end(server, timeout)
        _note(server).unlink(missing_ok=True)
    return chosen


def _notes() -> Path:
    return jars.private_cache("servers")


def _note(server: RunningServer) -> Path:
    return _notes() / f"{server.port}.json"


def _jdbc(database: Path | None) -> str:
    if database is None:
        return "jdbc:h2:mem:fhir;DB_CLOSE_DELAY=-1"
    if ";" in str(database):
        raise UsageError("FS507", str(database), "a path without `;`")
    database.absolute().parent.mkdir(parents=True, exist_ok=True)
    # Without a delay, confirmed writes are on the disk; by default H2 may lose the last half second when it is killed.
    return f"jdbc:h2:file:{database.absolute().as_posix()};WRITE_DELAY=0"


def _refuse_taken(port: int | None) -> None:
    if not port:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError("FS503", f"127.0.0.1:{port}") from error


def _spawn(command: list[str], home: Path) -> subprocess.Popen[bytes]:
    # A session of its own, so that Ctrl-C in the terminal that started it does not stop it.
    log = os.open(home / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        child = subprocess.Popen(  # noqa: S603  # nosec B603  # Java by its whole path
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, start_new_session=True
        )
    finally:
        os.close(log)
    _children[child.pid] = child
    return child


def _wait(
    child: subprocess.Popen[bytes], home: Path, port: int | None, timeout: float, progress: Progress | None
) -> int:
    """The port, once the server has written it. A server that does nothing for it any more is ended."""
    begin = moved = shown_at = looked = time.monotonic()
    seen = _signs(child.pid, home)
    try:
        while time.monotonic() < min(moved + timeout, begin + _LONGEST * timeout) and child.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                return int((home / "ready").read_text("ascii"))
            time.sleep(0.1)
            now = time.monotonic()
            if progress and now >= shown_at + _EVERY:
                shown_at = now
                progress(f"the server is starting, {now - begin:.0f} s so far")
            if now >= looked + min(_EVERY, timeout / 4):
                looked, before, seen = now, seen, _signs(child.pid, home)
                moved = now if seen != before else moved
    except BaseException:
        child.kill()
        raise
    ended = child.poll()
    child.kill()
    child.wait()
    log = (home / "server.log").read_text("utf-8", "replace")
    if port and "BindException" in log:
        raise UsageError("FS503", f"127.0.0.1:{port}")
    detail = f"no progress within {timeout:g} s" if ended is None else f"Java ended with {ended}"
    raise ServerError("FS504", Place(str(home / "server.log"), log.count("\n")), detail=detail)


def _signs(pid: int, home: Path) -> tuple[int, int]:
    """What changes while a server comes up: seconds of CPU of its process (0 where that is not known), bytes of log."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) // os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        cpu = 0
    return cpu, (home / "server.log").stat().st_size


def _command_line(pid: int) -> str:
    """The command line of a process; "" when there is none (or it has ended and waits to be reaped).

    Programs that are asked for it are named by their whole paths: what PATH or the working folder has is not run.
    """
    linux = Path(f"/proc/{pid}/cmdline")
    if sys.platform == "win32":  # pragma: no cover
        query = f"(Get-CimInstance Win32_Process -Filter 'ProcessId={pid}').CommandLine"
        home = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "WindowsPowerShell" / "v1.0"
        command = [str(home / "powershell.exe"), "-NoProfile", "-Command", query]
    elif Path("/proc/self/cmdline").exists():
        try:
            return linux.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            return ""
    else:
        command = ["/bin/ps", "-ww", "-p", str(pid), "-o", "command="]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603  # nosec B603


def _alive(server: RunningServer) -> bool:
    """Whether it still runs: a process of this id whose command line names the settings of this very server."""
    child = _children.get(server.pid)
    if child is not None and child.poll() is not None:
        return False
    return str(server.folder / "java.args") in _command_line(server.pid)


def _end(server: RunningServer, timeout: float) -> None:
    os.kill(server.pid, signal.SIGTERM)
    end = time.monotonic() + timeout
    while _alive(server):
        if time.monotonic() > end:
            os.kill(server.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            end += timeout
        time.sleep(0.05)
    child = _children.pop(server.pid, None)
    if child is not None:
        child.wait()
