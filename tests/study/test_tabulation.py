"""A tabulation answers the same questions alike in memory and on the disk; its job travels light."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from fhirspace.engines import inline
from fhirspace.errors import UsageError
from fhirspace.mapping.library import Library
from fhirspace.study import dataset as tabulation
from fhirspace.study.dataset import InMemory, InParquet
from fhirspace.study.helper_columns import Helpers
from fhirspace.study.summary import StudySummary, for_rendering
from fhirspace.study.to_fhir import DomainJob
from fhirspace.tables import parquet
from fhirspace.tables.text import as_rows, data_columns
from tests import small_study


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[InMemory, InParquet]:
    monkeypatch.setattr(tabulation, "BATCH", 2)
    table = small_study.table(small_study.AE)
    parquet.write(table, tmp_path / "ae.parquet")
    return InMemory(table), InParquet(tmp_path / "ae.parquet")


def test_memory_and_disk_give_the_same_answers(both: tuple[InMemory, InParquet]) -> None:
    left, right = both
    assert left.rows == right.rows == 3
    assert [name for name in left.columns if not name.startswith("@")] == right.columns
    assert list(as_rows(left.table())) == list(as_rows(right.table()))
    assert (
        data_columns(right.table(["AETERM", "NOSUCH"])) == data_columns(left.table(["AETERM", "NOSUCH"])) == ["AETERM"]
    )


def test_batches_are_of_the_size_that_is_set(both: tuple[InMemory, InParquet]) -> None:
    for each in both:
        sizes = [batch.num_rows for batch in each.batches()]
        assert sum(sizes) == 3
        assert max(sizes) <= 2


def test_a_job_that_travelled_makes_the_same_bytes(both: tuple[InMemory, InParquet]) -> None:
    library = Library("R4")
    job = DomainJob(
        library,
        "AE",
        Helpers(for_rendering({"AE": both[0]}, [library.mappings["AE"]])).alone(library.mappings["AE"]),
        {},
    )
    data = pickle.dumps(job)
    assert len(data) < 10_000
    made = [job(batch).outputs for batch in both[0].batches()]
    assert [pickle.loads(data)(batch).outputs for batch in both[0].batches()] == made
    assert made


def test_a_library_that_cannot_be_built_there_says_so(tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    (tmp_path / "domains" / "x.yaml").write_text("domain: AE\nnonsense: 1\n")
    job = pickle.loads(pickle.dumps(DomainJob(Library("R4", [tmp_path]), "AE", Helpers(StudySummary()), {})))
    batch = small_study.table(small_study.AE).to_batches()[0]
    with pytest.raises(UsageError):
        list(inline.run(job, [batch], {}))
