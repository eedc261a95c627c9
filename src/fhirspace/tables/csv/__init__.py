"""CSV files (RFC 4180, UTF-8) to text tables and back."""

from fhirspace.tables.csv.reading import Rejected, RejectedRow, blocks, read
from fhirspace.tables.csv.writing import unwritable, write

__all__ = ["Rejected", "RejectedRow", "blocks", "read", "unwritable", "write"]
