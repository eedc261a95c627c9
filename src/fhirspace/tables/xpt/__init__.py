"""SAS transport files of version 5 to text tables and back; those of version 8 are read."""

from fhirspace.tables.xpt.checks import Checked, Variable, check
from fhirspace.tables.xpt.headers import MAGICS, form_bytes
from fhirspace.tables.xpt.reading import Dataset, datasets, read
from fhirspace.tables.xpt.writing import write

__all__ = ["MAGICS", "Checked", "Dataset", "Variable", "check", "datasets", "form_bytes", "read", "write"]
