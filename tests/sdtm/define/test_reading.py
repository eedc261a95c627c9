"""Files of other programs: version 2.0, words that 2.1 does not allow, and CDISC's own sample."""

from pathlib import Path
from typing import Any

import pytest

from fhirspace.errors import InputError
from fhirspace.sdtm.define.document import reading, writing
from tests.support.define_schema import faults

MSG20 = Path(__file__).parents[4] / "shared" / "data" / "msg20" / "define.xml"
OLD = """<ODM xmlns="http://www.cdisc.org/ns/odm/v1.3" xmlns:def="http://www.cdisc.org/ns/def/v2.0"
 xmlns:xlink="http://www.w3.org/1999/xlink" FileOID="F" FileType="Snapshot" CreationDateTime="2015-01-01T00:00:00">
<Study OID="S"><GlobalVariables><StudyName>OLD</StudyName><StudyDescription>An old one</StudyDescription>
<ProtocolName>P</ProtocolName></GlobalVariables>
<MetaDataVersion OID="M" Name="N" def:DefineVersion="2.0.0" def:StandardName="SDTM-IG" def:StandardVersion="3.2">
<ItemGroupDef OID="IG.AE" Name="AE" Repeating="Yes" def:Structure="One per event" def:Class="Events"
 def:ArchiveLocationID="LF.AE"><Description><TranslatedText>Adverse Events</TranslatedText></Description>
<ItemRef ItemOID="IT.AE.AETERM" Mandatory="Yes" OrderNumber="2" KeySequence="1"/>
<ItemRef ItemOID="IT.AE.USUBJID" Mandatory="Yes" OrderNumber="1"/>
<def:leaf ID="LF.AE" xlink:href="ae.xpt"><def:title>ae.xpt</def:title></def:leaf></ItemGroupDef>
<ItemDef OID="IT.AE.AETERM" Name="AETERM" DataType="text" Length="0">
<Description><TranslatedText xml:lang="de">Begriff</TranslatedText>
<TranslatedText xml:lang="en">Reported Term</TranslatedText></Description>
<CodeListRef CodeListOID="CL.T"/><def:Origin Type="CRF"/></ItemDef>
<ItemDef OID="IT.AE.USUBJID" Name="USUBJID" DataType="words" Length="1234567890123"><def:Origin Type="eDT"/></ItemDef>
<CodeList OID="CL.T" Name="T" DataType="text"><EnumeratedItem CodedValue="X"/></CodeList>
</MetaDataVersion></Study></ODM>"""


def read(tmp_path, text):
    path = tmp_path / "define.xml"
    path.write_text(text, "utf-8")
    return reading.read(path)


def test_version_2_0_is_translated(tmp_path):
    define = read(tmp_path, OLD)
    (group,) = define.groups.values()
    assert (group.klass, group.label, group.leaf.href) == ("EVENTS", "Adverse Events", "ae.xpt")
    assert [(each.name, each.label, each.type, each.length) for _, each in define.variables(group)] == [
        ("USUBJID", "", "text", None),
        ("AETERM", "Reported Term", "text", None),
    ]
    origins = [each.origins[0] for _, each in define.variables(group)]
    assert [(each.type, each.source) for each in origins] == [("Collected", "Vendor"), ("Collected", "Investigator")]
    assert [(each.name, each.version) for each in define.standards.values()] == [("SDTMIG", "3.2")]
    assert faults(writing.as_bytes(define)) == []


@pytest.mark.parametrize(
    "text",
    [
        "<ODM/>",
        OLD.replace("def/v2.0", "def/v1.0"),
        OLD.replace("MetaDataVersion", "Other"),
        OLD[:-20],
        "no xml",
        "",
        '<?xml version="1.0" encoding="x-unknown"?><ODM/>',
    ],
)
def test_what_is_no_define_is_refused(tmp_path, text):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert caught.value.code == "FS770"


def test_the_sample_package_is_read_whole_and_written_valid(tmp_path):
    if not MSG20.is_file():
        pytest.skip(f"the sample submission package is not at {MSG20.parent}")
    define = reading.read(MSG20)
    content = writing.as_bytes(define)
    assert faults(content) == []
    path = tmp_path / "again.xml"
    path.write_bytes(content)
    assert reading.read(path) == define
    text = MSG20.read_text("utf-8")
    counts: dict[str, dict[str, Any]] = {
        "ItemGroupDef": define.groups,
        "ItemDef": define.items,
        "CodeList": define.codelists,
    }
    counts |= {"def:WhereClauseDef": define.wheres, "def:CommentDef": define.comments, "MethodDef": define.methods}
    assert {name: len(found) for name, found in counts.items()} == {name: text.count(f"<{name} ") for name in counts}
