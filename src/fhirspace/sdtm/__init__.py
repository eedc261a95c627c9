"""SDTM tabulations: derivations, supplemental qualifiers, conformance."""
