"""What the broken variants found, each as small as it can be; all of these ended with exit 70, or passed as right."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.errors import MappingError, Place
from fhirspace.template.codelists import CodeLists
from fhirspace.testing.messages import Answer, Request
from tests.hostile.inputs import KINDS, lines
from tests.hostile.offline import URL, answered_by, ran
from tests.hostile.servers import TALKS
from tests.hostile.trials import right

PACKED = gzip.compress(b"\n".join(lines()) + b"\n", mtime=0)
DAMAGED = {
    "a bit in the middle": PACKED[:300] + bytes([PACKED[300] ^ 255]) + PACKED[301:],
    "its beginning and nothing else": PACKED[:12],
    "blanks in the middle": PACKED[:200] + b" " * 50 + PACKED[250:],
    "something else behind it": PACKED + b"junk",
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize(
    "command", ["convert --to sdtm --out {out}", "push --server " + URL, "plan", "validate", "roundtrip"]
)
def test_damaged_gzip_is_named(name: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "study.ndjson.gz").write_bytes(DAMAGED[name])
    word, *rest = command.format(out=tmp_path / "out").split()
    with answered_by(lambda request: Answer(200, b'{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}')):
        done = ran(word, tmp_path / "in", *rest)
    assert done.code in (1, 2, 3), done.said
    assert "FS404 study.ndjson.gz" in done.said


TRANSPORT = {
    "a variable without a name": lambda text: text.replace(b"AETERM  ", b" " * 8, 1),
    "two variables of one name": lambda text: text.replace(b"AETERM  ", b"AEDECOD ", 1),
    "a name that is in no encoding": lambda text: text.replace(b"AETERM  ", b"AE\x81\x8d\x8f\x90\x9d ", 1),
    "a label that is in no encoding": lambda text: text.replace(b"AETERM  AETERM", b"AETERM  \x81\x8d\x8f\x90\x9d ", 1),
    "no variables": lambda text: text[:614] + b"0000" + text[618:],
    "variables of another size": lambda text: text[:314] + b"0000" + text[318:],
}


@pytest.mark.parametrize("name", TRANSPORT)
def test_a_damaged_transport_file_is_named(name: str, tmp_path: Path) -> None:
    text = KINDS["XPT"].files()["ae.xpt"]
    broken = TRANSPORT[name](text)
    assert broken != text
    (tmp_path / "ae.xpt").write_bytes(broken)
    done = ran("convert", tmp_path / "ae.xpt", "--to", "fhir", "--out", tmp_path / "out")
    codes = ("FS131", "FS104", "FS148")
    assert (done.code, any(f"{code} ae.xpt" in done.said for code in codes)) == (2, True), done.said


Change = Callable[[bytes], bytes]
ANSWERS: dict[str, tuple[str, Change]] = {
    "read: not UTF-8 where nobody looks": ("read", lambda body: body[:-1] + b',"x":"\xff"}'),
    "read: a name twice": ("read", lambda body: body[:-1] + b',"x":1,"x":2}'),
    "read: a number of 5,000 digits": ("read", lambda body: body[:-1] + b',"x":' + b"9" * 5_000 + b"}"),
    "search: a name twice": ("searchset", lambda body: body.replace(b'"gender":', b'"gender":"x","gender":', 1)),
    "search: not UTF-8 where nobody looks": (
        "searchset",
        lambda body: body.replace(b'"gender":', b'"x":"\xff","gender":'),
    ),
    "Provenance: not UTF-8 where nobody looks": (
        "Provenance",
        lambda body: body.replace(b'"agent":', b'"x":"\xff","agent":'),
    ),
    "history: a name twice": ("history", lambda body: body.replace(b'"gender":', b'"gender":"x","gender":')),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_resource_of_a_server_is_right_to_its_end_or_ends_the_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, change = ANSWERS[name]
    talk, changed = TALKS[kind], 0
    server = talk.server()

    def respond(request: Request) -> Answer:
        nonlocal changed
        answer = server(request)
        if talk.match(request):
            before, answer.body = answer.body, change(answer.body)
            changed += before != answer.body
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TALKS, kind, type(talk)(lambda: respond, talk.match, talk.commands, talk.before))
        done = right(kind, talk.commands[0], tmp_path)
    assert changed
    assert (done.code, "FS512" in done.said) == (4, True), done.said


IDS = {
    # the id of an AdverseEvent, which no row can have, and the code that says so
    "a sign between the slots": ('<USUBJID id>"AE-<AESEQ integer>', "FS329"),
    "a letter of no id": ("<USUBJID id>-\u00e9-<AESEQ integer>", "FS329"),
    "a blank": ("<USUBJID id> <AESEQ integer>", "FS329"),
    "too many signs": (f"<USUBJID id>-{'A' * 60}-<AESEQ integer>", "FS336"),
}


@pytest.mark.parametrize("name", IDS)
def test_a_mapping_that_no_row_fits_is_named(name: str, tmp_path: Path) -> None:
    written, code = IDS[name]
    kind = KINDS["domain mapping"]
    text = kind.files()[kind.target].decode()
    right_id = next(line for line in text.splitlines() if line.startswith("  id: "))
    (tmp_path / "my" / "domains").mkdir(parents=True)
    (tmp_path / "my" / "domains" / "ae.yaml").write_text(text.replace(right_id, f"  id: {written}"), "utf-8")
    done = ran("mapping", "show", "AE", "--mappings", tmp_path / "my")
    assert (done.code, f"{code} ae.yaml:" in done.said) == (2, True), done.said


def test_a_code_list_is_made_once_however_often_it_is_named() -> None:
    """A mapping that named a large one in 2,000 places took 700 MB."""
    lists = CodeLists(local={"SIDE": {"LEFT": "l", "RIGHT": "r"}})
    place = Place("ae.yaml", 3)
    assert lists.codec("SIDE", place, open_=False) is lists.codec("SIDE", place, open_=False)
    assert lists.codec("SIDE", place, open_=True) is not lists.codec("SIDE", place, open_=False)
    assert lists.including({"SIDE": {"LEFT": "x"}}).codec("SIDE", place, open_=False).out("LEFT") == "x"
    with pytest.raises(MappingError, match=r"FS311 ae\.yaml:3"):
        lists.codec("NONE", place, open_=False)
