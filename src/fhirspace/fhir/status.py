"""What a resource says of itself: it did not happen, is a mistake, or must not be read without understanding all of it.

The rules are data (``standards/data/status.toml``): for each code of the status elements of each resource type an
outcome. `verdicts` applies them to a parsed resource; `doubtful` tells from the bytes of lines where that is
needed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple

Outcome = Literal["row", "finding", "not done", "not occurred", "never", "not understood"]
"""See ``status.toml``; `not understood`: a modifierExtension, implicit rules, or a code that no list has."""

MISTAKE: Final = "entered-in-error"
"""The code that says the same wherever FHIR has it, also of types without rules."""
NEGATIONS: Final = ("doNotPerform", "wasNotGiven", "notGiven", "notDone", "notPerformed", "notTaken", "wasNotTaken")
"""Elements of requests and older releases that turn a record into its opposite when they are true."""

_MODIFIERS: Final = ("modifierExtension", "implicitRules")
_TYPE: Final = re.compile(rb'\s*\{\s*"resourceType"\s*:\s*"(\w+)"')
_HL7: Final = ("http://terminology.hl7.org/", "http://hl7.org/fhir")
"""How the systems of HL7's status codes begin."""
_ESCAPED: Final = b"\\u00"
"""An escape that can spell a letter of a code or of a name."""


class Verdict(NamedTuple):
    """What a status element says: the outcome, the path of the element, its code ("" where no list has it)."""

    outcome: Outcome
    path: str
    code: str = ""


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(files("fhirspace.standards").joinpath("data", "status.toml").read_text("utf-8"))


@cache
def rules() -> Mapping[str, Mapping[str, Mapping[str, Outcome]]]:
    """The outcome of each code, by resource type and path of the element."""
    return {
        kind: {
            path: {code: outcome for outcome, codes in outcomes.items() for code in codes}
            for path, outcomes in elements.items()
        }
        for kind, elements in _file().items()
        if kind != "modifiers"
    }


@cache
def _tokens(kind: bytes) -> tuple[bytes, ...]:
    """Bytes without which a line of a type, or what it contains, can hold no listed code but those of rows."""
    mine = [*rules().get(kind.decode(), {}).values(), *rules()["Specimen"].values()]
    codes = {code for lists in mine for code, outcome in lists.items() if outcome != "row"}
    return (_ESCAPED, *(f'"{code}"'.encode() for code in sorted(codes)))


def doubtful(lines: Iterable[tuple[int, bytes]], always: Collection[str] = ()) -> list[int]:
    """The lines that can hold a listed code of another outcome than `row`; it never misses one.

    Args:
        lines: line number and bytes of each; always: resource types of which each line is doubtful.
    """
    found: list[int] = []
    head, tokens = b"", tuple[bytes, ...]()
    for number, line in lines:
        if not (head and line.startswith(head)):
            kind = _TYPE.match(line)
            head = kind[0] if kind else b""
            tokens = _tokens(kind[1]) if kind and kind[1].decode() not in always else (b"",)
        for token in tokens:
            if token in line:
                found.append(number)
                break
    return found


def verdicts(resource: Mapping[str, Any]) -> list[Verdict]:
    """The outcomes of a resource and of those it contains, other than `row`.

    Args:
        resource: the parsed resource, of which nothing is known but that it is an object.
    """
    found = list(_of(resource, str(resource.get("resourceType", ""))))
    contained = resource.get("contained")
    for position, inner in enumerate(contained if isinstance(contained, list) else ()):
        if isinstance(inner, dict):
            found += _of(inner, str(inner.get("resourceType", "")), f"contained[{position}].")
    known, rest = _known(resource)
    found += known
    if _modified(rest):
        found += [Verdict("not understood", path) for path in _modifiers(rest, "")]
    return found


def _known(resource: Mapping[str, Any]) -> tuple[list[Verdict], Mapping[str, Any]]:
    """What modifier extensions say that are a status, and the resource without them."""
    extensions = resource.get("modifierExtension")
    if not isinstance(extensions, list):
        return [], resource
    found, left = list[Verdict](), list[Any]()
    for each in extensions:
        lists = _file()["modifiers"]
        if isinstance(each, dict) and each.keys() == {"url", "valueCode"} and str(each["url"]) in lists:
            kind, path = lists[str(each["url"])].split(".")
            outcome = rules()[kind][path].get(str(each["valueCode"]), "not understood")
            found += (
                [Verdict(outcome, "modifierExtension", str(each["valueCode"]) if outcome != "not understood" else "")]
                if outcome != "row"
                else []
            )
        else:
            left.append(each)
    rest = {name: value for name, value in resource.items() if name != "modifierExtension"}
    return found, rest | ({"modifierExtension": left} if left or not extensions else {})


def _of(resource: Mapping[str, Any], kind: str, base: str = "") -> Iterator[Verdict]:
    if kind not in rules() and resource.get("status") == MISTAKE:
        yield Verdict("never", f"{base}status", MISTAKE)
    for path, outcomes in rules().get(kind, {}).items():
        for code in _codes(resource, path.split("."), outcomes):
            outcome: Outcome = outcomes.get(code, "not understood")
            if outcome != "row":
                yield Verdict(outcome, base + path, code if code in outcomes else "")
    for name in NEGATIONS:
        if resource.get(name) not in (None, False):
            yield Verdict("never", base + name)


def _codes(value: Any, path: list[str], known: Collection[str]) -> list[str]:
    """The codes at a path: of a code or truth value itself, of a concept its codings; "" for anything else.

    A coding of a system that is not HL7's only translates the one that FHIR demands, so it does not count beside one
    whose code is known.
    """
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if not isinstance(value, dict):
        return [str(value) if isinstance(value, str) else ""]
    codings = _listed(value.get("coding", []))
    demanded = [each for each in codings if not _translates(each)]
    certain = any(isinstance(each, dict) and str(each.get("code", "")) in known for each in demanded)
    return [str(each.get("code", "")) if isinstance(each, dict) else "" for each in (demanded if certain else codings)]


def _translates(coding: Any) -> bool:
    system = coding.get("system") if isinstance(coding, dict) else None
    return isinstance(system, str) and not system.startswith(_HL7)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _modified(value: Any) -> bool:
    """Whether there is a modifier at any depth; most resources have none, and need no paths."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if not each.keys().isdisjoint(_MODIFIERS):
                return True
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return False


def _modifiers(value: Any, path: str) -> Iterator[str]:
    """The paths of modifiers at any depth. No mapping has a place for one, so none of them is understood."""
    if isinstance(value, dict):
        for name, inner in value.items():
            where = f"{path}.{name}" if path else name
            if name in _MODIFIERS:
                yield where
            else:
                yield from _modifiers(inner, where)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _modifiers(inner, f"{path}[{position}]")
