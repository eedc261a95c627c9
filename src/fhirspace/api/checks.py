"""What each argument of the functions of delivery must be, by its name: the same in every function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, get_args

from fhirspace import arguments
from fhirspace.delivery.bulk.shapes import SHAPES
from fhirspace.errors import UsageError
from fhirspace.fhir.judging import FailOn, Judging
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.strategy import Kind
from fhirspace.idkey import IdKey
from fhirspace.standards.fhir import RELEASES


def _key(name: str, value: Any) -> Any:
    return value if isinstance(value, IdKey) else arguments.text(name, value)


def _client(name: str, value: Any) -> Client:
    if not isinstance(value, Client):
        raise UsageError("FS641", name, "a client, such as connect(server).client")
    return value


def _types(name: str, value: Any) -> list[str]:
    if isinstance(value, str):
        return [arguments.text(name, value)]
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise UsageError("FS641", name, "one or several resource types")
    return [arguments.text(name, each) for each in value]


_Check = Callable[[str, Any], Any]
_CHECKS: Final[dict[str, _Check]] = {
    **dict.fromkeys(("folder", "out", "plan", "journal", "config"), arguments.path),
    **dict.fromkeys(("server", "study", "run", "since", "level", "source", "bind"), arguments.text),
    **dict.fromkeys(("size", "connections", "piece"), arguments.count),
    **dict.fromkeys(("rate", "longest"), arguments.positive),
    **dict.fromkeys(("client", "anonymous"), _client),
    **dict.fromkeys(("gzip", "signed"), arguments.flag),
    "id_key": _key,
    "types": _types,
    "progress": arguments.function,
    "fhir": lambda name, value: arguments.choice(name, value, RELEASES),
    "way": lambda name, value: arguments.choice(name, value, get_args(Kind)),
    "validate": lambda name, value: arguments.choice(name, value, get_args(Judging)),
    "fail_on": lambda name, value: arguments.choice(name, value, get_args(FailOn)),
    "shape": lambda name, value: arguments.choice(name, value, tuple(SHAPES)),
}
_FLAGS: Final = ("provenance", "overwrite", "follow_links", "shared", "insecure_http")
"""What is True or False, and never left open."""


def checked(needed: tuple[str, ...], **given: Any) -> dict[str, Any]:
    """The arguments that are given, each checked by its name; those that are None are left out, unless needed."""
    found = {}
    for name, value in given.items():
        if name in _FLAGS:
            found[name] = arguments.flag(name, value)
        elif value is not None or name in needed:
            found[name] = _CHECKS[name](name, value)
    return found
