"""The frame of a SARIF log, which code hosts and editors read. Source: SARIF 2.1.0 (OASIS)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fhirspace.version import __version__

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def log(rules: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]], **run: Any) -> dict[str, Any]:
    """A log of one run of fhirspace.

    Args:
        rules: reportingDescriptors, to which the results refer by their place. results: the findings.
        run: further properties of the run, such as ``invocations``.
    """
    driver = {"name": "fhirspace", "version": __version__, "rules": rules}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, **run, "results": results}],
    }
