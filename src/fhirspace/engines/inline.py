"""The engine that runs batches one after the other in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any, BinaryIO

import pyarrow as pa

from fhirspace.engines import Job


def run(job: Job, batches: Iterable[pa.RecordBatch], sinks: Mapping[str, BinaryIO]) -> Generator[Any, None, None]:
    """Runs the job over all batches, appends its outputs to the sinks, and yields the report of each batch in order.

    Args:
        job: the function of a batch; batches: text tables in pieces; sinks: an open binary file by name.
    """
    for batch in batches:
        yield _one(job, batch, sinks)


def _one(job: Job, batch: pa.RecordBatch, sinks: Mapping[str, BinaryIO]) -> Any:
    """One batch; what was made of it is gone from memory before the next one comes."""
    made = job(batch)
    for name, data in made.outputs:
        sinks[name].write(data)
    return made.report
