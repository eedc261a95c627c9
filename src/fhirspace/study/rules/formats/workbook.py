"""Reports as an Excel workbook (Office Open XML): the few parts that plain tables need, written by hand.

Every text is an inline string, never a formula, whatever it starts with. Texts are cut to what a cell holds.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from html import escape
from io import BytesIO

from fhirspace.study.rules.formats.sheets import Cell, Sheet, sheets
from fhirspace.study.rules.report import Report

_CELL = 32_767
_ROWS = 1_048_576
_ODD = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><fonts count="2"><font><sz val="10"/><name val="Calibri"/></font>'
    '<font><b/><sz val="10"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>'
    '</fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="2"><xf xfId="0" applyAlignment="1"><alignment vertical="top" wrapText="1"/></xf>'
    '<xf xfId="0" fontId="1" applyFont="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
_DAY = (1980, 1, 1, 0, 0, 0)


def write(report: Report) -> bytes:
    """The workbook of a report. The same report gives the same bytes."""
    found = sheets(report)
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _parts(found):
            info = zipfile.ZipInfo(name, _DAY)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, (_HEAD + text).encode("utf-8", "replace"))
    return packed.getvalue()


def _parts(found: list[Sheet]) -> Iterator[tuple[str, str]]:
    numbers = range(1, len(found) + 1)
    overrides = [("/xl/workbook.xml", f"{_KIND}.sheet.main+xml"), ("/xl/styles.xml", f"{_KIND}.styles+xml")]
    overrides += [(f"/xl/worksheets/sheet{at}.xml", f"{_KIND}.worksheet+xml") for at in numbers]
    types = "".join(f'<Override PartName="{part}" ContentType="{kind}"/>' for part, kind in overrides)
    yield (
        "[Content_Types].xml",
        f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels"'
        f' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{types}</Types>',
    )
    yield "_rels/.rels", _relations([("rId1", "officeDocument", "xl/workbook.xml")])
    named = "".join(
        f'<sheet name="{escape(each.name)}" sheetId="{at}" r:id="rId{at}"/>'
        for at, each in zip(numbers, found, strict=True)
    )
    yield "xl/workbook.xml", f'<workbook xmlns="{_MAIN}" xmlns:r="{_REL}"><sheets>{named}</sheets></workbook>'
    links = [(f"rId{at}", "worksheet", f"worksheets/sheet{at}.xml") for at in numbers]
    yield "xl/_rels/workbook.xml.rels", _relations([*links, (f"rId{len(found) + 1}", "styles", "styles.xml")])
    yield "xl/styles.xml", _STYLES
    for at, each in zip(numbers, found, strict=True):
        yield f"xl/worksheets/sheet{at}.xml", _worksheet(each)


def _relations(links: list[tuple[str, str, str]]) -> str:
    found = "".join(f'<Relationship Id="{key}" Type="{_REL}/{kind}" Target="{to}"/>' for key, kind, to in links)
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{found}</Relationships>'


def _worksheet(sheet: Sheet) -> str:
    widths = "".join(
        f'<col min="{at}" max="{at}" width="{width}" customWidth="1"/>' for at, width in enumerate(sheet.widths, 1)
    )
    view = '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>' if sheet.header else ""
    rows = [sheet.header, *sheet.rows] if sheet.header else sheet.rows
    data = "".join(_row(at, row, bold=bool(sheet.header) and at == 1) for at, row in enumerate(rows[:_ROWS], 1))
    last = f"{_letter(len(sheet.header) - 1)}{min(len(rows), _ROWS)}"
    chosen = f'<autoFilter ref="A1:{last}"/>' if sheet.header else ""
    return (
        f'<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">{view}</sheetView></sheetViews>'
        f"<cols>{widths}</cols><sheetData>{data}</sheetData>{chosen}</worksheet>"
    )


def _letter(at: int) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[at]


def _row(number: int, cells: tuple[Cell, ...], *, bold: bool) -> str:
    style = 1 if bold else 0
    found = "".join(_cell(f"{_letter(at)}{number}", each, style) for at, each in enumerate(cells) if each != "")
    return f'<row r="{number}">{found}</row>'


def _cell(place: str, value: Cell, style: int) -> str:
    if isinstance(value, int):
        return f'<c r="{place}" s="{style}"><v>{value}</v></c>'
    text = escape(_ODD.sub("\N{REPLACEMENT CHARACTER}", value[:_CELL]))
    return f'<c r="{place}" s="{style}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
