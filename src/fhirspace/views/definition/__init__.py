"""ViewDefinition of SQL on FHIR: read, checked, and evaluated by the engine of views; and made of views."""
