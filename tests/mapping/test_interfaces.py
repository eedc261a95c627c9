"""What modules use of each other is declared: no module takes a private name of another one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fhirspace

ROOMS = Path(fhirspace.__file__).parent
MODULES = [path for room in ("mapping", "template") for path in sorted((ROOMS / room).rglob("*.py"))]


def private_names(source: str) -> Iterator[str]:
    """The private names that a module imports, or takes from a module that it imports."""
    tree = ast.parse(source)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                imported.add(alias.asname or alias.name)
                if isinstance(node, ast.ImportFrom) and _is_private(alias.name):
                    yield alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and ast.unparse(node.value) in imported:
            yield ast.unparse(node)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOMS).as_posix())
def test_a_module_uses_public_names_of_others_only(path: Path) -> None:
    assert list(private_names(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    ["from fhirspace.a import _b", "from fhirspace import a\na._b()", "from fhirspace import a as c\nx: c._B"],
)
def test_private_names_are_found(source: str) -> None:
    assert list(private_names(source))
