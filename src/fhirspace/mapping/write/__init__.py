"""Rows to FHIR: the reference renderer, and the kernel that makes the same bytes fast."""
