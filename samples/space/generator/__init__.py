"""The invented EDC export of the SPACE study: who the subjects are, what happens to them, what the forms record."""
