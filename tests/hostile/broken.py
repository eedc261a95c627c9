"""Broken variants of anything: of the values in JSON, of the lines and cells of texts, of bytes.

A variant is made from a seed and a number alone, so that one that was found can be made again. One to four faults are
put into the same content; half of the JSON variants are spoilt in their structure only, so that they get past the
decoder.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zlib
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from typing import Any, Literal

Form = Literal["json", "ndjson", "text", "bytes", "gzip", "zlib", "archive"]
_MANY = 2_000
_LARGEST = 1_000_000
_PLACES = 100_000
_TYPES = ("Patient", "Observation", "Bundle", "OperationOutcome", "Parameters", "Basic", "../../x", "NoSuchType")
TEXTS = (
    "", " ", "x", "\x00", "\x1b[2J", "a\nb\r\nc", "\ufeff", "\u202e", "\ud800", "\udfff\ud800", "\ufffe", "e\u0301",
    "\U0001f600", "../../etc/x", "/abs/path", "C:\\x", "%2e%2e%2f", "'; DROP TABLE run; --", "=1+1", "${x}", "<b>", "{{x}}",
    "N/A", "NaN", "Infinity", "1e999", "-0", "0x10", "1_000", "٣", "²", "9" * 5_000, "x" * 200_000, "1" + "0" * 400,
    "2024-02-30", "0000-00-00", "99999-01-01", "2024-13-45T25:61:61", "9999-12-31T23:59:60.999999999+99:99", "2024-W05-1",
    "0001-01-01T00:00:00+14:00", "-2024", "urn:uuid:x", "http://[", "http://[::1", "https://h:99999999/x", "//evil/fhir",
    "Patient/1", "#", "#x", "|", "a|b|c", "?", "&x=", "W/\"", "W/\"1\"", "*", "true", "null", "[]", "{}", "\\", "\"", "'",
)  # fmt: skip
_RAW = (
    b"NaN", b"-Infinity", b"1e999", b"-1e-999", b"01", b"1.", b".5", b"+1", b"0x1", b"-", b"'x'", b"undefined", b"nul",
    b"9" * 5_000, b"9" * 100_000, b"1." + b"9" * 100_000, b"1E+400", b"1e99999999999999999999", b'"\\ud800"', b'"\\u12"',
    b'"\\x"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"\x00"', b'"\n"', b'"', b"", b",", b"{", b"]", b"/**/1", b"1 2",
    b"[" * 150 + b"]" * 150, b"[" * 900 + b"]" * 900, b"[" * 20_000 + b"]" * 20_000, b'{"a":' * 900 + b"1" + b"}" * 900,
    b"[" * 100_000, b"[" + b"[]," * 10_000 + b"[]]", b'{"a":1,"a":2}',
)  # fmt: skip
_NUMBERS = (0, -1, 1, 2, 7, 10**6, 2**31, 2**63, 2**64, -(2**70), 10**400, 0.1, 1e308, 5e-324, -0.0)
_SOUP = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n", b"\n\n", b'"', b"'", b",", b";", b"\t", b":", b": ", b"- ",
    b"&a ", b"*a", b"<<: ", b"!!python/object:os.system x", b"!!binary x", b"---\n", b"...\n", b"{", b"}", b"[", b"]", b"#",
    b"%", b"|", b">", b"\\", b"$x", b"<x>", b"<x codes(Y)>", b"\x1a", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x85",
    b"=", b"\"\"\"", b"]]>", b"0" * 5_000, b"x" * 100_000, b"[" * 300, b"{a: " * 300, b"\x1f\x8b", b"PK\x03\x04", b"PAR1",
)  # fmt: skip
_MEMBERS = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)


class Raw:
    """A place in a tree where bytes are written as they are."""

    def __init__(self, text: bytes) -> None:
        self.text = text


class Twice:
    """Members of an object that has one of its names twice."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        self.members = members


def dice(seed: str, number: int) -> random.Random:
    """The chance of one variant."""
    return random.Random(f"{seed}/{number}")


def broken(content: bytes, form: Form, rng: random.Random) -> bytes:
    """A broken variant of some content, of a megabyte at most."""
    return _WAYS[form](content, rng)[:_LARGEST]


