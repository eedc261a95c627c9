"""Writes what is generated in the documentation: error codes, command line, codecs, JSON schema, the README's picture.

python scripts/make_docs.py            # writes the files
python scripts/make_docs.py --check    # exit code 1 where one is out of date; writes nothing
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from fhirspace import limits
from fhirspace.cli import parser as cli
from fhirspace.errors import Entry, catalogue
from fhirspace.fhirserver.products import Limits, known_servers
from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.schema import CODECS, schema
from fhirspace.sdtm.derive.methods import METHODS
from fhirspace.sdtm.rules.operations import OPERATIONS
from fhirspace.sdtm.rules.operators import OPERATORS
from fhirspace.template.codec import CellError, Codec
from fhirspace.template.codecs import codec

ROOT: Final = Path(__file__).resolve().parents[1]
RULE_MARKS: Final = ("<!-- operators: generated -->", "<!-- end -->")
MARKS: Final = ("<!-- codecs: generated -->", "<!-- end -->")

RANGES: Final = {
    "FS1": "Reading files",
    "FS2": "Cells and records",
    "FS3": "Mappings",
    "FS4": "FHIR",
    "FS5": "Delivery, server, journal",
    "FS6": "The command line",
    "FS7": "SDTM tabulations",
    "FS8": "Conformance rules",
}


def main(arguments: list[str] | None = None) -> int:
    """Writes the files, or says which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    stale = 0
    for path, make in FILES.items():
        target = ROOT / path
        text = make()
        if not target.is_file() or target.read_text("utf-8") != text:
            stale += 1
            print(f"{path}: {'out of date' if options.check else 'written'}")
            if not options.check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, "utf-8")
    return 1 if stale and options.check else 0


def errors() -> str:
    """``docs/errors.md``: the catalogue."""
    lines = [
        "# Errors",
        "",
        "Generated from `src/fhirspace/catalogue/` by `scripts/make_docs.py`; `fhirspace explain CODE` prints one.",
        "",
        "An **error** stops the run, or puts the row into quarantine if the output cannot hold it or with `--strict`;",
        "otherwise the row is kept and the exit code is 1. A **warning** keeps the row and gives exit code 1;",
        "a **note** keeps the row and is reported only.",
    ]
    for prefix, entries in groupby(catalogue().values(), lambda entry: entry.code[:3]):
        lines += ["", f"## {RANGES[prefix]}", ""]
        for entry in entries:
            lines += [*_entry(entry), ""]
        lines.pop()
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> Iterator[str]:
    yield f"### {entry.code} ({entry.level})"
    yield ""
    yield from _wrapped(f"**{_plain(entry.sentence)}** {_plain(entry.cause)}")
    yield ""
    yield from _wrapped(f"*What to do:* {_plain(entry.fix)}")


