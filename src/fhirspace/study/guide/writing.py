"""A reviewer's guide as Markdown and as one page of HTML that loads nothing; foreign text is made safe for both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from fhirspace.foreign import shown
from fhirspace.study.guide.content import Contents, Section, sections, title
from fhirspace.study.rules.formats.html import document
from fhirspace.tables.outputs import OutputFolder

NAME: Final = "reviewers-guide"
_LONGEST: Final = 1_000
_SIGNS: Final = re.compile(r"([\\`*_\[\]{}|#!~$@]|(?<=:)/|(?<=www)\.)")
"""What has a meaning in Markdown anywhere in a text, and what makes an address a link."""
_SHORT: Final = 18
_NUMBER: Final = re.compile(r"[\d,]+")


def markdown(heading: str, found: Sequence[Section]) -> str:
    """The guide in Markdown (tables as GitHub reads them)."""
    parts = [f"# {_plain(heading)}"]
    for section in found:
        parts.append(f"## {_plain(section.title)}")
        if section.text:
            parts.append(_plain(section.text))
        if section.rows:
            rules = ("---",) * len(section.header)
            parts.append("\n".join([_line(map(_plain, section.header)), _line(rules), *map(_cells, section.rows)]))
    return "\n\n".join(parts) + "\n"


def _cells(row: Iterable[str]) -> str:
    return _line(map(_plain, row))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """A text in which no sign means anything in Markdown or HTML."""
    return _SIGNS.sub(r"\\\1", escape(shown(text, _LONGEST), quote=False))


def html(heading: str, found: Sequence[Section]) -> bytes:
    """The guide as a page of HTML."""
    links = "".join(f'<a href="#s{at}">{escape(section.title)}</a>' for at, section in enumerate(found))
    body = "\n".join(_section(at, section) for at, section in enumerate(found))
    return document(shown(heading, _LONGEST), links, body)


def _section(at: int, section: Section) -> str:
    text = f"<p>{escape(shown(section.text, _LONGEST))}</p>" if section.text else ""
    if not section.rows:
        return f'<section id="s{at}">\n<h2>{escape(section.title)}</h2>\n{text}\n</section>'
    head = "".join(map(_title, section.header, zip(*section.rows, strict=True)))
    head = f"<thead><tr>{head}</tr></thead>\n" if any(section.header) else ""
    body = "\n".join(f"<tr>{_row(section.header, row)}</tr>" for row in section.rows)
    table = f"<table>\n{head}<tbody>\n{body}\n</tbody>\n</table>"
    return f'<section id="s{at}">\n<h2>{escape(section.title)}</h2>\n{text}\n{table}\n</section>'


def _title(name: str, values: Sequence[str]) -> str:
    """The title of a column; that of numbers is at the right, as they are."""
    kind = " class=number" if all(map(_NUMBER.fullmatch, values)) else ""
    return f"<th scope=col{kind}>{escape(name)}</th>"


def _row(header: Sequence[str], row: Sequence[str]) -> str:
    return "".join(_cell(value, numbers=bool(name)) for name, value in zip(header, row, strict=True))


def _cell(value: str, *, numbers: bool) -> str:
    """A cell; one of few letters is not broken, and a number is at the right in a column with a name."""
    kinds = ["number"] if numbers and _NUMBER.fullmatch(value) else []
    kinds += [value] if value in ("error", "warning", "note") else []
    kinds += ["short"] if len(value) <= _SHORT else []
    return f'<td class="{" ".join(kinds)}">{escape(shown(value, _LONGEST))}</td>'


def write(about: Contents, folder: OutputFolder) -> None:
    """Writes ``reviewers-guide.md`` and ``reviewers-guide.html``."""
    heading, found = title(about), sections(about)
    with folder.open(f"{NAME}.md") as stream:
        stream.write(markdown(heading, found).encode("utf-8", "replace"))
    with folder.open(f"{NAME}.html") as stream:
        stream.write(html(heading, found))
