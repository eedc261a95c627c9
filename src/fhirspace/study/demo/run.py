"""The demonstration: the SPACE study from its EDC export to SDTM and FHIR, to a real server and back, with proof."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fhirspace
from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS, UsageError
from fhirspace.folders import open_own
from fhirspace.foreign import counted, listed, shown
from fhirspace.idkey import DEMO_KEY, PUBLIC, IdKey, chosen
from fhirspace.standards.fhir import Release
from fhirspace.study.convert import Conversion, convert
from fhirspace.study.demo.figures import Figures, Published, from_datasets, from_resources
from fhirspace.study.reading.from_fhir import fhir_files
from fhirspace.study.roundtrip import roundtrip
from fhirspace.study.rules.judging import judge_output
from fhirspace.study.validate import validate
from fhirspace.tables import xpt
from fhirspace.tables.staging import exclusive

Say = Callable[[str], None]
_MARK = ".fhirspace-demo"
"""The empty file that says that a folder is the demonstration's own."""
_SIZE, _CONNECTIONS = 50, 3
"""How to push to the local server: it validates each bundle in one thread, so several at once use all cores."""


def sample() -> Path:
    """The folder of the SPACE sample that comes with fhirspace."""
    package = Path(fhirspace.__file__).parent
    inside = package / "samples"
    return (inside if inside.is_dir() else package.parents[1] / "samples") / "space"


@dataclass(slots=True)
class Steps:
    """What was checked, in order: a name, what came out, whether it is as it should be."""

    say: Say
    done: list[tuple[str, str, bool]] = field(default_factory=list)

    def check(self, name: str, result: str, good: bool) -> None:
        """Records and prints one step."""
        self.done.append((name, result, good))
        self.say(f"  {'ok  ' if good else 'FAIL'} {name:<46} {result}")

    @property
    def good(self) -> bool:
        """Whether all steps are as they should be."""
        return all(good for _, _, good in self.done)


def demo(
    out: Path,
    *,
    fhir: Release = "R4",
    server: bool = False,
    shared: bool = False,
    say: Say = print,
    as_json: bool = False,
    id_key: IdKey | Path | str = DEMO_KEY,
) -> int:
    """Runs the SPACE study end to end and gives the exit code: 0 where everything is as it should be, else 1.

    Args:
        out: where to write: ``sdtm/``, ``fhir/``, ``pulled/``; each is an output folder with its manifest.
        fhir: the FHIR release.
        shared: files get the modes that the umask gives, instead of being for their owner only.
        server: also start a local HAPI with validation on, push, push again, pull back and compare.
        say: called with each step when it is done; the table of figures goes to stdout.
        as_json: print the result as JSON.
        id_key: the key of the ids, or its file. The published one makes the same ids everywhere, and hides nothing.

    Raises:
        UsageError: FS616 where `out` holds something else, FS147 where another demonstration is at work there; FS501
            and others where the server's extra is not installed; FS630 to FS632 where the key cannot be used.
        ServerError: it does not come up.
    """
    key = chosen(id_key)
    with _claimed(out, shared=shared):
        return _demo(out, fhir, key, server=server, shared=shared, steps=Steps(say), as_json=as_json)


def _demo(out: Path, fhir: Release, key: IdKey, *, server: bool, shared: bool, steps: Steps, as_json: bool) -> int:
    records, published = sample() / "records", Published.load(sample() / "published.toml")
    say = steps.say
    say("SPACE, synthetic data: the EDC export of a phase 2 study with 26 subjects")
    if key.published:
        say(f"  {PUBLIC}")
    tabulated = convert(
        records, to="sdtm", out=out / "sdtm", formats=("xpt", "parquet", "csv"), define=True, shared=shared
    )
    resources = convert(records, to="fhir", out=out / "fhir", fhir=fhir, id_key=key, new_ids=True, shared=shared)
    _converted(steps, tabulated, resources, fhir)
    findings = sum(1 for _ in validate([out / "fhir"], fhir=fhir))
    steps.check(f"every resource validated ({fhir})", counted(findings, "finding"), findings == 0)
    _judged(steps, out / "sdtm")
    proof = roundtrip(records, fhir=fhir)
    cells = sum(leg.cells for leg in proof.legs)
    steps.check(
        "records > SDTM > FHIR > SDTM > records",
        f"{counted(cells, 'cell')}, {counted(proof.differences, 'difference')}",
        proof.exit_code == EXIT_CLEAN,
    )
    steps.check("declared losses", ", ".join(proof.losses) or "none", not proof.losses)
    datasets = {path.stem.upper(): xpt.read(path)[0] for path in sorted((out / "sdtm" / "sdtm").glob("*.xpt"))}
    columns = {"published": published.figures, "SDTM": from_datasets(datasets, published)}
    columns["FHIR"] = from_resources(fhir_files(out / "fhir"), published)
    if server:
        columns["FHIR server"] = _delivered(out, fhir, key, steps, published, shared=shared)
    equal = all(each == published.figures for each in columns.values())
    steps.check("figures", "equal in all columns" if equal else "NOT equal", equal)
    say(f"  written to {shown(out, 4096)}: " + listed(sorted(each.name for each in out.iterdir() if each.is_dir())))
    print(_as_json(steps, columns, published) if as_json else _table(columns, published))
    return EXIT_CLEAN if steps.good else EXIT_FINDINGS


