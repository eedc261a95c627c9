"""CDISC's rules over a folder of datasets: seconds of CPU and memory of the whole command, beside CDISC's own engine.

    python -m benchmarks.rules DATASETS RULES [PYTHON]

DATASETS is a folder of .xpt, RULES the folder of the published rules (.yml). PYTHON is the interpreter of an
environment with `cdisc-rules-engine` (it needs Python 3.12); without it only fhirspace is measured.
The engine gets the rules as they are published and the datasets one by one, as its own description says; it has no
metadata of the CDISC Library, which is not public, so that some of its rules fail.
"""

from __future__ import annotations

import os
import resource
import subprocess  # nosec B404  # each measurement is a process of its own
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.children import cpu_seconds

ENDS = ("execution error", "issue reported", "success", "skipped")


class Spent(NamedTuple):
    """What one process took: seconds of CPU, its children included, and the most memory in MB."""

    seconds: float
    megabytes: float


def spent(command: list[str], environment: dict[str, str]) -> Spent:
    """Runs a command whose exit code says only what it found."""
    before = cpu_seconds()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)  # nosec B603
    seconds = cpu_seconds() - before
    return Spent(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


def judged_by_core(datasets: Path, rules: Path) -> None:
    """All rules over all datasets by CDISC's engine, in this process; prints how its verdicts ended."""
    import yaml  # noqa: PLC0415 - from here on what that environment has
    from cdisc_rules_engine.config import config  # noqa: PLC0415
    from cdisc_rules_engine.models.library_metadata_container import LibraryMetadataContainer  # noqa: PLC0415
    from cdisc_rules_engine.models.rule import Rule  # noqa: PLC0415
    from cdisc_rules_engine.rules_engine import RulesEngine  # noqa: PLC0415
    from cdisc_rules_engine.services import logger  # noqa: PLC0415
    from cdisc_rules_engine.services.cache import InMemoryCacheService  # noqa: PLC0415
    from cdisc_rules_engine.services.data_services import DataServiceFactory  # noqa: PLC0415

    logger.disabled = True
    files = sorted(str(file) for file in datasets.glob("*.xpt"))
    most = max(Path(file).stat().st_size for file in files)
    library = LibraryMetadataContainer()
    common: dict[str, Any] = {
        "standard": "sdtmig",
        "standard_version": "3-4",
        "library_metadata": library,
        "max_dataset_size": most,
    }
    cache = InMemoryCacheService.get_instance()
    service = DataServiceFactory(config=config, cache_service=cache, **common).get_data_service(files)
    engine = RulesEngine(cache=cache, data_service=service, config_obj=config, dataset_paths=files, **common)
    texts = [file.read_text() for file in sorted(rules.rglob("*.yml"))]
    ended = Counter(_ended(engine, Rule.from_cdisc_metadata(yaml.safe_load(text))) for text in texts)
    print(f"rules by how they ended: {dict(ended)}", file=sys.stderr)


def _ended(engine: Any, rule: Any) -> str:
    """The worst that the engine says of a rule over all datasets, or the name of the exception that it raised."""
    try:
        found = engine.validate_single_rule(rule)
    except Exception as error:  # the next rule runs, as in the engine's own command
        return type(error).__name__
    verdicts = {each["executionStatus"] for results in found.values() for each in results}
    return next((each for each in ENDS if each in verdicts), "nothing said")


def main() -> None:
    """Both in turn; ours with the rules in a user's folder of its own."""
    if sys.argv[1] == "--core":
        judged_by_core(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    datasets, rules, *others = sys.argv[1:]
    with tempfile.TemporaryDirectory() as home:
        ours = {**os.environ, "FHIRSPACE_DATA": home}
        added = [sys.executable, "-m", "fhirspace.cli", "rules", "add", rules]
        subprocess.run(added, env=ours, stdout=subprocess.DEVNULL, check=True, timeout=60)  # nosec B603
        report = ["--format", "json", "--report", f"{home}/report.json"]
        here = spent([sys.executable, "-m", "fhirspace.cli", "validate", datasets, "--rules", *report], ours)
    print(f"fhirspace, start included {here.seconds:>10.2f} CPU s {here.megabytes:>8,.0f} MB", flush=True)
    if others:
        bare = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        core = spent([others[0], __file__, "--core", datasets, rules], bare)
        print(f"CORE                      {core.seconds:>10.2f} CPU s {core.megabytes:>8,.0f} MB")
        print(f"ratio                     {core.seconds / here.seconds:>10.1f}")


if __name__ == "__main__":
    main()
