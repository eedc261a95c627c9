"""Rules of single values: pure functions that return what is wrong, never the value."""
