"""The mapping language: load, check, render (rows to FHIR), extract (FHIR to rows)."""
