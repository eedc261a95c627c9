"""The data that rules judge: datasets with what their file says about their variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import versions
from fhirspace.sdtm.columns import by_distinct
from fhirspace.sdtm.ct import kept
from fhirspace.sdtm.define.model import Define
from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn
from fhirspace.sdtm.rules.values import NUMBER, TEXT
from fhirspace.standards import sdtm, sdtm_model
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import ROW, data_columns, has

SUPPLEMENTARY = ("SUPP", "SQ")
_DETECTED = (("TERM", "EVENTS"), ("TRT", "INTERVENTIONS"), ("QNAM", "RELATIONSHIP"))


@dataclass(frozen=True, slots=True)
class About:
    """What a file says of a variable: label, type (Char or Num), length."""

    label: str = ""
    type: str = "Char"
    length: int | None = None


@dataclass
class Dataset:
    """One dataset: its name, its rows as a text table, and what its file says of itself and of its variables.

    Attributes:
        file: the name of its file. size: the bytes of it, 0 where nobody knows.
        lenient: whether a cell of a numeric variable that is no number counts as none.
        listed: the variables that a list beside the file has, in its order; none where the file itself says them.
    """

    name: str
    table: pa.Table
    label: str = ""
    file: str = ""
    size: int = 0
    about: Mapping[str, About] = field(default_factory=dict)
    lenient: bool = False
    listed: Sequence[str] = ()
    _typed: dict[str, pa.Array] = field(default_factory=dict, repr=False)

    @cached_property
    def names(self) -> list[str]:
        """Its variables, in order."""
        return data_columns(self.table)

    @property
    def described(self) -> Sequence[str]:
        """The variables that what is known of the dataset names: of a list beside its file, else its own."""
        return self.listed or self.names

    def column(self, name: str) -> pa.Array:
        """A variable as texts or, by its type, as numbers. Raises MissingColumn; CannotRun: a number cannot be read."""
        if name not in self._typed:
            if not has(self.table, name):
                raise MissingColumn(name)
            column = whole(self.table[name])
            if column.type != TEXT and not pa.types.is_floating(column.type) and not pa.types.is_integer(column.type):
                column = column.cast(TEXT)
            about = self.about.get(name)
            self._typed[name] = self._numbers(column, name) if about and about.type == "Num" else column
        return self._typed[name]

    def _numbers(self, column: pa.Array, name: str) -> pa.Array:
        if not self.lenient or not pa.types.is_string(column.type):
            return _numbers(column, name)
        with suppress(CannotRun):
            numbers = _numbers(column, name)
            if pc.all(pc.is_finite(numbers)).as_py() is not False:  # "Inf" and "nan" are texts
                return numbers
        return by_distinct(column, _number, NUMBER)

    @cached_property
    def rows(self) -> pa.Array:
        """The number of each record, from 1."""
        if has(self.table, ROW):
            return pc.subtract(self.table[ROW].combine_chunks(), 1)
        return pa.array(range(1, self.table.num_rows + 1), pa.int64())

    def _first(self, name: str) -> str | None:
        if not has(self.table, name) or not self.table.num_rows:
            return None
        cell = self.table[name][0].as_py()
        return None if cell is None else str(cell)

    @cached_property
    def domain(self) -> str | None:
        """The DOMAIN of its first record."""
        return self._first("DOMAIN")

    @property
    def supplementary(self) -> bool:
        """Whether it holds supplemental qualifiers, by its name."""
        return self.name.startswith(SUPPLEMENTARY)

    @cached_property
    def related(self) -> str | None:
        """The domain that supplemental qualifiers belong to."""
        return self._first("RDOMAIN") if self.supplementary else None

    @property
    def whole(self) -> str:
        """The name without the part that tells split datasets apart: QS for QSPH."""
        if self.domain:
            return self.domain
        prefix = next((each for each in SUPPLEMENTARY if self.name.startswith(each)), "")
        return f"{prefix}{self.related}" if prefix else self.name

    @property
    def split(self) -> bool:
        """Whether it is one of several datasets of a domain."""
        return self.name != self.whole

    @property
    def associated(self) -> bool:
        """Whether it is about associated persons."""
        if self.supplementary:
            return bool(self.related) and len(self.related or "") == 4 and str(self.related).startswith("AP")
        return has(self.table, "APID") and self.table.num_rows > 0

    @property
    def suffix(self) -> str:
        """The domain that associated persons' data are like (``MH`` of APMH), or ""."""
        own = self.associated and not self.supplementary and len(self.domain or "") >= 4
        return (self.domain or "")[2:] if own else ""

    @property
    def prefix(self) -> str:
        """What ``--`` stands for in the names of its variables."""
        return self.suffix or self.domain or ""


