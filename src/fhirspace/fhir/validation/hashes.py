"""Tables of 64-bit hashes: those that occur twice, those that another table does not have, and what they belong to.

Small tables are looked through by Python's sets. A set needs a hundred bytes a hash, so large tables go through Arrow,
which is imported only then.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_FEW = 250_000
"""Up to so many hashes, sets do; more are counted in parts of about this size."""
_PARTS = 32


def repeating(numbers: array[int]) -> set[int]:
    """The hashes that occur more than once."""
    if len(numbers) > _FEW:
        return _repeating(numbers)
    if len(set(numbers)) == len(numbers):
        return set()
    return {number for number, times in Counter(numbers).items() if times > 1}


def _repeating(numbers: array[int]) -> set[int]:
    """In parts, so that tables of millions are small."""
    import pyarrow.compute as pc  # noqa: PLC0415 - see the module

    found: set[int] = set()
    every = _table(numbers)
    rests = pc.bit_wise_and(every, _scalar(_PARTS - 1))
    for part in range(_PARTS):
        counted = pc.value_counts(some := every.filter(pc.equal(rests, _scalar(part))))
        if len(counted) < len(some):
            often = counted.field("values").filter(pc.greater(counted.field("counts"), _scalar(1)))
            found.update(often.to_pylist())
    return found


def missing(wanted: array[int], there: array[int]) -> list[int]:
    """The places of the hashes that another table does not have. Args: the hashes; the other table."""
    if not wanted or len(wanted) + len(there) <= _FEW:
        ids = set(there if wanted else ())
        return [place for place, number in enumerate(wanted) if number not in ids]
    import pyarrow.compute as pc  # noqa: PLC0415 - see the module

    every, others = _table(wanted), _table(there)
    known = others.filter(pc.is_in(others, value_set=every))  # the others may be millions, and need no table so
    found: list[int] = pc.indices_nonzero(pc.invert(pc.is_in(every, value_set=known))).to_pylist()
    return found


def of_others(targets: array[int], owners: array[int], there: array[int], owned_by: array[int]) -> list[int]:
    """The places of targets that belong to somebody else.

    Args:
        targets: hashes. owners: who has to own each of them. there: what there is. owned_by: who owns each of these,
            0 where it is nobody's; where something is there twice, the first counts.
    """
    if not targets or len(targets) + len(there) <= _FEW:
        found = dict(zip(reversed(there), reversed(owned_by), strict=True)) if targets else {}
        pairs = enumerate(zip(targets, owners, strict=True))
        return [place for place, (target, owner) in pairs if found.get(target, 0) not in (0, owner)]
    import pyarrow.compute as pc  # noqa: PLC0415 - see the module

    every, wanted = _table(there), _table(targets)
    known = pc.is_in(every, value_set=wanted)
    at = pc.index_in(wanted, value_set=every.filter(known))
    nobody = _scalar(0)
    found_owners = pc.fill_null(pc.take(_table(owned_by).filter(known), at), nobody)
    wrong = pc.and_(pc.not_equal(found_owners, nobody), pc.not_equal(found_owners, _table(owners)))
    places: list[int] = pc.indices_nonzero(wrong).to_pylist()
    return places


def _table(numbers: array[int]) -> pa.Array:
    """Hashes for Arrow, not copied. (`pa.array` and plain numbers would make Arrow import pandas.)"""
    import pyarrow as pa  # noqa: PLC0415 - see the module

    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def _scalar(number: int) -> pa.Scalar:
    return _table(array("q", [number]))[0]
