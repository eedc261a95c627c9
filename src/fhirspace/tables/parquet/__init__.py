"""Parquet files to text tables and back, read only after their footers and pages were checked."""

from fhirspace.tables.parquet.files import batches, converter, count, names, read, write

__all__ = ["batches", "converter", "count", "names", "read", "write"]
