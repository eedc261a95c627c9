"""Validation of FHIR resources against the definitions of their release."""
