"""The command line: parser, commands, and what is printed."""

from fhirspace.cli.run import main

__all__ = ["main"]
