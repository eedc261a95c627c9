"""Lists words that the project's vocabulary replaces by plainer ones: in pages, docstrings, comments and names.

python scripts/check_words.py              # every finding of the rooms that are done; exit code 1 if there is one
python scripts/check_words.py src/fhirspace/tables tests/tables   # the same of some files or folders

A finding is not always a fault. Where the word is right in its sense, add the phrase or the name to ``PHRASES`` or
``NAMES`` with the reason.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

WORDS: Final = {
    "stands?|stood|standing": "is written, is in, is at; does not stand: is omitted",
    "hangs?|hung|hanging|attached|attaching": "nested row, parent, child; for processes: blocks, does not return",
    "homes?": "element; a value without one is carried",
    "rides?|riding": "is carried",
    "talk(?:s|ed|ing)?|told|said": "report, reported; print, message",
    "unread": "unmapped content",
    "held|fallen": "quarantined; kept; checked",
    "bury|buried|buries|burying": "rejected, dead letter, quarantined",
    "gone": "deleted, removed, closed",
    "books?|ledgers?": "accounting, counts",
    "pieces?": "partition, block, part",
    "settles?|settled|settling": "reconcile, decide",
    "gather(?:s|ed|ing)?": "collect, spool",
    "blamed?|blaming": "lineage, cause",
    "gates?": "screening",
}
"""Words of the left column, as regular expressions of whole words, and their replacements."""

NAME_WORDS: Final = WORDS | {
    "ways?": "strategy, direction",
    "statements?": "capability",
    "unkept": "lossy",
    "deaf|hear|hears": "pipe closed, receive",
    "mend(?:s|ed|ing)?": "correct, repair",
}
"""The same for parts of names in code: these words are English in a sentence, but say too little in a name."""

PHRASES: Final = {
    r"home (?:folder|directory)|~/|\bHOME\b": "the folder of a user",
    r"\bunread(?:/|\.ndjson)": "a folder and a file of the output",
    r"\bpiece: bytes of": "a public parameter of pull",
    r"410 Gone|\(gone\)": "the status of HTTP",
    r"[\"'=]\s*attach\b|attach:": "a key of the mapping language",
    r"stand(?:s|ing)? (?:for|alone)": "means, by itself",
    r"\b(?:in|a) standing (?:position|order)\b": "the position of a subject",
    r"\bon hold\b": "a status",
    r"\bstudy book\b|\bnotebooks?\b": "a program for Python",
    r"\bdrug (?:was|is) held\b|what was held or forgotten": "the medical term for a dose that is left out",
    r"\bSTANDING\b": "a code of controlled terminology",
}
"""Phrases in which a word is right, and why."""

NAMES: Final = {
    "attach": "a key of the mapping language",
    "Attach": "a key of the mapping language",
    "Attachment": "a data type of FHIR",
    "SQLITE_LIMIT_ATTACHED": "a constant of SQLite",
    "way": "the option --way and its parameter are public",
    "statement": "a public attribute of the faulty server: its CapabilityStatement; elsewhere SQL",
    "home": "Path.home, and the home folder of tests",
    "gone": "the name of a public fault of the faulty server (410)",
    "gather": "a function of asyncio",
    "held": "a lock that is held, a resource that the server holds",
    "unread": "the folder unread/ and the attribute of Conversion are public",
    "piece": "a public parameter of pull: bytes of a file that are fetched at once",
}
"""Names in which a word is right, and why."""

DONE: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs",
    "src",
    "scripts",
    "benchmarks",
    "mappings",
    "samples",
)
"""Files and folders in which no word is left."""

GENERATED: Final = ("docs/errors.md",)
"""Pages that are made from the catalogue."""

_PROSE: Final = {re.compile(rf"\b(?:{word})\b", re.I): instead for word, instead in WORDS.items()}
_PART: Final = {re.compile(rf"(?:{word})", re.I): instead for word, instead in NAME_WORDS.items()}
_ALLOWED: Final = re.compile("|".join(PHRASES), re.I)
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True, order=True)
class Word:
    """A word that was found."""

    file: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word} (say: {self.instead})"


def main(arguments: list[str] | None = None) -> int:
    """Prints the findings of files and folders; without any, of all that are done."""
    found = list(check(arguments if arguments is not None else sys.argv[1:] or DONE))
    print("\n".join(map(str, found)) if found else "no words to replace")
    return 1 if found else 0


def check(places: Iterable[str]) -> Iterator[Word]:
    """The findings of files and folders below the root."""
    for place in places:
        path = ROOT / place
        files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(ROOT).as_posix()
            if file.suffix in _READERS and name not in GENERATED:
                yield from sorted(set(_READERS[file.suffix](name, file.read_text("utf-8"))))


def _page(file: str, text: str) -> Iterator[Word]:
    """Words of a page: code, spans of code and addresses are left out."""
    plain = re.sub(r"^```.*?^```$|`[^`\n]+`|\]\([^)]*\)|<!--.*?-->", _blank, text, flags=re.M | re.S)
    yield from _words(file, plain, 1)


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _words(file: str, text: str, start: int) -> Iterator[Word]:
    plain = _ALLOWED.sub(_blank, re.sub(r"`[^`\n]+`", _blank, text))
    for word, instead in _PROSE.items():
        for found in word.finditer(plain):
            yield Word(file, start + plain.count("\n", 0, found.start()), found[0], instead)


def _module(file: str, text: str) -> Iterator[Word]:
    """Words of a module: comments, docstrings and names."""
    yield from _names(file, 1, Path(file).stem)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield from _words(file, token.string, token.start[0])
        elif token.type == tokenize.NAME:
            yield from _names(file, token.start[0], token.string)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from _words(file, node.value.value, node.lineno)


def _comments(file: str, text: str) -> Iterator[Word]:
    """Words of the comments of a YAML or TOML file."""
    for line, row in enumerate(text.splitlines(), 1):
        found = re.search(r"(?:^|\s)#\s.*", row)
        if found:
            yield from _words(file, found[0], line)


def _names(file: str, line: int, name: str) -> Iterator[Word]:
    yield from (Word(file, line, name, instead) for instead in _instead(name))


@cache
def _instead(name: str) -> tuple[str, ...]:
    """What to say instead of parts of a name; the same names come again and again."""
    if name.strip("_") in NAMES:
        return ()
    return tuple(instead for part in _PARTS.findall(name) for word, instead in _PART.items() if word.fullmatch(part))


_READERS: Final = {".md": _page, ".py": _module, ".yaml": _comments, ".toml": _comments}

if __name__ == "__main__":
    sys.exit(main())
