"""The mappings of some folders: found, built for a release, and checked against each other.

A mapping folder has ``domains/*.yaml``, ``classes/*.yaml`` and ``codes/*.csv``; ``common.yaml`` beside them holds
constants (``let:``) for all its files. Folders given later win over earlier ones, domain by domain, so that a user's
own come last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from fhirspace.errors import MappingError, Place
from fhirspace.idkey import IdKey, site_key, unmade
from fhirspace.mapping.build import Builder
from fhirspace.mapping.check import check
from fhirspace.mapping.classes import Classes
from fhirspace.mapping.model import Arr, Block, Each, Mapping, Obj, walk
from fhirspace.standards.fhir import Release, definitions
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codelists import CodeLists
from fhirspace.template.folders import common, digest_of, shipped
from fhirspace.template.syntax import DATASET

_Files = tuple[Release, tuple[Path, ...], IdKey | None, str]
"""What a library is built from: release, folders, key, and the digest of the files."""
_CONSTANTS: Final = ("common.yaml", "classes/*.yaml", "codes/*.csv")
"""The files of a folder from which the mappings of all folders take something."""
_SPLIT: Final = 4
"""The longest name of a split dataset: its domain and up to two more characters (SDTMIG 3.4, section 4.1.7)."""
_NAME: Final = re.compile(r"^domain: (\S+)$", re.MULTILINE)
"""How shipped files name a domain."""


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
        self._adopted: dict[str, tuple[str, str]] = {}

    def __getstate__(self) -> dict[str, object]:
        """How to build it again: mappings contain functions, which cannot be pickled."""
        return {"release": self.release, "folders": self.folders, "_key": self._key, "_adopted": self._adopted}

    @cached_property
    def mappings(self) -> dict[str, Mapping]:
        """The mappings by dataset, SUPP-- spelt out for each that has a place for it.

        A shipped one is not built before it is asked for by its name (see `adopt` and `complete`), but for DM and those
        that are nested in it.
        """
        return _Mappings(_built(*self._all), self.adopt)

    def complete(self) -> dict[str, Mapping]:
        """The mappings of all files, those that extend a class among them."""
        for domain in self._waiting:
            self.adopt(domain)
        return dict(sorted(self.mappings.items()))

    def adopt(self, dataset: str, columns: Collection[str] = (), resource: str = "") -> bool:
        """Whether there is a mapping of a dataset: one of its own, its domain's (of a split dataset), or its class's.

        From then on it is among `mappings`, with that of its supplemental qualifiers.

        Args:
            dataset: its name.
            columns: those of the dataset, or resource: a type of resource that its rows made: they show its class if no
                file names it.

        Raises:
            MappingError: the mapping is wrong.
        """
        if dataset in self.mappings:
            return True
        if (parent := dataset.removeprefix("SUPP")) != dataset and parent in self._waiting:
            return self.adopt(parent) and dataset in self.mappings
        origin = self._origin(dataset, columns, resource) if DATASET.fullmatch(dataset) else None
        if origin is None:
            return False
        self._adopted[dataset] = origin
        self.mappings.update(_made(self._all, dataset, *origin))
        return True

    def _origin(self, dataset: str, columns: Collection[str], resource: str) -> tuple[str, str] | None:
        """The domain whose document maps a dataset and "", or the domain and the class; None: nothing maps it."""
        if dataset in self._waiting:
            return dataset, ""
        domain = dataset[:2] if len(dataset) <= _SPLIT else dataset
        if domain != dataset and self._divides(domain, dataset):
            return domain, ""
        classes = _maker(*self._all)._classes
        klass = classes.making(resource) if resource else classes.of(domain, columns)
        return (domain, klass) if klass else None

    def _divides(self, domain: str, dataset: str) -> bool:
        """Whether a domain's mapping can be that of a split dataset: its resources get identifiers of their own."""
        if domain not in self.mappings and domain not in self._waiting:
            return False
        blocks = _maker(*self._all).make(dataset, domain, "")[dataset].blocks
        return bool(blocks) and all(block.system.endswith(f"/{dataset}") for block in blocks)

    def make(self, dataset: str, domain: str, klass: str) -> dict[str, Mapping]:
        """The mapping of a dataset and of its supplemental qualifiers, made from a domain's document or a class.

        Raises: MappingError, as the class says.
        """
        used = ["SUPP--"] if klass else [domain, "SUPP--"]
        paths = [self._files_of[name] for name in used if name in self._files_of]
        if all(path.parent.parent == shipped() for path in paths):
            return _shared(self._given, dataset, domain, klass, "".join(map(nodes.text_of, paths)))
        return self.anew(dataset, domain, klass)

    def anew(self, dataset: str, domain: str, klass: str) -> dict[str, Mapping]:
        """What `make` gives, not remembered."""
        if klass:
            document, file = self._classes.document(klass, domain), self._classes.files[klass]
        else:
            document, file = self._document(domain)
        mapping = self._builder(file).mapping(self._classes.extended(document, file), dataset)
        return dict((*_spelt(mapping, {}), *_spelt(self._qualifiers, {dataset: mapping})))

    def mapping(self, domain: str) -> Mapping:
        """The mapping of one domain whose library was found good before: the others are not built for it."""
        if "mappings" in vars(self):
            return self.mappings[domain]
        if domain in self._adopted:
            return self.make(domain, *self._adopted[domain])[domain]
        own = [each for path in self._files() for each in self._load(path, domain)]
        return dict(_spelt(own[-1], {}))[domain] if own else self.mappings[domain]

    @property
    def key(self) -> IdKey:
        """The key of ids."""
        return self._key or site_key()

    @property
    def has_key(self) -> bool:
        """Whether there is a key of ids without making one."""
        return self._key is not None or unmade() is None

    @cached_property
    def _all(self) -> _Files:
        """What the mappings are built from: libraries with the same have the same mappings."""
        return self.release, tuple(self.folders), self._key, self.digest

    @property
    def _waiting(self) -> dict[str, Path]:
        """The files of shipped mappings by dataset that are not built at once: a run builds those that it needs.

        Where a user has mappings of his own, only those that extend a class wait: the others are checked against his.
        """
        return _maker(*self._all)._found_waiting

    @cached_property
    def _found_waiting(self) -> dict[str, Path]:
        alone = self.folders == [shipped()]
        return {name: path for path in self._files() for name in _waiting(path, alone=alone)}

    @cached_property
    def _files_of(self) -> dict[str, Path]:
        """The file of each domain's document, the last one where several have it."""
        return {name: path for path in self._files() for name in _domains(path)}

    @cached_property
    def _qualifiers(self) -> Mapping:
        """The mapping of supplemental qualifiers, whatever their parent."""
        document, file = self._document("SUPP--")
        return self._builder(file).mapping(self._classes.extended(document, file))

    @cached_property
    def _classes(self) -> Classes:
        return Classes(self.folders)

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
        return digest_of(self.folders, (*_CONSTANTS, "domains/*.yaml"))

    def nested(self, domain: str) -> dict[str, Mapping]:
        """The mappings whose rows are nested in a domain's rows, by domain."""
        return {name: each for name, each in self.mappings.items() if each.attach and each.attach.to == domain}

    def build(self) -> dict[str, Mapping]:
        """The mappings made anew from the files and checked. Raises: MappingError, as the class says."""
        found: dict[str, Mapping] = {}
        for path in self._files():
            if path not in self._waiting.values():
                found.update((mapping.domain, mapping) for mapping in self._whole(path))
        spelt = {name: each for plain in found.values() for name, each in _spelt(plain, found)}
        made = dict(sorted(spelt.items()))
        check(made)
        return made

    def _files(self) -> Iterator[Path]:
        for folder in self.folders:
            yield from sorted((folder / "domains").glob("*.yaml"))

    def _whole(self, path: Path) -> Iterable[Mapping]:
        """The mappings of a file; those of a shipped one are the same for all libraries with the same constants."""
        if path.parent.parent != shipped():
            return self._load(path)
        return _shipped(self._given, path, nodes.text_of(path))

    @cached_property
    def _given(self) -> _Files:
        """The folders that bring constants, and what a library is built from them with."""
        folders = tuple(each for each in self.folders if any(any(each.glob(pattern)) for pattern in _CONSTANTS))
        return self.release, folders, self._key, digest_of(folders, _CONSTANTS)

    def _load(self, path: Path, domain: str = "") -> Iterator[Mapping]:
        """The mappings of a file, or only those that say to be of a domain."""
        for document in nodes.load(path):
            if domain and getattr(document.get("domain"), "text", "") != domain:
                continue
            yield self._builder(path.name).mapping(self._classes.extended(document, path.name))

    def _builder(self, file: str) -> Builder:
        return Builder(file, definitions(self.release), self.lists, self.lets, self._key)

    def _document(self, domain: str) -> tuple[nodes.Map, str]:
        """The last document of a domain, and its file."""
        if path := self._files_of.get(domain):
            for document in nodes.load(path):
                if getattr(document.get("domain"), "text", "") == domain:
                    return document, path.name
        raise MappingError("FS340", Place(domain), "a dataset that has a mapping")


