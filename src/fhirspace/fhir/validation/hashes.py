"""Tables of 64-bit hashes: those that occur twice, those that another table does not have, and what they belong to.

Small tables are looked through by Python's sets. A set needs a hundred bytes a hash, so large tables go through Arrow,
which is imported only then.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
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
    for at in _parts(every):
        counted = pc.value_counts(some := every.take(at))
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

    every, others, found = _table(wanted), _table(there), list[int]()
    for at, place in zip(_parts(every), _parts(others), strict=True):
        known = pc.is_in(every.take(at), value_set=others.take(place))
        found += at.filter(pc.invert(known)).to_pylist()
    return sorted(found)


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

    every, wanted, nobody, places = _table(there), _table(targets), _scalar(0), list[int]()
    for at, place in zip(_parts(wanted), _parts(every), strict=True):
        owned = pc.index_in(wanted.take(at), value_set=every.take(place))
        found_owners = pc.fill_null(pc.take(_table(owned_by).take(place), owned), nobody)
        others = pc.not_equal(found_owners, _table(owners).take(at))
        places += at.filter(pc.and_(pc.not_equal(found_owners, nobody), others)).to_pylist()
    return sorted(places)


def _parts(numbers: pa.Array) -> Iterator[pa.Array]:
    """The places of hashes, in parts of which none has a hash that another has."""
    import pyarrow.compute as pc  # noqa: PLC0415 - see the module

    rests = pc.bit_wise_and(numbers, _scalar(_PARTS - 1)).cast("int8")
    for part in range(_PARTS):
        yield pc.indices_nonzero(pc.equal(rests, _scalar(part).cast("int8")))


def _table(numbers: array[int]) -> pa.Array:
    """Hashes for Arrow, not copied. (`pa.array` and plain numbers would make Arrow import pandas.)"""
    import pyarrow as pa  # noqa: PLC0415 - see the module

    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def _scalar(number: int) -> pa.Scalar:
    return _table(array("q", [number]))[0]
