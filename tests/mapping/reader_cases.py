"""What `extract` says of lines, in the shape of a `ReadBatch`, and ways to spoil a resource."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fhirspace.json import JsonError, Number, parse, parse_resource
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import CARRIED_URL
from fhirspace.mapping.read.extract import extract
from fhirspace.mapping.read.reader import CARRIED_PART, ReadBatch

Rows = list[tuple[int, dict[str, str]]]


@dataclass
class Read:
    rows: dict[tuple[str, int], Rows] = field(default_factory=dict)
    carried: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    unmapped: list[tuple[int, str]] = field(default_factory=list)
    empty: list[tuple[int, str]] = field(default_factory=list)
    absent: list[tuple[int, str]] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)
    problems: list[tuple[str, int | None]] = field(default_factory=list)


def told(lines: Iterable[tuple[int, bytes]], library: Library, *, notice: bool) -> Read:
    """Every line read by `extract`."""
    blocks = {(b.resource, b.system): (m, i) for m in library.mappings.values() for i, b in enumerate(m.blocks)}
    read = Read()
    for number, line in lines:
        try:
            resource, empty = parse_resource(line)
        except JsonError as error:
            read.problems.append((error.code, number))
            continue
        if not isinstance(resource, dict):
            read.problems.append(("FS414", number))
            continue
        if type(resource.get("resourceType")) is not str or not resource["resourceType"]:
            read.problems.append(("FS410", number))
            continue
        read.empty += [(number, path) for path in empty] if notice else []
        found = [blocks[key] for key in _systems(resource) if key in blocks]
        if not found:
            read.foreign.append(number)
            continue
        mapping, index = found[0]
        result = extract(mapping, mapping.blocks[index], resource, library.mappings)
        if not mapping.blocks[index].once:
            read.rows.setdefault((mapping.domain, index), []).append((number, _filled(result.cells)))
        for domain, rows in result.nested.items():
            read.rows.setdefault((domain, 0), []).extend((number, _filled(row)) for row in rows)
        read.unmapped += [(number, path) for path in result.unmapped] if notice else []
        read.absent += [(number, path) for path in result.absent] if notice else []
    return read


def _systems(resource: dict[str, Any]) -> Iterable[tuple[Any, Any]]:
    identifiers = resource.get("identifier")
    for each in identifiers if isinstance(identifiers, list) else [identifiers]:
        if (
            isinstance(each, dict)
            and isinstance(each.get("system"), str)
            and isinstance(resource.get("resourceType"), str)
        ):
            yield resource.get("resourceType"), each["system"]


def _filled(cells: dict[str, str]) -> dict[str, str]:
    """The cells that a text table has: not empty, not under a reserved name."""
    return {name: cell for name, cell in cells.items() if cell and name[:1] not in {"", "@", "_"}}


def taken(batches: Iterable[ReadBatch]) -> Read:
    """Batches in the same shape; the part of carried cells is looked at apart."""
    read = Read()
    for batch in batches:
        for domain, parts in batch.tables.items():
            for index, table in parts.items():
                if index != CARRIED_PART:
                    rows = [(row.pop("@row"), row) for row in table.drop_columns(["@file"]).to_pylist()]
                    read.rows.setdefault((domain, index), []).extend((n, _filled(row)) for n, row in rows)
        read.unmapped += batch.unmapped
        read.empty += [(line, path.partition(".")[2]) for line, path in batch.empty]
        read.absent += batch.absent
        read.foreign += batch.foreign
        read.problems += [(problem.code, problem.place.row) for problem in batch.problems]
    return read


# -- spoiling


def dump(value: Any, rng: random.Random | None = None) -> str:
    """JSON with numbers as they are spelt; with a generator, blanks between tokens and keys in any order."""
    blank = (lambda: rng.choice(["", " ", "\t", "\r"])) if rng else (lambda: "")
    if isinstance(value, Number):
        return blank() + str(value)
    if isinstance(value, dict):
        pairs = list(value.items())
        if rng:
            rng.shuffle(pairs)
        return "{" + ",".join(f"{blank()}{json.dumps(k)}{blank()}:{dump(v, rng)}" for k, v in pairs) + blank() + "}"
    if isinstance(value, list):
        return "[" + ",".join(dump(each, rng) for each in value) + blank() + "]"
    return blank() + json.dumps(value, ensure_ascii=bool(rng and rng.random() < 0.5))


def spoil(value: Any, rng: random.Random) -> None:
    """Change one thing somewhere in a resource."""
    places = list(_places(value))
    box, key = rng.choice(places)
    match rng.randrange(9):
        case 0:
            del box[key]
        case 1:
            box[key] = _copy(rng.choice(ODD))
        case 2 if isinstance(box, list):
            box.insert(rng.randrange(len(box) + 1), _copy(box[key]))
        case 3 if isinstance(box, list):
            rng.shuffle(box)
        case 4:
            other, name = rng.choice(places)
            box[key] = _copy(other[name])
        case 5 if isinstance(box, dict):
            box[rng.choice(["id", "unknownElement", "extension", "text", "code", "display", "meta", "@row"])] = _copy(
                _copy(rng.choice(ODD))
            )
        case 6 if isinstance(box[key], list):
            box[key].append(_copy(rng.choice(ODD)))
        case 7 if isinstance(box, dict):
            other, name = rng.choice(places)
            box[str(name)] = _copy(other[name])
        case _:
            if isinstance(box[key], str):
                box[key] = rng.choice([box[key] + "x", box[key][:-1], "", "|", "-", type(box[key])("7")])


ODD: list[Any] = [
    None, "", "x", True, False, Number("5.50"), Number("1e3"), Number("-0"), [], {}, ["x"], [{}], {"extension": []},
    {"url": "https://elsewhere.org/x", "valueString": "y"}, {"url": "@row", "valueString": "y"},
    [{"url": CARRIED_URL, "extension": [{"url": name, "valueString": "z"} for name in ("QQ", "STUDYID", "")]}],
    {"url": CARRIED_URL, "id": "1", "extension": [{"url": "USUBJID", "valueString": "u"}]},
    {"url": CARRIED_URL, "extension": "x"},
]  # fmt: skip


def _copy(value: Any) -> Any:
    return parse(dump(value))


def _places(value: Any) -> Iterable[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
