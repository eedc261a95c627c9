"""The engine that runs batches one after the other in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any

import pyarrow as pa

from fhirspace.engines import Job
from fhirspace.tables.growing import Growing


def run(job: Job, batches: Iterable[pa.RecordBatch], sinks: Mapping[str, Growing]) -> Generator[Any, None, None]:
    """Runs the job over all batches, appends its outputs to the sinks, and yields the report of each batch in order.

    Args:
        job: the function of a batch; batches: text tables; sinks: a growing file by name.
    """
    for batch in batches:
        yield _one(job, batch, sinks)


def _one(job: Job, batch: pa.RecordBatch, sinks: Mapping[str, Growing]) -> Any:
    """One batch; its outputs are released from memory before the next batch."""
    made = job(batch)
    for name, data in made.outputs:
        sinks[name].write(data)
    return made.report
