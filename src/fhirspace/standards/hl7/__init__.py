"""What a validator judges by beside `fhirspace.standards.fhir`: codes, value sets, profiles and invariants of HL7."""
