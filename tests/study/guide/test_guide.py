"""The reviewer's guide: what it says, bounds of its tables, and foreign text made safe in both forms."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from fhirspace.errors import Place, Problem
from fhirspace.sdtm.derive.work import Derived
from fhirspace.sdtm.rules.model import Check, Group as AllOf, Rule
from fhirspace.study.convert import convert
from fhirspace.study.guide.content import MOST, Contents, sections, title
from fhirspace.study.guide.writing import html, markdown
from fhirspace.study.rules.explained import Explanation
from fhirspace.study.rules.report import Group

CHECK = AllOf("all", (Check("empty", "VSORRES"),))
ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b",
    "[x](javascript:alert(1))",
    "![x](http://127.0.0.1/x.png)",
    "http://127.0.0.1/",
    "www.example.org",
    "`code` *bold* _it_ ~~no~~ # head",
    "a\n\n# Findings\n| x |",
    "\u202eevil\u2066",
    "\x1b[31mred",
    "\x00\ud800",
    '" onmouseover="x',
    "&lt;b&gt;",
    "x" * 100_000,
]


def contents(text: str = "T", **more) -> Contents:
    datasets = {text: (text, text, 1, 2)}
    counts = {text: {"in": 1, "out": 1, "quarantined": 0}}
    problems = [Problem("FS704", Place("lb.csv", 3, text), table=text, detail=text)]
    why = Explanation(text, (text,), 3, text, text, Place("explained.yaml", 2))
    rule = Rule(text, "Record Data", "Record", CHECK, message=text, ids=(text,))
    given: dict[str, Any] = {
        "explanations": [why],
        "rules": [Group(rule, text, "x.csv", 1, (1,), (text,), why)],
        "derived": [Derived(text, text, text)],
        "differences": {(text, text): 3},
        "declared": [text],
        "named": text,
    }
    return Contents("sdtm", text, datasets, counts, problems, **(given | more))


@pytest.mark.parametrize(
    ("used", "named", "text"),
    [
        ("2030-03-28", "2030-03-28", "CDISC SDTM 2030-03-28"),
        ("2030-03-28", "", "CDISC SDTM 2030-03-28"),
        ("2030-03-28", "2020-12-18", "CDISC SDTM 2030-03-28 (the study names 2020-12-18)"),
    ],
)
def test_the_front_names_the_terminology_that_was_used(used: str, named: str, text: str) -> None:
    front = sections(contents(terminology=used, named=named))[0]
    assert ("Controlled terminology", text) in front.rows


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add((tag, tuple(sorted(name for name, _ in attrs))))


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_foreign_text_is_text_in_html(attack):
    about = contents(attack)
    raw = html(title(about), sections(about))
    page, plain = Page(), Page()
    page.feed(raw.decode())
    plain.feed(html("T", sections(contents())).decode())
    assert page.tags == plain.tags
    assert len(raw) < 100_000 and b"\x00" not in raw and b"\x1b" not in raw


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_foreign_text_is_text_in_markdown(attack):
    about = contents(attack)
    text = markdown(title(about), sections(about))
    shape = [line[:2] for line in text.splitlines()]
    assert shape == [line[:2] for line in markdown("T", sections(contents())).splitlines()]
    bare = re.sub(r"\\.", "", text)
    rows = [line for line in bare.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} <= {3, 4, 6, 8} | {2}
    assert not re.search(r"<|https?://|www\.|`|\]\(", bare)
    assert len(text) < 100_000


def test_a_long_table_says_how_much_is_left_out():
    about = contents(derived=[Derived("LB", f"V{at}", "m") for at in range(MOST + 5)])
    (found,) = [each for each in sections(about) if each.title == "Derivations"]
    assert len(found.rows) == MOST and f"of {MOST + 5:,} rows" in found.text


def test_findings_are_counted_and_explained():
    problems = [Problem("FS729", Place("lb.csv", row, "LBDTC"), table="LB") for row in (2, 3)]
    problems.append(Problem("FS725", Place("vs.csv", 2, "VSDTC"), table="VS"))
    why = Explanation("FS725", ("VS",), None, "Measured twice.", "A. Statistician", Place("explained.yaml", 2))
    about = Contents("sdtm", "T", {}, {}, problems, [why])
    (found,) = [each for each in sections(about) if each.title.startswith("Findings")]
    assert [(row[0], row[1], row[2], row[3], row[4]) for row in found.rows] == [
        ("explained", "FS725", "VS", "VSDTC", "1"),
        ("note", "FS729", "LB", "LBDTC", "2"),
    ]
    assert found.rows[0][-1] == "Measured twice. (A. Statistician)"


def test_findings_of_rules_and_all_explanations_are_listed():
    by = ("J. Doe", Place("explained.yaml", 2))
    used = Explanation("CG0431", ("VS",), 3, "As in the protocol.", *by)
    unused = Explanation("FS-DM-004", (), None, "Not here.", *by)
    code = Explanation("FS725", (), 2, "Measured twice.", *by)
    rule = Rule("FS-X-1", "Record Data", "Record", CHECK, message="A thing is wrong", ids=("CG0431",), severity="error")
    groups = [Group(rule, "VS", "vs.csv", 3, (1, 2, 3), ("VSORRES",), used), Group(rule, "LB", "lb.csv", 1, (), ())]
    problems = [Problem("FS725", Place("vs.csv", 2, "VSDTC"), table="VS")]
    about = Contents("sdtm", "T", {}, {}, problems, [used, unused, code], rules=groups)
    tables = {each.title: each.rows for each in sections(about)}
    assert tables["Conformance rules"] == (
        ("explained", "FS-X-1", "CG0431", "VS", "3", "A thing is wrong", "As in the protocol. (J. Doe)"),
        ("error", "FS-X-1", "CG0431", "LB", "the dataset", "A thing is wrong", ""),
    )
    assert tables["Explanations"] == (
        ("CG0431", "VS", "at most 3", "3", "As in the protocol.", "J. Doe", "explains findings"),
        ("FS-DM-004", "all", "any number", "0", "Not here.", "J. Doe", "fits no finding"),
        ("FS725", "all", "at most 2", "1", "Measured twice.", "J. Doe", "explains findings"),
    )


def test_the_guide_of_a_run_has_what_rules_find_and_the_explanations(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "dm.csv").write_text("STUDYID,DOMAIN,USUBJID,SUBJID,SITEID,SEX,COUNTRY,AGE\nT,DM,T-1,1,1,M,DEU,40\n")
    (folder / "explained.yaml").write_text("explained:\n- {rule: FS-STRUCT-011, reason: One arm., by: J. Doe}\n")
    convert(folder, to="sdtm", out=tmp_path / "out", formats=("csv",), guide=True)
    text = (tmp_path / "out" / "reviewers-guide.md").read_text("utf-8")
    lines = [line.replace("\\", "") for line in text.splitlines() if "FS-STRUCT-011" in line.replace("\\", "")]
    assert [line.split("|")[1].strip() for line in lines] == ["explained", "FS-STRUCT-011"]
    assert all("J. Doe" in line for line in lines)


def test_a_table_without_rows_says_so():
    texts = {each.title: each.text for each in sections(Contents("records", "", {}, {}, []))}
    assert texts["Derivations"].endswith("None.") and title(Contents("fhir", "", {}, {}, [])) == "Reviewer's guide"


def test_a_run_writes_both_and_no_value_of_the_data(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    names = "STUDYID,DOMAIN,USUBJID,SUBJID,RFICDTC,SITEID,BRTHDTC,AGE,AGEU,SEX,ARMCD,ARM,ACTARMCD,ACTARM,COUNTRY"
    row = "T<b>,DM,T-4711,4711,2025-06-10,10,1960-01-31,93,YEARS,M,A,Active,A,Active,DEU"
    (folder / "dm.csv").write_text(f"{names}\n{row}\n", "utf-8")
    convert(folder, to="sdtm", out=tmp_path / "out", formats=("csv",), guide=True)
    for name in ("reviewers-guide.md", "reviewers-guide.html"):
        text = (tmp_path / "out" / name).read_text("utf-8")
        assert "T&lt;b&gt;" in text and "FS704" in text and "RFPENDTC" not in text
        assert "4711" not in text and "1960" not in text
        assert (tmp_path / "out" / name).stat().st_mode & 0o777 == 0o600


def test_titles_of_numbers_are_at_the_right_and_a_table_without_titles_has_no_row_for_them():
    page = html("T", sections(contents())).decode()
    assert "<th scope=col class=number>rows</th>" in page
    assert "<th scope=col>label</th>" in page
    assert "<th scope=col></th>" not in page
