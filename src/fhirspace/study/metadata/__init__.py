"""What an input says of its datasets beside their cells, from SDTM files to FHIR and back (docs/decisions/0027)."""