class _Mappings(dict[str, Mapping]):
    """Mappings by dataset; one that waits is built when it is asked for.

    Args:
        built: those that are built; adopt: builds another one and adds it, if there is one.
    """

    def __init__(self, built: dict[str, Mapping], adopt: Callable[[str], bool]) -> None:
        super().__init__(built)
        self._adopt = adopt

    def __missing__(self, dataset: str) -> Mapping:
        if self._adopt(dataset):
            return self[dataset]
        raise KeyError(dataset)


def _waiting(path: Path, *, alone: bool) -> list[str]:
    """The datasets of a shipped file that need not be built at once; a user's file is built, to be checked.

    Args:
        alone: there are no other mappings: then all wait but those with nested rows, and those nested in them.
    """
    if path.parent.parent != shipped():
        return []
    text = nodes.text_of(path)
    names = _NAME.findall(text)
    extending = len(names) == len(re.findall(r"^extends: ", text, re.MULTILINE))
    nesting = re.search(r"^attach:|<each (?!SUPP)", text, re.MULTILINE)
    return names if extending or (alone and not nesting) else []


def _domains(path: Path) -> list[str]:
    """The domains of a file's documents; one of a user may spell them in any way that YAML has."""
    if path.parent.parent == shipped():
        return _NAME.findall(nodes.text_of(path))
    return [getattr(document.get("domain"), "text", "") for document in nodes.load(path)]


