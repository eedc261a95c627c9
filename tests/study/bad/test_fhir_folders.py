"""The law of accounting from FHIR to datasets and to records: our resources among foreign, repeated and broken lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fhirspace.cli import main
from tests.study.bad.bad_runs import table
from tests.study.bad.test_folders import BESIDE, LOST, Folder, converted

FORMS = {
    "subject": "id,sex\n1,F\n2,M\n3,F\n",
    "events": "id,no,term,start\n1,1,Rash,2024-03-05\n1,2,Fall,2024-03\n2,1,Cold,2024-03-05T10:30\n3,1,Cold,\n",
    "vitals": "id,day,pulse\n1,2024-03-05,70\n1,2024-03-06,72\n2,2024-03-05,\n2,2024-03-06,71.50\n",
}
MAPPINGS = {
    "subject": "form: subject\nkey: [id]\nmakes: DM\nrows:\n  STUDYID: S\n  USUBJID: S-<id>\n  SUBJID: <id>\n"
    "  SITEID: '10'\n  SEX: <sex>\n  COUNTRY: GBR\n",
    "events": "form: events\nkey: [id, no]\nmakes: AE\nrows:\n  STUDYID: S\n  USUBJID: S-<id>\n  AESPID: <no>\n"
    "  AETERM: <term>\n  AEDECOD: <term>\n  AESTDTC: <start date>\n",
    "vitals": "form: vitals\nkey: [id, day]\nmakes: VS\nrows:\n  STUDYID: S\n  USUBJID: S-<id>\n  VSDTC: <day date>\n"
    "  VSTESTCD: PULSE\n  VSTEST: Pulse Rate\n  VSORRES: <pulse>\n",
}
FOREIGN = (
    '{"resourceType":"Slot","id":"s1"}',
    '{"resourceType":"Nonsense","id":"n1"}',
    '{"resourceType":"Patient","id":"p9"}',
    '{"resourceType":"Observation","id":"o9","status":"entered-in-error","code":{"text":"x"}}',
)
BROKEN = (
    '{"resourceType":"Patient",',
    "[]",
    '"x"',
    "null",
    '{"id":"x"}',
    '{"resourceType":"Patient","id":"a","id":"b"}',
)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """The mappings of two forms, and the resources that their records give."""
    home = tmp_path_factory.mktemp("ours")
    for name, text in MAPPINGS.items():
        (home / "m" / "sources" / "s").mkdir(parents=True, exist_ok=True)
        (home / "m" / "sources" / "s" / f"{name}.yaml").write_text(text, "utf-8")
        (home / "in").mkdir(exist_ok=True)
        (home / "in" / f"{name}.csv").write_text(FORMS[name], "utf-8")
    source = ["--mappings", str(home / "m"), "--source", "s", "--id-key", "demo"]
    main(["convert", str(home / "in"), "--to", "fhir", "--out", str(home / "out"), *source])
    files = sorted((home / "out" / "fhir").glob("*.ndjson"))
    yield home / "m", [line for file in files for line in file.read_text("utf-8").splitlines()]


def folder(path: Path, lines: list[str], rng: Random) -> Folder:
    """Writes a folder with our resources, some of them twice or with another status, and all sorts of other lines."""
    path.mkdir(parents=True)
    chosen = [line for line in lines for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    chosen += [line.replace('"actuality":"actual"', '"actuality":"potential"') for line in rng.sample(lines, 2)]
    chosen += [*rng.choices(FOREIGN, k=rng.randint(0, 3)), *rng.choices(BROKEN, k=rng.randint(0, 3))]
    rng.shuffle(chosen)
    count = rng.randint(1, 3)
    records: dict[str, int] = {}
    for number in range(count):
        text = "".join(f"{line}\n" for line in chosen[number::count])
        name = f"part{number}.ndjson" + rng.choice(("", ".gz"))
        (path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        records[name] = len(text.splitlines())
    more = {**LOST, **BESIDE}
    for name in rng.sample(sorted(more), rng.randint(0, 4)):
        more[name](path / name)
        records |= {name: 2} if name == "bundle.json" else {}
    return Folder(sorted(each.name for each in path.iterdir() if each.name != "nothing"), records)


def left(path: Path) -> tuple[int, int]:
    """How many lines of a file can be no rows, and how many no mapping claims."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    unclaimed = sum(line in FOREIGN for line in lines)
    broken = sum(line in BROKEN for line in lines)
    return broken + sum('"actuality":"potential"' in line for line in lines), unclaimed


def hold(ours: tuple[Path, list[str]], seed: int, where: Path) -> list[str]:
    mappings, lines = ours
    made = folder(where / "in", lines, Random(f"ours{seed}"))
    wrong: list[str] = []
    for target, more in (("sdtm", ["--format", "csv"]), ("records", ["--mappings", str(mappings), "--source", "s"])):
        out = where / target
        code = main(["convert", str(where / "in"), "--to", target, "--out", str(out), *more])
        if code not in (0, 1, 3) or not (out / "manifest.json").exists():
            wrong.append(f"to {target}: exit code {code}")
            continue
        wrong += [f"to {target}: {each}" for each in converted(made, out, code)]
        wrong += [f"to {target}: {each}" for each in quarantined(out)]
        tables = json.loads((out / "manifest.json").read_text("utf-8"))["tables"]
        for part in sorted((where / "in").glob("part*")):
            counted = tables[part.name]["quarantined"], tables[part.name].get("not_converted", 0)
            if counted != left(part):
                wrong.append(f"to {target}: {part.name}: {left(part)} left, counted {counted}")
    return wrong


def quarantined(out: Path) -> Iterator[str]:
    """Where a quarantine does not hold as much as is counted, line by line and row by row."""
    tables = json.loads((out / "manifest.json").read_text("utf-8"))["tables"]
    for name, counts in tables.items():
        path = out / "quarantine" / (name.removesuffix(".gz") if "json" in name else f"{name}.csv")
        found = 0
        if path.exists():
            found = len(path.read_bytes().splitlines()) if "json" in name else len(table(path)) - 1
        if found != counts["quarantined"]:
            yield f"{name}: {found} in quarantine, counted {counts}"


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 14))])
def test_the_counts_of_fhir_balance(seed: int, ours: tuple[Path, list[str]], tmp_path: Path) -> None:
    assert hold(ours, seed, tmp_path / "run") == []
