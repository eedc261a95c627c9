"""FHIR outside the kernel: validation, NDJSON and Bundles."""
