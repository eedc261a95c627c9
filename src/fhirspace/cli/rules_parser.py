"""The command on conformance rules, with its arguments, and those of `validate` about rules."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fhirspace.cli.options import add_command


def _rules(commands: Any) -> None:
    parser = add_command(
        commands,
        "rules",
        "add or test conformance rules, written in the language of the CDISC Open Rules",
        "add cdisc-open-rules",
        "test my-rules",
        "test my-rules/STUDY-001 --json",
    )
    parser.add_argument("action", choices=("add", "test"))
    parser.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="for `add`: a clone or an archive (tar, zip) of rules, which `validate --rules` then runs; for `test`: a"
        " folder with rule.yml and its cases, or with such folders",
    )


def rules_option(parser: argparse.ArgumentParser) -> None:
    """The options of `validate` about conformance rules."""
    parser.add_argument(
        "--rules",
        metavar="RULES",
        nargs="?",
        const="",
        help="also judge SDTM datasets by conformance rules: fhirspace's own and those of `rules add`, or those of the"
        " folder or file RULES",
    )
    parser.add_argument(
        "--values",
        metavar="FILE",
        type=Path,
        help="with --rules: write the values of the records found to FILE (NDJSON, mode 0600)",
    )
    parser.add_argument(
        "--format",
        choices=("table", "json", "ndjson", "sarif", "outcome", "xlsx", "html"),
        help="the format of the findings; with --rules, of what rules found: table, json, sarif, xlsx or html (default:"
        " table, or that of --report by its name)",
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        help="with --rules: write what rules found to FILE, with the values of the records (mode 0600)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the files of --report and --values (default: a file that is there already is refused)",
    )
    parser.add_argument(
        "--explained",
        metavar="FILE",
        type=Path,
        help="with --rules: explanations of findings (default: explained.yaml beside the datasets)",
    )
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "never"),
        default="warning",
        help="the findings that give exit code 1 (default: warning, which is errors and warnings)",
    )


def _terminology(commands: Any) -> None:
    parser = add_command(
        commands,
        "terminology",
        "add packages of CDISC terminology for SDTM, or list those at hand",
        'add "SDTM Terminology 2025-09-26.txt"',
        "add sdtm.csv --date 2025-09-26",
        "list",
    )
    parser.add_argument("action", choices=("add", "list"))
    parser.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        nargs="?",
        help="for `add`: a package as NCI EVS publishes it (text with tabs, or ODM-XML), or CSV with the same columns;"
        " studies that name its version are judged by it",
    )
    parser.add_argument(
        "--date", metavar="DATE", default="", help="the version of the package, if neither the file nor its name has it"
    )


RULES = (_rules, _terminology)
