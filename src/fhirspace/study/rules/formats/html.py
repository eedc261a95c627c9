"""Reports as one page of HTML that loads nothing and runs nothing."""

from __future__ import annotations

from html import escape

from fhirspace.foreign import counted, shown
from fhirspace.study.rules.formats.sheets import Cell, Sheet, sheets
from fhirspace.study.rules.report import Report

_LONGEST = 2_000
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 110rem; padding: 0 1.5rem; color: #1c2430 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
nav a { margin-right: 1.2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #d9dee5 }
th { background: #eef1f5; position: sticky; top: 0 }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums }
td { overflow-wrap: anywhere } td.short { overflow-wrap: normal; white-space: nowrap }
.error { color: #a01522; font-weight: 600 } .warning { color: #8a5300; font-weight: 600 } .note { color: #45556b }
details > summary { cursor: pointer; margin: .6rem 0 }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report) -> bytes:
    """The page of a report: the tables of the workbook, every text of the study escaped."""
    found = sheets(report)
    links = "".join(f'<a href="#t{at}">{escape(sheet.name)}</a>' for at, sheet in enumerate(found))
    tables = "\n".join(_section(at, sheet) for at, sheet in enumerate(found))
    return document("Conformance report", links, tables)


def document(title: str, links: str, body: str) -> bytes:
    """A page of HTML that loads nothing and runs nothing.

    Args:
        title: its title and first heading, as text. links, body: HTML, every text of the study in it escaped.
    """
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<nav>{links}</nav>
{body}
</body>
</html>
"""
    return text.encode("utf-8", "replace")


def _section(at: int, sheet: Sheet) -> str:
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in sheet.header)
    body = "\n".join(_row(row, sheet.widths) for row in sheet.rows)
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    if sheet.header and not sheet.rows:
        table = "<p>None.</p>"
    elif sheet.name in ("Issue Details", "Rules"):
        table = f"<details><summary>{counted(len(sheet.rows), 'row')}</summary>\n{table}\n</details>"
    return f'<section id="t{at}">\n<h2>{escape(sheet.name)}</h2>\n{table}\n</section>'


def _row(cells: tuple[Cell, ...], widths: tuple[int, ...]) -> str:
    found = "".join(_cell(cell, width) for cell, width in zip(cells, widths, strict=False))
    return f"<tr>{found}</tr>"


def _cell(value: Cell, width: int) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>' if width < 60 else f"<td>{value:,}</td>"
    if value in ("error", "warning", "note"):
        return f'<td class="{value}">{value}</td>'
    kind = ' class="short"' if width <= 18 else ""
    return f"<td{kind}>{escape(shown(value, _LONGEST))}</td>"