class Study:
    """The datasets of a study, by name, and the version of SDTMIG that they follow.

    Without a `version` it is that which the define.xml or TS names, else the one that fhirspace has.

    Attributes:
        version: of SDTMIG. newest: whether it is 3.4 or later.
        define: the define.xml beside the datasets, None where there is none.
        terminology: the version of controlled terminology that the study names, such as ``2025-03-28``; "" for none.
        terms: the package of it; the shipped one where it is not at hand.
    """

    def __init__(
        self, datasets: Iterable[Dataset], version: str = "", *, define: Define | None = None, terminology: str = ""
    ) -> None:
        self.datasets = {dataset.name: dataset for dataset in datasets}
        parameters = self.datasets["TS"].table if "TS" in self.datasets else None
        version = version or versions.guide(define, parameters) or sdtm.version()
        self.newest = version >= "3.4"
        self.define = define
        self.terminology = terminology or versions.terminology(define, parameters)
        self.terms = kept.chosen(self.terminology)
        self.version = version

    def parts(self, dataset: Dataset) -> list[Dataset]:
        """A dataset and the others of its domain, of which one may have the name of the whole."""
        return [each for each in self.datasets.values() if each.whole == dataset.whole]

    def named(self, name: str) -> list[Dataset]:
        """The datasets of a domain, all parts of a split one; also by the dataset's own name."""
        return [each for each in self.datasets.values() if name in (each.whole, each.name, each.domain)]

    def first(self, whole: str) -> Dataset | None:
        """The dataset of a domain; ``SUPP--`` finds the first that starts so."""
        start = whole[:-2] if whole.endswith("--") else ""
        for each in self.datasets.values():
            if each.whole == whole or (start and each.whole.startswith(start)):
                return each
        return None

    def class_of(self, dataset: Dataset) -> str | None:
        """The observation class of a dataset in capitals, by the guide or by its topic variable; None: neither says."""
        if dataset.whole in sdtm.domains() and dataset.whole != "SUPPQUAL":
            return sdtm.domain(dataset.whole).klass.upper().replace("-", " ")
        if dataset.whole in sdtm_model.DATASETS:
            return sdtm_model.DATASETS[dataset.whole][0]
        found = _by_topic(dataset)
        if found is None and dataset.suffix:
            parent = next((each for each in self.datasets.values() if each.domain == dataset.suffix), None)
            return self.class_of(parent) if parent and not parent.associated else None
        return found


def _by_topic(dataset: Dataset) -> str | None:
    names = dataset.described
    if dataset.domain is None and "RDOMAIN" not in names:
        return None
    prefix = dataset.domain or ""
    for topic, klass in _DETECTED:
        if prefix + topic in names:
            return klass
    if prefix + "TESTCD" in names:
        return "FINDINGS ABOUT" if prefix + "OBJ" in names else "FINDINGS"
    return None


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, which is no copy where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _number(text: str) -> float | None:
    plain = canonical_number(text)
    return None if plain is None else float(plain)


def _numbers(column: pa.Array, name: str) -> pa.Array:
    if pa.types.is_integer(column.type):
        return column
    if not pa.types.is_string(column.type):
        return column.cast(NUMBER)
    try:
        return pc.utf8_trim_whitespace(column).cast(NUMBER)
    except pa.ArrowInvalid:
        raise CannotRun(f"{name} is a numeric variable, but not all its cells are numbers") from None
