"""Engines that run one pure function, batch in -> batch out, over many batches, and write what it makes in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Made:
    """The result of a batch.

    Attributes:
        outputs: bytes by sink, to be appended in the order of the batches.
        report: the job's report of the batch (counts, faults); must be picklable.
    """

    outputs: Sequence[tuple[str, pa.Buffer | bytes]]
    report: Any


class Job(Protocol):
    """The function of a batch. It may keep state that only makes it faster; its output depends on the batch alone."""

    def __call__(self, batch: pa.RecordBatch) -> Made:
        """The result of a batch."""
