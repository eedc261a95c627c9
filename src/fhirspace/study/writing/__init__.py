"""The datasets of a study as files, in each of their formats, and what describes them."""
