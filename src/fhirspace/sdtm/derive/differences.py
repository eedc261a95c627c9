"""Where a value that came in is another one than its derivation gives. The value that came in is never changed."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.standards.units import canonical, canonical_number

ROUNDING: Final = Decimal("0.005")
"""Standard results and limits agree within this share: factors of three digits, and results rounded, are usual."""
_BINARY: Final = Decimal("1e-9")
"""Other numbers are equal within this share: a file of SAS holds 1.2 as 1.2000000000000002."""
_ROUNDED: Final = ("STRESN", "STRESC", "STNRLO", "STNRHI")
_NOT_COMPARED: Final = ("DOMAIN", "SEQ")
"""The domain's code is checked elsewhere, and numbers of records are the sponsor's."""


class Difference(NamedTuple):
    """One variable of a dataset: the rows whose cell differs, and what the derivation gives there ("" for none)."""

    dataset: str
    variable: str
    rows: tuple[int, ...]
    derived: tuple[str, ...]


def differences(table: pa.Table, dataset: str, variable: str, derived: pa.Array) -> Difference | None:
    """The filled cells of a variable that do not agree with what was derived for them; None where all do."""
    if variable.endswith(_NOT_COMPARED) or not columns.filled(table, variable):
        return None
    given = columns.text(table, variable)
    rows = pc.indices_nonzero(pc.fill_null(pc.not_equal(given, derived), False))
    if not len(rows):
        return None
    pairs = columns.Groups(pa.table({"given": given.take(rows), "derived": derived.take(rows)}), ("given", "derived"))
    other = pairs.flags(not agree(variable, one or "", two or "") for one, two in pairs.cells)
    return _difference(dataset, variable, rows.filter(other), derived)


def flag_differences(
    table: pa.Table, dataset: str, variable: str, derived: pa.Array, judged: pa.Array
) -> Difference | None:
    """As `differences`, of a flag: an empty one is a value too, in the rows that are `judged`."""
    given = columns.text(table, variable)
    other = pc.and_(judged, pc.xor(given.is_valid(), derived.is_valid()))
    return _difference(dataset, variable, pc.indices_nonzero(other), derived)


def agree(variable: str, given: str, derived: str) -> bool:
    """Whether two values of a variable say the same, as far as both say something.

    Numbers are compared by size, standard results within `ROUNDING`, units whatever their spelling, and dates at the
    precision that both have.
    """
    if variable.endswith("DTC"):
        return given.startswith(derived) or derived.startswith(given)
    if variable.endswith("STRESU"):
        return canonical(given) == canonical(derived)
    one, two = canonical_number(given), canonical_number(derived)
    if one is None or two is None:
        return given == derived
    share = ROUNDING if variable.endswith(_ROUNDED) else _BINARY
    return abs(Decimal(one) - Decimal(two)) <= share * abs(Decimal(one))


def _difference(dataset: str, variable: str, rows: pa.Array, derived: pa.Array) -> Difference | None:
    if not len(rows):
        return None
    values = pc.fill_null(derived.take(rows), "")
    return Difference(dataset, variable, tuple(rows.to_pylist()), tuple(values.to_pylist()))
