"""Pages, docstrings, comments and names use the words of the vocabulary."""

import pytest

from tests.docs.test_docs import ROOT, load_script

words = load_script("check_words")


def found(place, text, tmp_path, monkeypatch):
    monkeypatch.setattr(words, "ROOT", tmp_path)
    (tmp_path / place).write_text(text, "utf-8")
    return [(each.line, each.word) for each in words.check([place])]


@pytest.mark.parametrize(
    "place", [pytest.param(place, marks=[pytest.mark.slow] if place == "src" else []) for place in words.DONE]
)
def test_no_word_is_left(place):
    assert (ROOT / place).exists()
    assert not list(map(str, words.check([place]))), "see scripts/check_words.py"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The run is told.\nIt stands\n", [(1, "told"), (2, "stands")]),
        ("A `told` name\n\n```text\nit stands\n```\nThe books.\n", [(6, "books")]),
        ("`$name` stands for it; ~/home\n", []),
    ],
)
def test_words_of_a_page_are_found(tmp_path, monkeypatch, text, expected):
    assert found("page.md", text, tmp_path, monkeypatch) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""What is told."""\n', [(1, "told")]),
        ("x = 1  # it stands here\n", [(1, "stands")]),
        ("def _is_told(books):\n    return books\n", [(1, "_is_told"), (1, "books"), (2, "books")]),
        ("class LateLedger:\n    way = 'it stands'\n", [(1, "LateLedger")]),
    ],
)
def test_words_of_a_module_are_found(tmp_path, monkeypatch, text, expected):
    assert found("module.py", text, tmp_path, monkeypatch) == expected


def test_words_of_comments_in_a_mapping_are_found(tmp_path, monkeypatch):
    text = "# It is told.\ntext: it stands  # a note that stands here\ncolor: '#told'\n"
    assert found("mapping.yaml", text, tmp_path, monkeypatch) == [(1, "told"), (2, "stands")]


def test_the_findings_are_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(words, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("It is told.\n", "utf-8")
    assert words.main(["page.md"]) == 1
    assert capsys.readouterr().out == "page.md:1: told (say: report, reported; print, message)\n"
    (tmp_path / "page.md").write_text("It is reported.\n", "utf-8")
    assert words.main(["page.md"]) == 0
