"""Reports of conformance rules in the formats that others read."""

from __future__ import annotations

from collections.abc import Callable

from fhirspace.study.rules.formats import html, sarif, workbook
from fhirspace.study.rules.report import Report

FORMATS: dict[str, Callable[[Report], bytes]] = {
    "table": lambda report: "".join(f"{line}\n" for line in report.lines()).encode("utf-8", "replace"),
    "json": sarif.plain,
    "sarif": sarif.log,
    "xlsx": workbook.write,
    "html": html.page,
}
"""What makes a report of each format; the same findings give the same bytes."""
