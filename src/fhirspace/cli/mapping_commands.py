"""What ``fhirspace mapping`` does."""

from __future__ import annotations

from argparse import Namespace

from fhirspace.cli.console import give
from fhirspace.cli.options import client_of
from fhirspace.errors import EXIT_CLEAN, EXIT_QUARANTINED


def mapping(options: Namespace) -> int:
    """``fhirspace mapping``."""
    if options.action == "profile":
        from fhirspace.study.inspect.foreign import profile

        there = {"patients": options.patients} if options.patients else {}
        if options.server:
            there["client"] = client_of(options)
        found, about = profile(options.name, mappings=options.mappings, out=options.out, **there)
        give(found, about, as_json=options.json)
        return EXIT_QUARANTINED if found["problems"] else EXIT_CLEAN
    if options.action == "export":
        from fhirspace.study.inspect.view_definitions import export

        wanted = {"view_definition": options.view_definition, "out": options.out}
        found, about = export(options.name, mappings=options.mappings, fhir=options.fhir, **wanted)
        give(found, about, as_json=options.json)
        return EXIT_CLEAN
    from fhirspace.study.inspect import mappings as views

    view = getattr(views, options.action)
    more = {"data": options.data} if options.action == "coverage" else {}
    data, text = view(options.name, mappings=options.mappings, fhir=options.fhir, source=options.source, **more)
    give(data, text, as_json=options.json)
    return EXIT_CLEAN