@lru_cache(maxsize=512)
def _made(files: _Files, dataset: str, domain: str, klass: str) -> dict[str, Mapping]:
    """The mappings of one dataset that `_built` leaves out, checked with it."""
    made = _maker(*files).make(dataset, domain, klass)
    check(_built(*files) | made, made)
    return made


@lru_cache(maxsize=8)
def _built(release: Release, folders: tuple[Path, ...], key: IdKey | None, _digest: str) -> dict[str, Mapping]:
    """The mappings of files with this digest: who converts several studies builds them once."""
    return _maker(release, folders, key, _digest).build()


@lru_cache(maxsize=256)
def _shipped(given: _Files, path: Path, _text: str) -> tuple[Mapping, ...]:
    """The mappings of a shipped file with this text: who loads mappings of his own builds the shipped ones once."""
    return tuple(_maker(*given)._load(path))


@lru_cache(maxsize=512)
def _shared(given: _Files, dataset: str, domain: str, klass: str, _texts: str) -> dict[str, Mapping]:
    """The mappings of one dataset from shipped files alone: the same in all libraries with the same constants."""
    return _maker(*given).anew(dataset, domain, klass)


@lru_cache(maxsize=16)
def _maker(release: Release, folders: tuple[Path, ...], key: IdKey | None, _digest: str) -> Library:
    """Makes the mappings of files with this digest; classes, code lists and constants are read once for all."""
    return Library(release, folders, key=key, bare=True)


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
                replace(
                    mapping,
                    domain=prefix + other.domain,
                    attach=replace(mapping.attach, to=other.domain),
                    code=other.code or other.domain,
                ),
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
