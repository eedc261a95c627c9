"""The table of derivations: every derived variable has its text there."""

import re

import pytest

from fhirspace.sdtm.derive.methods import METHODS, method


def test_prefix_and_parts_are_filled_in():
    assert method("--STRESN", "LB") == "The number of LBSTRESC where it is one without a comparator."
    assert method("--DY", date="AEDTC") == "AEDTC minus RFSTDTC in days, plus 1 on and after RFSTDTC."


@pytest.mark.parametrize("name", METHODS)
def test_each_text_is_a_sentence(name):
    text = METHODS[name].text
    assert text[0].isupper() or text.startswith(("--", "{"))
    assert text.endswith(".") and re.fullmatch(r"[\d.]+", METHODS[name].section)
