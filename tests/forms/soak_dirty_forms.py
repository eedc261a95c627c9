"""The law of `test_dirty_forms` with many forms and records: ``pytest tests/forms/soak_dirty_forms.py``, some minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.forms.test_dirty_forms import _shipped, hold, test_dirty_cells_of_shipped_forms


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, 5000, 500))
def test_dirty_cells_of_many_generated_forms(first: int, tmp_path: Path) -> None:
    assert [found for seed in range(first, first + 500) for found in hold(seed, tmp_path / str(seed))] == []


@pytest.mark.soak
@pytest.mark.parametrize(("name", "form"), _shipped())
def test_dirty_cells_of_shipped_forms_again(name: str, form: str) -> None:
    test_dirty_cells_of_shipped_forms(name, form, range(2, 40))
