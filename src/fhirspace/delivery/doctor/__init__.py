"""A look at a FHIR server before delivery."""
