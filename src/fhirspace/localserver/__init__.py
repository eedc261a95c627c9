"""A real FHIR server (HAPI) on this machine."""
