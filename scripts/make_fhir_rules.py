"""Make the packaged codes, profiles, extensions and invariants of FHIR out of HL7's npm packages (all CC0-1.0).

Run ``python scripts/make_fhir_rules.py`` with npm on the path, or with ``--packages DIR`` as `make_definitions.py`. The
same packages give the same bytes. What is in the files, and why: docs/decisions/0032-fhir-validation.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from make_definitions import OUT, Json, Package, packages, write

from fhirspace.standards.hl7.expansion import Expansions, codes_of, complete
from fhirspace.standards.hl7.structures import ElementRule, Invariant, Slicing, Structure, reduced
from fhirspace.standards.hl7.terms import System

_JUDGED = ("required", "extensible", "preferred")
_LOGICAL = ("logical",)


def system_rows(systems: dict[str, Json], known: dict[str, System]) -> dict[str, System]:
    """The complete code systems; of those that are `known`, only further codes."""
    found = {}
    for url, system in sorted(systems.items()):
        if not complete(system):
            continue
        folded = system.get("caseSensitive") is False
        codes = codes_of(system)
        if url in known:
            codes -= set(known[url].codes)
        if codes:
            found[url] = System(sorted(codes), folded)
    return found


# --- structures


def inherited_rules(structures: list[Json]) -> dict[str, Structure]:
    """The base types, by name."""
    return {
        item["type"]: reduced(item)
        for item in structures
        if item.get("derivation") != "constraint" and item["kind"] not in _LOGICAL
    }


def invariants_of(types: dict[str, Structure]) -> dict[str, list[Invariant]]:
    """The invariants of types by path, each where it is declared and not again in what inherits it."""
    owners: dict[str, str] = {}
    for name in ("Element", "BackboneElement", "Extension", "Resource", "DomainResource"):
        for rule in types[name].elements[0].constraints if name in types else ():
            owners.setdefault(rule.key, name)
    found: dict[str, list[Invariant]] = {}
    for _, structure in sorted(types.items()):
        for element in structure.elements:
            own = [
                rule
                for rule in element.constraints
                if owners.get(rule.key, element.id) == element.id and not _of_its_type(rule, element, types)
            ]
            if own:
                found[element.id] = own
    return found


def _of_its_type(rule: Invariant, element: ElementRule, types: dict[str, Structure]) -> bool:
    """Whether an element only repeats a constraint of its data type (``Reference`` has ref-1)."""
    kinds = [types[kind.code] for kind in element.types if kind.code in types]
    return "." in element.id and any(rule in kind.elements[0].constraints for kind in kinds)


def profile_of(structure: Structure, types: dict[str, Structure]) -> Structure:
    """A profile without the elements of which it says no more than its type."""
    base = {each.id: each for each in types[structure.type].elements}
    elements = []
    for element in structure.elements:
        origin = base.get(element.id)
        known = _known_constraints(element, types, base)
        element.constraints = [rule for rule in element.constraints if rule not in known]
        if origin is not None:
            _without_origin(element, origin)
        plain = Slicing([("value", "url")])
        if element.slicing == plain and not any(each.id.startswith(f"{element.id}:") for each in structure.elements):
            element.slicing = None
        if element != ElementRule(element.id):
            elements.append(element)
    structure.elements = elements
    return structure


def _known_constraints(
    element: ElementRule, types: dict[str, Structure], base: dict[str, ElementRule]
) -> list[Invariant]:
    plain = ".".join(part.partition(":")[0] for part in element.id.split("."))
    own = list(base[plain].constraints) if plain in base else []
    for name in ("Element", "BackboneElement", "Extension", *(kind.code for kind in element.types)):
        own += types[name].elements[0].constraints if name in types else []
    for each in types.values():  # an element within a data type: `Observation.value[x].code`
        if plain not in base and "." in plain:
            tail = plain.rpartition(".")[2]
            own += [rule for inner in each.elements if inner.id == f"{each.type}.{tail}" for rule in inner.constraints]
    return own


def _without_origin(element: ElementRule, origin: ElementRule) -> None:
    if element.min == origin.min:
        element.min = -1
    if element.max == origin.max:
        element.max = ""
    if element.types == origin.types:
        element.types = []
    if element.binding == origin.binding:
        element.binding = None
    if element.content == origin.content:
        element.content = ""


def bound(structures: Iterable[Structure]) -> set[str]:
    """The value sets of bindings that are judged."""
    return {
        element.binding[1]
        for each in structures
        for element in each.elements
        if element.binding and element.binding[0] in _JUDGED
    }


# --- files


def release_files(
    release: str, package: Package, terminology: Package, extensions: Package, shared: dict[str, System]
) -> None:
    """Write the two files of a release."""
    types = inherited_rules(package.structures)
    own = [
        each for each in package.structures if each.get("derivation") == "constraint" and each["kind"] not in _LOGICAL
    ]
    published = [
        each
        for each in extensions.structures
        if each.get("type") == "Extension" and each.get("derivation") == "constraint"
    ]
    every = {each["url"]: each for each in [*published, *own]}
    profiles = {url: profile_of(reduced(each), types) for url, each in sorted(every.items()) if each["type"] in types}
    expansions = Expansions(
        {**terminology.value_sets, **extensions.value_sets, **package.value_sets},
        {**terminology.code_systems, **extensions.code_systems, **package.code_systems},
    )
    wanted = sorted(bound([*types.values(), *profiles.values()]))
    values = {url: codes for url in wanted if (codes := expansions.expand(url)) is not None}
    systems = system_rows({**terminology.code_systems, **extensions.code_systems, **package.code_systems}, shared)
    print(
        write(f"fhir-{release.lower()}-terms.json.gz", {"systems": systems, "values": values}),
        len(values),
        "of",
        len(wanted),
        "value sets",
    )
    content = {"invariants": invariants_of(types), "structures": profiles}
    print(write(f"fhir-{release.lower()}-structures.json.gz", content), len(profiles), "structures")


def checksums() -> None:
    """Write the SHA-256 of each packaged file of FHIR's definitions."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(OUT.glob("fhir-*.gz"))
    ]
    (OUT / "fhir-definitions.sha256").write_text("".join(lines), "ascii")


def main() -> None:
    """Write all files."""
    with packages(__doc__) as (terminology, releases):
        shared = system_rows(terminology.code_systems, {})
        print(write("fhir-terms.json.gz", {"systems": shared}), len(shared), "code systems")
        for release, package, extensions in releases:
            release_files(release, package, terminology, extensions, shared)
    checksums()


if __name__ == "__main__":
    main()
