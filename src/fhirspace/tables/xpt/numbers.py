"""Numbers of IBM mainframes, as SAS transport files hold them, to numbers of this machine and back, an array at once.

Eight bytes: a sign, an exponent of 16 with 64 added, and a fraction of 56 bits. Missing numbers are a sign of their own
(``.``, ``_`` or a capital) before bytes of 0. A number of fewer bytes lacks the last ones of its fraction.

Source: SAS technical note TS-140 (Numeric Data Fields).
"""

from __future__ import annotations

from typing import Any

import numpy as np

PLAIN_MISSING = ord(".")
_MISSING = np.array([PLAIN_MISSING, ord("_"), *range(ord("A"), ord("Z") + 1)], np.uint64)
_FRACTION = np.uint64((1 << 56) - 1)
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def read(cells: Bytes) -> tuple[Floats, Bytes]:
    """Numbers out of the bytes of a variable.

    Args:
        cells: a row of the array for each cell, of 1 to 8 bytes.

    Returns:
        The numbers, NaN where one is missing; and the sign of each missing one, 0 where there is a number.
    """
    whole = np.zeros((len(cells), 8), np.uint8)
    whole[:, : cells.shape[1]] = cells
    bits = whole.view(">u8").ravel().astype(np.uint64)
    fraction, first = bits & _FRACTION, bits >> np.uint64(56)
    missing = (fraction == 0) & np.isin(first, _MISSING)
    exponent = (first & np.uint64(127)).astype(np.int64) * 4 - 4 * 64 - 56
    values = np.ldexp(fraction.astype(np.float64), exponent.astype(np.int32))
    values[first >= 128] *= -1
    values[missing] = np.nan
    return values, np.where(missing, first, 0).astype(np.uint8)


def write(values: Floats) -> Bytes:
    """The eight bytes of each number; the plain missing value where it is NaN."""
    absent = np.isnan(values)
    fraction, power = np.frexp(np.where(absent, 0.0, np.abs(values)))
    sixteens = -(-power.astype(np.int64) // 4)
    bits = np.ldexp(fraction, (56 - (4 * sixteens - power)).astype(np.int32)).astype(np.uint64)
    bits |= (sixteens + 64).astype(np.uint64) << np.uint64(56)
    bits |= np.signbit(values).astype(np.uint64) << np.uint64(63)
    bits[values == 0] = 0
    bits[absent] = np.uint64(PLAIN_MISSING << 56)
    return bits.astype(">u8").view(np.uint8).reshape(-1, 8)
