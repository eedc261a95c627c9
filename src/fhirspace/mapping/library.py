"""The mappings of some folders: found, built for a release, and checked against each other.

A mapping folder has ``domains/*.yaml`` and ``codes/*.csv``; ``common.yaml`` beside them holds constants (``let:``) for
all its files. Folders given later win over earlier ones, domain by domain, so that a user's own come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

from fhirspace.idkey import IdKey
from fhirspace.mapping.build import Builder
from fhirspace.mapping.check import check
from fhirspace.mapping.model import Arr, Block, Each, Mapping, Obj, walk
from fhirspace.standards.fhir import Release, definitions
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codelists import CodeLists
from fhirspace.template.folders import common, digest_of, shipped


class Library:
    """All domain mappings of some folders for one release.

    Args:
        fhir: the release of FHIR: R4, R4B or R5.
        folders: the user's own mapping folders; the shipped one comes first unless `bare`.
        key: the key of ids (see the codec ``id``); None: the site's, looked up when the first id is made.
        bare: leave the shipped mappings out.

    Raises:
        MappingError: from the first use of `mappings`, with file, line, key and what was expected.
    """

    def __init__(
        self, fhir: Release, folders: Iterable[Path] = (), *, key: IdKey | None = None, bare: bool = False
    ) -> None:
        self.release: Release = fhir
        self.folders = [*([] if bare else [shipped()]), *folders]
        self._key = key

    def __getstate__(self) -> dict[str, object]:
        """How to build it again: mappings contain functions, which cannot be pickled."""
        return {"release": self.release, "folders": self.folders, "_key": self._key}

    @cached_property
    def mappings(self) -> dict[str, Mapping]:
        """The mappings by domain, SUPP-- spelt out for each domain that has a place for it."""
        return dict(_built(self.release, tuple(self.folders), self._key, self.digest))

    def mapping(self, domain: str) -> Mapping:
        """The mapping of one domain whose library was found good before: the others are not built for it."""
        if "mappings" in vars(self):
            return self.mappings[domain]
        own = [each for path in self._files() for each in self._load(path, domain)]
        return dict(_spelt(own[-1], {}))[domain] if own else self.mappings[domain]

    @cached_property
    def lists(self) -> CodeLists:
        """The code lists of the folders."""
        return CodeLists(folder / "codes" for folder in self.folders)

    @cached_property
    def lets(self) -> dict[str, nodes.Node]:
        """The constants of all ``common.yaml``."""
        return common(self.folders)

    @cached_property
    def digest(self) -> str:
        """One SHA-256 over all files of the folders, in the order in which they win: names and bytes."""
        return digest_of(self.folders, ("common.yaml", "domains/*.yaml", "codes/*.csv"))

    def nested(self, domain: str) -> dict[str, Mapping]:
        """The mappings whose rows are nested in a domain's rows, by domain."""
        return {name: each for name, each in self.mappings.items() if each.attach and each.attach.to == domain}

    def build(self) -> dict[str, Mapping]:
        """The mappings made anew from the files and checked. Raises: MappingError, as the class says."""
        found: dict[str, Mapping] = {}
        for path in self._files():
            found.update((mapping.domain, mapping) for mapping in self._load(path))
        spelt = {name: each for plain in found.values() for name, each in _spelt(plain, found)}
        made = dict(sorted(spelt.items()))
        check(made)
        return made

    def _files(self) -> Iterator[Path]:
        for folder in self.folders:
            yield from sorted((folder / "domains").glob("*.yaml"))

    def _load(self, path: Path, domain: str = "") -> Iterator[Mapping]:
        """The mappings of a file, or only those that say to be of a domain."""
        for document in nodes.load(path):
            if domain and getattr(document.get("domain"), "text", "") != domain:
                continue
            yield Builder(path.name, definitions(self.release), self.lists, self.lets, self._key).mapping(document)


@lru_cache(maxsize=8)
def _built(release: Release, folders: tuple[Path, ...], key: IdKey | None, _digest: str) -> dict[str, Mapping]:
    """The mappings of files with this digest: who converts several studies builds them once."""
    return Library(release, folders, key=key, bare=True).build()


def _spelt(mapping: Mapping, found: dict[str, Mapping]) -> Iterator[tuple[str, Mapping]]:
    """A mapping with ``<each SUPP-->`` spelt ``<each SUPPAE>``; one of ``SUPP--`` once for each domain that asks."""
    if not mapping.domain.endswith("--"):
        yield mapping.domain, replace(
            mapping,
            blocks=tuple(replace(block, root=_spelt_object(block.root, mapping.domain)) for block in mapping.blocks),
            item=_spelt_object(mapping.item, mapping.domain) if mapping.item else None,
        )  # fmt: skip
        return
    prefix = mapping.domain.removesuffix("--")
    for other in found.values():
        if mapping.attach and any(
            isinstance(node, Each) and node.domain == mapping.domain for root in other.roots() for node in walk(root)
        ):
            yield (
                prefix + other.domain,
                replace(mapping, domain=prefix + other.domain, attach=replace(mapping.attach, to=other.domain)),
            )


def _spelt_object(obj: Obj, domain: str) -> Obj:
    def spell(node: Arr) -> Arr:
        return replace(
            node,
            items=tuple(
                replace(item, domain=item.domain.removesuffix("--") + domain)
                if isinstance(item, Each) and item.domain.endswith("--")
                else item
                for item in node.items
            ),
        )

    return replace(
        obj, fields=tuple((name, spell(node) if isinstance(node, Arr) else node) for name, node in obj.fields)
    )


def block_of(mapping: Mapping, domain: str) -> Block | None:
    """The block of a mapping that contains the items of a nested domain."""
    return next(
        (
            block
            for block in mapping.blocks
            for node in walk(block.root)
            if isinstance(node, Each) and node.domain == domain
        ),
        None,
    )
