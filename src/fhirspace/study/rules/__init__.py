"""Conformance rules over the datasets of an input."""
