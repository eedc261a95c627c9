"""FHIR to rows: the reference extractor, and the compiled reader that makes the same rows fast."""
