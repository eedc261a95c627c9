"""SDTM datasets finished: what is empty is derived, and what came in otherwise is reported."""
