"""SAS transport files of version 5 to text tables and back."""

from fhirspace.tables.xpt.checks import Checked, Variable, check
from fhirspace.tables.xpt.headers import MAGICS
from fhirspace.tables.xpt.reading import names, read
from fhirspace.tables.xpt.writing import write

__all__ = ["MAGICS", "Checked", "Variable", "check", "names", "read", "write"]
