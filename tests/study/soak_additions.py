"""FHIR to which something was added: the row changes, or the addition is reported; for all mappings.

``pytest -m soak tests/study/soak_additions.py``: a quarter of an hour. What is added is no more than what others write:
a second entry of a list that says something else, a modifier, a reason beside or instead of a value, nothing at all.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fhirspace.json import parse
from fhirspace.standards.fhir import Release
from tests.mapping.generate import CLEAN, Row, rows
from tests.mapping.reader_cases import dump
from tests.mapping.test_laws import cases, library
from tests.study.test_deletions import with_study
from tests.study.test_edits import Path, leaves, other, put, read, silent

NAMES: Final = {"url", "system", "resourceType", "id"}
"""What names a thing, and is no content: another one is another entry."""
MASKED: Final = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}
MODIFIER: Final = {"url": "https://ehr.example/not-so", "valueBoolean": True}


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all elements and entries of lists of a resource."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in inner:
        yield from places(each, (*path, step))


def named(value: Any, path: Path) -> str:
    """A path with the names of extensions and systems instead of positions: places alike have one name."""
    steps = []
    for step in path:
        value = value[step]
        names = value if isinstance(value, dict) else {}
        steps.append(str(names.get("url", names.get("system", ""))) if isinstance(step, int) else step)
    return ".".join(steps)


def second(parent: Any, step: Any) -> bool:
    """A second entry of a list, that says something else."""
    if not isinstance(step, int):
        return False
    made = deepcopy(parent[step])
    contents = [(path, value) for path, value in leaves(made) if path and path[-1] not in NAMES]
    if isinstance(made, dict) and not contents:
        return False
    if isinstance(made, dict):
        path, value = contents[-1]
        put(made, path, "1999-09-09" if str(value)[:4].isdigit() and "-" in str(value) else changed(value, path))
    parent.append(made if isinstance(made, dict) else changed(made, (step,)))
    return True


def changed(value: Any, path: Path) -> Any:
    """Another value of the same type."""
    return other(value, path, {}, random.Random(0))


def empty_entry(parent: Any, step: Any) -> bool:
    """An entry of a list that is null."""
    if isinstance(step, int):
        parent.append(None)
    return isinstance(step, int)


def modifier(parent: Any, step: Any) -> bool:
    """A modifier extension."""
    if isinstance(parent[step], dict):
        parent[step]["modifierExtension"] = [MODIFIER]
    return isinstance(parent[step], dict)


def masked(parent: Any, step: Any) -> bool:
    """A reason why a value is missing, beside it."""
    if isinstance(step, int) or isinstance(parent[step], dict | list) or step in NAMES:
        return False
    parent[f"_{step}"] = {"extension": [MASKED]}
    return True


def masked_alone(parent: Any, step: Any) -> bool:
    """A reason why a value is missing, instead of it."""
    return masked(parent, step) and parent.pop(step) is not None


def listed(parent: Any, step: Any) -> bool:
    """A list where one value belongs, or of lists."""
    if not isinstance(step, int):
        parent[step] = [parent[step]]
    return not isinstance(step, int)


ADDITIONS: Final[tuple[Callable[[Any, Any], bool], ...]] = (
    second, empty_entry, modifier, masked, masked_alone, listed,
)  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize(("release", "domain"), cases())
def test_no_addition_is_silent(release: Release, domain: str) -> None:
    lib = library(release)
    mapping = lib.mappings[domain]
    tried: Counter[tuple[str, str]] = Counter()
    found: list[str] = []

    @settings(
        max_examples=2, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(rows(mapping, lib, CLEAN))
    def law(row: Row) -> None:
        texts = with_study(release, mapping, row)
        before = read(release, texts)
        for number in range(len(mapping.blocks)):
            resource = parse(texts[number].encode())
            for path in places(resource):
                for add in ADDITIONS:
                    edited = deepcopy(resource)
                    parent, place = edited, f"{resource['resourceType']}.{named(resource, path)}"
                    for step in path[:-1]:
                        parent = parent[step]
                    if tried[add.__name__, place] or not add(parent, path[-1]):
                        continue
                    tried[add.__name__, place] += 1
                    if silent(release, [*texts[:number], dump(edited), *texts[number + 1 :]], before):
                        found.append(f"{add.__name__} at {place}")

    law()
    assert (found, bool(tried)) == ([], True)
