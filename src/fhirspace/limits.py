"""How much is read: every bound in one table, with its default, and the error that names it.

A bound is changed by ``--limit NAME=N`` (any command), by `choose`, or by the environment: ``FHIRSPACE_LIMITS`` holds
pairs such as ``cell-bytes=2000000,columns=20000``. The choice is kept in the environment, so that worker processes of
a run have it too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fhirspace.errors import InputError, Place, ServerError, UsageError

VARIABLE = "FHIRSPACE_LIMITS"
FREE = 16_000_000
"""Bytes up to which anything may unpack, however small it was."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound: its default, and what it bounds as a phrase that follows the number (``bytes in a cell``).

    `most` is the largest number that may be chosen, where something else would give way beyond it.
    """

    default: int
    bounds: str
    most: int | None = None


LIMITS = {
    "cell-bytes": Limit(1_000_000, "bytes in a cell"),
    "mappings": Limit(1_000, "datasets that the resources of one input name"),
    "columns": Limit(10_000, "columns in a table"),
    "datasets": Limit(10_000, "datasets in a file"),
    "rows": Limit(10_000_000, "rows in a table"),
    "view-rows": Limit(10_000, "records of one resource by a ViewDefinition"),
    "bad-rows": Limit(100_000, "rows of a file that cannot be read"),
    "header-bytes": Limit(1024**2, "bytes in the header of a CSV file"),
    "record-bytes": Limit(16 * 1024**2, "bytes in a record of a CSV or Dataset-JSON file"),
    "footer-bytes": Limit(32 * 1024**2, "bytes in the footer of a Parquet file"),
    "row-group-bytes": Limit(256 * 1024**2, "bytes of a row group of a Parquet file unpacked at once"),
    "expansion": Limit(200, "times its compressed size, for a file or an answer that unpacks to more than 16 MB"),
    "line-bytes": Limit(64 * 1024**2, "bytes in a line of NDJSON"),
    "manifest-bytes": Limit(64 * 1024**2, "bytes in the manifest of an output folder"),
    "document-bytes": Limit(1024**3, "bytes in a JSON document"),
    "json-depth": Limit(100, "objects and arrays within one another", most=200),  # checks call themselves for each
    "list-bytes": Limit(64 * 1024**2, "bytes in the file of a code list"),
    "define-bytes": Limit(64 * 1024**2, "bytes in a define.xml"),
    "xml-nodes": Limit(500_000, "elements in an XML document"),
    "xml-depth": Limit(100, "XML elements within one another"),
    "config-bytes": Limit(1_000_000, "bytes in the configuration file"),
    "yaml-bytes": Limit(10_000_000, "bytes in a YAML file"),
    "yaml-nodes": Limit(1_000_000, "nodes in a YAML file, its aliases spelt out"),
    "yaml-depth": Limit(60, "YAML nodes within one another"),
    "rule-rows": Limit(50_000_000, "rows of the datasets that a conformance rule joins"),
    "rule-files": Limit(100_000, "files in an archive of conformance rules"),
    "rule-bytes": Limit(512 * 1024**2, "bytes in an archive of conformance rules, unpacked"),
    "rule-seconds": Limit(10, "seconds for one regular expression of a conformance rule over one variable"),
    "answer-bytes": Limit(256 * 1024**2, "bytes in one answer of a server, unpacked"),
    "answer-seconds": Limit(900, "seconds for one answer of a server"),
    "sign-in-bytes": Limit(1_000_000, "bytes in one answer about the sign-in"),
    "failures": Limit(100, "resources that a server fails at, one after the other"),
    "targets": Limit(2_000_000, "different resources that references name, where a server is asked for them"),
    "pages": Limit(100_000, "pages of one search or history"),
    "job-seconds": Limit(172_800, "seconds for a bulk job of a server, or for one file of it"),
    "job-files": Limit(100_000, "files of one bulk export"),
    "journal-bytes": Limit(64 * 1024**3, "bytes in a journal or a plan"),
    "file-bytes": Limit(64 * 1024**3, "bytes in one file of a bulk export"),
}
"""Every bound by its name. An entry here is all that a new bound needs: options, help and messages follow."""


def limit(name: str) -> int:
    """The bound in force. Raises UsageError (FS619) where ``FHIRSPACE_LIMITS`` is wrong, KeyError for no such bound."""
    return _chosen(os.environ.get(VARIABLE, "")).get(name, LIMITS[name].default)


def choose(pairs: Iterable[str]) -> None:
    """Set some bounds for this process and those that it starts.

    Args:
        pairs: ``NAME=N`` each, as ``--limit`` takes them.

    Raises:
        UsageError: FS619 for an unknown name or a number below 1.
    """
    chosen = _chosen(",".join(pairs))
    if chosen:
        now = {**_chosen(os.environ.get(VARIABLE, "")), **chosen}
        os.environ[VARIABLE] = ",".join(f"{name}={number}" for name, number in now.items())


def expands_too_far(unpacked: int, packed: int) -> bool:
    """Whether so many bytes, made of so few, exceed the bound ``expansion``."""
    return unpacked > FREE and unpacked > limit("expansion") * packed


def too_much(name: str, place: Place) -> InputError:
    """The error (FS160) for an input that exceeds the bound `name`."""
    return InputError("FS160", place, allowed(name))


def read_within(name: str, path: Path) -> bytes:
    """The content of a file of at most as many bytes as the bound `name` says. Raises InputError (FS160), OSError."""
    most = limit(name)
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise too_much(name, Place(path.name))
    return content


def answered_too_much(name: str, server: str) -> ServerError:
    """The error (FS519) for a server whose answer exceeds the bound `name`."""
    return ServerError("FS519", server, allowed(name))


def allowed(name: str) -> str:
    """The bound in words, with the option that changes it, for messages."""
    return f"at most {limit(name):,} {LIMITS[name].bounds} (`--limit {name}=N` allows another number)"


@lru_cache(maxsize=8)
def _chosen(text: str) -> dict[str, int]:
    found = {}
    for pair in filter(None, text.split(",")):
        name, _, number = pair.partition("=")
        if name not in LIMITS or not (number.isascii() and number.isdigit()) or len(number) > 18 or int(number) < 1:
            raise UsageError(
                "FS619", "--limit", f"NAME=N, where N is at least 1 and NAME is one of {', '.join(LIMITS)}"
            )
        if (most := LIMITS[name].most) and int(number) > most:
            raise UsageError("FS619", "--limit", f"{name}=N, where N is at most {most}")
        found[name] = int(number)
    return found
