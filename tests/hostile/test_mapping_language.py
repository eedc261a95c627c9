"""Mappings, code lists, profiles and configuration that would grow without end: refused with the bound and its option.

What YAML itself can do is in `test_yaml`; here are the constants, loops, conditions and patterns of the language.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from fhirspace import limits
from fhirspace.cli import main
from fhirspace.errors import FhirspaceError, MappingError, UsageError
from fhirspace.fhir.validation.structures import packages
from fhirspace.fhir.validation.structures.tree import tree
from fhirspace.fhirserver import config
from fhirspace.forms.scaffold import make_form_skeleton
from fhirspace.sdtm.derive.design import load_study
from fhirspace.tables import parquet, xpt
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codecs import codec
from fhirspace.template.codelists import CodeLists
from fhirspace.template.folders import digest_of
from fhirspace.template.slots import Leaf, Slot
from fhirspace.template.values import divided, leaf_pattern
from tests import small_study


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "")


HEAD = "domain: ZZ\nkey: [ZZSEQ]\n"
RESOURCE = "Observation:\n  id: <USUBJID id>-ZZ-<ZZSEQ integer>\n  status: final\n  code: {text: %s}\n"
URL = "url: 'http://x'"


def lets(count: int, text: str, last: str) -> str:
    """Constants a0, a1 ... each made of the next."""
    made = [f"  a{at}: {text.replace('NEXT', f'$a{at + 1}')}" for at in range(count)]
    return "\n".join(["let:", *made, f"  a{count}: {last}"]) + "\n"


def loops(depth: int) -> str:
    words = ", ".join(f"w{at}" for at in range(99))
    made, blank = "", "  "
    for at in range(depth):
        made += f"{blank}extension:\n{blank}- for: {{V{at}: [{words}]}}\n"
        blank += "  "
        made += f"{blank}{URL}\n"
    return made + f"{blank}valueString: <ZZX text>\n"


LAST = "{" + URL + ", valueString: <ZZX text>}"
GROWING: dict[str, tuple[str, str]] = {
    "a text made of itself twice": (HEAD + lets(40, '"NEXTNEXT"', "xxxx") + RESOURCE % "$a0", "yaml-nodes"),
    "an object with itself twice": (
        HEAD
        + lets(40, "{" + URL + ", extension: [NEXT, NEXT]}", LAST)
        + RESOURCE % "x"
        + "  extension: [$a0]\n",
        "yaml-nodes",
    ),
    "a list with itself twice": (
        HEAD + lets(40, "[NEXT, NEXT]", "[USUBJID]") + RESOURCE % "x" + "carried: [$a0]\n",
        "yaml-nodes",
    ),
    "loops in loops": (HEAD + RESOURCE % "x" + loops(4), "yaml-nodes"),
    "a long chain of texts": (HEAD + lets(2_000, '"xNEXT"', "x") + RESOURCE % "$a0", "yaml-depth"),
    "a long chain of names": (HEAD + lets(2_000, '"NEXT"', "x") + RESOURCE % "$a0", "yaml-depth"),
    "objects deep in one another": (
        HEAD + lets(59, "{" + URL + ", extension: [{" + URL + ", extension: [NEXT]}]}", LAST) + RESOURCE % "x"
        + "  extension: [$a0]\n",
        "yaml-depth",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GROWING)
def test_what_a_mapping_makes_of_little_is_bounded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, bound = GROWING[name]
    folder = tmp_path / "own" / "domains"
    folder.mkdir(parents=True)
    (folder / "zz.yaml").write_text(text, "utf-8")
    monkeypatch.setenv(limits.VARIABLE, "yaml-nodes=30000")
    assert main(["mapping", "show", "ZZ", "--mappings", str(tmp_path / "own")]) == 2
    said = capsys.readouterr().err
    assert "error: FS160 zz.yaml:" in said
    assert f"`--limit {bound}=N`" in said


@pytest.mark.parametrize("condition", ["not " * 5_000 + "ZZX", "(" * 5_000 + "ZZX" + ")" * 5_000, "(" * 5_000])
def test_conditions_deep_in_one_another(condition: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "own" / "domains"
    folder.mkdir(parents=True)
    (folder / "zz.yaml").write_text(HEAD + RESOURCE % "x" + f"  when: {condition}\n", "utf-8")
    assert main(["mapping", "show", "ZZ", "--mappings", str(tmp_path / "own")]) == 2
    said = capsys.readouterr().err
    assert "error: FS317 zz.yaml:" in said
    assert "`--limit yaml-depth=N`" in said
    assert len(said) < 2_000


def test_a_chain_of_aliases_is_as_deep_as_it_is_long() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{at}: &a{at} [*a{at - 1}]\n" for at in range(1, 1_300))
    with pytest.raises(MappingError, match=r"FS160 x\.yaml:60: .*`--limit yaml-depth=N`"):
        list(nodes.read(text, "x.yaml"))


def test_a_name_that_begins_like_another_is_no_circle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "own" / "domains"
    folder.mkdir(parents=True)
    (folder / "zz.yaml").write_text(HEAD + "let:\n  a1: x$a10\n  a10: y\n" + RESOURCE % "$a1", "utf-8")
    assert main(["mapping", "show", "ZZ", "--mappings", str(tmp_path / "own")]) == 2
    assert "FS346" in capsys.readouterr().err  # it has no identifier, and all else is right


# -- patterns


def leaf(*parts: str) -> Leaf:
    """A leaf with constants, ``<text>`` slots and ``<decimal>`` slots."""
    made: list[str | Slot] = []
    for at, part in enumerate(parts):
        found = codec(part[1:-1]) if part.startswith("<") else None
        made.append(Slot(f"C{at}", found) if found else part)
    return Leaf(tuple(made), "string", 1)


PARTS = st.lists(st.sampled_from(["", "A", "B", "AB", "AA", "BAB"]), min_size=4, max_size=5)


@given(constants=PARTS, text=st.text("ABx", max_size=14))
def test_many_slots_divide_a_text_as_their_pattern_does(constants: list[str], text: str) -> None:
    parts = [part for constant in constants for part in (constant, "<text>") if part][: 2 * len(constants) - 1]
    made = leaf(*parts)
    fits = leaf_pattern(made).fullmatch(text)
    assert divided(made, text) == (fits.groups() if fits else None)


@pytest.mark.parametrize(
    "parts",
    [
        ("<text>", "A", "<text>", "B", "<text>", "C", "<text>"),
        ("<text>", "A", "<text>", "A", "<text>", "A", "<decimal>"),
        ("x", "<text>", "A", "<text>", "A", "<text>", "A", "<text>", "y"),
    ],
)
@pytest.mark.parametrize("text", ["A" * 100_000, "xA" * 50_000, "ABC" * 30_000 + "A", "x" + "A" * 100_000 + "1"])
def test_slots_that_take_any_text_do_not_try_all_of_them(parts: tuple[str, ...], text: str) -> None:
    begin = time.process_time()
    divided(leaf(*parts), text)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", r"(a)\1*", "a?" * 30, ".*.*.*.*x", "(?=a)b", "(", "[", "a" * 201, "(?i)a*", "*"]
)
def test_a_pattern_of_visits_takes_little_time(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("unscheduled: '" + pattern + "'\n", "utf-8")
    with pytest.raises(UsageError, match=r"FS703 study\.yaml:unscheduled: .*regular expression"):
        load_study(tmp_path / "study.yaml")


@pytest.mark.parametrize("pattern", ["UNSCH", "UNSCH.*|EXTRA", "(?:UNS|EXTRA) VISIT", "^U[0-9]+$"])
def test_an_ordinary_pattern_of_visits_is_taken(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("unscheduled: '" + pattern + "'\n", "utf-8")
    assert load_study(tmp_path / "study.yaml").unscheduled == pattern


def test_a_study_says_each_thing_once(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("unscheduled: a\nunscheduled: b\n", "utf-8")
    with pytest.raises(UsageError, match=r"FS703 study\.yaml:2"):
        load_study(tmp_path / "study.yaml")


# -- code lists, profiles, the file of servers, skeletons


def test_a_code_list_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big.csv").write_text("value,code\n" + "a,b\n" * 50, "utf-8")
    monkeypatch.setenv(limits.VARIABLE, "list-bytes=200")
    with pytest.raises(MappingError, match=r"FS160 big\.csv: .*at most 200 bytes .*`--limit list-bytes=N`"):
        CodeLists([tmp_path])._read("big")


@pytest.mark.parametrize(
    "content",
    [b"value,code\n\xff,x\n", b'value,code\n"a,b\n', b"value,code\n" + b"a" * 200_000 + b",b\n"],
    ids=["no UTF-8", "an open quote", "a long cell"],
)
def test_an_odd_code_list_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_bytes(content)
    with pytest.raises(MappingError, match=r"FS313 odd\.csv"):
        CodeLists([tmp_path])._read("odd")


def test_the_digest_of_mappings_reads_a_piece_at_a_time(tmp_path: Path) -> None:
    with (tmp_path / "big.yaml").open("wb") as stream:
        stream.truncate(60_000_000)
    import tracemalloc

    tracemalloc.start()
    digest_of([tmp_path], ["*.yaml"])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000


PROFILES = {
    "a depth beyond the stack": lambda: [
        {"id": path} for path in accumulate((f".extension:a{at}" for at in range(1_499)), initial="Extension")
    ],
    "ids that are no text": lambda: [{"id": [1]}],
    "an element that is none": lambda: ["x"],
}


@pytest.mark.parametrize("name", PROFILES)
def test_odd_profiles_are_refused(name: str, tmp_path: Path) -> None:
    made = {"resourceType": "StructureDefinition", "type": "Extension", "url": "u"}
    (tmp_path / "a.json").write_text(json.dumps(made | {"differential": {"element": PROFILES[name]()}}), "utf-8")
    with pytest.raises(UsageError, match=r"FS617 a\.json"):
        packages.load(tmp_path)


def test_a_profile_of_many_parts_takes_time_in_proportion(tmp_path: Path) -> None:
    elements = [{"id": f"Extension.extension:a{at}"} for at in range(20_000)]
    made = {
        "resourceType": "StructureDefinition",
        "type": "Extension",
        "url": "u",
        "differential": {"element": elements},
    }
    (tmp_path / "a.json").write_text(json.dumps(made), "utf-8")
    begin = time.process_time()
    root = tree(packages.load(tmp_path).structures["u"], lambda url: None)
    assert len(root.children["extension"].slices) == 20_000
    assert time.process_time() - begin < 5  # each part made all elements anew: minutes


def test_a_profile_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text(" " * 500, "utf-8")
    monkeypatch.setenv(limits.VARIABLE, "document-bytes=400")
    with pytest.raises(FhirspaceError, match=r"FS160 a\.json: .*`--limit document-bytes=N`"):
        packages.load(tmp_path)


SERVERS = {
    "lists in lists": "a = " + "[" * 50_000,
    "tables in tables": "a = " + "{a=" * 5_000,
    "a key of many parts": "a." * 100_000 + "b = 1",
    "a key of many quoted parts": '"a" . ' * 50_000 + "b = 1",
    "a table of many parts": "[" + "a." * 100_000 + "b]",
    "such a key in a table": "x = {" + "'a'." * 50_000 + "b = 1}",
    "a number of 5,000 digits": "[servers.main]\nrate = " + "9" * 5_000,
    "more than a file of servers has": "#" * 1_000_001,
    "no UTF-8": "\udcff",
    "NUL": "\0",
}


@pytest.mark.parametrize("name", SERVERS)
def test_an_odd_file_of_servers_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "servers.toml"
    file.write_bytes(SERVERS[name].encode("utf-8", "surrogateescape"))
    begin = time.process_time()
    with pytest.raises(UsageError, match="FS540") as fault:
        config._settings(file, "main")
    assert time.process_time() - begin < 5
    assert ("`--limit config-bytes=N`" in str(fault.value)) == (name in {"more than a file of servers has", "no UTF-8"})


@pytest.mark.parametrize("content", [b"a" * 500, b'"' + b"a\n" * 300], ids=["a line without end", "an open quote"])
def test_a_skeleton_reads_the_beginning_only(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f.csv").write_bytes(content)
    monkeypatch.setenv(limits.VARIABLE, "header-bytes=400")
    try:
        assert len(make_form_skeleton(tmp_path / "f.csv")) < 2_000
    except FhirspaceError as fault:
        assert fault.code in {"FS101", "FS113", "FS118"}


def _parquet(file: Path) -> None:
    parquet.write(small_study.table("SUBJ,NAME\n1,SECRET\n2,SECRET"), file)


def _xpt(file: Path) -> None:
    table = small_study.table("SUBJ,NAME\n1,SECRET\n2,SECRET")
    xpt.write(table, file, name="XX", label="", variables=[(name, "", "Char", None) for name in ("SUBJ", "NAME")])


def _sparse(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(1 << 40)


def _text(content: str) -> Callable[[Path], Any]:
    return lambda file: file.write_text(content)


NO_CSV: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a Parquet file": (_parquet, "FS114"),
    "a transport file": (_xpt, "FS151"),
    "a terabyte without line ends": (_sparse, "FS113"),
    "a record in JSON": (_text('{"subject":"SECRET","age":5}'), "FS151"),
    "records in JSON": (_text('[{"subject":"SECRET"},{"subject":"SECRET"}]'), "FS151"),
    "lines of JSON": (_text('{"subject":"SECRET"}\n{"subject":"SECRET2"}\n'), "FS151"),
    "many records in JSON": (_text("[" + '{"subject":"SECRET"},' * 100_000), "FS113"),
    "XML": (_text("<ODM><ItemData Value='SECRET'/></ODM>"), "FS151"),
}


@pytest.mark.parametrize("name", NO_CSV)
def test_what_is_no_csv_file_makes_no_skeleton_of_its_values(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, code = NO_CSV[name]
    make(tmp_path / "form.csv")
    begin = time.process_time()
    assert main(["mapping", "new", str(tmp_path / "form.csv")]) == 2
    assert time.process_time() - begin < 5
    said = capsys.readouterr()
    assert f"error: {code}" in said.err
    assert "SECRET" not in said.out + said.err
