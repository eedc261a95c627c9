"""Broken variants of each kind of answer: no exit 70, within bounds of time and memory; `soak_broken.py` makes more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.servers import TALKS
from tests.hostile.test_broken_inputs import MOST, MOST_MB, SAMPLE, SEED
from tests.hostile.trials import peak, right, tried_until

FINDINGS = {"OperationOutcome", "import by HAPI", "import by Azure", "import by Google"}
"""Servers that reject something, so that the commands end with 3."""


@pytest.mark.parametrize("kind", TALKS)
def test_the_server_whose_answers_are_broken_was_right(kind: str, tmp_path: Path) -> None:
    done = right(kind, TALKS[kind].commands[0], tmp_path)
    assert done.code in ((3,) if kind in FINDINGS else (0, 1)), done.said


@pytest.mark.slow
@pytest.mark.parametrize("kind", TALKS)
def test_a_broken_answer_is_no_bug(kind: str, tmp_path: Path) -> None:
    few, most = (number // (1 + len(TALKS[kind].before)) for number in (SAMPLE, MOST))
    with peak() as used:
        done = tried_until(kind, SEED, range(few), range(few, most), tmp_path)
    assert not [(number, command, ran.fault) for number, command, ran in done if ran.fault]
    assert len({ran.code for _, _, ran in done}) > 1, "nothing was noticed: the answers are not broken"
    assert not used or used[0] < MOST_MB
