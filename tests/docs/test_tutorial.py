"""The tutorials are run from their first to their last block: files are written, commands run, outputs compared."""

import re
import shlex
from pathlib import Path

import pytest

from fhirspace.cli import main

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<path>\S+))?(?: (?P<replace>replace))?\n(?P<body>.*?)^```$", re.M | re.S)


def run(command: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, _, code = command.partition("  # exit code ")
    name, *arguments = shlex.split(command)
    if name == "cat":
        status, out = 0, Path(arguments[0]).read_text("utf-8")
    else:
        assert name == "fhirspace"
        status = main(arguments)
        captured = capsys.readouterr()
        out = captured.out + captured.err
    assert status == int(code or 0), out
    assert matches(expected, out), f"{command}\n{out}"


def matches(expected: str, out: str) -> bool:
    """Whether a text is as expected, where ``...`` stands for any text, or for any lines if it stands alone."""
    pattern = ""
    for line in expected.splitlines():
        known = [re.escape(part) for part in re.split(r"(?<=\S) *\.\.\. *", line)]
        pattern += r"(?:.*\n)*?" if line == "..." else ".*?".join(known) + "\n"
    return re.search("^" + pattern, out, re.M) is not None


@pytest.mark.slow
@pytest.mark.parametrize(("page", "least"), [("tutorial.md", 12), ("ehr.md", 9)])
def test_a_tutorial_works_as_it_stands(page, least, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = 0
    for block in BLOCK.finditer((DOCS / page).read_text("utf-8")):
        body, path = block["body"], Path(block["path"]) if block["path"] else None
        if block["kind"] == "console":
            for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
                command, _, expected = part.partition("\n")
                run(command, expected, capsys)
                ran += 1
        elif block["replace"]:
            assert path is not None
            before, after = body.strip().split(" -> ")
            assert path.read_text("utf-8").count(before) == 1
            path.write_text(path.read_text("utf-8").replace(before, after), "utf-8")
        else:
            assert path is not None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, "utf-8")
    assert ran >= least


@pytest.mark.parametrize(
    ("expected", "out", "fits"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("a\n...\nc\n", "a\nb\nb\nc\n", True),
        ("a\n...\nc\n", "a\nb\n", False),
        ("a ... c\n", "a  b  c\n", True),
        ("a ... c\n", "a  b  d\n", False),
        ("a+b\n", "aab\n", False),
    ],
)
def test_an_output_is_compared(expected, out, fits):
    assert matches(expected, out) is fits
