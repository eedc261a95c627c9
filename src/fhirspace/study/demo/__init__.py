"""The demonstration: one study from its EDC export to a real server and back."""
