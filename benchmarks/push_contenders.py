"""Who sends: fhirspace, two loops over `requests`, HAPI's own Java client, blazectl; each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.push_corpus import TYPES, bundles
from fhirspace.localserver import jars

_HERE = Path(__file__).parent
# Jars of the local server that its client has no use for; without them it starts sooner.
_SERVER_ONLY = re.compile(
    r"jpa|spring|hibernate|lucene|amazon|jena|jetty|elastic|thymeleaf|h2|swagger|dstu|r4b|r5|valid"
)


@dataclass(frozen=True, slots=True)
class Contender:
    """One that sends a folder: `command(folder, server)` is its command line; `prepare` what it needs on the disk."""

    name: str
    command: Callable[[Path, str], list[str]]
    prepare: Callable[[Path, str], None] = lambda folder, server: None


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process and its children took: seconds on the clock and of CPU, peak memory, exit code.

    The peak is never less than that of the process that started it: the system counts so.
    """

    seconds: float
    cpu: float
    peak_mb: float
    code: int


def spend(command: Sequence[str], log: Path) -> Spent:
    """Run a command to its end. What it says goes to `log`."""
    begun = time.perf_counter()
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit, child.returncode)


def fhirspace(options: Sequence[str] = (), name: str = "fhirspace push") -> Contender:
    """The command line tool, a fresh journal each time; `options` are added to it."""

    def command(folder: Path, server: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "fhirspace.cli",
            "push",
            str(folder),
            "--server",
            server,
            "--id-key",
            "demo",
            "--json",
            *options,
        ]

    return Contender(name, command)


def contenders(work: Path, options: Sequence[str]) -> Iterator[Contender | str]:
    """All of them; a text instead of one that cannot run here says why."""
    yield fhirspace(options)
    yield fhirspace((*options, "--no-provenance"), "fhirspace push, no Provenance")
    for name, what in (("transactions", "requests, transactions of 100"), ("single", "requests, one by one")):
        yield Contender(what, _loop(name))
    yield _java(work)
    yield _blazectl(work)


def _loop(name: str) -> Callable[[Path, str], list[str]]:
    return lambda folder, server: [sys.executable, "-m", "benchmarks.push_loops", name, str(folder), server]


def _java(work: Path) -> Contender:
    """HAPI's client out of the locked jars of the local server, around a loop that is compiled here."""
    lock = jars.read_lock(jars.packaged("lock-r4.txt"))
    path = os.pathsep.join(
        str(jar) for jar in jars.fetch([jar for jar in lock if not _SERVER_ONLY.search(jar.path.name)])
    )
    compiler = jars.fetch(jars.read_lock(jars.packaged("lock-compiler.txt")))[0]
    arguments = jars.argument_file(work / "client.args", ["-cp", f"{work}{os.pathsep}{path}"])
    compile_ = [jars.java(), "-jar", compiler, "-17", "-nowarn", "-d", work, f"@{arguments}", _HERE / "PushClient.java"]
    subprocess.run([str(word) for word in compile_], check=True)

    def command(folder: Path, server: str) -> list[str]:
        files = [str(folder / "fhir" / f"{kind}.ndjson") for kind in TYPES]
        return [str(jars.java()), f"@{arguments}", "PushClient", server, "100", *files]

    return Contender("HAPI's Java client, transactions of 100", command)


def _blazectl(work: Path) -> Contender | str:
    """blazectl of the search path, else built from the Go module proxy; it uploads two files at a time, its default."""
    found = shutil.which("blazectl")
    if found is None and shutil.which("go") is None:
        return "blazectl: neither it nor `go` is on this machine"
    if found is None:
        cache = {"GOPATH": str(work / "go"), "GOCACHE": str(work / "go-cache"), "GOFLAGS": "-modcacherw"}
        command = ["go", "install", "github.com/samply/blazectl@latest"]
        built = subprocess.run(command, env={**os.environ, **cache}, capture_output=True, text=True, check=False)
        if built.returncode:
            return f"blazectl: it cannot be built here ({' '.join(built.stderr.split())[-80:]})"
        found = str(work / "go" / "bin" / "blazectl")
    tool = found
    return Contender(
        "blazectl upload, transactions of 100",
        lambda folder, server: [tool, "upload", str(folder / "bundles"), "--server", server],
        _as_files,
    )


def _as_files(folder: Path, server: str) -> None:
    (folder / "bundles").mkdir()
    for number, bundle in enumerate(bundles(folder, server)):
        (folder / "bundles" / f"{number:06d}.json").write_text(json.dumps(bundle, separators=(",", ":")), "utf-8")
