"""Text tables in and out, one file a format; knows no FHIR."""
