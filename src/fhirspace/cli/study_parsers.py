"""The commands on studies and mappings, with their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fhirspace.cli.options import (
    SITES_KEY,
    add_command,
    encoding_option,
    input_argument,
    key_option,
    links_option,
    patients_option,
    positive,
    release_option,
    server_option,
    shared_option,
    strict_option,
    study_options,
    validate_option,
)
from fhirspace.cli.rules_parser import rules_option


def _demo(commands: Any) -> None:
    parser = add_command(
        commands,
        "demo",
        "convert the SPACE study end to end: EDC export, SDTM, FHIR and back",
        "",
        "--server --fhir R5",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("fhirspace-demo"),
        help="the output folder: a new one, or that of an earlier demo (default: fhirspace-demo)",
    )
    parser.add_argument(
        "--server", action="store_true", help="also start a real FHIR server on this machine, push, pull and compare"
    )
    shared_option(parser)
    release_option(parser)
    key_option(parser, "the file with an id key (default: the published key, for synthetic data only)")


def _convert(commands: Any) -> None:
    parser = add_command(
        commands,
        "convert",
        "convert records, SDTM datasets or FHIR to one of the others",
        "export/ --to sdtm --format xpt parquet --out study",
        "datasets/ --to sdtm --define --study study.yaml --out finished",
        "study/sdtm --to fhir --out study-fhir --engine processes --workers 4",
        "study/sdtm --to fhir --out study-fhir --validate full",
        "study-fhir --to records --source space --out back",
        "ehr-export/ --to sdtm --views my-study/ --source ehr --out study",
    )
    input_argument(parser)
    strict_option(parser)
    parser.add_argument("--to", choices=("fhir", "sdtm", "records"), required=True, help="what to convert to")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the output folder")
    shared_option(parser)
    study_options(parser)
    parser.add_argument(
        "--format",
        nargs="+",
        choices=("xpt", "parquet", "csv", "dataset-json", "dataset-ndjson", "dsjc"),
        default=["xpt"],
        help="formats of SDTM datasets (default: xpt), or of the records of views: parquet, csv (default: csv)",
    )
    parser.add_argument(
        "--define",
        action=argparse.BooleanOptionalAction,
        help="SDTM: also write its metadata, sdtm/define.xml, Define-XML 2.1 (default: if the input has one)",
    )
    parser.add_argument(
        "--derive",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="SDTM from SDTM: derive what is empty, and bring variables in order (default); else only write again",
    )
    parser.add_argument(
        "--study",
        metavar="FILE",
        type=Path,
        help="the design of the study (default: study.yaml of the source mappings, or beside SDTM datasets)",
    )
    parser.add_argument(
        "--rules",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="SDTM: run fhirspace's conformance rules over the datasets written, and print how much they find (default:"
        " yes)",
    )
    parser.add_argument(
        "--views",
        metavar="NAME|DIR",
        help="FHIR that fhirspace did not write: the views that make records of it, such as us-core",
    )
    parser.add_argument(
        "--enrolment",
        metavar="FILE",
        type=Path,
        help="with --views: the table of the patients in the study (default: that of the views)",
    )
    parser.add_argument(
        "--guide",
        action="store_true",
        help="SDTM: also write a guide for reviewers, reviewers-guide.md and .html: datasets, findings, derivations",
    )
    parser.add_argument("--gzip", action="store_true", help="write FHIR compressed: fhir/<Type>.ndjson.gz")
    validate_option(parser, "FHIR: judge what is written")
    key_option(parser, f"FHIR: {SITES_KEY}")
    parser.add_argument(
        "--new-ids", action="store_true", help="FHIR: replace an output folder whose ids were made with another key"
    )
    parser.add_argument(
        "--engine", choices=("inline", "processes"), default="inline", help="one process or several (default: inline)"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="number of processes for --engine processes (default: one per core)",
    )


def _validate(commands: Any) -> None:
    parser = add_command(
        commands,
        "validate",
        "check FHIR files, or SDTM datasets, against their standards",
        "study/fhir --full",
        "study/fhir --terminology meddra.csv",
        "export/ --server https://fhir.example.org/fhir",
        "study --json",
        "study --rules",
    )
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="files, folders, or an output folder")
    links_option(parser)
    encoding_option(parser)
    release_option(parser)
    parser.add_argument(
        "--full",
        action="store_true",
        help="also report what FHIR only recommends, such as codes of extensible value sets",
    )
    parser.add_argument(
        "--profile",
        metavar="PACKAGE",
        action="append",
        help="also check by the profiles and extensions of this package (folder or .tgz), or by the profile of this"
        " address; may be given several times",
    )
    parser.add_argument(
        "--terminology",
        metavar="FILE|DIR",
        type=Path,
        action="append",
        default=[],
        help="code systems and value sets to check codes by: CodeSystem and ValueSet as JSON, or CSV with the columns"
        " system and code, for licensed systems; may be given several times",
    )
    server_option(parser, without="references to what the files do not have lead nowhere")
    rules_option(parser)


def _roundtrip(commands: Any) -> None:
    parser = add_command(
        commands,
        "roundtrip",
        "convert there and back, and prove cell by cell that nothing is lost",
        "export/",
        "study/sdtm --fhir R5 --json",
    )
    input_argument(parser)
    strict_option(parser)
    study_options(parser)
    key_option(
        parser, "FHIR input: also compare ids, which were made with the key in this file (default: only references)"
    )


def _mapping(commands: Any) -> None:
    parser = add_command(
        commands,
        "mapping",
        "list, check and show mappings",
        "list",
        "show AE --fhir R5",
        "coverage --json",
        "check --mappings my-mappings",
        "new export/ecg.csv",
        "profile ehr-export/ --out my-study",
        "profile --server https://ehr.example.org/fhir --patients Group/trial --out my-study",
        "export us-core --view-definition --out definitions",
    )
    actions = ("list", "check", "show", "coverage", "schema", "new", "profile", "export")
    parser.add_argument("action", choices=actions)
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a dataset such as AE, or a form; `new`: a CSV file; `profile`: a folder with FHIR; `export`: views",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="profile: also write first views, an enrolment table, and code lists to fill; export: a file a view",
    )
    server_option(parser, without="profile: the files of a folder")
    patients_option(parser)
    parser.add_argument(
        "--view-definition", action="store_true", help="export: views as ViewDefinitions of SQL on FHIR (JSON)"
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        type=Path,
        nargs="+",
        default=[],
        help="coverage: count the cells of these SDTM datasets, too",
    )
    study_options(parser)


def _explain(commands: Any) -> None:
    parser = add_command(commands, "explain", "explain an error code: meaning, cause and fix", "FS208", "")
    parser.add_argument("code", metavar="CODE", nargs="?", help="such as FS208 (default: list all codes)")


EVERYDAY = (_demo, _convert, _validate, _roundtrip)
"""Each adds a command to the parser; in the order of the help text."""
ABOUT_MAPPINGS = (_mapping, _explain)
