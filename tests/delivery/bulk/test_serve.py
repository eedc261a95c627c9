"""The file server of an import: only the listed files, by paths that nobody can guess, read-only, gone at the end."""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from fhirspace.delivery.bulk.serve import serving


def status(url: str, method: str = "GET") -> int:
    try:
        with urlopen(Request(url, method=method)) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_only_what_is_offered_is_served(tmp_path: Path) -> None:
    for name in ("0.ndjson", "secret.ndjson"):
        (tmp_path / name).write_bytes(b'{"resourceType":"Basic"}\n')
    with serving() as served:
        served.offer([tmp_path / "0.ndjson"])
        with urlopen(f"{served.base}/0.ndjson") as answer:
            assert answer.read() == b'{"resourceType":"Basic"}\n'
            assert answer.headers["Content-Type"] == "application/fhir+ndjson"
            assert "Python" not in answer.headers["Server"]
        assert status(f"{served.base}/0.ndjson") == 200
        root = served.base.rsplit("/", 1)[0]
        for path in (
            "",
            "/",
            "/0.ndjson",
            "/secret.ndjson",
            "/../secret.ndjson",
            "/%2e%2e/secret.ndjson",
            "/0.ndjson?x",
        ):
            assert status(served.base + path) == 404 or path == "/0.ndjson"
            assert status(root + path) == 404
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            assert status(f"{served.base}/0.ndjson", method) == 501
        url = f"{served.base}/0.ndjson"
    with pytest.raises(URLError):
        urlopen(url)


def test_no_path_is_used_twice() -> None:
    paths = set()
    for _ in range(3):
        with serving() as served:
            paths.add(served.base.rsplit("/", 1)[1])
    assert len(paths) == 3
    assert all(len(path) >= 43 for path in paths)
