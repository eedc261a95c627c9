"""A FHIR server seen from outside: HTTP, sign-in, capability, searches, known products."""
