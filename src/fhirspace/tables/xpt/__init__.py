"""SAS transport files of version 5 to text tables and back."""

from fhirspace.tables.xpt.files import MAGIC, Checked, Layout, Variable, check, layout, read, write

__all__ = ["MAGIC", "Checked", "Layout", "Variable", "check", "layout", "read", "write"]
