"""FHIRPath for invariants: parsed once, compiled to plain Python functions over decoded JSON."""
