"""A define.xml as a file: its XML as nodes, read as a `Define` and written from one."""
