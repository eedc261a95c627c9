"""All structures that a run knows: HL7's own of a release, and those of packages that the user names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from fhirspace.fhir.validation.elements.findings import Finding
from fhirspace.fhir.validation.invariants import items as invariant_items
from fhirspace.fhir.validation.invariants.rules import broken, evaluable
from fhirspace.fhir.validation.invariants.surroundings import Surroundings
from fhirspace.fhir.validation.structures.blind import blind
from fhirspace.fhir.validation.structures.items import Item
from fhirspace.fhir.validation.structures.judge import Judge
from fhirspace.fhir.validation.structures.packages import Package
from fhirspace.fhir.validation.structures.slices import Around
from fhirspace.fhir.validation.structures.tree import Node, tree
from fhirspace.foreign import counted
from fhirspace.standards.fhir import RELEASES, Release, definitions
from fhirspace.standards.hl7.structures import Structure, structures
from fhirspace.standards.hl7.terms import CodeSystem, ValueSet, terms

_REMEMBERED = 4096
_NAMED = 20
"""Must-support elements that a note names."""
_MOST_SYSTEMS, _MOST_CODES = 1_000, 100_000
_CORE = "http://hl7.org/fhir/StructureDefinition/"


class Unjudged:
    """The code systems of a run whose codes nobody knows, each with how many different codes there were."""

    def __init__(self) -> None:
        self._codes: dict[str, set[int]] = {}

    def add(self, system: str, code: str) -> None:
        """Counts a code, once."""
        found = self._codes.get(system)
        if found is None:
            if len(self._codes) >= _MOST_SYSTEMS:
                return
            found = self._codes[system] = set()
        if len(found) < _MOST_CODES:
            found.add(hash(code))

    def counts(self) -> list[tuple[str, int]]:
        """The systems with their counts."""
        return sorted((system, len(codes)) for system, codes in self._codes.items())


class Registry:
    """Structures and value sets by their addresses, and a judge for each structure."""

    def __init__(
        self,
        release: Release,
        own: Mapping[str, Structure] | None = None,
        values: Mapping[str, ValueSet] | None = None,
        systems: Mapping[str, CodeSystem] | None = None,
    ) -> None:
        """Args: the release; structures, value sets and code systems of users' packages."""
        self.release: Release = release
        self._own = own or {}
        self._values = values or {}
        self._systems = systems or {}
        self._judges: dict[str, Judge | None] = {}
        own_rules = structures(release).invariants().values()
        self._base_keys = {rule.key for rules in own_rules for rule in rules}
        """What snapshots repeat of the types, which are judged by themselves."""
        self._extensions: dict[str, Structure | None] = {}
        self._blind: dict[str, bool] = {}
        self._asked: set[tuple[int, str]] = set()
        self._judged: Counter[str] = Counter()
        self.resolve: Callable[[str], Any] = _nothing
        """Finds the resource that a reference names; set for each resource."""
        self._resource: dict[str, Any] | None = None
        """The resource that is judged by a profile."""
        self.noting = False
        """Whether systems that are not known are reported."""
        self.unjudged: Unjudged | None = None
        """Counts codes of systems that are not known, where somebody asks for them."""
        self._around = Around(self.value_set, self._resolved, self.conforms)

    def find(self, url: str) -> Structure | None:
        """A structure by its address, with or without a version."""
        name = url.partition("|")[0]
        return self._own.get(name) or structures(self.release).get(name)

    def value_set(self, url: str) -> ValueSet | None:
        """A value set by its address."""
        return self._values.get(url.partition("|")[0]) or terms(self.release).value_set(url)

    def system(self, url: str) -> CodeSystem | None:
        """A code system of which all codes are known."""
        return self._systems.get(url) or terms(self.release).system(url)

    def names_system(self, url: str) -> bool:
        """Whether it is the address of a code system of some release, with all of its codes known or not."""
        return url in self._systems or any(terms(release).names(url) for release in RELEASES)

    def extension(self, url: str) -> Structure | None:
        """The definition of an extension."""
        if url not in self._extensions:
            found = self.find(url)
            if len(self._extensions) >= _REMEMBERED:
                self._extensions.clear()
            self._extensions[url] = found if found is not None and found.type == "Extension" else None
        return self._extensions[url]

    def type_of(self, url: str) -> str:
        """The type that a profile constrains, or that an address of the core names; "" where nobody knows."""
        found = self.find(url)
        if found is not None:
            return found.type
        name = url.partition("|")[0].removeprefix(_CORE)
        return name if name in definitions(self.release).types else ""

    def judge(self, value: Any, url: str) -> list[Finding] | None:
        """What is wrong with a value by a structure; None where the structure is not known."""
        judge = self._judge(url.partition("|")[0])
        return None if judge is None else judge.judge(value)

    @classmethod
    def of(cls, release: Release, package: Package) -> Registry:
        """HL7's own structures of a release and those of packages."""
        return cls(release, package.structures, package.value_sets(release), package.code_systems())

    def declared(self, resource: Mapping[str, Any], kind: str, asked: Sequence[str] = ()) -> list[Finding]:
        """What is wrong with a resource by the profiles that it declares (``meta.profile``), and by those asked for."""
        meta = resource.get("meta")
        profiles = meta.get("profile") if type(meta) is dict else None
        declared = [url for url in (profiles if type(profiles) is list else ()) if type(url) is str]
        found: list[Finding] = []
        for url in dict.fromkeys((*declared, *asked)):
            found += self.by_profile(resource, kind, url)
        return found

    def by_profile(self, resource: Mapping[str, Any], kind: str, url: str) -> list[Finding]:
        """What is wrong with a resource by a profile; the note FS434 where the profile is not known."""
        structure = self.find(url)
        if structure is None:
            return self._without(kind, url)
        if not self._fits(structure, kind):
            return [("meta.profile", "FS433", f"a profile of {kind}, which {structure.url} is not")]
        self._judged[structure.url] += 1
        self.resolve = _contained(resource).get
        self._resource = dict(resource)
        try:
            return self.judge(resource, url) or []
        finally:
            self._resource = None

    def repeated(self, kind: str, urls: Iterable[str]) -> tuple[str, ...] | None:
        """The structures that judge resources of a type by declared profiles, if what is around values decides.

        What `holes` leaves out of two such resources may differ, and nothing else: what is found in both is the same.
        None where some structure asks for more.
        """
        found = [structure for url in dict.fromkeys(urls) if (structure := self.find(url)) is not None]
        return tuple(each.url for each in found if self._fits(each, kind)) if all(map(self._is_blind, found)) else None

    def count(self, urls: Iterable[str]) -> None:
        """Counts a resource that was not judged again. Args: the structures as `repeated` gives them."""
        self._judged.update(urls)

    def _is_blind(self, structure: Structure) -> bool:
        if structure.url not in self._blind:
            self._blind[structure.url] = blind(structure, self.find, self._base_keys.__contains__)
        return self._blind[structure.url]

    @staticmethod
    def _fits(structure: Structure, kind: str) -> bool:
        return structure.type in (kind, "Resource", "DomainResource")

    def _without(self, kind: str, url: str) -> list[Finding]:
        """What is wrong with a declared profile that is no profile here: it may be a type, or unknown."""
        named = self.type_of(url)
        if named in (kind, *definitions(self.release).bases(kind)):
            return []
        if named or url.startswith(_CORE):
            return [("meta.profile", "FS433", f"a profile of {kind} that FHIR {self.release} has")]
        return [("meta.profile", "FS434", "the package that has this profile")]

    def begin(self, *, full: bool) -> None:
        """Begins a run: what is counted over all of its resources is set back."""
        self.unjudged = Unjudged() if full or self.noting else None
        self._judged.clear()
        for judge in self._judges.values():
            if judge is not None:
                judge.met.clear()

    def unsupported(self, *, full: bool) -> Iterator[tuple[str, str]]:
        """By profile, what must-support elements of it no resource had; of HL7's own profiles only if `full`."""
        for url, count in sorted(self._judged.items()):
            judge = self._judge(url) if full or url in self._own else None
            missing, every = judge.unmet() if judge else ([], 0)
            if missing:
                named = ", ".join(missing[:_NAMED]) + (", ..." if missing[_NAMED:] else "")
                yield url, f"{len(missing)} of {every}, in {counted(count, 'resource')}: {named}"

    def unread(self) -> Iterator[tuple[str, str]]:
        """By profile of users' packages that was judged by, its invariants that cannot be evaluated."""
        for url in sorted(self._judged.keys() & self._own.keys()):
            root = tree(self._own[url], self.find)
            rules = [each for node in (root, *root.within()) for each in node.rule.constraints]
            keys = {each.key for each in rules if each.key not in self._base_keys and not evaluable(each.expression)}
            if keys:
                yield url, ", ".join(sorted(keys))

    def conforms(self, value: Any, url: str) -> bool | None:
        """Whether a value conforms to a structure; None where it is not known, or being asked for already."""
        name = url.partition("|")[0]
        kind = name.removeprefix(_CORE)
        if self.find(name) is None and kind in definitions(self.release).types:
            own = value.get("resourceType") if isinstance(value, dict) else None
            return own is None or own == kind
        asked = (id(value), name)
        if asked in self._asked:
            return None
        self._asked.add(asked)
        try:
            structure = self.find(name)
            if structure is not None and isinstance(value, dict):
                kind = value.get("resourceType", structure.type)
                if kind != structure.type and structure.type not in ("Resource", "DomainResource"):
                    return False
            found = self.judge(value, name)
            return None if found is None else not any(code in ("FS433", "FS423", "FS424") for _, code, _ in found)
        finally:
            self._asked.discard(asked)

    def _resolved(self, text: str) -> Any:
        return self.resolve(text)

    def _judge(self, name: str) -> Judge | None:
        if name not in self._judges:
            structure = self.find(name)
            self._judges[name] = None if structure is None else self._made(structure)
        return self._judges[name]

    def _made(self, structure: Structure) -> Judge:
        return Judge(structure, tree(structure, self.find), self._around, self._invariants, self.type_of)

    def _invariants(self, node: Node, item: Item) -> list[tuple[str, str]]:
        """The invariants of a profile that a value breaks."""
        further = [each for each in node.rule.constraints if each.key not in self._base_keys]
        if not further or item.value is None:
            return []
        value = item.value
        own = value if isinstance(value, dict) and "resourceType" in value else self._resource
        focus = invariant_items.Item(value, self._kind(node, item), item.companion)
        return [
            ("FS424" if each.severity == "error" else "FS425", f"{each.key}: {each.expression}")
            for each in broken(self.release, further, focus, Surroundings(own, own))
        ]

    def _kind(self, node: Node, item: Item) -> str:
        """The type of a value, or the path where its elements are defined."""
        value, known = item.value, definitions(self.release)
        if isinstance(value, dict) and "resourceType" in value:
            return str(value["resourceType"])
        if item.type:
            return item.type if item.type in known.types else item.type[:1].lower() + item.type[1:]
        types = [each.code for each in node.rule.types]
        if types and types[0] not in ("BackboneElement", "Element"):
            return types[0]
        path = _plain(node.rule.id)
        parent, _, name = path.rpartition(".")
        try:
            child = known.children(parent).get(name)
        except LookupError:
            return path
        return path if child is None or not child.primitive else child.type


def _plain(identity: str) -> str:
    """The path of an element without the names of slices."""
    return ".".join(part.partition(":")[0] for part in identity.split("."))


def _contained(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The contained resources by the references to them."""
    items = resource.get("contained")
    return {
        f"#{item['id']}": item
        for item in (items if type(items) is list else ())
        if type(item) is dict and type(item.get("id")) is str
    }


def _nothing(_: str) -> None:
    return None


@cache
def registry(release: Release) -> Registry:
    """HL7's own structures of a release."""
    return Registry(release)
