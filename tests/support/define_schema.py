"""The official XML Schema of Define-XML 2.1, as the package `defineutils` carries it."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest


def _folder() -> Path:
    found = importlib.util.find_spec("defineutils")
    if found is None or found.origin is None:
        pytest.skip("NOT CHECKED: the package defineutils, which carries the official schema, is not installed")
    return Path(found.origin).parent


@cache
def _schema(path: Path) -> Any:
    etree = pytest.importorskip("lxml.etree")
    return etree.XMLSchema(etree.parse(path))


def faults(content: bytes) -> list[str]:
    """What the official schema finds wrong in a document."""
    etree = pytest.importorskip("lxml.etree")
    schema = _schema(_folder() / "validate" / "schema" / "cdisc-define-2.1" / "define2-1-0.xsd")
    schema.validate(etree.fromstring(content))
    return [f"{entry.line}: {entry.message}" for entry in schema.error_log]


def stylesheet() -> Path:
    """The standard stylesheet, which shows a define.xml in a browser."""
    return _folder() / "definehtml" / "define2-1.xsl"
