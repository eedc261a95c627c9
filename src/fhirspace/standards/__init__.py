"""Facts of the standards, as data: FHIR definitions, SDTM metadata, controlled terminology."""
