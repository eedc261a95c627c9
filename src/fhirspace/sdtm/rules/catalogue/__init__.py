"""Where rules come from: those that fhirspace brings (`own`), and those that a user added (`added`)."""