@contextmanager
def _claimed(out: Path, *, shared: bool) -> Iterator[None]:
    """Makes a folder the demonstration's own, if it is new, empty, or that already; no other one may use it."""
    out.mkdir(parents=True, exist_ok=True, mode=0o777 if shared else 0o700)
    with exclusive(out):
        if any(out.iterdir()) and not (out / _MARK).is_file():
            raise UsageError("FS616", out.name, "a new folder, an empty one, or that of an earlier demonstration")
        os.close(open_own(out / _MARK, os.O_WRONLY | os.O_CREAT))
        yield


def _converted(steps: Steps, tabulated: Conversion, resources: Conversion, fhir: str) -> None:
    forms = {name: row for name, row in tabulated.tables.items() if name.islower()}
    datasets = {name: row for name, row in tabulated.tables.items() if not name.islower()}
    read, held = sum(row["in"] for row in forms.values()), sum(row["quarantined"] for row in tabulated.tables.values())
    steps.check("records read", f"{read:,} of {counted(len(forms), 'form')}, {held} quarantined", not held)
    rows = sum(row["out"] for row in datasets.values())
    steps.check(
        "SDTM datasets written (XPT, Parquet, CSV)",
        f"{counted(rows, 'row')} in {counted(len(datasets), 'dataset')}",
        tabulated.exit_code == EXIT_CLEAN,
    )
    count = sum(path.read_bytes().count(b"\n") for path in fhir_files(resources.out))
    steps.check(f"FHIR {fhir} resources written", f"{count:,}", resources.exit_code == EXIT_CLEAN)


def _judged(steps: Steps, out: Path) -> None:
    """Conformance rules over the datasets: no errors, and no warning that ``explained.yaml`` does not explain."""
    counts = judge_output(out, [sample()]).counts()
    rest = ", ".join(f"{counts[name]} {name}" for name in ("errors", "warnings", "explained"))
    found = f"{counts['ran']} rules, {rest}"
    steps.check("SDTM datasets judged by conformance rules", found, not counts["errors"] and not counts["warnings"])


def _delivered(out: Path, fhir: Release, key: IdKey, steps: Steps, published: Published, *, shared: bool) -> Figures:
    """Pushes to a server started here, pushes again, pulls back and compares; the figures of what came back."""
    from fhirspace.delivery.pull.pull import pull  # noqa: PLC0415
    from fhirspace.delivery.push.options import Options  # noqa: PLC0415
    from fhirspace.delivery.push.push import push  # noqa: PLC0415
    from fhirspace.fhir import ndjson  # noqa: PLC0415
    from fhirspace.fhir.canonical import canonical  # noqa: PLC0415 - only with a server

    with _server(fhir, steps) as url:
        last = -1

        def progress(done: int, total: int) -> None:
            nonlocal last
            if done * 10 // max(total, 1) > last:
                last = done * 10 // max(total, 1)
                steps.say(f"       pushed {done:,} of {total:,}")

        how: Options = {"fhir": fhir, "id_key": key, "size": _SIZE, "connections": _CONNECTIONS}
        first = push(out / "fhir", url, **(how | {"progress": progress}))
        taken = f"{first.sent:,} taken, {first.refused} refused, {first.rate:.0f}/s"
        steps.check("pushed to HAPI, validation on", taken, first.refused == 0)
        fresh = out / "fresh-journal.db"
        again = push(out / "fhir", url, **(how | {"journal": fresh}))
        written = again.created + again.updated
        steps.check("pushed again", counted(written, "new version"), written == 0)
        fresh.unlink()
        pull(url, "SPACE", out / "pulled", shared=shared)
        sent, back = (
            sorted(canonical(line) for file in fhir_files(out / name) for _, line in ndjson.read(file))
            for name in ("fhir", "pulled")
        )
        came = counted(len(back), "resource")
        steps.check("pulled back", f"{came}, {'equal' if sent == back else 'NOT equal'}", sent == back)
    return from_resources(fhir_files(out / "pulled"), published)


@contextmanager
def _server(fhir: Release, steps: Steps) -> Iterator[str]:
    from fhirspace.localserver import server  # noqa: PLC0415 - only with a server

    running = server.start(fhir, progress=lambda text: steps.say(f"       {text}"))
    try:
        yield running.url
    finally:
        server.stop(port=running.port)


def _table(columns: dict[str, Figures], published: Published) -> str:
    rows = [list(figures.lines(published.labels)) for figures in columns.values()]
    widths = [max(len(text) for _, text in row) for row in rows]
    head = f"{'figure':<32}" + "  ".join(f"{name:<{width}}" for name, width in zip(columns, widths, strict=True))
    lines = [head, "-" * len(head)]
    for index, (label, _) in enumerate(rows[0]):
        texts = [row[index][1] for row in rows]
        lines.append(f"{label:<32}" + "  ".join(f"{text:<{width}}" for text, width in zip(texts, widths, strict=True)))
    lines.append("(x/y, x/y: responders of evaluated, HIV positive and HIV negative)")
    return "\n".join(line.rstrip() for line in lines)


def _as_json(steps: Steps, columns: dict[str, Figures], published: Published) -> str:
    data: dict[str, Any] = {
        "steps": [{"step": name, "result": result, "ok": good} for name, result, good in steps.done],
        "figures": {name: dict(figures.lines(published.labels)) for name, figures in columns.items()},
    }
    return json.dumps(data, ensure_ascii=False, indent=2)
