"""Growing files: whatever way the bytes come, they stand in the file, and it is told truly what stands there."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, strategies as st

from fhirspace.tables import growing
from fhirspace.tables.growing import BLOCK, Growing

PIECES = st.lists(st.tuples(st.booleans(), st.integers(0, 3 * BLOCK), st.binary(min_size=1, max_size=3)), max_size=8)


def aligned(file: Growing, data: bytes) -> memoryview:
    """Memory that begins at a page, with the data after its lead, and rubbish around."""
    lead = file.size % BLOCK
    memory = mmap.mmap(-1, lead + len(data) + BLOCK)
    memory[:] = b"?" * len(memory)
    memory[lead : lead + len(data)] = data
    return memoryview(memory)


def put(file: Growing, data: bytes, large: bool) -> None:
    if large:
        file.append(aligned(file, data), len(data))
    else:
        file.write(data)


@pytest.mark.slow
@given(PIECES)
def test_what_is_added_in_any_way_stands_there_in_order(pieces: list[tuple[bool, int, bytes]]) -> None:
    whole = [(large, data * times) for large, times, data in pieces]
    content = b"".join(data for _, data in whole)
    with TemporaryDirectory() as folder, Growing(Path(folder, "x")) as file:
        for large, data in whole:
            put(file, data, large)
        assert file.finish() == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        assert file.path.read_bytes() == content


def fails(real: Callable[..., int], code: int, flags: int) -> Callable[..., int]:
    """`os.open` that refuses to write past the cache."""

    def opened(path: Any, given: int, *more: Any) -> int:
        if given & flags:
            raise OSError(code, "no")
        return real(path, given, *more)

    return opened


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system has no O_DIRECT")
@pytest.mark.parametrize("how", ["refused at the opening", "refused at the writing", "unknown"])
def test_a_file_system_that_cannot_write_past_the_cache_is_written_through_it(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Growing(tmp_path / "x") as file:
        file.write(b"begin")
        if how == "unknown":
            monkeypatch.delattr(os, "O_DIRECT")
        elif how == "refused at the opening":
            monkeypatch.setattr(os, "open", fails(os.open, errno.EINVAL, os.O_DIRECT))
        else:
            wanted, write = os.open(tmp_path / "x", os.O_WRONLY), os.write
            monkeypatch.setattr(file, "_past_the_cache", lambda: wanted)

            def refuses(descriptor: int, data: Any) -> int:
                if descriptor == wanted:
                    raise OSError(errno.EINVAL, "alignment")
                return write(descriptor, data)

            monkeypatch.setattr(os, "write", refuses)
        put(file, b"a" * 3 * BLOCK, large=True)
        put(file, b"b" * 2 * BLOCK, large=True)
        file.finish()
    assert (tmp_path / "x").read_bytes() == b"begin" + b"a" * 3 * BLOCK + b"b" * 2 * BLOCK


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with Growing(tmp_path / "x") as file:
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        file.write(b"abcdefghijklmnopqrstuvwxyz" * 3)
        assert file.finish()["size"] == 78
    assert (tmp_path / "x").read_bytes() == b"abcdefghijklmnopqrstuvwxyz" * 3


@pytest.mark.parametrize("large", [False, True])
def test_a_full_disk_is_told(large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    with Growing(tmp_path / "x") as file:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="full"):
            put(file, b"a" * 2 * BLOCK, large)


def test_a_fault_of_the_disk_in_the_background_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(growing, "_SYNC_EVERY", 1)
    with Growing(tmp_path / "x") as file:
        monkeypatch.setattr(os, "fsync", broken)
        file.write(b"a")
        with pytest.raises(OSError, match="broken"):
            file.finish()


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        Growing(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"mine"
