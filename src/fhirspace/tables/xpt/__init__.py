"""SAS transport files of version 5 to text tables and back."""

from fhirspace.tables.xpt.files import MAGIC, Layout, Variable, check, layout, read, write

__all__ = ["MAGIC", "Layout", "Variable", "check", "layout", "read", "write"]
