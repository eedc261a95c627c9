"""A package's own define.xml and what is written now: what the package says is used, the rest is added."""

from dataclasses import replace

from fhirspace.sdtm.define import making
from fhirspace.sdtm.define.document import writing
from fhirspace.sdtm.define.making import Known
from fhirspace.sdtm.define.merging import merged
from fhirspace.sdtm.define.model import Comment, Document, Leaf, Method
from tests.sdtm.define.test_agreement import AE
from tests.sdtm.define.test_making import VS, dataset, item, made
from tests.support.define_schema import faults


def again(given, **datasets):
    written = {name: dataset(name, cells, f"{name.lower()}.parquet") for name, cells in datasets.items()}
    return merged(making.make(written, Known(taken=given.oids())), given)


def sponsors():
    """A define.xml with a sponsor's words in it."""
    define = made(AE=AE, VS=VS)
    define.methods["MT.OWN"] = Method(
        "MT.OWN", "Our method", "As the sponsor derives it.", documents=(Document("LF.csdrg"),)
    )
    define.comments["COM.OWN"] = Comment("COM.OWN", "A sponsor's remark.")
    define.leaves["LF.csdrg"] = Leaf("LF.csdrg", "csdrg.pdf", "Reviewer's guide")
    define.documents = (Document("LF.csdrg"),)
    term = item(define, "AE", "AETERM")
    define.items[term.oid] = replace(term, label="Our label", length=150, comment="COM.OWN")
    group = define.dataset("AE")
    assert group
    refs = tuple(replace(ref, method="MT.OWN") if ref.item == term.oid else ref for ref in group.refs)
    define.groups[group.oid] = replace(group, refs=refs, label="Our events")
    return define


def test_what_the_package_says_comes_back():
    given = sponsors()
    now = again(given, AE=AE, VS=VS)
    files = {group.name: group.leaf.href for group in now.groups.values() if group.leaf}
    assert files == {"AE": "ae.parquet", "VS": "vs.parquet"}
    for group in given.groups.values():
        there = now.groups[group.oid]
        assert replace(there, leaf=group.leaf) == group
    for part in ("items", "value_lists", "wheres", "codelists", "methods", "comments", "leaves", "documents"):
        assert getattr(now, part) == getattr(given, part), part
    assert faults(writing.as_bytes(now)) == []


def test_a_new_variable_and_a_new_dataset_are_added():
    given = made(AE={name: cells for name, cells in AE.items() if name != "AESEV"})
    now = again(given, AE=AE, VS=VS)
    (group, other) = now.groups.values()
    assert (group.name, other.name) == ("AE", "VS")
    assert [each.name for _, each in now.variables(group)] == list(AE)
    severity = item(now, "AE", "AESEV")
    assert severity.codelist in now.codelists
    assert faults(writing.as_bytes(now)) == []


def test_what_is_not_written_is_left_out_with_all_that_only_it_needs():
    now = again(sponsors(), VS=VS)
    assert [group.name for group in now.groups.values()] == ["VS"]
    assert not [oid for oid in now.items if ".AE." in oid]
    assert "MT.OWN" not in now.methods and "COM.OWN" not in now.comments
    assert set(now.leaves) == {"LF.csdrg"}


def test_a_dataset_without_data_stays():
    given = sponsors()
    group = given.dataset("AE")
    assert group
    given.groups[group.oid] = replace(group, no_data=True)
    now = again(given, VS=VS).dataset("AE")
    assert now and now.no_data and now.leaf is None


def test_references_that_lead_nowhere_are_left_out():
    given = sponsors()
    del given.leaves["LF.csdrg"], given.comments["COM.OWN"]
    given.codelists = {oid: replace(each, terms=()) for oid, each in given.codelists.items()}
    given.wheres = {oid: replace(each, checks=()) for oid, each in given.wheres.items()}
    assert faults(writing.as_bytes(again(given, AE=AE, VS=VS))) == []
