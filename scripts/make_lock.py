"""Writes the lock files: what is tested, and what a hospital installs, by exact version and SHA-256.

python scripts/make_lock.py            # needs uv (``tox run -e relock`` has it); keeps the versions that still fit
python scripts/make_lock.py --upgrade  # takes the newest versions that pyproject.toml allows
python scripts/make_lock.py --check    # exit code 1 where a lock does not fit pyproject.toml; needs no network

``requirements.lock``        base and all extras that users install, with hashes
``requirements-build.lock``  what makes the wheel of fhirspace, with hashes
``constraints.txt``          the same versions and those of tests and checks, without hashes: pip installs nothing that
                             is editable where hashes are asked for, and tox installs fhirspace so
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK, BUILD, CONSTRAINTS = "requirements.lock", "requirements-build.lock", "constraints.txt"
USERS: Final = "all"
"""The extra that holds all that users install."""
PYTHONS: Final = ("3.11", "3.12", "3.13")
SYSTEMS: Final = {"linux": ("posix", "Linux"), "darwin": ("posix", "Darwin"), "win32": ("nt", "Windows")}
WHEELS: Final = ("linux", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin", "windows")
"""Where every package of the lock must have a wheel, so that nothing is built from source there."""

_HEADERS: Final = {
    LOCK: "fhirspace with all extras: pip install --require-hashes --only-binary :all: -r requirements.lock",
    BUILD: "What makes the wheel of fhirspace: pip install --require-hashes -r requirements-build.lock",
    CONSTRAINTS: "The versions that `tox run` tests and checks with; what requirements.lock has is the same here.",
}
_ADDRESS: Final = re.compile(r"://|^\s*(-i|-f|--(extra-)?index-url|--find-links|--trusted-host)\b", re.MULTILINE)
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")

Environment = dict[str, str]


@dataclass(frozen=True, slots=True)
class Locked:
    """One entry of a lock: package, exact version, where it is installed (its marker), SHA-256 of its files.

    `via` names what needs it (uv's comments): packages, and ``fhirspace (pyproject.toml)``.
    """

    requirement: Requirement
    hashes: tuple[str, ...]
    via: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The package's name, normalised."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The exact version; "" where it is not pinned."""
        pins = [each for each in self.requirement.specifier if each.operator == "==" and "*" not in each.version]
        return pins[0].version if len(pins) == len(self.requirement.specifier) == 1 else ""

    def applies(self, environment: Environment) -> bool:
        """Whether it is installed there."""
        return _applies(self.requirement, environment)


def read_lock(text: str) -> list[Locked]:
    """The entries of a lock file. Raises InvalidRequirement for a line that is none."""
    found: list[Locked] = []
    for line in text.replace("\\\n", " ").splitlines():
        entry, _, remark = line.partition("#")
        if entry.strip():
            requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
            found.append(Locked(Requirement(requirement), tuple(hashes)))
        elif found and (parent := remark.strip().removeprefix("via").strip()):
            found[-1] = replace(found[-1], via=(*found[-1].via, parent))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Writes the lock files, or says what is wrong with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--upgrade", action="store_true")
    options = parser.parse_args(arguments)
    if not options.check:
        make(upgrade=options.upgrade)
    found = faults(ROOT)
    print("\n".join(found) or f"{LOCK}, {BUILD}, {CONSTRAINTS}: they fit pyproject.toml")
    return 1 if found else 0


def make(*, upgrade: bool) -> None:
    """Resolve for all systems at once and write the three files."""
    build = "\n".join(_project(ROOT)["build-system"]["requires"])
    more = ["--upgrade"] if upgrade else []
    hashes = ["--generate-hashes"]
    _compile(LOCK, ["pyproject.toml", "--extra", USERS, *hashes, *more])
    _compile(BUILD, ["-", "--constraint", LOCK, "--no-annotate", *hashes, *more], build)
    both = ["--constraint", LOCK, "--constraint", BUILD]
    _compile(CONSTRAINTS, ["pyproject.toml", "-", "--all-extras", *both, "--no-annotate", *more], build)
    for system, python in product(WHEELS, PYTHONS):
        only = ["--only-binary", ":all:", "--python-platform", system, "--python-version", python]
        _uv([LOCK, *only, "--quiet"])


def _compile(name: str, arguments: list[str], given: str = "") -> None:
    common = ["--universal", "--python-version", PYTHONS[0], "--no-header", "--no-emit-index-url", "--quiet"]
    _uv([*arguments, *common, "--output-file", name], given)
    path = ROOT / name
    path.write_text(f"# {_HEADERS[name]}\n# Made by scripts/make_lock.py.\n{path.read_text('utf-8')}", "utf-8")


def _uv(arguments: list[str], given: str = "") -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", *arguments]
    subprocess.run(command, input=given, text=True, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # nosec B603


def faults(root: Path) -> list[str]:
    """What is wrong with the lock files of a checkout: each one's form, and whether they hold what is asked for."""
    texts = {name: (root / name).read_text("utf-8") for name in (LOCK, BUILD, CONSTRAINTS)}
    found = [f"{name}: names an address or an index" for name, text in texts.items() if _ADDRESS.search(text)]
    try:
        locks = {name: read_lock(text) for name, text in texts.items()}
    except InvalidRequirement as error:
        return [*found, f"a line is no requirement: {error}"]
    project = _project(root)
    optional = project["project"]["optional-dependencies"]
    wanted = {
        LOCK: asked(project, [USERS]),
        BUILD: [Requirement(text) for text in project["build-system"]["requires"]],
        CONSTRAINTS: asked(project, optional),
    }
    for name, entries in locks.items():
        found += [f"{name}: {fault}" for fault in malformed(entries, hashed=name != CONSTRAINTS)]
        found += [f"{name}: {fault}" for fault in missing(entries, wanted[name])]
    pinned = [Requirement(f"{each.name}=={each.version}{_where(each)}") for each in locks[LOCK] if each.version]
    return found + [f"{CONSTRAINTS}: {fault}" for fault in missing(locks[CONSTRAINTS], pinned, deep=False)]


def malformed(entries: Iterable[Locked], *, hashed: bool) -> Iterator[str]:
    """Entries that are not pinned, lack a hash (or have one where there must be none), or have another kind of hash."""
    for each in entries:
        if not each.version:
            yield f"{each.name} is not pinned to one version"
        if bool(each.hashes) != hashed:
            yield f"{each.name} has {'no hash' if hashed else 'hashes, which make pip ask for all of them'}"
        if not all(_HASH.fullmatch(text) for text in each.hashes):
            yield f"{each.name} has a hash that is no SHA-256"


def missing(entries: list[Locked], wanted: Iterable[Requirement], *, deep: bool = True) -> list[str]:
    """What the entries lack of what is wanted, on any system and Python that we support; with all that it needs.

    What a package needs itself is known of those that are installed here in the locked version.
    """
    found: dict[str, None] = {}
    wanted = list(wanted)
    for environment in _environments():
        by_name = {each.name: each for each in entries if each.applies(environment)}
        seen: set[str] = set()
        left = [each for each in wanted if _applies(each, environment)]
        while left:
            each = left.pop()
            if str(each) in seen:
                continue
            seen.add(str(each))
            entry = by_name.get(canonicalize_name(each.name))
            if entry is None or not each.specifier.contains(entry.version or "0", prereleases=True):
                where = f"Python {environment['python_version']} on {environment['sys_platform']}"
                found[f"{each} is missing, or another version is locked ({where})"] = None
            elif deep:
                left += needs(entry, each.extras, environment)
    return list(found)


def needs(entry: Locked, extras: set[str], environment: Environment) -> list[Requirement]:
    """What a package and some of its extras need, if it is installed here in that version; else nothing."""
    found = _installed(entry.name, entry.version)
    return [each for each in found if any(_applies(each, environment | {"extra": extra}) for extra in {"", *extras})]


@cache
def _installed(name: str, version: str) -> tuple[Requirement, ...]:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return ()
    return tuple(Requirement(text) for text in found.requires or ()) if found.version == version else ()


def asked(project: dict[str, Any], extras: Iterable[str]) -> list[Requirement]:
    """What pyproject.toml asks for: the base, and these extras; extras of our own in them are spelt out."""
    own, optional = project["project"]["name"], project["project"]["optional-dependencies"]
    left, done = list(extras), set[str]()
    found = [Requirement(text) for text in project["project"]["dependencies"]]
    while left:
        extra = left.pop()
        if extra in done:
            continue
        done.add(extra)
        for each in map(Requirement, optional[extra]):
            if each.name == own:
                left += each.extras
            else:
                found.append(each)
    return found


def _project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def _environments() -> Iterator[Environment]:
    for python, (system, (name, platform)) in product(PYTHONS, SYSTEMS.items()):
        yield {
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": system,
            "os_name": name,
            "platform_system": platform,
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "extra": "",
        }


def _applies(requirement: Requirement, environment: Environment) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**environment})


def _where(entry: Locked) -> str:
    return f" ; {entry.requirement.marker}" if entry.requirement.marker else ""


if __name__ == "__main__":
    sys.exit(main())
