"""The size of a unit out of the structure of its UCUM code: prefix, atom, exponent, joined by "." and "/".

Source: The Unified Code for Units of Measure 2.1, tables 2 to 9. Atoms that measure something of its own (international
units, equivalents, osmoles) have a dimension of their own, so that nothing converts to them by chance.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from fhirspace.remember import remembered

_PREFIXES = {
    "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18,
}  # fmt: skip

Dimensions = tuple[tuple[str, int], ...]


class Size(NamedTuple):
    """What a unit measures: an exact factor and the powers of its dimensions; offset only for temperatures.

    `first` holds the dimensions of its first term (the measured thing), `ratio` those of which a term is divided by
    another (``mol`` of mmol/mol, ``g`` of mg/kg): a fraction of mass, of volume and of an amount are not the same.
    """

    factor: Fraction
    dimensions: Dimensions
    offset: Fraction = Fraction(0)
    first: Dimensions = ()
    ratio: tuple[str, ...] = ()


def _atoms() -> dict[str, tuple[str, str, bool]]:
    """UCUM atom -> factor, dimension, whether it takes a prefix. A dimension of its own never converts to another."""
    metric = "m=m s=s g=g mol=mol Bq=Bq Gy=Gy Hz=Hz eq=eq osm=osm V=V J=J Pa=Pa rad=rad [IU]=IU"
    atoms = {name: ("1", dimension, True) for name, dimension in (pair.split("=") for pair in metric.split())}
    atoms |= {
        "L": ("0.001", "m3", True),
        "l": ("0.001", "m3", True),
        "U": ("1/60000000", "kat", True),
        "kat": ("1", "kat", True),
        "cal": ("4.184", "J", True),
        "Ci": ("37000000000", "Bq", True),
        "m[Hg]": ("133322", "Pa", True),
        "[psi]": ("8896443230521/1290320000", "Pa", False),
        "min": ("60", "s", False),
        "h": ("3600", "s", False),
        "d": ("86400", "s", False),
        "wk": ("604800", "s", False),
        "mo": ("2629800", "s", False),
        "a": ("31557600", "s", False),
        "[lb_av]": ("453.59237", "g", False),
        "[oz_av]": ("28.349523125", "g", False),
        "[in_i]": ("0.0254", "m", False),
        "[ft_i]": ("0.3048", "m", False),
        "%": ("0.01", "", False),
        "[ppm]": ("0.000001", "", False),
        "deg": ("1", "deg", False),
        "[HPF]": ("1", "HPF", False),
        "[LPF]": ("1", "LPF", False),
        "[drp]": ("1", "drop", False),
        "dB": ("1", "dB", False),
    }
    return atoms


_ATOMS = _atoms()
_DIGITS, _LETTERS, _BITS = 2, 100, 3_000
"""Digits of an exponent, letters of a code, and bits of a factor at most: 10*999999999 could not be computed."""
# Kelvin stands alone: in "K/uL" the K means thousands.
_TEMPERATURES = {
    "K": (Fraction(1), Fraction(0)),
    "Cel": (Fraction(1), Fraction(27315, 100)),
    "[degF]": (Fraction(5, 9), Fraction(45967, 180)),
}


@remembered
def size(code: str) -> Size | None:
    """The size of a UCUM code: terms joined by "." and "/", read from left to right; None where it cannot be read."""
    if code in _TEMPERATURES:
        factor, offset = _TEMPERATURES[code]
        return Size(factor, (("K", 1),), offset)
    if len(code) > _LETTERS or not re.fullmatch(r"/?[^./]+(?:[./][^./]+)*", code):
        return None
    factor, powers, first = Fraction(1), dict[str, int](), tuple[tuple[str, int], ...]()
    signs: dict[str, set[bool]] = {}
    for operator, part in re.findall(r"([./]?)([^./]+)", code):
        atom = _component(part)
        if atom is None:
            return None
        sign = -1 if operator == "/" else 1
        first = first or (atom.dimensions if sign > 0 else ())
        factor *= atom.factor**sign
        for dimension, power in atom.dimensions:
            powers[dimension] = powers.get(dimension, 0) + sign * power
            signs.setdefault(dimension, set()).add(sign * power > 0)
    if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > _BITS:
        return None
    ratio = tuple(sorted(d for d, power in powers.items() if not power and len(signs[d]) > 1))
    return Size(factor, tuple(sorted((d, p) for d, p in powers.items() if p)), first=first, ratio=ratio)


@remembered
def _component(part: str) -> Size | None:
    """One component: ``10*9``, ``1``, or prefix, atom and exponent (``cm3``)."""
    power_of_ten = re.fullmatch(r"10[*^](\d{1,2})", part, re.ASCII)
    if power_of_ten:
        return Size(Fraction(10) ** int(power_of_ten[1]), ())
    if re.fullmatch(r"[1-9]\d{0,29}", part, re.ASCII):
        return Size(Fraction(int(part)), ())
    name = part.rstrip("0123456789")
    digits = part[len(name) :]
    if len(digits) > _DIGITS:
        return None
    exponent = int(digits or 1)
    found = _prefixed(name)
    if found is None:
        return None
    return Size(found.factor**exponent, tuple((d, p * exponent) for d, p in found.dimensions))


def _prefixed(name: str) -> Size | None:
    if name in _ATOMS:
        return _atom_size(name, 0)
    for length in (1, 2):
        prefix, atom = name[:length], name[length:]
        if prefix in _PREFIXES and atom in _ATOMS and _ATOMS[atom][2]:
            return _atom_size(atom, _PREFIXES[prefix])
    return None


def _atom_size(atom: str, exponent: int) -> Size:
    factor, dimension, _ = _ATOMS[atom]
    if not dimension:
        return Size(Fraction(factor) * Fraction(10) ** exponent, ())
    power = 3 if dimension == "m3" else 1
    return Size(Fraction(factor) * Fraction(10) ** exponent, ((dimension.rstrip("3"), power),))
