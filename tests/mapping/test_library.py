"""One mapping of a library alone is the same as among all of them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping, walk
from fhirspace.standards.fhir import RELEASES, Release
from fhirspace.template.folders import shipped
from tests.support.shipped import datasets, extending, roots

DOMAINS = ("SUPPAE", *datasets())


def shape(mapping: Mapping) -> str:
    """All that a mapping says, but for functions, which have no equal."""
    nodes = [type(node).__name__ + str(getattr(node, "domain", "")) for root in mapping.roots() for node in walk(root)]
    return f"{mapping.domain} {mapping.file} {mapping.key} {mapping.carried} {nodes}"


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_mapping_alone_is_the_one_among_all(domain: str) -> None:
    library = Library("R4")
    there = pickle.loads(pickle.dumps(library))
    assert shape(there.mapping(domain)) == shape(library.complete()[domain])
    assert library.mapping(domain) is library.mappings[domain]


@pytest.mark.parametrize("release", RELEASES)
def test_laws_are_tried_on_all_mappings(release: Release) -> None:
    """Their datasets are found in the texts of the files: they are those of the mappings that are built."""
    found = {name: each for name, each in Library(release).complete().items() if not name.startswith("SUPP")}
    assert tuple(found) == datasets()
    assert tuple(name for name, each in found.items() if not each.attach) == roots()
    assert {each.file for each in found.values()} - extending() == {
        found[name].file for name in datasets(classes=False)
    }


def test_the_last_folder_wins(tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    text = (shipped() / "domains" / "vs.yaml").read_text("utf-8")
    (tmp_path / "domains" / "mine.yaml").write_text(text, "utf-8")
    assert Library("R4", [tmp_path]).mapping("VS").file == "mine.yaml"
