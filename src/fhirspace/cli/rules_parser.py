"""The command on conformance rules, with its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fhirspace.cli.options import add_command


def _rules(commands: Any) -> None:
    parser = add_command(
        commands,
        "rules",
        "test conformance rules, written in the language of the CDISC Open Rules, with their cases",
        "test my-rules",
        "test my-rules/STUDY-001 --json",
    )
    parser.add_argument("action", choices=("test",))
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="for `test`: a folder with rule.yml and its cases, or with such folders"
    )


RULES = (_rules,)
