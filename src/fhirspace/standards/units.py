"""Units: CDISC spellings, UCUM codes, and exact conversion of a value's text.

A unit is converted by its UCUM structure (prefix, base, exponent), never by a table of pairs. All arithmetic is exact
(fractions of whole numbers); no float occurs. Sources: CDISC codelist UNIT (C71620) and its NCI synonyms;
`fhirspace.standards.ucum` for the factors; ``data/units-molar.csv`` for molar masses and charges.

How a result is spelled (`convert`):

1. The same unit in another spelling: the text stays as it is, ``5.50`` stays ``5.50``.
2. A factor that is a power of ten moves the decimal point and keeps every digit: ``3.90 g/dL`` is ``39.0 g/L``.
3. Any other factor: the exact result where it ends within the value's significant digits + 2, otherwise rounded
   there, half to even, and written without trailing zeros. Two guard digits are what it takes to get the original
   back: converting the result and rounding it to the original's decimals gives the original.
4. Temperatures have an offset, so digits do not carry over: rounded to the value's decimals + 1.
5. A test of ``data/units-rules.csv`` (HbA1c: NGSP's % and IFCC's mmol/mol) is converted by its own equation, rounded to
   as many decimals more or fewer as the rule says.

A fraction of mass, of volume or of an amount is not the same as one of another kind, nor as a plain number such as %:
nothing converts between them but by a rule, or where ``data/units-fractions.csv`` says what the test's fraction is of.
"""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec

from fhirspace.remember import remembered
from fhirspace.standards.numbers import NUMBER
from fhirspace.standards.ucum import Dimensions, Size, size

GUARD_DIGITS = 2

_NUMBER = re.compile(rf"(?P<sign><=|>=|<|>)?\s*(?P<number>{NUMBER})\s*")
_DECIMAL = re.compile(r"\s*+([+-]?)([0-9]*+)(?:\.([0-9]*+))?(?:[eE]([+-]?[0-9]{1,3}))?\s*+")
_LETTERS = 400
"""Letters of a number that is converted: arithmetic on more digits than any measurement has takes long."""


class Analyte(NamedTuple):
    """Grams in a mole of what a test measures, and its charge (0: no equivalents)."""

    grams_per_mole: Fraction
    charge: int


class Rule(NamedTuple):
    """The equation of a test between two units: (value + offset) * factor, with so many decimals more (or fewer)."""

    offset: Fraction
    factor: Fraction
    decimals: int


class _Data(msgspec.Struct, frozen=True):
    values: frozenset[str]
    synonyms: dict[str, str]
    ucum: dict[str, str]
    standard: dict[str, str]


# CDISC tokens whose UCUM code is spelled otherwise; all other tokens must be UCUM already.
_TOKENS = {"day": "d", "week": "wk", "IU": "[IU]", "mIU": "m[IU]", "uIU": "u[IU]", "mEq": "meq", "uEq": "ueq", "l": "L"}
# Lower-case prefix and capital M is molar; written in capitals as a whole (MM) it is a length.
_MOLAR = {"mM": "mmol/L", "uM": "umol/L", "nM": "nmol/L", "pM": "pmol/L"}
# No trial measures megalitres, megagrams or megametres: M before such a unit is a milli in capitals, as in 10^3/ML.
_MILLI = re.compile(r"M(?=(?:L|l|g|m|s|mol|eq)[0-9]*$)")


@cache
def _data() -> _Data:
    content = files("fhirspace.standards").joinpath("data", "units.json").read_bytes()
    return msgspec.json.decode(content, type=_Data)


