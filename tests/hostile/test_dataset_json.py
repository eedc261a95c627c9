"""Dataset-JSON that is damaged, lies or is far larger than it looks: refused or quarantined, never a crash."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace import limits
from fhirspace.cli import main
from tests.tables.datasetjson.files import column, dataset, lines

COLUMNS = [column(name) for name in ("STUDYID", "DOMAIN", "USUBJID")] + [column("AESEQ", "integer"), column("AETERM")]
ROW = ["S", "AE", "S-1", 1, "Rash"]
GOOD = dataset(COLUMNS, [ROW])
DOCUMENT = json.dumps(GOOD).encode()
DEEP = b"[" * 10_000


def document(*pairs: tuple[bytes, bytes]) -> Callable[[], bytes]:
    def made() -> bytes:
        content = DOCUMENT
        for old, new in pairs:
            assert old in content
            content = content.replace(old, new, 1)
        return content

    return made


def packed(content: bytes) -> Callable[[], bytes]:
    return lambda: zlib.compress(content, 9)


ATTACKS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    # the name of the file, its content, and the code that is printed
    "a deep row": ("ae.json", document((b'"Rash"', DEEP)), "FS403"),
    "a deep header": ("ae.json", document((b'"AE"', DEEP)), "FS403"),
    "a deep line": ("ae.ndjson", lambda: lines(GOOD) + DEEP, "FS166"),
    "a name twice": ("ae.json", document((b'"label"', b'"name": "DM", "label"')), "FS402"),
    "a name twice in a column": ("ae.json", document((b'"label": "The STUDYID"', b'"name": "X", "label": ""')), "FS402"),
    "rows twice": ("ae.json", document((b'"label"', b'"rows": [], "label"')), "FS402"),
    "a name twice in a line": ("ae.ndjson", lambda: lines(GOOD).replace(b'"name"', b'"name": "DM", "name"', 1), "FS402"),
    "no number": ("ae.json", document((b", 1,", b", NaN,")), "FS401"),
    "an infinite number": ("ae.json", document((b", 1,", b", 1e999,")), "FS414"),
    "a number of 5,000 digits": ("ae.json", document((b", 1,", b", " + b"9" * 5_000 + b",")), "FS414"),
    "a number that is none after all": ("ae.json", document((b", 1,", b", 1e-99999999,")), "FS167"),
    "half a surrogate": ("ae.json", document((b'"Rash"', b'"\\ud800"')), "FS401"),
    "no UTF-8": ("ae.json", document((b'"Rash"', b'"\xff"')), "FS401"),
    "cut in a row": ("ae.json", lambda: DOCUMENT[:-8], "FS401"),
    "cut in a text": ("ae.json", lambda: DOCUMENT[: DOCUMENT.index(b"Rash")], "FS401"),
    "cut in the columns": ("ae.json", lambda: DOCUMENT[:300], "FS401"),
    "something behind it": ("ae.json", lambda: DOCUMENT + b"{}", "FS401"),
    "a comma behind the last row": ("ae.json", document((b"]]}", b"],]}")), "FS401"),
    "rows that are an object": ("ae.json", document((b'"rows": [', b'"rows": {'),), "FS401"),
    "too few values": ("ae.json", document((b', "Rash"', b"")), "FS167"),
    "a text for a number": ("ae.json", document((b", 1,", b', "1",')), "FS167"),
    "more rows than it says": ("ae.ndjson", lambda: lines(GOOD) * 2, "FS166"),
    "no rows, and a million said": ("ae.json", document((b'"records": 1', b'"records": 1000000')), "FS166"),
    "an array": ("ae.json", lambda: b"[" + DOCUMENT + b"]", "FS180"),
    "no object at all": ("ae.dsjc", packed(b'"datasetJSONVersion"'), "FS165"),
    "a bomb of rows": ("ae.dsjc", packed(lines(GOOD) + b'["S","AE","S-1",1,""]\n' * 50_000), "FS160"),
    "a bomb of blanks": ("ae.dsjc", packed(lines(GOOD) + b" " * 1_000_000), "FS160"),
    "a stream cut short": ("ae.dsjc", lambda: zlib.compress(lines(GOOD))[:-9], "FS165"),
    "a damaged stream": ("ae.dsjc", lambda: zlib.compress(lines(GOOD))[:-4] + b"xxxx", "FS165"),
    "a second stream": ("ae.dsjc", lambda: zlib.compress(lines(GOOD)) * 2, "FS165"),
    "two bytes of a stream": ("ae.dsjc", lambda: b"\x78\x9c", "FS165"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "")
    monkeypatch.setattr(limits, "FREE", 200_000)
    file, content, code = ATTACKS[name]
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / file).write_bytes(content())
    (folder / "dm.csv").write_text("STUDYID,DOMAIN,USUBJID,SUBJID,SITEID,SEX,COUNTRY\nS,DM,S-1,1,10,M,AUS\n")
    assert main(["convert", str(folder), "--to", "sdtm", "--format", "csv", "--out", str(tmp_path / "out")]) == 3
    assert code in capsys.readouterr().err
    written = tmp_path / "out" / "sdtm" / "ae.csv"
    assert not written.exists() or len(written.read_text().splitlines()) == 1
