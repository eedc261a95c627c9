"""The one grammar of numbers: a sign, digits with or without a point, an exponent (``.94``, ``070``, ``1.2E2``).

`validate`, `convert`, the derivations and the codecs of mappings ask here. A comma is no part of a number: whether it
is a point or a mark of thousands is not known.
"""

from __future__ import annotations

import re
from typing import Final

NUMBER: Final = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_NUMBER: Final = re.compile(NUMBER)
_COMMA: Final = re.compile(r"(?:<=|>=|<|>)?\s*[+-]?[0-9]+(?:[.,][0-9]+)*,[0-9]+(?:[.,][0-9]+)*")


def is_number(text: str) -> bool:
    """Whether a text is a number; blanks around it do not count."""
    return _NUMBER.fullmatch(text.strip()) is not None


def has_comma(text: str) -> bool:
    """Whether a text would be a number, or one behind a sign such as <, but for a comma (``1,250``)."""
    return _COMMA.fullmatch(text.strip()) is not None
