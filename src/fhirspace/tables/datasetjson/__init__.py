"""Dataset-JSON 1.1 of CDISC, as JSON, as NDJSON and compressed (DSJC), to text tables and back.

Nothing is imported here: deliveries only ask which files are datasets (`opening`), and load no tables.
"""
