"""Text that others wrote (names in files, answers of servers, arguments), made safe to print and to name files with.

Whatever reaches a terminal, a log or a file name goes through here: a name such as ``x\\x1b]0;y\\n`` must not steer the
terminal, forge a line of a log or leave a folder. Data stay as they are; only what is shown of them is escaped.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

LONGEST = 300
"""Characters shown of one foreign text where nobody says another number."""
_LONGEST_FILE_NAME = 200
"""Bytes of a file name: file systems allow 255, and a suffix or a prefix of ours must still fit."""
COLOURS = {"ok": "32", "note": "36", "warning": "33", "error": "1;31", "faint": "2", "strong": "1"}
"""The only terminal codes that fhirspace writes, by what they mean."""
_COLOUR = re.compile(rf"(\x1b\[(?:0|{'|'.join(map(re.escape, COLOURS.values()))})m)")
# A name that may be quoted where it could be a value instead: a word, or some words without digits. Dates, numbers
# and identifiers of subjects are none of these.
_WORD = re.compile(r"[^\W\d](?!\w*\d{3})\w{0,63}")
_WORDS = re.compile(r"[^\W\d][^\W\d]*(?:[ .-]+[^\W\d]+){0,7}[.]?")
_MEMBER = re.compile(r"_?[A-Za-z](?![A-Za-z0-9]*[0-9]{3})[A-Za-z0-9]{0,63}")
_HALF = re.compile("[\\ud800-\\udfff]")
# What Windows forbids in a name, and what it takes for a device.
_UNFIT = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?")


def shown(text: object, longest: int = LONGEST) -> str:
    """Foreign text as one line that is safe to print.

    Args:
        text: any text; an object is taken by its ``str``.
        longest: characters of the result; of a longer text the middle is left out, since file names and paths of
            elements say most at their ends.

    Returns:
        The text with visible escapes such as ``\\n``, ``\\x1b`` or ``\\u202e`` for control characters, line ends, marks
        that change the direction of reading, blanks that nobody sees, and halves of surrogate pairs.
    """
    text = str(text)
    if len(text) <= longest and text.isprintable():
        return text
    text = _cut(text, longest)  # before and after escaping: a text of any length must not be escaped whole
    return _cut(_escaped(text), longest)


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first `most` of some foreign names, each short enough for a sentence, with commas between."""
    given = list(names)
    more = ["..."] if len(given) > most else []
    return ", ".join([*(shown(name, 64) for name in given[:most]), *more])


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun, as in ``1 row``, ``2 rows`` and ``1,000 entries``.

    Args:
        count: how many there are. one: the noun for one of them.
        many: the noun for any other number; `one` with an s without it.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def column(name: str, number: int) -> str:
    """How a message names a column whose header nobody has checked: ``column 3`` where the name may be a value."""
    fits = len(name) <= 64 and name.isprintable() and (_WORD.fullmatch(name) or _WORDS.fullmatch(name))
    return name if fits else f"column {number}"


def member(name: str, number: int) -> str:
    """How a message names a member of foreign JSON: ``<member 3>`` where the name is not one that FHIR could have."""
    return name if _MEMBER.fullmatch(name) else f"<member {number}>"


def printable(text: str, *, colours: bool = False, encoding: str = "utf-8") -> str:
    """Lines for a terminal or a log: the last line of defence, after `shown`.

    Args:
        text: lines whose line ends (LF) are meant.
        colours: whether our own colours may pass.
        encoding: that of the stream; what it does not have is escaped as well.
    """
    if not text.isascii():
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    return "\n".join(_line(line, colours) for line in text.split("\n"))


def as_json(value: Any, *, indent: int | None = None, encoding: str = "utf-8") -> str:
    """JSON of the same value that is safe to print: what `shown` escapes is escaped as JSON does (``\\u001b``).

    Args:
        value: data of the types that JSON knows.
        indent: as `json.dumps` takes it; None makes one line without blanks.
        encoding: that of the stream; for others than UTF-8 all but ASCII is escaped.
    """
    plain = encoding.lower().replace("_", "-") not in ("utf-8", "utf8")
    separators = (",", ":") if indent is None else None
    return _printable_json(json.dumps(value, ensure_ascii=plain, indent=indent, separators=separators))


def as_strict_json(value: Any, *, indent: int | None = None) -> bytes:
    """`as_json` for files that are read again, with a line end: halves of surrogate pairs become texts as in `in_utf8`.

    The name of a file that is not in UTF-8 has such halves. Strict readers of JSON, ours among them, refuse them even
    where they are escaped.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", ":") if indent is None else None)
    if not text.isascii():
        text = _HALF.sub(lambda half: rf"\\u{ord(half[0]):04x}", text)
    return _printable_json(text).encode() + b"\n"


def _printable_json(text: str) -> str:
    # Outside of texts JSON has none of these but the line ends of an indented document.
    return "\n".join(line if line.isprintable() else "".join(map(_in_json, line)) for line in text.split("\n"))


def in_utf8(text: str) -> str:
    """The text with escapes for halves of surrogate pairs (a file name may hold them), which UTF-8 does not have."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def file_name(text: str) -> str:
    """The name of a file that is called after a foreign text (a table, a form, another file); the same in every run.

    A text that is fit stays as it is. Of others every character that a file system or a terminal could misread becomes
    ``_``, and eight digits of the text's hash come first: they keep two such texts apart, and keep a name from
    beginning with a dot or being one that Windows reserves.
    """
    safe = "".join(sign if sign.isprintable() else "_" for sign in _UNFIT.sub("_", text))
    safe = re.sub(r"[. ]$", "_", safe).encode()[-_LONGEST_FILE_NAME:].decode("utf-8", "ignore")
    if safe == text and text[:1] not in (".", "-", "~", "") and not _RESERVED.fullmatch(text):
        return text
    return f"{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=4).hexdigest()}-{safe}"


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = max(longest // 3, 1)
    return f"{text[: max(longest - end - 3, 0)]}...{text[-end:]}"


def _escaped(text: str) -> str:
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _line(line: str, colours: bool) -> str:
    if line.isprintable():
        return line
    if not colours:
        return _escaped(line)
    parts = _COLOUR.split(line)  # every second one is a colour
    return "".join(part if at % 2 else _escaped(part) for at, part in enumerate(parts))


def _in_json(sign: str) -> str:
    return sign if sign.isprintable() else json.dumps(sign)[1:-1] if sign != "\x7f" else "\\u007f"
