"""Every argument of every public function, found by inspection, with values that its annotation does not allow."""

from __future__ import annotations

import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import pytest

import fhirspace
from fhirspace.errors import UsageError
from fhirspace.tables.text import without_reserved
from tests import small_study

OBJECTS = {"extract", "render"}
"""Functions of mappings: their arguments are objects that the library makes, and dicts of cells."""
VALUES: tuple[Any, ...] = (
    None,
    "",
    "a\0b",
    7,
    0,
    -1,
    True,
    2.5,
    math.inf,
    math.nan,
    b"x",
    ["a"],
    [7],
    "no such",
    object(),
)


def fits(value: Any, kind: Any) -> bool:  # noqa: PLR0911 - one kind of annotation after the other
    """Whether a value is of an annotation, or may be: what a text says is not judged here."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if origin is not None and issubclass(origin, Callable):  # type: ignore[arg-type]
        return callable(value)
    if origin is not None and issubclass(origin, Iterable):
        return isinstance(value, list | tuple) and all(fits(each, inner[0]) for each in value)
    if kind is type(None):
        return value is None
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool) and 0 < value < math.inf
    if kind is str or kind is os.PathLike or origin is os.PathLike:
        return isinstance(value, str) and bool(value) and "\0" not in value
    return isinstance(value, kind)


def functions() -> dict[str, Any]:
    """The public functions and methods by name."""
    found = {name: getattr(fhirspace, name) for name in fhirspace.__all__ if name not in OBJECTS}
    named = {name: each for name, each in found.items() if inspect.isfunction(each)}
    for kind in (fhirspace.Study, fhirspace.Resources, fhirspace.Tables):
        for name, each in inspect.getmembers(kind, lambda each: inspect.isfunction(each) or inspect.ismethod(each)):
            made_by_users = kind is fhirspace.Study and name == "__init__"
            if each.__module__.startswith("fhirspace") and (made_by_users or not name.startswith("_")):
                named[f"{kind.__name__}.{name}"] = each
    return named


def cases() -> Iterable[Any]:
    for name, function in functions().items():
        hints = typing.get_type_hints(function)
        for parameter in inspect.signature(function).parameters.values():
            kind = hints.get(parameter.name)
            if parameter.name == "self" or kind is Any:  # `Study(tables)`: tests/api/test_frames.py
                continue
            if wrong := [value for value in VALUES if not fits(value, kind)]:
                yield pytest.param(name, parameter.name, wrong, id=f"{name}-{parameter.name}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Objects whose methods are called, and a folder."""
    study = fhirspace.Study({"DM": without_reserved(small_study.table(small_study.DM))}, id_key="demo")
    folder, fhir = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("fhir") / "out"
    resources = study.to_fhir()
    resources.write(fhir)
    tables = fhirspace.Study.open(fhir, id_key="demo").to_sdtm()
    return {"Study": study, "Resources": resources, "Tables": tables, "in": small_study.write(folder)}


@pytest.fixture
def good(made: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A right value for each argument that is needed; no server answers at that address."""
    folder = made["in"]
    found = {
        "paths": folder,
        "folder": folder,
        "journal": folder,
        "out": tmp_path / "out",
        "to": "fhir",
        "code": "FS201",
    }
    found |= {
        "server": "http://127.0.0.1:9/fhir",
        "run": "last",
        "study": "TINY",
        "variable": "AESEV",
        "type": "Patient",
    }
    return found | {"tables": {"DM": without_reserved(small_study.table(small_study.DM))}}


def called(name: str, made: dict[str, Any]) -> Callable[..., Any]:
    kind, _, method = name.rpartition(".")
    if not kind:
        return typing.cast("Callable[..., Any]", getattr(fhirspace, name))
    if method in ("__init__", "open"):
        return fhirspace.Study if method == "__init__" else fhirspace.Study.open
    return typing.cast("Callable[..., Any]", getattr(made[kind], method))


@pytest.mark.parametrize(("name", "argument", "wrong"), list(cases()))
def test_values_of_other_types_are_refused_by_name(
    name: str, argument: str, wrong: list[Any], made: dict[str, Any], good: dict[str, Any]
) -> None:
    function = called(name, made)
    parameters = inspect.signature(function).parameters.values()
    given = {each.name: good[each.name] for each in parameters if each.default is each.empty}
    for value in wrong:
        with pytest.raises(UsageError) as caught:
            function(**(given | {argument: value}))
        found = caught.value.code, caught.value.problem.place.file
        assert found in {("FS640", argument), ("FS641", argument)}, value
    assert not good["out"].exists()


def test_all_functions_are_found() -> None:
    found = functions()
    assert {
        "convert",
        "push",
        "demo",
        "explain",
        "Study.__init__",
        "Study.open",
        "Study.write",
        "Resources.models",
    } <= set(found)
    assert not [name for name in found if not inspect.signature(found[name]).parameters]
