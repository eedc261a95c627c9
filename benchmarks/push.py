"""Delivery to a real HAPI server beside other ways of sending the same: ``python -m benchmarks.push [--quick]``.

Two tables, the server not validating and validating. The contenders take turns on one server that all of them have
warmed up, each time with the same resources under fresh ids; the order is turned round from round to round, because
the database grows. fhirspace adds Provenances to what it sends, and therefore also runs without them. Figures are
medians over the rounds. CPU is that of the whole process with its children, its start included; for the clock, a
second figure leaves out what it takes to send twenty resources only. `held` is what the server counts afterwards: who
lost some is no winner. Then the peak memory of a small and a large push. A figure out of its bounds makes the exit
code 1. ``--sweep`` instead tries sizes and connections of ``fhirspace push``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

import psutil

from benchmarks.__main__ import Line
from benchmarks.push_contenders import Contender, Spent, contenders, fhirspace, spend
from benchmarks.push_corpus import TYPES, write
from benchmarks.push_memory import memory
from fhirspace.localserver import server

_FEW = 20


@dataclass(frozen=True, slots=True)
class Turn:
    """One contender's turn: how many resources it sent, what it and the server spent, how many the server then has."""

    count: int
    spent: Spent
    server_cpu: float
    held: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: medians over the turns of a contender."""

    name: str
    rate: float
    rate_without_start: float
    client_cpu: float
    server_cpu: float
    peak_mb: float
    held: float
    failed: int

    @classmethod
    def of(cls, name: str, turns: Sequence[Turn], start: Turn) -> Row:
        """Sum up `turns`; `start` is one that sent a few only."""
        begin = start.spent.seconds
        return cls(
            name,
            median(turn.held / turn.spent.seconds for turn in turns),
            median((turn.held - start.held) / max(turn.spent.seconds - begin, 1e-3) for turn in turns),
            median(turn.spent.cpu for turn in turns),
            median(turn.server_cpu for turn in turns),
            median(turn.spent.peak_mb for turn in turns),
            min(turn.held / turn.count for turn in turns),
            sum(turn.spent.code != 0 for turn in turns),
        )


class Arena:
    """A local server, and what it takes to let somebody send to it."""

    def __init__(self, running: server.RunningServer, work: Path) -> None:
        self._url, self._work = running.url, work
        self._process = psutil.Process(running.pid)
        self._turns = 0

    def turn(self, contender: Contender, count: int) -> Turn:
        """Let it send `count` resources that nobody has sent yet."""
        self._turns += 1
        folder = self._work / f"turn-{self._turns}"
        write(folder, count, f"t{self._turns:04d}")
        contender.prepare(folder, self._url)
        held, cpu = self._held(), self._cpu()
        spent = spend(contender.command(folder, self._url), self._work / f"turn-{self._turns}.log")
        cpu = self._cpu() - cpu
        shutil.rmtree(folder)
        return Turn(count, spent, cpu, self._held() - held)

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _held(self) -> int:
        return sum(self._count(kind) for kind in TYPES)

    def _count(self, kind: str) -> int:
        request = Request(f"{self._url}/{kind}?_summary=count", headers={"Cache-Control": "no-cache"})
        with urlopen(request, timeout=120) as answer:
            return int(json.load(answer)["total"])


@contextmanager
def _arena(work: Path, validate: bool) -> Iterator[Arena]:
    running = server.start(validate=validate)
    try:
        yield Arena(running, work)
    finally:
        server.stop(port=running.port)


def race(work: Path, everyone: Sequence[Contender], count: int, rounds: int, *, validate: bool) -> list[Row]:
    """One table, in the order of `everyone`."""
    turns: dict[str, list[Turn]] = {contender.name: [] for contender in everyone}
    with _arena(work, validate) as arena:
        for contender in everyone:
            arena.turn(contender, max(count // 5, _FEW))
        starts = [arena.turn(contender, _FEW) for contender in everyone]
        for number in range(rounds):
            for contender in everyone[:: -1 if number % 2 else 1]:
                turns[contender.name].append(arena.turn(contender, count))
    return [Row.of(name, turns[name], start) for name, start in zip(turns, starts, strict=True)]


def sweep(work: Path, count: int, *, validate: bool) -> list[Row]:
    """``fhirspace push`` with each pair of size and connections, each once, on one server."""
    pairs = [(size, connections) for size in (50, 100, 200, 500) for connections in (1, 2, 3, 4)]
    everyone = [
        fhirspace(
            ("--size", str(size), "--connections", str(connections)), f"{size} a transaction, {connections} at once"
        )
        for size, connections in pairs
    ]
    with _arena(work, validate) as arena:
        for contender in everyone[1::5]:
            arena.turn(contender, count)
        start = arena.turn(everyone[0], _FEW)
        return [Row.of(contender.name, [arena.turn(contender, count)], start) for contender in everyone]


def show(rows: Sequence[Row]) -> str:
    """A table; `against` compares the rate with that of the first row."""
    head = f"{'':<42}{'res/s':>8}{'no start':>10}{'against':>9}{'client CPU':>12}{'server CPU':>12}"
    head += f"{'share':>8}{'MB':>6}{'held':>8}"
    return "\n".join([head, *(_line(row, rows[0]) for row in rows)])


def _line(row: Row, first: Row) -> str:
    failed = f"  failed {row.failed} x" if row.failed else ""
    return (
        f"{row.name:<42}{row.rate:>8.0f}{row.rate_without_start:>10.0f}{row.rate / max(first.rate, 1e-9):>8.2f}x"
        f"{row.client_cpu:>10.2f} s{row.server_cpu:>10.1f} s{row.client_cpu / max(row.server_cpu, 1e-9):>8.3f}"
        f"{row.peak_mb:>6.0f}{row.held:>8.1%}{failed}"
    )


def checks(rows: Sequence[Row], title: str) -> list[Line]:
    """What is asked for of fhirspace, beside the best of the others that lost nothing.

    Its rate is compared where it sends what they send; the additional cost of its Provenances is reported beside it.
    """
    first, same, *others = rows
    whole = [row for row in others if row.held == 1]
    rate = max((row.rate for row in whole), default=1e-9)
    bare = max((row.rate_without_start for row in whole), default=1e-9)
    return [
        Line(f"{title}: held afterwards, of what was sent", min(first.held, same.held), "", 1),
        Line(f"{title}: client CPU to server CPU", first.client_cpu / first.server_cpu, "x", 0.2, most=True),
        Line(f"{title}: resources a second to the best other", same.rate / rate, "x", 1),
        Line(f"{title}: the same without the start", same.rate_without_start / bare, "x", 1),
        Line(f"{title}: rate with Provenances to that without", first.rate / same.rate, "x"),
    ]


def _raced(work: Path, options: argparse.Namespace) -> tuple[dict[str, list[Row]], list[Line]]:
    entrants = list(contenders(work, options.push.split()))
    everyone = [entrant for entrant in entrants if isinstance(entrant, Contender)]
    print(*(f"left out: {entrant}" for entrant in entrants if isinstance(entrant, str)), sep="\n")
    tables, lines = {}, []
    for validate, count in ((False, options.count), (True, options.validated)):
        title = "validating" if validate else "not validating"
        if count:
            tables[title] = race(work, everyone, count, options.rounds, validate=validate)
            print(f"\n{title}: {count:,} resources, {options.rounds} rounds\n{show(tables[title])}\n", flush=True)
            lines += checks(tables[title], title)
    if options.memory:
        spent = memory(work, options.memory, options.push.split())
        for size, each in zip(options.memory, spent, strict=True):
            lines.append(Line(f"peak memory, {size:,} resources", each.peak_mb, "MB"))
            lines.append(Line("  resources a CPU second of the client, to a sink", size / each.cpu, "/s"))
        lines.append(
            Line("  peak of the last to that of the first", spent[-1].peak_mb / spent[0].peak_mb, "x", 1.1, most=True)
        )
    return tables, lines


def _swept(work: Path, options: argparse.Namespace) -> tuple[dict[str, list[Row]], list[Line]]:
    tables = {}
    for validate, count in ((False, options.count), (True, options.validated)):
        title = "validating" if validate else "not validating"
        if count:
            tables[title] = sweep(work, count, validate=validate)
            print(f"\n{title}: {count:,} resources\n{show(tables[title])}", flush=True)
    return tables, []


def main() -> int:
    """Prints the tables; 1 where a figure is out of its bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5_000, help="resources a turn, server not validating; 0: no table")
    parser.add_argument("--validated", type=int, default=2_000, help="the same, server validating")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--memory", type=int, nargs="*", default=[100_000, 1_000_000], help="sizes, the smallest first; or none"
    )
    parser.add_argument("--push", default="", metavar="OPTIONS", help="options for fhirspace push, in one word")
    parser.add_argument("--sweep", action="store_true", help="sizes and connections of fhirspace push instead")
    parser.add_argument("--quick", action="store_true", help="small inputs: to see that it runs, not for figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON as well")
    options = parser.parse_args()
    if options.quick:
        options.count, options.validated, options.rounds, options.memory = 200, 100, 1, [2_000, 20_000]
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}")
    work = Path(tempfile.mkdtemp(prefix="fhirspace-bench-"))
    try:
        tables, lines = (_swept if options.sweep else _raced)(work, options)
    finally:
        shutil.rmtree(work)
    print(*lines, sep="\n")
    if options.json:
        found = {title: [asdict(row) for row in rows] for title, rows in tables.items()}
        report = {"load": load, "tables": found, "figures": [line._asdict() for line in lines]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return 0 if all(line.good for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
