"""Lists of names as they are written in the tables of this package."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The names in a text, which are divided by white space."""
    return frozenset(text.split())
