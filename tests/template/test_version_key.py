"""The key `fhirspace:` of mapping files: the version of the language that they are written in."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.errors import MappingError
from fhirspace.forms.library import SourceLibrary
from fhirspace.mapping.library import Library
from fhirspace.template.folders import shipped
from fhirspace.template.yaml_nodes import load
from fhirspace.version import MAPPING_LANGUAGE

NEWER = MAPPING_LANGUAGE + 1
AE = (shipped() / "domains" / "ae.yaml").read_text("utf-8")


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("head", ["fhirspace: 1\n", "fhirspace: '1'\n", "fhirspace: 1\n---\n"])
def test_a_file_of_a_known_version_is_read_as_without_the_key(head: str, tmp_path: Path) -> None:
    plain, versioned = (
        written(tmp_path, "plain.yaml", "let:\n  a: b\n"),
        written(tmp_path, "v.yaml", f"{head}let:\n  a: b\n"),
    )
    texts = [[[name.text for name, _ in document.items] for document in load(path)] for path in (plain, versioned)]
    assert texts == [[["let"]], [["let"]]]


@pytest.mark.parametrize(
    ("version", "code"),
    [(str(NEWER), "FS305"), ("99", "FS305"), ("0", "FS321"), ("new", "FS321"), ("1.0", "FS321"), ("[1]", "FS321")],
)
def test_a_version_that_is_not_known_is_refused_with_its_place(version: str, code: str, tmp_path: Path) -> None:
    path = written(tmp_path, "v.yaml", f"let:\n  a: b\nfhirspace: {version}\n")
    with pytest.raises(MappingError, match=rf"{code} v\.yaml:3:fhirspace"):
        load(path)


def test_a_domain_mapping_names_its_version(tmp_path: Path) -> None:
    written(tmp_path, "domains/ae.yaml", "fhirspace: 1\n" + AE)
    assert "AE" in Library("R4", [tmp_path]).mappings
    written(tmp_path, "domains/ae.yaml", f"fhirspace: {NEWER}\n" + AE)
    with pytest.raises(MappingError, match=r"FS305 ae\.yaml:1"):
        _ = Library("R4", [tmp_path]).mappings


@pytest.mark.parametrize("name", ["common.yaml", "domains/xx.yaml"])
def test_a_newer_file_of_a_mapping_folder_is_refused_whatever_else_is_in_it(name: str, tmp_path: Path) -> None:
    written(tmp_path, name, f"fhirspace: {NEWER}\nunheard of: {{}}\n")
    with pytest.raises(MappingError, match="FS305"):
        _ = Library("R4", [tmp_path]).mappings


@pytest.mark.parametrize("name", ["common.yaml", "ecg.yaml"])
def test_a_newer_file_of_a_source_is_refused(name: str, tmp_path: Path) -> None:
    written(tmp_path, "ecg.yaml", "form: ecg\nkey: [id]\nmakes: EG\n")
    written(tmp_path, name, f"fhirspace: {NEWER}\n")
    with pytest.raises(MappingError, match="FS305"):
        SourceLibrary(tmp_path).build()
