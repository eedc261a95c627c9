"""Random resources of every type by HL7's validator and by ours: ``pytest -m soak -s`` on this file.

The seed is fresh, or FHIRSPACE_SEED. Printed are, for each release, the errors of both and of one alone, and each of
these that no entry of ``judged_random.toml`` explains, to be judged: random resources bring up others each time. Some
three minutes of CPU a release, with Java.
"""

from __future__ import annotations

import os
import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirspace.fhir.validation.check import Checker, compiled
from fhirspace.fhir.validation.quick import sound
from fhirspace.standards.fhir import RELEASES, Release
from tests.fhir.validation import oracle, published
from tests.fhir.validation.agreement import Compared, Error, compare, errors
from tests.fhir.validation.random_resources import resources

COUNT = 1_000
LEAST = 0.98
"""The share of the lines that HL7's validator refuses, and that are judged no mistake of its own, that we refuse."""
JUDGED: dict[str, list[dict[str, str]]] = tomllib.loads(Path(__file__).with_name("judged_random.toml").read_text())
"""``missed`` and ``ours``: patterns of kind, place and text, and why."""
_CODE = re.compile(r"Unknown code '([^#']*)#([^']*)'")
_IN_SET = re.compile(r".*value set '[^']*' \(([^|)]*)[^)]*\).*\(codes = ([^#]*)#([^,)]*)\)")


@pytest.mark.soak
@pytest.mark.parametrize("release", RELEASES)
def test_random_resources(release: Release, tmp_path: Path) -> None:
    oracle.available()
    seed = int(os.environ.get("FHIRSPACE_SEED") or random.SystemRandom().randrange(10**6))
    lines, checker = list(resources(release, seed, COUNT)), compiled(release)
    home = published.home_of_validator(tmp_path / "home")
    (verdicts,) = oracle.judge([oracle.Input(lines, release)], tmp_path / "oracle", seconds=1800, home=home)
    own = [errors(line, checker) for line in lines]
    assert [line for line, found in zip(lines, own, strict=True) if found and sound(line, release)] == []
    both = [compare(*each) for each in zip(verdicts, own, strict=True)]
    counts = {part: sum(len(getattr(each, part)) for each in both) for part in ("found", "missed", "ours")}
    why, strange = Counter[str](), list[str]()
    refused = passed = 0
    for line, found, ours in zip(lines, both, own, strict=True):
        odd = list(_odd(found, checker, why))
        strange += [f"{each}\n    {line.decode()}" for each in odd]
        refused += bool(found.found or odd)
        passed += bool(found.missed and odd and not ours)
    print(f"\n{release}, seed {seed}: {len(lines):,} resources, errors: {counts}", *strange, sep="\n  ")
    print(
        f"{release}: lines that HL7's refuses {refused}, of these found {refused - passed}",
        *why.most_common(),
        sep="\n  ",
    )
    assert passed <= refused * (1 - LEAST)


def _odd(found: Compared, checker: Checker, why: Counter[str]) -> Iterator[str]:
    """The errors of one side alone that nothing explains; what explains the others is counted."""
    for part in JUDGED:
        for each in getattr(found, part):
            reason = _reason(each, part, checker)
            if reason:
                why[f"{part}: {reason}"] += 1
            else:
                yield f"{part}: {each}"


def _reason(error: Error, part: str, checker: Checker) -> str:
    code = _CODE.match(error.text)
    if code and (system := checker.registry.system(code[1])) and system.holds(code[2]):
        return "a code that HL7's terminology has since the release"
    listed = _IN_SET.match(error.text)
    if listed and (codes := checker.registry.value_set(listed[1])) and codes.holds(listed[2], listed[3]):
        return "a code that HL7's terminology has since the release"
    return next(
        (
            each["why"]
            for each in JUDGED[part]
            if all(re.search(each[name], getattr(error, name)) for name in each if name != "why")
        ),
        "",
    )
