"""The law of `test_edits` with many rows and edits: ``pytest tests/study/soak_edits.py -n 2``: about half an hour."""

from __future__ import annotations

import pytest

from fhirspace.standards.fhir import Release
from tests.mapping.generate import CLEAN, LEGAL
from tests.study.test_edits import every, hold


@pytest.mark.soak
@pytest.mark.parametrize(("release", "domain"), every())
def test_no_edit_is_silent(release: Release, domain: str) -> None:
    assert hold(release, domain, CLEAN, 25, 80) + hold(release, domain, LEGAL, 25, 80) == []