def _text(content: bytes, rng: random.Random) -> bytes:
    return _several(content, _LINES if rng.random() < 0.8 else _BYTES, rng)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    return _several(content, _BYTES, rng)


def _several(content: bytes, ways: tuple[Callable[[bytes, random.Random], bytes], ...], rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        content = rng.choice(ways)(content, rng)[:_LARGEST]
    return content


def _json(content: bytes, rng: random.Random) -> bytes:
    try:
        tree = [json.loads(content)]
    except ValueError:
        tree = []
    if not tree or rng.random() < 0.2:
        return _several(content, _BYTES, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        rng.choice(_TREES)(tree, rng)
    found = dump(tree)[1:-1]
    return rng.choice(_BYTES)(found, rng) if rng.random() < 0.1 else found


def _ndjson(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines() or [b""]
    for at in rng.sample(range(len(lines)), min(len(lines), rng.choice((1, 1, 2, 3)))):
        lines[at] = _json(lines[at], rng)
    ending = rng.choice((b"\n",) * 8 + (b"\r\n", b"\r", b"\n\n", b" "))
    found = ending.join(lines) + ending
    return rng.choice(_BYTES)(found, rng) if rng.random() < 0.1 else found


def _gzip(content: bytes, rng: random.Random) -> bytes:
    packed = gzip.compress(content, mtime=0)
    match rng.randrange(4):
        case 0:
            return gzip.compress(_ndjson(content, rng), mtime=0)
        case 1:
            return packed + rng.choice((b"\x00" * 8, b"junk", packed, packed[:20], b"\x1f\x8b"))
        case 2:
            return gzip.compress(packed, mtime=0)
    return _several(packed, _BYTES, rng)


def _zlib(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.7:
        return zlib.compress(_ndjson(content, rng))
    return _several(zlib.compress(content), _BYTES, rng)


def _archive(content: bytes, rng: random.Random) -> bytes:
    """One file of the archive, the archive around it, or its compressed bytes."""
    match rng.randrange(5):
        case 0:
            return _gzip(content, rng)
        case 1:
            return gzip.compress(_several(content, _BYTES, rng), mtime=0)
    with tarfile.open(fileobj=io.BytesIO(content)) as old:
        files = [(member, old.extractfile(member).read()) for member in old]  # type: ignore[union-attr]
    spoilt, made = rng.randrange(len(files)), io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as new:
        for at, (member, data) in enumerate(files):
            held = _json(data, rng)[:_LARGEST] if at == spoilt else data
            member.size = len(held)
            if at == spoilt and rng.random() < 0.2:
                member.name, member.type = rng.choice(("../x.json", "/x.json", "x", "a" * 300)), rng.choice(_MEMBERS)
            new.addfile(member, io.BytesIO(held) if member.isreg() else None)
    return gzip.compress(made.getvalue(), mtime=0)


def dump(tree: Any) -> bytes:
    """A tree as compact JSON, with `Raw` and `Twice` in it, and with half surrogates as they are escaped.

    What holds one thing many times may be larger than memory: soon after a megabyte the text ends.
    """
    found = bytearray()
    for part in _parts(tree):
        found += part
        if len(found) > 2 * _LARGEST:
            break
    return bytes(found)


def _parts(tree: Any) -> Iterator[bytes]:
    match tree:
        case Raw():
            yield tree.text
        case Twice():
            yield from _members(tree.members)
        case dict():
            yield from _members(list(tree.items()))
        case list():
            for at, item in enumerate(tree):
                yield b"," if at else b"["
                yield from _parts(item)
            yield b"]" if tree else b"[]"
        case str() if not any("\ud800" <= sign <= "\udfff" for sign in tree):
            yield json.dumps(tree, ensure_ascii=False).encode()
        case _:
            yield json.dumps(tree).encode()


def _members(members: list[tuple[str, Any]]) -> Iterator[bytes]:
    for at, (name, item) in enumerate(members):
        yield (b"," if at else b"{") + json.dumps(name).encode() + b":"
        yield from _parts(item)
    yield b"}" if members else b"{}"


Holder = MutableMapping[str, Any] | MutableSequence[Any]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Each place of a tree, of 100,000 at most: what holds it, and its name or number there.

    A list that holds one thing 2,000 times, which holds another 2,000 times, has millions of them.
    """
    todo, left = [tree], _PLACES
    while todo and left > 0:
        holder = todo.pop()
        left -= len(holder)
        for key, item in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            yield holder, key
            if isinstance(item, dict | list):
                todo.append(item)


def _place(tree: Any, rng: random.Random) -> tuple[Any, Any]:
    return rng.choice(list(_places(tree)))


def _inner(tree: Any, rng: random.Random, kind: type) -> Any:
    """An object or a list somewhere in a tree; the whole, where there is none."""
    found = [holder[key] for holder, key in _places(tree) if isinstance(holder[key], kind)]
    return rng.choice(found) if found else tree


def _delete(tree: Any, rng: random.Random) -> None:
    holder, key = _place(tree, rng)
    if holder is not tree:
        del holder[key]


def _double(tree: Any, rng: random.Random) -> None:
    holder, key = _place(tree, rng)
    value = holder[key]
    if isinstance(value, dict) and value:
        name = rng.choice(list(value))
        other = value[name] if rng.random() < 0.5 else rng.choice(TEXTS)
        members = [*value.items(), (name, other)]
        rng.shuffle(members)
        holder[key] = Twice(members)


def _swap_type(tree: Any, rng: random.Random) -> None:
    holder, key = _place(tree, rng)
    value = holder[key]
    holder[key] = rng.choice(
        (None, True, False, [], {}, [value], {"value": value}, [value, value], [None], [[]], "", str(value)[:100], 0, 1.5)
    )  # fmt: skip


def _set_text(tree: Any, rng: random.Random) -> None:
    holder, key = _place(tree, rng)
    holder[key] = rng.choice(TEXTS)


def _set_number(tree: Any, rng: random.Random) -> None:
    holder, key = _place(tree, rng)
    holder[key] = rng.choice(_NUMBERS)


def _set_raw(tree: Any, rng: random.Random) -> None:
    holder, key = _place(tree, rng)
    holder[key] = Raw(rng.choice(_RAW))


def _append(tree: Any, rng: random.Random) -> None:
    """A known text with something after or before it, so that it looks right at first."""
    places = [(holder, key) for holder, key in _places(tree) if isinstance(holder[key], str)]
    if places:
        holder, key = rng.choice(places)
        other = rng.choice(TEXTS)
        holder[key] = holder[key] + other if rng.random() < 0.6 else other + holder[key]


def _rename(tree: Any, rng: random.Random) -> None:
    value = _inner(tree, rng, dict)
    if isinstance(value, dict) and value:
        old = rng.choice(list(value))
        new = rng.choice(
            (*TEXTS, "_" + old, old.upper(), old + "s", "resourceType", "id", "meta", "extension", "contained")
        )
        value[new] = value.pop(old)


def _retype(tree: Any, rng: random.Random) -> None:
    places = [
        (holder, key) for holder, key in _places(tree) if key in ("resourceType", "type", "id", "reference", "url")
    ]
    if places:
        holder, key = rng.choice(places)
        holder[key] = rng.choice(_TYPES)


def _graft(tree: Any, rng: random.Random) -> None:
    """A part of the tree at another place of it."""
    holder, key = _place(tree, rng)
    other, name = _place(tree, rng)
    holder[key] = json.loads(json.dumps(other[name], default=lambda _: None))


def _reorder(tree: Any, rng: random.Random) -> None:
    value = _inner(tree, rng, list)
    if isinstance(value, list) and value is not tree:
        match rng.randrange(4):
            case 0:
                rng.shuffle(value)
            case 1:
                del value[rng.randrange(len(value) + 1) :]
            case 2 if value:
                value += [rng.choice(value)] * rng.choice((1, 2, _MANY))
            case _:
                value.insert(rng.randrange(len(value) + 1), rng.choice((None, {}, [], "x", 1)))


def _deepen(tree: Any, rng: random.Random) -> None:
    """Something within itself, as deep as may be or deeper; the names are those that FHIR nests."""
    holder, key = _place(tree, rng)
    name = rng.choice((b'"extension"', b'"contained"', b'"item"', b'"entry"', b'"x"'))
    opening, closing = rng.choice(((b"{" + name + b":[", b"]}"), (b"[", b"]"), (b"{" + name + b":", b"}")))
    times = rng.choice((3, 20, 45, 60, 300))
    holder[key] = Raw(opening * times + dump(holder[key]) + closing * times)


_TREES: tuple[Callable[[Any, random.Random], None], ...] = (
    _delete, _delete, _double, _swap_type, _swap_type, _set_text, _set_text, _set_number, _set_raw, _append, _append,
    _rename, _retype, _graft, _reorder, _deepen,
)  # fmt: skip


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return rng.randbytes(8)
    spoilt = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        spoilt[rng.randrange(len(spoilt))] = rng.choice((0, 255, 127, rng.randrange(256)))
    return bytes(spoilt)


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return (
        content[:at]
        + (rng.choice(_SOUP) if rng.random() < 0.7 else rng.randbytes(rng.choice((1, 4, 300))))
        + content[at:]
    )


def _cut(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.choice((1, 2, 10, 100, 1_000)) :]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[at:] if rng.random() < 0.2 else content[:at]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    size = rng.choice((1, 4, 30, 500))
    return content[:start] + content[start : start + size] * rng.choice((2, 3, 50)) + content[start + size :]


def _move(content: bytes, rng: random.Random) -> bytes:
    start, to = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    size = rng.choice((1, 8, 100))
    return (
        content[:start] + content[start + size : to] + content[start : start + size] + content[max(to, start + size) :]
    )


def _blank(content: bytes, rng: random.Random) -> bytes:
    start, size = rng.randrange(len(content) + 1), rng.choice((1, 8, 100, 1_000))
    return (
        content[:start] + rng.choice((b"\0", b"\xff", b" ")) * min(size, len(content) - start) + content[start + size :]
    )


def _nothing(content: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", b"\n", b"\0", b"\xef\xbb\xbf", content[:1], content * 2, b" " * 100_000, *_RAW))


_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _insert, _insert, _cut, _truncate, _repeat, _move, _blank, _nothing,
)  # fmt: skip


def _lines(content: bytes, rng: random.Random) -> bytes:
    """Lines deleted, doubled, swapped, joined, moved to another depth."""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            del lines[at]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case 2:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at : at + 2] = [b"".join(lines[at : at + 2])]
        case 4:
            lines[at] = rng.choice((b" ", b"  ", b"\t", b"- ", b"      ")) + lines[at]
        case 5:
            lines[at] = lines[at].lstrip()
        case _:
            lines[at : at + 1] = [lines[at][:100]] * _MANY
    return b"\n".join(lines)


def _cells(content: bytes, rng: random.Random) -> bytes:
    """A word or cell becomes something else; in a table the separators beside it stay."""
    words = _words(content)
    if not words:
        return _insert(content, rng)
    start, end = rng.choice(words)
    other = rng.choice(TEXTS).encode("utf-8", "surrogatepass") if rng.random() < 0.5 else rng.choice(_SOUP)
    if rng.random() < 0.3:
        first, last = rng.choice(words)
        other = content[first:last]
    return content[:start] + (other if rng.random() < 0.7 else content[start:end] + other) + content[end:]


def _words(content: bytes) -> list[tuple[int, int]]:
    found, start = [], None
    for at, sign in enumerate(content + b"\n"):
        if sign in b"\n,;:{}[]<>()#=\"' \t":
            if start is not None:
                found.append((start, at))
            start = None
        elif start is None:
            start = at
    return found


def _separators(content: bytes, rng: random.Random) -> bytes:
    old = rng.choice((b",", b"\n", b":", b'"', b" ", b"{", b"}", b"[", b"]", b"=", b"-"))
    new = rng.choice((b",", b";", b"\t", b"\r\n", b"\r", b"", b'"', b"''", b"{", b"[", b"\x00", b"\xff"))
    return content.replace(old, new, rng.choice((1, 1, 3, -1)))


_LINES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _lines, _lines, _cells, _cells, _cells, _cells, _separators, _insert, _flip, _truncate, _nothing,
)  # fmt: skip

_WAYS: dict[Form, Callable[[bytes, random.Random], bytes]] = {
    "json": _json,
    "ndjson": _ndjson,
    "text": _text,
    "bytes": _bytes,
    "gzip": _gzip,
    "zlib": _zlib,
    "archive": _archive,
}
