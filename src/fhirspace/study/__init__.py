"""Whole studies: what is in a folder, records to tabulations to FHIR and back, the proof that nothing was lost."""
