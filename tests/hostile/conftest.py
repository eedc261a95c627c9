"""What many attacks share: few mappings where a test has them built again and again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.hostile.inputs import beside, few_mappings

_number = count()


@pytest.fixture(autouse=True)
def own_state(state: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a run remembers is read by the next one: it would be the journals of hundreds of tests."""
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path_factory.getbasetemp() / f"state-{next(_number)}"))


@pytest.fixture(scope="package", autouse=True)
def few() -> Iterator[None]:
    """The shipped mappings are few: all are built anew for a new key of ids, and beside mappings of the user."""
    with beside(few_mappings()):
        yield
