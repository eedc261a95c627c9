"""Source forms: records of an EDC system to SDTM rows and back."""
