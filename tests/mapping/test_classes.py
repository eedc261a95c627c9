"""Class mappings: what `extends:` takes over and changes, split datasets and datasets of no file."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from fhirspace.errors import MappingError
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import slots

_CLASS = """
class: notes
topic: --TERM
key: [STUDYID, USUBJID, --SEQ]
let: {word: unknown, own: []}
Condition:
  id: <USUBJID id>-$domain-<--SEQ integer>
  identifier: {system: $fs/$domain, value: <USUBJID>|<--SEQ integer>}
  meta: $meta
  clinicalStatus: {coding: {system: $thoc/condition-clinical, code: $word}}
  code: {text: <--TERM>}
  subject: $patient
  extension: [$own, <each SUPP-->, <carried>]
"""


def _library(folder: Path, domain: str = "", klass: str = _CLASS) -> Library:
    (folder / "classes").mkdir()
    (folder / "domains").mkdir()
    (folder / "classes" / "notes.yaml").write_text(klass, "utf-8")
    (folder / "domains" / "zz.yaml").write_text(domain or "domain: ZZ\nextends: notes\n", "utf-8")
    return Library("R4", [folder])


def _constants(library: Library, dataset: str) -> set[str]:
    from fhirspace.mapping.model import walk
    from fhirspace.template.slots import Leaf

    nodes = (node for root in library.mappings[dataset].roots() for node in walk(root))
    return {node.constant for node in nodes if isinstance(node, Leaf) and node.constant}


def _columns(library: Library, dataset: str) -> set[str]:
    return {slot.base for root in library.mappings[dataset].roots() for _, slot in slots(root)}


@pytest.mark.parametrize(
    ("own", "there", "gone"),
    [
        ("", {"unknown", "https://fhirspace.org/ZZ"}, set()),
        ("let: {word: active}\n", {"active"}, {"unknown"}),
        ("Condition: {code: {text: fixed}}\n", {"fixed", "unknown"}, set()),
        ("Condition: {severity: {text: <ZZSEV>, coding: {system: $fs/sev, code: <ZZSEV>}}}\n", {"https://fhirspace.org/sev"}, set()),
    ],
    ids=["nothing", "a constant", "an element", "an element more"],
)  # fmt: skip
def test_a_domain_says_what_differs(tmp_path: Path, own: str, there: set[str], gone: set[str]) -> None:
    library = _library(tmp_path, f"domain: ZZ\nextends: notes\n{own}")
    found = _constants(library, "ZZ")
    assert there <= found
    assert not gone & found
    assert {"SUPPZZ", "ZZ"} <= library.mappings.keys()


@pytest.mark.parametrize(
    ("domain", "klass", "code"),
    [
        ("domain: ZZ\nextends: note\n", _CLASS, "FS306"),
        ("domain: ZZ\nextends: [notes]\n", _CLASS, "FS306"),
        ("", _CLASS.replace("topic: --TERM", "extends: notes"), "FS303"),
        ("", _CLASS.replace("class: notes", "klass: notes"), "FS321"),
        ("domain: ZZ\nextends: notes\nlet: {word: $nowhere}\n", _CLASS, "FS331"),
    ],
    ids=["no such class", "no name", "extends itself", "a class without a name", "a constant that is not there"],
)
def test_faults(tmp_path: Path, domain: str, klass: str, code: str) -> None:
    with pytest.raises(MappingError) as caught:
        _library(tmp_path, domain, klass).mappings  # noqa: B018
    assert caught.value.problem.code == code


@pytest.mark.parametrize(
    ("dataset", "columns", "prefix"),
    [
        ("LBCH", (), "LB"),
        ("EGX", (), "EG"),
        ("XX", ("STUDYID", "DOMAIN", "USUBJID", "XXSEQ", "XXTESTCD"), "XX"),
        ("XXAB", ("STUDYID", "DOMAIN", "USUBJID", "XXSEQ", "XXTESTCD"), "XX"),
    ],
)
def test_datasets_of_no_file(dataset: str, columns: tuple[str, ...], prefix: str) -> None:
    library = Library("R4")
    assert library.adopt(dataset, columns)
    mapping = library.mappings[dataset]
    assert (mapping.domain, mapping.code) == (dataset, prefix)
    assert [block.system for block in mapping.blocks] == [f"https://fhirspace.org/{dataset}"]
    assert f"{prefix}TESTCD" in _columns(library, dataset)
    supplemental = library.mappings[f"SUPP{dataset}"]
    assert supplemental.attach is not None
    assert (supplemental.code, supplemental.attach.to) == (prefix, dataset)


@pytest.mark.parametrize("dataset", ["DMX", "TSX", "lbch", "LB-1", "SUPPLB", "ADSL", "", "TOOLONGANAME"])
def test_what_has_no_mapping(dataset: str) -> None:
    """DM's resources are of several kinds, TS's rows are nested in another resource: neither can be split."""
    assert Library("R4").adopt(dataset, ["STUDYID", "USUBJID"]) == (dataset == "SUPPLB")


def test_a_mapping_that_writes_its_own_name_is_not_split(tmp_path: Path) -> None:
    library = _library(
        tmp_path, "domain: ZZ\nextends: notes\nCondition: {identifier: {system: $fs/ZZ, value: <USUBJID>|<ZZSEQ>}}\n"
    )
    assert not library.adopt("ZZAB", ["STUDYID", "USUBJID"])


def test_other_processes_have_them_too() -> None:
    library = Library("R4")
    assert library.adopt("LBCH")
    there = pickle.loads(pickle.dumps(library))
    assert there.mapping("LBCH").domain == "LBCH"


def test_shipped_datasets_of_a_class_are_built_when_needed() -> None:
    library = Library("R4")
    assert "EG" not in library.mappings
    assert {"EG", "SUPPEG"} <= library.complete().keys()
    assert library.mappings["EG"].file == "eg.yaml"
