"""Compressed files that unpack to too much, are damaged, or are compressed otherwise than by gzip."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace import limits
from fhirspace.cli import main
from fhirspace.errors import InputError
from fhirspace.fhir import ndjson
from fhirspace.fhir.files import FhirFile, recognise
from tests.hostile.measured import measured

LINE = b'{"resourceType":"Patient","id":"a"}\n'
COLUMNS = b"STUDYID,DOMAIN,USUBJID,AETERM\n"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "")


def bomb(size: int, first: bytes = b"") -> bytes:
    """What unpacks to so many bytes of blanks behind some others, a thousandth of them."""
    packer, blanks, times = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS), b" " * 1_000_000, size // 1_000_000
    head = packer.compress(first) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it: it may be repeated
    check = zlib.crc32(first)
    for _ in range(times):
        check = zlib.crc32(blanks, check)
    tail = packer.flush() + struct.pack("<LL", check, len(first) + times * len(blanks))
    return gzip.compress(b"", mtime=0)[:10] + head + block * times + tail


BOMBS: dict[str, Callable[[], bytes]] = {
    "one line of blanks": lambda: bomb(30_000_000),
    "behind a resource": lambda: bomb(30_000_000, LINE),
    "in the second member": lambda: gzip.compress(LINE, mtime=0) + bomb(30_000_000),
    "in many members": lambda: b"".join([bomb(1_000_000, LINE)] * 30),
    "in a member without content": lambda: gzip.compress(b"", mtime=0) * 3 + bomb(30_000_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_lines_that_unpack_to_too_much(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(BOMBS[name]())
    with pytest.raises(InputError, match=r"FS160 a\.ndjson\.gz:\d+: .* at most 200 times .*`--limit expansion=N`"):
        list(ndjson.read(tmp_path / "a.ndjson.gz"))


NAMED = [
    (command, name) for command in ("validate", "convert", "plan") for name in ("a.ndjson.gz", "a.json.gz", "a.ndjson")
]


@pytest.mark.parametrize(("command", "name"), NAMED)
def test_a_bomb_ends_a_command_with_the_bound(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "in"
    home.mkdir()
    (home / name).write_bytes(bomb(30_000_000, LINE))
    more = ["--to", "sdtm", "--out", str(tmp_path / "out")] if command == "convert" else []
    if command == "plan":
        more = ["--journal", str(tmp_path / "j.db")]
    assert main([command, str(home / name), *more]) in {1, 2, 3}
    shown = capsys.readouterr()
    assert "FS160" in shown.out + shown.err
    assert "--limit expansion=N" in shown.out + shown.err


@pytest.mark.parametrize("chosen", ["expansion=100000", "expansion=1000000"])
def test_the_option_lets_it_through(chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(bomb(30_000_000, LINE))
    monkeypatch.setenv(limits.VARIABLE, chosen)
    assert len(list(ndjson.read(tmp_path / "a.ndjson.gz"))) == 1


def test_what_is_small_may_unpack_to_any_size_in_proportion(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(bomb(15_000_000, LINE))
    assert len(list(ndjson.read(tmp_path / "a.ndjson.gz"))) == 1


PACKED = gzip.compress(LINE * 2_000, mtime=0)
DAMAGED: dict[str, bytes] = {
    "cut in the header": PACKED[:5],
    "cut in the content": PACKED[: len(PACKED) // 2],
    "cut in the check": PACKED[:-3],
    "a wrong check": PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:],
    "a wrong size": PACKED[:-4] + b"\0\0\0\0",
    "a wrong block": PACKED[:10] + b"\x07" + PACKED[11:],
    "no method": b"\x1f\x8b\x09" + PACKED[3:],
    "a name without end": b"\x1f\x8b\x08\x08" + PACKED[4:10] + b"x" * 3_000,
    "text behind it": PACKED + b"and more",
    "half a member behind it": PACKED + PACKED[:20],
    "only its first two bytes": b"\x1f\x8b",
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("file", ["a.ndjson.gz", "a.json.gz", "a.jsonl.gz"])
def test_damaged_files_are_no_whole_ones(name: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(DAMAGED[name])
    with pytest.raises(InputError, match="FS404"):
        list(ndjson.read(tmp_path / file))
    with pytest.raises(InputError, match="FS404"):
        FhirFile(tmp_path / file, "resource").document()


def test_blanks_of_a_tape_behind_it_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(PACKED + b"\0" * 512)
    assert len(list(ndjson.read(tmp_path / "a.ndjson.gz"))) == 2_000


def test_it_is_opened_once(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(gzip.compress(LINE, mtime=0), mtime=0))
    with pytest.raises(InputError, match="FS406"):
        recognise(tmp_path / "a.ndjson.gz")
    assert b"Patient" not in b"".join(line for _, line in ndjson.read(tmp_path / "a.ndjson.gz"))


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ae.csv", COLUMNS)
    return packed.getvalue()


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: gzip.compress(COLUMNS),
    "bzip2": lambda: bz2.compress(COLUMNS),
    "xz": lambda: lzma.compress(COLUMNS),
    "zip": zipped,
    "zstd": lambda: b"(\xb5/\xfd" + bytes(40),
    "7z": lambda: b"7z\xbc\xaf\x27\x1c" + bytes(40),
    "rar": lambda: b"Rar!\x1a\x07" + bytes(40),
}


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("file", ["ae.csv", "ae.parquet", "ae.xpt"])
def test_tables_in_archives_are_not_unpacked(
    name: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / file).write_bytes(ARCHIVES[name]())
    assert main(["convert", str(tmp_path / "in"), "--to", "fhir", "--out", str(tmp_path / "out")]) == 2
    assert f"FS154 {file}" in capsys.readouterr().err


@pytest.mark.parametrize("size", [100, 101, 5_000])
@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz", "a.json"])
def test_a_line_or_document_beyond_its_bound(
    name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = LINE + b'{"resourceType":"Patient","id":"' + b"b" * size + b'"}\n'
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    monkeypatch.setenv(limits.VARIABLE, "line-bytes=100,document-bytes=100")
    with pytest.raises(InputError, match=r"FS405 .*at most 100 bytes in a line of NDJSON \(`--limit line-bytes=N`"):
        list(ndjson.read(tmp_path / name))
    with pytest.raises(InputError, match=r"FS405 .*at most 100 bytes in a JSON document \(`--limit document-bytes=N`"):
        FhirFile(tmp_path / name, "resource").document()


def test_a_line_beyond_its_bound_is_not_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.ndjson").write_bytes(LINE + b"{" + b" " * 5_000 + b"}\n")
    monkeypatch.setenv(limits.VARIABLE, "line-bytes=1000")
    assert main(["plan", str(tmp_path), "--journal", str(tmp_path / "j.db")]) == 2
    assert "FS405 a.ndjson:2" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does it")
def test_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(bomb(200_000_000, b'{"resourceType":"Patient","id":"a"'))
    run = measured("validate", tmp_path / "a.json.gz")
    assert run.code in {1, 2}
    assert run.peak < 300
