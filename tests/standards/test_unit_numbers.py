"""Numbers carried to another unit are rounded as exact fractions are."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

from fhirspace.standards import units


def by_fractions(value: Decimal, factor: Fraction) -> str:
    """The rule at the head of `units`, step by step."""
    exact = Fraction(value) * factor
    if not exact:
        return "0"
    power = 0
    while abs(exact) >= Fraction(10) ** (power + 1):
        power += 1
    while abs(exact) < Fraction(10) ** power:
        power -= 1
    decimals = len(value.as_tuple().digits) + units.GUARD_DIGITS - 1 - power
    text = format(Decimal(round(exact * Fraction(10) ** decimals)).scaleb(-decimals), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def test_numbers_are_rounded_as_fractions_are() -> None:
    chosen, seen = random.Random(5), 0
    for _ in range(2_000):
        whole, part = chosen.randrange(10 ** chosen.randrange(1, 7)), chosen.choice(["", ".0", ".5", ".0625", ".999"])
        value = Decimal(f"{chosen.choice(['', '-'])}{whole}{part}")
        factor = Fraction(chosen.choice([1, 3, 25, 1801559, 7]), chosen.choice([8, 16, 3, 100000, 9_999_999]))
        if units._power_of_ten(factor) is None:
            seen += 1
            assert units._spell(value, factor, None) == by_fractions(value, factor), (value, factor)
    assert seen > 1_000
