"""Source mappings: the forms of an EDC system as tabulation rows, and tabulation rows as the records of its forms.

A source folder has one YAML file a form (or several; see docs/decisions/0007), ``common.yaml`` with constants and code
lists for all of them, ``codes/*.csv``, and ``study.yaml`` with the design of the study for derivations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import MappingError, Place, Problem
from fhirspace.forms.annotations import check_annotations, comments_of, related_of
from fhirspace.forms.build import SourceBuilder, code_lists
from fhirspace.forms.check import check
from fhirspace.forms.columns import column
from fhirspace.forms.declarations import COMMON, DeclarationReader
from fhirspace.forms.from_sdtm import Absent, FormRecords, leftover, records as read_records
from fhirspace.forms.model import Declared, Document, FormMapping
from fhirspace.forms.reduce import LeftOut, Reduced, reduce
from fhirspace.forms.supplemental import with_autos
from fhirspace.forms.to_sdtm import RECORD, FormRows, Labels, encoded, rows as write_rows
from fhirspace.tables.text import FORM, ROW, TEXT, place
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codelists import CodeLists
from fhirspace.template.folders import digest_of, shipped

_APART = frozenset({"common.yaml", "study.yaml"})
_ORIGIN = "origin"
_ORIGINS = ("CRF", "Collected", "eDT", "Derived", "Assigned", "Protocol", "Predecessor")
"""QORIG: ``CRF`` and ``eDT`` are origins of Define-XML 2.0, the others of 2.1, which says ``Collected`` for both."""


class SourceRows(NamedTuple):
    """What records made.

    Attributes:
        tables: rows by dataset; labels: by dataset and variable, of variables that are not standard.
        problems: in the order of forms and records; quarantined: records by form.
        left_out: by form, what its mapping declares not to convert.
        unmapped: by dataset, the variables that carry columns which no mapping names, and do not travel to FHIR.
    """

    tables: dict[str, pa.Table]
    problems: list[Problem]
    quarantined: dict[str, pa.Table]
    labels: Labels
    left_out: dict[str, LeftOut]
    unmapped: dict[str, set[str]]


class SourceRecords(NamedTuple):
    """What tabulations made: records by form, and the rows that no form recognises."""

    records: dict[str, pa.Table]
    problems: list[Problem]


class SourceForm:
    """One form, in both directions. `mapping` is what its documents say; `absent` see `from_sdtm.Absent`."""

    def __init__(self, mapping: FormMapping, absent: Absent | None = None) -> None:
        self.mapping, self.absent = mapping, dict(absent or {})

    @property
    def name(self) -> str:
        """The form's name: the stem of its file."""
        return self.mapping.form

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that its records make rows of."""
        return tuple(dict.fromkeys(document.dataset for document in self.mapping.documents))

    def rows(self, table: pa.Table, *, reversible: bool = True) -> FormRows:
        """The rows that records make (see `to_sdtm.rows`); a faulty record makes none and is quarantined."""
        made = write_rows(self.mapping, table, reversible=reversible)
        return made._replace(tables={name: each.drop_columns([RECORD]) for name, each in made.tables.items()})

    def reduced(self, table: pa.Table) -> Reduced:
        """The records without what the mapping declares not to convert (see `reduce.reduce`)."""
        return reduce(self.mapping, table)

    def records(self, tables: Mapping[str, pa.Table], labels: Labels | None = None) -> FormRecords:
        """The records read from rows, in the order of their keys (see `from_sdtm.records`)."""
        return read_records(self.mapping, tables, labels or {}, self.absent)


class SourceLibrary:
    """All forms of a source.

    Args:
        folder: the source folder, or the name of one that is shipped (``space``).
        folders: mapping folders whose ``codes/`` the forms see as well; the shipped one comes first.

    Raises:
        MappingError: from the first use of `forms`, with file, line, key and what was expected.
    """

    def __init__(self, folder: Path | str, folders: Iterable[Path] = ()) -> None:
        path = Path(folder)
        self.folder = path if path.is_dir() else shipped() / "sources" / path.name
        self._folders = list(dict.fromkeys([shipped(), *folders]))

    @cached_property
    def forms(self) -> dict[str, SourceForm]:
        """The forms by name."""
        digest = digest_of([*self._folders, self.folder], ("*.yaml", "codes/*.csv"))
        return dict(_built(self.folder, tuple(self._folders), digest))

    def build(self) -> dict[str, SourceForm]:
        """The forms made anew from the files and checked. Raises: MappingError, as the class says."""
        files = [path for path in sorted(self.folder.glob("*.yaml")) if path.name not in _APART]
        if not files:
            raise MappingError("FS350", str(self.folder.name), "a folder with a YAML file for each form")
        lists = CodeLists(folder / "codes" for folder in [*self._folders, self.folder])
        builder = SourceBuilder(lists, *self._common(lists))
        for path in files:
            builder.add(path.name, nodes.load(path))
        mappings = with_autos(builder.forms().values())
        absent = check(mappings)
        check_annotations(mappings)
        return {mapping.form: SourceForm(mapping, absent) for mapping in mappings}

    def _common(self, lists: CodeLists) -> tuple[dict[str, nodes.Node], dict[str, dict[str, str]], Declared]:
        path = self.folder / "common.yaml"
        lets: dict[str, nodes.Node] = {}
        codes: dict[str, dict[str, str]] = {}
        declared = Declared()
        for document in nodes.load(path) if path.is_file() else ():
            for name, node in document.items:
                if name.text not in (*COMMON, _ORIGIN) and (
                    name.text not in {"let", "codes"} or not isinstance(node, nodes.Map)
                ):
                    hint = "`let:` and `codes:` with names, or " + ", ".join(
                        f"`{each}:`" for each in (*COMMON, _ORIGIN)
                    )
                    raise MappingError("FS321", Place(path.name, name.line, name.text), hint)
            let = document.get("let")
            lets |= {name.text: node for name, node in let.items} if isinstance(let, nodes.Map) else {}
            codes |= code_lists(path.name, document)
            declared = replace(DeclarationReader(path.name, lists).declared(document, declared), own_drop=())
        _ = self.origin  # it is checked with the rest
        return lets, codes, declared

    @cached_property
    def origin(self) -> str:
        """QORIG of supplemental qualifiers: ``origin:`` of ``common.yaml``, else CRF. Raises MappingError FS321."""
        path = self.folder / "common.yaml"
        for node in (each.get(_ORIGIN) for each in (nodes.load(path) if path.is_file() else ())):
            if node is not None:
                if not isinstance(node, nodes.Text) or node.text not in _ORIGINS:
                    raise MappingError("FS321", Place(path.name, node.line, _ORIGIN), f"one of {', '.join(_ORIGINS)}")
                return node.text
        return "CRF"

    @property
    def study(self) -> Path | None:
        """The file with the design of the study (visits, elements, units), None where the source has none."""
        path = self.folder / "study.yaml"
        return path if path.is_file() else None

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that the forms make rows of, also of CO and RELREC where variables become these."""
        made = {name for form in self.forms.values() for name in form.datasets}
        return tuple(sorted(made | ({"CO"} if self.comments else set()) | ({"RELREC"} if self.related else set())))

    @cached_property
    def comments(self) -> dict[str, dict[str, str]]:
        """By dataset, the variables whose text becomes a comment (CO), each with its COREF."""
        return comments_of(form.mapping for form in self.forms.values())

    @cached_property
    def related(self) -> dict[str, dict[str, str]]:
        """By dataset, the variables that name a related record (RELREC), each with the variable that has the name."""
        return related_of(form.mapping for form in self.forms.values())

    def origins(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """By dataset and variable, the form columns that it comes from, as ``form.column``: for Define-XML."""
        found: dict[str, dict[str, dict[str, None]]] = {}
        for form in self.forms.values():
            for document, line in form.mapping.lines:
                for name, cell in line.cells:
                    at = ("CO", "COVAL") if name in dict(document.comments) else (document.dataset, name)
                    known = found.setdefault(at[0], {}).setdefault(at[1], {})
                    known.update(dict.fromkeys(f"{form.name}.{each}" for each in cell.columns()))
        return {
            dataset: {name: tuple(columns) for name, columns in variables.items()}
            for dataset, variables in found.items()
        }

    def dates(self) -> Iterator[tuple[FormMapping, Document, frozenset[str]]]:
        """The documents of all forms, each with the dates (variables --DTC) that it writes."""
        for form in self.forms.values():
            for document in form.mapping.documents:
                names = (name for line in document.lines for name, _ in line.cells)
                yield form.mapping, document, frozenset(name for name in names if name.endswith("DTC"))

    @cached_property
    def _zoned(self) -> bool:
        return any(form.mapping.declared.zone for form in self.forms.values())

    def to_rows(self, records: Mapping[str, pa.Table], *, reversible: bool = True) -> SourceRows:
        """Tabulation rows out of records.

        Args:
            records: text tables by form name.
            reversible: whether the rows must give the records back as they are spelt.

        Returns:
            Rows by dataset (variables that are not standard are beside the others, with a label), problems,
            quarantined records by form. Records in = records that made rows + quarantined + skipped.
        """
        made: dict[str, list[tuple[str, pa.Table]]] = {}
        problems: list[Problem] = []
        quarantined: dict[str, pa.Table] = {}
        labels: Labels = {}
        left_out: dict[str, LeftOut] = {}
        unmapped: dict[str, set[str]] = {}
        for name, table in sorted(records.items()):
            form = self.forms.get(name)
            if form is None:
                problems.append(
                    Problem(
                        "FS257",
                        place(table.slice(0, 1), 0) if table.num_rows else Place(name),
                        f"a form of the source mappings `{self.folder.name}`",
                        name,
                    )
                )
                quarantined[name] = table
                continue
            result = form.rows(table, reversible=reversible)
            problems += result.problems
            quarantined |= {name: result.quarantined} if result.quarantined.num_rows else {}
            left_out[name] = result.left_out
            for dataset, names in result.unmapped.items():
                unmapped.setdefault(dataset, set()).update(names)
            for dataset, variables in result.labels.items():
                labels.setdefault(dataset, {}).update(variables)
            for dataset, rows in result.tables.items():
                names = pa.repeat(pa.scalar(name, TEXT), rows.num_rows)
                made.setdefault(dataset, []).append((name, rows.append_column(FORM, names) if self._zoned else rows))
        problems += [
            Problem("FS262", Place(f"{name}.csv"), "records of this form", name)
            for name in self.forms
            if name not in records
        ]
        tables = {dataset: encoded(self._joined(dataset, parts)) for dataset, parts in sorted(made.items())}
        return SourceRows(tables, problems, quarantined, labels, left_out, unmapped)

    def _joined(self, dataset: str, parts: list[tuple[str, pa.Table]]) -> pa.Table:
        together: list[pa.Table] = []
        alone: list[pa.Table] = []
        on: tuple[str, ...] = ()
        for name, table in parts:
            merged = [
                each.one_per for each in self.forms[name].mapping.documents if each.dataset == dataset and each.one_per
            ]
            on = merged[0] if merged else on
            (together if merged else alone).append(table)
        return pa.concat_tables([*([_merged(together, on)] if together else []), *alone], promote_options="default")

    def to_records(self, tables: Mapping[str, pa.Table], labels: Labels | None = None) -> SourceRecords:
        """Records out of tabulation rows.

        Args:
            tables: text tables by dataset, supplemental qualifiers joined back as columns; derived variables are not
                needed.
            labels: by dataset and variable, the labels (QLABEL) of variables that are not standard. They are needed
                only for columns that the mapping does not know.

        Returns:
            The records of each form that has some, in the order of their keys; a problem for each row that no form
            recognises (warning FS258) and for each dataset that no form makes (note FS259).
        """
        found: dict[str, pa.Table] = {}
        problems: list[Problem] = []
        used = {name: pa.repeat(pa.scalar(False), table.num_rows) for name, table in tables.items()}
        plain = {name: _plain(table) for name, table in tables.items()}
        for name, form in self.forms.items():
            result = form.records(plain, labels)
            problems += result.problems
            used |= {dataset: pc.or_(used[dataset], mask) for dataset, mask in result.used.items()}
            if result.table.num_rows:
                found[name] = result.table
        return SourceRecords(found, problems + leftover(tables, used, self.datasets))


@lru_cache(maxsize=8)
def _built(folder: Path, folders: tuple[Path, ...], _digest: str) -> dict[str, SourceForm]:
    """The forms of files with this digest: who converts several exports builds them once."""
    return SourceLibrary(folder, folders).build()


def _plain(table: pa.Table) -> pa.Table:
    """The table with string columns of one chunk each, so that no line of a form decodes them again."""
    return pa.table({name: column(table, name) if name != ROW else table[name] for name in table.column_names})


def _merged(tables: list[pa.Table], on: tuple[str, ...]) -> pa.Table:
    """The rows of several forms that agree in some variables, one row each, in the order of their first appearance."""
    if len(tables) == 1:
        return tables[0]
    keys = [pc.binary_join_element_wise(*(column(table, name) for name in on), pa.scalar("\x00")) for table in tables]
    distinct = pa.concat_arrays(keys).unique()
    arrays: dict[str, pa.Array] = {}
    for table, key in zip(tables, keys, strict=True):
        places = pc.index_in(distinct, value_set=key)
        for name in table.column_names:
            cells = table[name].combine_chunks().take(places)
            arrays[name] = pc.coalesce(arrays[name], cells) if name in arrays else cells
    return pa.table(arrays)
