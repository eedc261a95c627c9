"""Views: FHIR that fhirspace did not write, as flat records that source forms take from there. Read only."""
