"""Checks of elements by the definitions of their types: objects, primitives, codes, references, extensions."""