def _rows(name: str) -> list[dict[str, str]]:
    text = files("fhirspace.standards").joinpath("data", name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def _analytes() -> dict[str, Analyte]:
    return {
        row["testcd"]: Analyte(Fraction(row["grams_per_mole"]), int(row["charge"])) for row in _rows("units-molar.csv")
    }


@cache
def _rules() -> dict[tuple[str, str, str], Rule]:
    """Test, unit and wanted unit -> the test's own equation, both ways."""
    found: dict[tuple[str, str, str], Rule] = {}
    for row in _rows("units-rules.csv"):
        offset, factor, decimals = Fraction(row["offset"]), Fraction(row["factor"]), int(row["decimals"])
        found[row["testcd"], row["from"], row["to"]] = Rule(offset, factor, decimals)
        # y = (x + o) * f, so that x = (y - o * f) / f.
        found[row["testcd"], row["to"], row["from"]] = Rule(-offset * factor, 1 / factor, -decimals)
    return found


@cache
def _fractions() -> dict[str, str]:
    """Test -> the dimension of which its plain fraction (%) is one."""
    return {row["testcd"]: row["dimension"] for row in _rows("units-fractions.csv")}


@cache
def _folded() -> dict[str, str]:
    """Spellings in lower case -> CDISC unit, where only one unit claims them ("mg/dl", but not "Ml")."""
    claims: dict[str, set[str]] = {}
    data = _data()
    for value in data.values:
        claims.setdefault(value.lower(), set()).add(value)
    for spelling, value in data.synonyms.items():
        claims.setdefault(spelling.lower(), set()).add(value)
    return {spelling: min(values) for spelling, values in claims.items() if len(values) == 1}


def plain_micro(text: str) -> str:
    """A unit with the letter u for the micro sign and for the Greek letter mu: ``μg/L`` is ``ug/L``."""
    return text.replace("\u00b5", "u").replace("\u03bc", "u")


@remembered
def canonical(unit: str) -> str:
    """The CDISC submission value of a unit's spelling, or the spelling itself (blanks trimmed) where none is known.

    CDISC folds spellings of one size: ``10^3/uL`` becomes ``10^9/L``. The value needs no conversion then. A spelling
    in another case is that unit unless UCUM reads it as one of another size: ``MU/L`` may be mU/L or 10^6 U/L.
    """
    data = _data()
    text = unit.strip()
    if text not in data.synonyms:
        text = plain_micro(text)
    if text in data.values:
        return text
    if found := data.synonyms.get(text) or _MOLAR.get(text):
        return found
    folded = _folded().get(text.lower())
    return folded if folded and not _differ(_tokens(text), data.ucum.get(folded) or _tokens(folded)) else text


def _differ(code: str | None, other: str | None) -> bool:
    """Whether two UCUM codes have known sizes that are not the same."""
    sizes = [size(each) for each in (code, other) if each]
    return len(sizes) > 1 and None not in sizes and sizes[0] != sizes[1]


@remembered
def ucum(unit: str) -> str | None:
    """The UCUM code of a CDISC unit or a spelling of one, None where no safe code is known.

    The size is kept as spelt: ``10^3/uL`` gives ``10*3/uL``. A code with an annotation ({beats}/min) may be carried but
    not converted with: see `convertible`.
    """
    text = plain_micro(unit.strip())
    data = _data()
    known = data.ucum.get(text)
    if known is None and text not in data.values and canonical(text) == text and text.lower() in _folded():
        return None  # the case that is meant decides between two sizes
    return known or _tokens(text) or data.ucum.get(canonical(text))


def _tokens(text: str) -> str | None:
    """A UCUM code built token by token; None as soon as one token is not a UCUM atom."""
    plain = re.sub(r"^(?:[xX×]\s*)?10\^(\d+)", r"10*\1", text)
    code = "/".join(_TOKENS.get(part) or _MILLI.sub("m", part) for part in plain.split("/"))
    return code if size(code) is not None else None


@remembered
def convertible(unit: str) -> bool:
    """Whether the unit's UCUM code is free of annotations, so that its size is known."""
    code = ucum(unit)
    return code is not None and size(code) is not None


def convert(value_text: str, from_unit: str, to_unit: str, *, testcd: str | None = None) -> str | None:
    """A value's text in another unit, None where it is not a number or the two units do not measure the same.

    Args:
        value_text: a decimal number, a comparator before it is kept (``<0.5``).
        from_unit: its unit, a CDISC unit or a spelling of one.
        to_unit: the unit wanted.
        testcd: the LBTESTCD; between mass, moles and equivalents its molar mass and charge are needed.

    Returns:
        The number as text, spelled by the rule at the head of this module.
    """
    matched = _NUMBER.fullmatch(value_text.strip()) if len(value_text) <= _LETTERS else None
    if matched is None:
        return None
    if canonical(from_unit) == canonical(to_unit):
        return value_text.strip()
    rule = _rules().get((testcd or "", canonical(from_unit), canonical(to_unit)))
    if rule is not None:
        return (matched["sign"] or "") + _by_rule(Decimal(matched["number"]), rule)
    ratio = _ratio(from_unit, to_unit, testcd)
    if ratio is None:
        return None
    return (matched["sign"] or "") + _spell(Decimal(matched["number"]), *ratio)


@remembered
def _ratio(from_unit: str, to_unit: str, testcd: str | None) -> tuple[Fraction, Fraction | None] | None:
    """Factor and offset (None: no temperature) that carry a value from one unit to the other."""
    source, target = (size(ucum(unit) or "") if ucum(unit) else None for unit in (from_unit, to_unit))
    if source is None or target is None:
        return None
    factor = source.factor / target.factor
    if source.dimensions == target.dimensions:
        if not _same_fraction(source, target, testcd):
            return None
        shifted = source.offset != target.offset
        return factor, (source.offset - target.offset) / target.factor if shifted else None
    bridge = _bridge(source, target, testcd)
    return None if bridge is None else (factor * bridge, None)


def _same_fraction(source: Size, target: Size, testcd: str | None) -> bool:
    """Whether two units of the same dimensions are fractions of the same: mass, volume, amount, none."""
    if source.ratio == target.ratio:
        return True
    own = _fractions().get(testcd or "")
    return bool(own) and {source.ratio, target.ratio} == {(), (own,)}


def _bridge(source: Size, target: Size, testcd: str | None) -> Fraction | None:
    """The factor between mass, moles and equivalents of an analyte: of the first term, where nothing else differs."""
    analyte = _analytes().get(testcd or "")
    powers = _less(source.dimensions, source.first)
    if powers != _less(target.dimensions, target.first):
        return None
    powers = _less(source.first, target.first)
    changed = {dimension: power for dimension, power in powers.items() if power}
    if analyte is None or not set(changed) <= {"g", "mol", "eq"} or sum(changed.values()) != 0:
        return None
    if "eq" in changed and not analyte.charge:
        return None
    # A mole is so many grams and so many equivalents: write each dimension in moles.
    grams, equivalents = changed.get("g", 0), changed.get("eq", 0)
    return (1 / analyte.grams_per_mole) ** grams * (Fraction(1, analyte.charge or 1)) ** equivalents


def _less(dimensions: Dimensions, others: Dimensions) -> dict[str, int]:
    powers = dict(dimensions)
    for dimension, power in others:
        powers[dimension] = powers.get(dimension, 0) - power
    return {dimension: power for dimension, power in powers.items() if power}


def _by_rule(value: Decimal, rule: Rule) -> str:
    decimals = max(-int(value.as_tuple().exponent) + rule.decimals, 0)
    return _rounded((Fraction(value) + rule.offset) * rule.factor, decimals)


def _spell(value: Decimal, factor: Fraction, offset: Fraction | None) -> str:
    exponent = int(value.as_tuple().exponent)
    if offset is not None:
        return _rounded(Fraction(value) * factor + offset, 1 - exponent)
    shift = _power_of_ten(factor)
    if shift is not None:
        return format(_scaled(value, shift), "f")
    if not value:
        return "0"
    # Whole numbers all the way: a Fraction would look for common divisors at each step.
    sign, digits, _ = value.as_tuple()
    above, below = int("".join(map(str, digits))) * factor.numerator, factor.denominator
    decimals = len(digits) + GUARD_DIGITS - 1 - _magnitude(above, below) - exponent
    number = _divided(above * 10 ** max(exponent + decimals, 0), below * 10 ** max(-exponent - decimals, 0))
    return _written(-number if sign else number, decimals)


def _scaled(value: Decimal, shift: int) -> Decimal:
    sign, digits, exponent = value.as_tuple()
    return Decimal((sign, digits, int(exponent) + shift))


def _power_of_ten(factor: Fraction) -> int | None:
    text = str(factor.numerator if factor.denominator == 1 else factor.denominator)
    if text.strip("0") != "1" or (factor.denominator != 1 and factor.numerator != 1):
        return None
    return len(text) - 1 if factor.denominator == 1 else 1 - len(text)


def _magnitude(above: int, below: int) -> int:
    """The power of ten of the first digit of a positive fraction: 0 for 1 to 9.99, -1 for 0.1 to 0.99."""
    power = len(str(above)) - len(str(below))
    least = above >= below * 10**power if power >= 0 else above * 10**-power >= below
    return power if least else power - 1


def _divided(above: int, below: int) -> int:
    """A fraction of whole numbers, rounded half to even."""
    number, rest = divmod(above, below)
    return number + (2 * rest > below or (2 * rest == below and number % 2))


def _rounded(value: Fraction, decimals: int) -> str:
    """The value rounded half to even at so many decimals, written without trailing zeros after the point."""
    return _written(round(value * Fraction(10) ** decimals), decimals)  # of a Fraction: exact, half to even


def _written(number: int, decimals: int) -> str:
    text = format(_scaled(Decimal(number), -decimals), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def canonical_number(text: str) -> str | None:
    """A number's shortest decimal text (``062.50`` is ``62.5``, ``1E3`` is ``1000``); None where it is no number.

    The form a Num cell takes when it is read back from a transport file: same value, no spelling.
    """
    if text.isdecimal() and text.isascii() and text[0] != "0":
        return text
    matched = _DECIMAL.fullmatch(text)
    if matched is None or not (matched[2] or matched[3]):
        return None
    plain = format(Decimal(text.strip()), "f") if matched[4] else f"{matched[1]}{matched[2] or '0'}.{matched[3] or ''}"
    negative = plain.startswith("-")
    whole, _, fraction = plain.lstrip("+-").partition(".")
    fraction = fraction.rstrip("0")
    number = (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return f"-{number}" if negative and number != "0" else number


SYSTEMS = ("SI", "conventional", "as collected")
"""The units to which the results of a study may be standardised, where it does not name the unit of a test."""


_BLOOD: Final = (
    "SERUM OR PLASMA",
    "BLOOD",
    "SERUM",
    "PLASMA",
    "SERUM OR PLASMA OR BLOOD",
    "VENOUS BLOOD",
    "ARTERIAL BLOOD",
    "CAPILLARY BLOOD",
)
"""Specimens in which the unit of a test is that of the first one that has any."""


@cache
def _conventional() -> dict[tuple[str, str], str]:
    return {(row["domain"], row["testcd"]): row["unit"] for row in _rows("units-conventional.csv")}


def standard_unit(domain: str, testcd: str, specimen: str | None = None, system: str = "SI") -> str | None:
    """The unit to which a test is standardised; None: there is none, results keep the unit in which they came.

    Args:
        domain, testcd, specimen: the test. Blood, serum and plasma have one unit, unless each has its own.
        system: one of `SYSTEMS`. ``SI`` is CDISC COSMoS's (U/L and pg where its SI unit is unusual); ``conventional``
            is that of laboratories in the USA where they have one of their own.
    """
    if system == "as collected":
        return None
    if system == "conventional" and (domain, testcd) in _conventional():
        return _conventional()[domain, testcd]
    table = _data().standard
    alike = _BLOOD if specimen in _BLOOD else ()
    found = (table.get(f"{domain}/{testcd}/{each}") for each in (specimen, *alike) if each)
    return next(filter(None, found), None) or table.get(f"{domain}/{testcd}")