def _wrapped(text: str, indent: str = "") -> list[str]:
    """A paragraph in lines of at most 120 characters; code in backticks is never divided."""
    whole = re.sub(r"`[^`]{1,100}`", lambda code: code[0].replace(" ", "\0"), text)
    whole = re.sub(r" (?=(?:[-+*#>|]|\d+[.)]) )", "\0", whole)
    lines = textwrap.wrap(whole, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def _plain(text: str) -> str:
    """A text in which Markdown sees no markup but its code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<>*_|])", r"\\\1", part) for part in parts)


def command_line() -> str:
    """``docs/cli.md``: all commands with their arguments."""
    parser = cli.parser()
    lines = [
        "# The command line",
        "",
        "Generated from the commands themselves by `scripts/make_docs.py`.",
        "",
        *_wrapped(str(parser.description)),
        "",
        "Results go to standard output, messages to standard error; every command takes `--json`.",
        "",
        str(parser.epilog),
        "",
        "## Limits",
        "",
        "How much is read has bounds, so that a damaged or hostile file or server can exhaust neither memory nor time.",
        "`--limit NAME=N` (any command, repeatable) changes one; so does `FHIRSPACE_LIMITS=NAME=N,NAME=N`.",
        "",
        "| name | default | bounds |",
        "| --- | ---: | --- |",
        *(f"| `{name}` | {each.default:,} | {each.bounds} |" for name, each in limits.LIMITS.items()),
    ]
    for name, command in commands(parser).items():
        lines += [
            "",
            f"## fhirspace {name}",
            "",
            *_wrapped(str(command.description)),
            "",
            "```",
            _usage(command),
            "```",
            "",
        ]
        lines += ["| argument | what it is |", "| --- | --- |"]
        lines += [_argument(action) for action in command._actions if action.dest != "help"]
    return "\n".join(lines) + "\n"


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The subcommands of a parser by name."""
    return next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _usage(command: argparse.ArgumentParser) -> str:
    """The usage, arguments first, in lines of at most 120 characters.

    It is made here because the format of argparse changes from version to version.
    """
    actions = sorted(
        (each for each in command._actions if each.dest != "help"), key=lambda each: bool(each.option_strings)
    )
    words = [command.prog, *(_used(action).replace(" ", "\0") for action in actions)]
    lines = textwrap.wrap(
        " ".join(words), 116, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace("\0", " ")


def _used(action: argparse.Action) -> str:
    name = str(action.metavar or "|".join(action.choices or ()) or action.dest)
    value = {"+": f"{name}...", "?": f"[{name}]", 0: ""}.get(action.nargs if action.nargs is not None else "", name)
    text = f"{action.option_strings[0]} {value}".strip() if action.option_strings else value
    return f"[{text}]" if action.option_strings and not action.required else text


def _argument(action: argparse.Action) -> str:
    shown = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
    choices = f" One of {', '.join(f'`{each}`' for each in action.choices)}." if action.choices else ""
    return f"| {shown} | {_plain(_sentence(action.help) if action.help else '')}{choices} |"


def codecs() -> str:
    """``docs/mapping-language.md`` with its table of codecs."""
    path = ROOT / "docs" / "mapping-language.md"
    before, _, rest = path.read_text("utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    rows = ["| codec | what it is for | cell → element | element → cell |", "| --- | --- | --- | --- |"]
    rows += [_codec(name, about, cells) for name, (about, cells) in CODECS.items()]
    return before + "\n".join([MARKS[0], *rows, MARKS[1]]) + after


def _codec(name: str, about: str, cells: tuple[str, ...]) -> str:
    found = codec(name, key=DEMO_KEY, column="SITEID")
    outs = [f"`{cell}` → {_shown(_out(found, cell))}" for cell in cells if found]
    backs = [
        f"`{text}` → {_shown(found.back(text))}" for cell in cells if found and (text := _out(found, cell)) is not None
    ]
    return f"| `{name}` | {about} | {'; '.join(outs)} | {'; '.join(backs) if found and found.readable else ''} |"


def _out(found: Codec, cell: str) -> str | None:
    try:
        return found.out(cell)
    except CellError:
        return None


def _shown(text: str | None) -> str:
    return "none" if text is None else f"`{text}`"


def json_schema() -> str:
    """``mappings/schema.json``."""
    return json.dumps(schema(), indent=2) + "\n"


def picture(name: str, title: str) -> Callable[[], str]:
    """``docs/<name>.svg``: what ``docs/<name>.txt`` captured, as a terminal window."""
    return lambda: svg((ROOT / "docs" / f"{name}.txt").read_text("utf-8").splitlines(), title)


def svg(lines: list[str], title: str) -> str:
    """Lines of text as a picture of a terminal; a line that starts with ``$`` is a command, ``#`` a remark.

    The width of a letter is fixed (``textLength``), so that columns are aligned in any font.
    """
    size, step, left, top = 8.0, 19, 18, 52
    width = int(max(len(line) for line in lines) * size) + 2 * left
    height = top + step * len(lines) + 8
    rows: list[str] = []
    for number, line in enumerate(lines):
        if line.strip():
            indent = len(line) - len(line.lstrip())
            text = line.strip()
            tone = {"$": "command", "#": "remark"}.get(text[0], "text")
            place = f'x="{left + indent * size:g}" y="{top + step * number}" textLength="{len(text) * size:g}"'
            rows.append(f'<text xml:space="preserve" class="{tone}" {place}>{_xml(text)}</text>')
    box = f'viewBox="0 0 {width} {height}"'
    dots = "".join(f'<circle cx="{22 + 18 * at}" cy="18" r="5.5" fill="{tone}"/>' for at, tone in enumerate(_DOTS))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {box} role="img">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#16202c"/>',
            dots,
            *rows,
            "</svg>\n",
        ]
    )


_DOTS: Final = ("#e0695f", "#e0b64f", "#69b36a")
_STYLE: Final = (
    "text{font:13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}"
    ".text{fill:#d7e0ea}.command{fill:#8fd694}.remark{fill:#7f93a8}"
)


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_HEAD: Final = (
    "product",
    "entries a bundle",
    "MB a request",
    "bundles a second",
    "transaction",
    "client ids",
    "conditional update",
    "references checked",
)


def servers() -> str:
    """``docs/servers.md``: what is known about servers."""
    lines = [
        "# What is known about FHIR servers",
        "",
        "Generated from `src/fhirspace/fhirserver/products.toml` by `scripts/make_docs.py`. These are published limits",
        "and defaults of products; whoever runs a server may have changed them. `fhirspace doctor --server URL` asks",
        "the server itself, and its answers have priority. An empty cell: no limit is published, or nothing is known.",
        "",
        f"| {' | '.join(_HEAD)} |",
        f"|{' --- |' * len(_HEAD)}",
        *(_limits(each) for each in known_servers()),
        "",
        "*Client ids*: `PUT Type/id` makes a resource. *Setting*: whoever runs the server decides.",
        "Otherwise resources are sent as conditional updates by their identifier ([how](integration-engineer.md)).",
        "If the CapabilityStatement does not say so, but the server refuses them (HAPI answers 404), give",
        "`--way conditional`.",
        "*References checked*: a reference to a resource that does not exist is refused.",
    ]
    for each in known_servers():
        lines += ["", f"## {each.name}", "", *(line for item in _habits(each) for line in _wrapped(item, "  "))]
    return "\n".join(lines) + "\n"


def _limits(each: Limits) -> str:
    numbers = (f"{each.entries:,}" if each.entries else "", f"{each.bytes / 1e6:,.0f}" if each.bytes else "")
    rate = f"{each.rate:g}" if each.rate else ""
    known = (each.transaction, each.client_ids, each.conditional_update, each.integrity)
    return f"| {' | '.join((f'[{each.name}](#{_anchor(each.name)})', *numbers, rate, *known))} |"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _habits(each: Limits) -> Iterator[str]:
    if each.client_ids != "no":
        yield f"- A push begins with {each.size} entries a bundle, {each.connections} at a time."
    for label, text in (("Limits", each.advice), ("Bulk import", each.bulk_import), ("Bulk export", each.bulk_export)):
        if text:
            yield f"- {label}: {_plain(text)}."
    for quirk in each.quirks:
        yield f"- {_plain(quirk[:1].upper() + quirk[1:])}."
    yield f"- Stated in: {_plain('; '.join(each.sources))}."


def derivations() -> str:
    """``docs/derivations.md``: every derived variable with its method."""
    lines = [
        "# Derived variables",
        "",
        "*Generated by `scripts/make_docs.py` from `src/fhirspace/sdtm/derive/methods.py`.*",
        "",
        "A derived value fills only an empty cell. `--` is the domain's prefix; names in braces are the dataset's.",
        "The same texts are the methods in `define.xml` ([page](define-xml.md)).",
        "",
        "| variable | method | datasets | SDTMIG 3.4 |",
        "| --- | --- | --- | --- |",
    ]
    for name, each in METHODS.items():
        dataset, _, variable = name.rpartition(".")
        shown = f"`{variable}` of {dataset}" if dataset else f"`{name}`"
        lines.append(f"| {shown} | {each.text} | {each.datasets} | {each.section} |")
    return "\n".join([*lines, ""])


def rules() -> str:
    """``docs/rules.md`` with its tables of operators and operations."""
    path = ROOT / "docs" / "rules.md"
    before, _, rest = path.read_text("utf-8").partition(RULE_MARKS[0])
    _, _, after = rest.partition(RULE_MARKS[1])
    rows = ["| operator | true of a row where |", "| --- | --- |"]
    rows += [f"| `{name}` | {_summary(each)} |" for name, each in sorted(OPERATORS.items())]
    rows += ["", "| operation | computes |", "| --- | --- |"]
    rows += [f"| `{name}` | {_summary(each)} |" for name, each in sorted(OPERATIONS.items())]
    return before + "\n".join([RULE_MARKS[0], *rows, RULE_MARKS[1]]) + after


def _summary(function: Callable[..., object]) -> str:
    first = (function.__doc__ or "").partition("\n\n")[0]
    return re.sub(r"``?", "`", " ".join(first.split())).replace("|", r"\|")


FILES: Final[dict[str, Callable[[], str]]] = {
    "docs/errors.md": errors,
    "docs/cli.md": command_line,
    "docs/mapping-language.md": codecs,
    "docs/servers.md": servers,
    "docs/derivations.md": derivations,
    "docs/rules.md": rules,
    "mappings/schema.json": json_schema,
    "docs/demo.svg": picture("demo", "The output of fhirspace demo"),
    "docs/loading.svg": picture("loading", "Plan, push and verify in the terminal"),
}

if __name__ == "__main__":
    sys.exit(main())
