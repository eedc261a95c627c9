"""A job whose outputs come compressed: for a disk or network that is slower than a processor."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fhirspace.engines import Job, Made

_LEVEL = 1
"""Higher levels take several times as long for a few per cent less."""
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Packed:
    """Compresses the outputs of a job, each output as a member of its own, without a time.

    Members one after the other are one gzip file (RFC 1952, section 2.2): so batches can be compressed side by side,
    and the file is the same for any number of processes.
    """

    job: Job

    def __call__(self, batch: pa.RecordBatch) -> Made:
        """The compressed result of a batch."""
        made = self.job(batch)
        return Made([(name, packed(data)) for name, data in made.outputs], made.report)


def packed(data: Any) -> bytes:
    """Bytes (anything with a buffer) as a gzip member."""
    return zlib.compress(data, _LEVEL, _GZIP)
