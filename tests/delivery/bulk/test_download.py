"""Pieces of a file: put together, taken up again, and refused where they do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from fhirspace.delivery.bulk.download import NotThereError, fetch
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client, Response

BODY = bytes(range(200))


class Store:
    """Answers with pieces of BODY; `answers` come first."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def send(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Response:
        headers = headers or {}
        asked = headers.get("Range", "whole")
        self.asked.append(asked)
        assert headers["Accept-Encoding"] == "identity"
        if self.answers:
            return self.answers.pop(0)
        if asked == "whole":
            return Response(200, {}, BODY)
        start, end = map(int, asked.removeprefix("bytes=").split("-"))
        if start >= len(BODY):
            return Response(416, {"content-range": f"bytes */{len(BODY)}"}, b"")
        piece = BODY[start : end + 1]
        return Response(206, {"content-range": f"bytes {start}-{start + len(piece) - 1}/{len(BODY)}"}, piece)


def got(store: Store, target: Path, half: bytes | None = None) -> bytes:
    if half is not None:
        target.with_name(target.name + ".part").write_bytes(half)
    size, digest = fetch(Client("http://x/fhir", store, attempts=2, sleep=lambda _: None), "http://x/file", target, 90)
    assert (size, digest) == (target.stat().st_size, hashlib.sha256(target.read_bytes()).hexdigest())
    assert not target.with_name(target.name + ".part").exists()
    return target.read_bytes()


@pytest.mark.parametrize(
    ("half", "asked"),
    [
        (None, ["bytes=0-89", "bytes=90-179", "bytes=180-269"]),
        (BODY[:150], ["bytes=150-239"]),
        (BODY, ["bytes=200-289"]),
        (BODY + b"too long", ["bytes=208-297", "bytes=0-89", "bytes=90-179", "bytes=180-269"]),
    ],
)
def test_only_what_is_missing_is_asked_for(half: bytes | None, asked: list[str], tmp_path: Path) -> None:
    store = Store()
    assert got(store, tmp_path / "f", half) == BODY
    assert store.asked == asked


def test_a_server_without_pieces_sends_the_file_anew(tmp_path: Path) -> None:
    assert got(Store(Response(200, {"content-type": "application/fhir+ndjson"}, BODY)), tmp_path / "f", b"half") == BODY


def test_pieces_of_something_compressed_are_not_used(tmp_path: Path) -> None:
    store = Store(Response(206, {"content-range": "bytes 0-9/20", "content-encoding": "gzip"}, b"x" * 10))
    assert got(store, tmp_path / "f") == BODY
    assert store.asked == ["bytes=0-89", "whole"]


def test_an_empty_file(tmp_path: Path) -> None:
    assert got(Store(Response(416, {"content-range": "bytes */0"}, b"")), tmp_path / "f") == b""


@pytest.mark.parametrize(
    "answer",
    [
        Response(206, {"content-range": "bytes 10-19/200"}, b"x" * 10),
        Response(206, {}, b"x" * 10),
        Response(206, {"content-range": "bytes 0-9/200"}, b""),
        Response(416, {}, b""),
        Response(204, {}, b""),
    ],
)
def test_pieces_that_do_not_fit(answer: Response, tmp_path: Path) -> None:
    with pytest.raises(FhirspaceError, match="FS512"):
        got(Store(answer, answer), tmp_path / "f")


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_gone(status: int, tmp_path: Path) -> None:
    with pytest.raises(NotThereError):
        got(Store(Response(status, {}, b"")), tmp_path / "f")
