"""Derivations of SDTM variables."""
