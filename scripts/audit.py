"""Looks for security advisories on the locked packages, and tells "there are none" from "nobody could be asked".

python scripts/audit.py        # needs pip-audit; exit code 1 with advisories, 2 where pip-audit itself fails

A service that cannot be reached is no finding, so that the checks run without the internet too; a loud line reports it.
As with ``pip-audit --strict``, a package that the service does not know is a failure, unless it knows none: then what
answers is a package index without advisories.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from make_lock import BUILD, LOCK, ROOT

SERVICES: Final = ("pypi", "osv")
"""pip-audit's names of the services; the second is asked where the first cannot be reached."""
PATIENCE: Final = 180
"""Seconds for one service."""

_NETWORK: Final = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Max retries exceeded|Failed to resolve"
    r"|Could not connect|Connection (?:refused|reset)|ServiceError"
)

State = Literal["clean", "advisories", "unreachable", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit by one service came to, and the lines that say so."""

    state: State
    lines: tuple[str, ...] = ()


def main() -> int:
    """Ask one service after the other until one answers."""
    for service in SERVICES:
        found = audit(service)
        print(f"advisories ({service}): {found.state}", *found.lines, sep="\n  ")
        if found.state != "unreachable":
            return {"clean": 0, "advisories": 1, "failed": 2}[found.state]
    bar = "!" * 100
    print(bar, "!!! NOT AUDITED: no advisory service can be reached from here, so nothing is known.", sep="\n")
    print(f"!!! Run `python scripts/audit.py` where the network allows it, before {LOCK} is used.", bar, sep="\n")
    return 0


def audit(service: str) -> Outcome:
    """Ask one service about both lock files."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "audit.json"
        files = ["-r", str(ROOT / LOCK), "-r", str(ROOT / BUILD)]
        fixed = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "-f", "json", "-o", str(out)]
        command = [sys.executable, "-m", "pip_audit", "-s", service, *files, *fixed]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603  # nosec B603
        except subprocess.TimeoutExpired:
            return Outcome("unreachable", (f"no answer within {PATIENCE} s",))
        return judged(done.returncode, out.read_text("utf-8") if out.is_file() else "", done.stderr)


def judged(code: int, report: str, stderr: str) -> Outcome:
    """What pip-audit's exit code, its report (JSON; "" for none) and its messages come to."""
    last = stderr.strip().splitlines()[-1:] or [f"pip-audit ended with {code}"]
    if not report:
        return Outcome("unreachable" if _NETWORK.search(stderr) else "failed", tuple(last))
    packages = json.loads(report)["dependencies"]
    unknown = [str(each["name"]) for each in packages if "skip_reason" in each]
    advisories = tuple(_advisories(packages))
    if advisories:
        return Outcome("advisories", advisories)
    if unknown and len(unknown) == len(packages):
        return Outcome("unreachable", ("it knows none of the packages",))
    if unknown or code or not packages:
        return Outcome("failed", tuple(f"not audited: {name}" for name in unknown) or tuple(last))
    return Outcome("clean", (f"{len(packages)} packages, no advisory",))


def _advisories(packages: Iterable[dict[str, Any]]) -> Iterable[str]:
    for each in packages:
        for found in each.get("vulns", ()):
            fixed = ", ".join(found["fix_versions"]) or "no version"
            yield f"{each['name']} {each['version']}: {found['id']}, fixed in {fixed}"


if __name__ == "__main__":
    sys.exit(main())
