"""The commands on studies and mappings, with their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fhirspace.cli.options import (
    SITES_KEY,
    add_command,
    encoding_option,
    input_argument,
    key_option,
    links_option,
    positive,
    release_option,
    shared_option,
    study_options,
)


def _demo(commands: Any) -> None:
    parser = add_command(
        commands, "demo", "the SPACE study end to end: EDC export, SDTM, FHIR and back", "", "--server --fhir R5"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("fhirspace-demo"),
        help="where to write: a new folder, or one of an earlier demo (default: fhirspace-demo)",
    )
    parser.add_argument(
        "--server", action="store_true", help="start a real FHIR server here, push, pull back and compare"
    )
    shared_option(parser)
    release_option(parser)
    key_option(parser, "the file of an id key (default: the published one, which is good for synthetic data only)")


def _convert(commands: Any) -> None:
    parser = add_command(
        commands,
        "convert",
        "records, SDTM datasets or FHIR into one of the others",
        "export/ --to sdtm --format xpt parquet --out study",
        "study/sdtm --to fhir --out study-fhir --engine processes --workers 4",
        "study-fhir --to records --source space --out back",
    )
    input_argument(parser)
    parser.add_argument("--to", choices=("fhir", "sdtm", "records"), required=True, help="what it becomes")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the output folder")
    shared_option(parser)
    study_options(parser)
    parser.add_argument(
        "--format",
        nargs="+",
        choices=("xpt", "parquet", "csv"),
        default=["xpt"],
        help="formats of SDTM datasets (default: xpt)",
    )
    parser.add_argument("--gzip", action="store_true", help="compress FHIR: fhir/<Type>.ndjson.gz")
    key_option(parser, f"FHIR: {SITES_KEY}")
    parser.add_argument(
        "--new-ids", action="store_true", help="FHIR: replace ids of another key in the output folder by new ones"
    )
    parser.add_argument(
        "--engine", choices=("inline", "processes"), default="inline", help="one process or several (default: inline)"
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes of --engine processes (default: one a core)"
    )


def _validate(commands: Any) -> None:
    parser = add_command(
        commands,
        "validate",
        "check FHIR files, or SDTM datasets, against their standards",
        "study/fhir --full",
        "study --json",
    )
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="files, folders, or an output folder")
    links_option(parser)
    encoding_option(parser)
    release_option(parser)
    parser.add_argument("--full", action="store_true", help="fhir.resources over every resource as well")
    parser.add_argument(
        "--profile", metavar="DIR", type=Path, help="check extensions by the StructureDefinitions in this folder too"
    )


def _roundtrip(commands: Any) -> None:
    parser = add_command(
        commands,
        "roundtrip",
        "prove cell by cell that nothing is lost on the way there and back",
        "export/",
        "study/sdtm --fhir R5 --json",
    )
    input_argument(parser)
    study_options(parser)
    key_option(parser, "FHIR input: compare its ids too, which the key in this file made (default: who is who only)")


def _mapping(commands: Any) -> None:
    parser = add_command(
        commands,
        "mapping",
        "look at mappings: what there is, whether it is right, what it makes",
        "list",
        "show AE --fhir R5",
        "coverage --json",
        "check --mappings my-mappings",
        "new export/ecg.csv",
    )
    parser.add_argument("action", choices=("list", "check", "show", "coverage", "schema", "new"))
    parser.add_argument("name", nargs="?", metavar="NAME", help="a dataset such as AE, or a form; new: a CSV file")
    study_options(parser)


def _explain(commands: Any) -> None:
    parser = add_command(commands, "explain", "what an error code means and what to do", "FS208", "")
    parser.add_argument("code", metavar="CODE", nargs="?", help="such as FS208; all codes without it")


EVERYDAY = (_demo, _convert, _validate, _roundtrip)
"""Each adds a command to the parser; in the order of the help text."""
ABOUT_MAPPINGS = (_mapping, _explain)
