"""The public function `demo`: it checks its arguments, then calls the demonstration."""

from __future__ import annotations

from collections.abc import Callable

from fhirspace import arguments
from fhirspace.arguments import PathLike
from fhirspace.idkey import DEMO_KEY, IdKey
from fhirspace.standards.fhir import RELEASES, Release
from fhirspace.study.demo import run

Say = Callable[[str], None]


def demo(
    out: PathLike,
    *,
    fhir: Release = "R4",
    server: bool = False,
    shared: bool = False,
    say: Say = print,
    as_json: bool = False,
    id_key: IdKey | PathLike = DEMO_KEY,
) -> int:
    """Carry the SPACE study to SDTM and FHIR and back, and give the exit code: 0 if everything is as it should be.

    Args:
        out: where to write: ``sdtm/``, ``fhir/``, ``pulled/``; each is an output folder with its manifest.
        fhir: the FHIR release.
        server: also start a local HAPI that validates, push, push again, pull back and compare.
        shared: files get the modes that the umask gives, instead of being for their owner only.
        say: called with each step when it is done; the table of figures goes to stdout.
        as_json: print the result as JSON.
        id_key: the key of the ids, or its file. The published one makes the same ids everywhere, and hides nothing.

    Raises:
        UsageError: FS640, FS641 an argument; others as `convert` and `push`.
    """
    return run.demo(
        arguments.path("out", out),
        fhir=arguments.choice("fhir", fhir, RELEASES),
        server=arguments.flag("server", server),
        shared=arguments.flag("shared", shared),
        say=arguments.function("say", say),
        as_json=arguments.flag("as_json", as_json),
        id_key=id_key if isinstance(id_key, IdKey) else arguments.text("id_key", id_key),
    )
