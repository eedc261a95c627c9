"""SDTM datasets finished: empty cells are derived, and given values that differ are reported."""
