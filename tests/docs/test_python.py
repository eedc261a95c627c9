"""Each block of the page on Python is run, in order, and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.M | re.S)


@pytest.mark.slow
def test_the_page_on_python_works(tmp_path, monkeypatch):
    pytest.importorskip("fhir.resources")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed, ran = "", 0
    for block in BLOCK.finditer(PAGE.read_text("utf-8")):
        if block["kind"] == "text":
            assert printed == block["body"]
            printed = ""
            continue
        assert block["kind"] == "python"
        assert printed == ""  # each output is on the page
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(block["body"], PAGE.name, "exec"), names)
        printed, ran = out.getvalue(), ran + 1
    assert printed == ""
    assert ran > 8
