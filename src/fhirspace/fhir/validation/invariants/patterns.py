"""Regular expressions of invariants, none of which takes longer than the text is long.

Python's `re` may take exponential time. An expression that could (several quantifiers, or one beside alternatives) is
left to RE2, which Arrow brings and which is linear; one that RE2 does not know is tried on short texts only.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Any, Final

from fhirspace.fhir.validation.invariants.items import UndecidedError

_SHORT: Final = 16
"""Letters of a text on which any expression may be tried."""
_PLAIN: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?", re.DOTALL)
"""What holds no quantifier: escaped letters, classes, and the start of a special group."""


class Pattern:
    """A regular expression. Raises UndecidedError: it is none."""

    def __init__(self, expression: str) -> None:
        """Args: the expression."""
        self._expression = expression
        try:
            self._compiled = re.compile(expression, re.DOTALL)
        except (re.error, RecursionError, OverflowError):
            raise UndecidedError from None
        bare = _PLAIN.sub("x", expression)
        many = sum(bare.count(sign) for sign in "*+?{")
        self._may_explode = many > 1 or (many > 0 and "|" in bare)

    def is_all_of(self, subject: str) -> bool:
        """Whether the expression matches the whole text. Raises UndecidedError: that could take too long."""
        if not self._may_explode or len(subject) <= _SHORT:
            return self._compiled.fullmatch(subject) is not None
        array, pc = self._linear(subject)
        return bool(pc.match_substring_regex(array, rf"\A(?s:{self._expression})\z")[0].as_py())

    def replaced(self, subject: str, new: str) -> str:
        """The text with another one for each match. Raises UndecidedError: that could take too long."""
        if not self._may_explode or len(subject) <= _SHORT:
            return self._compiled.sub(lambda _: new, subject)
        array, pc = self._linear(subject)
        escaped = new.replace("\\", "\\\\")
        return str(pc.replace_substring_regex(array, rf"(?s:{self._expression})", escaped)[0].as_py())

    def _linear(self, subject: str) -> tuple[Any, Any]:
        """The text for RE2, and what has its functions."""
        import pyarrow as pa  # noqa: PLC0415 - few invariants need it
        import pyarrow.compute as pc  # noqa: PLC0415

        if not self._is_known:
            raise UndecidedError
        return pa.array([subject]), pc

    @cached_property
    def _is_known(self) -> bool:
        """Whether RE2 can read the expression."""
        import pyarrow as pa  # noqa: PLC0415 - few invariants need it
        import pyarrow.compute as pc  # noqa: PLC0415

        try:
            pc.match_substring_regex(pa.array([""]), rf"\A(?s:{self._expression})\z")
        except pa.ArrowInvalid:
            return False
        return True


@lru_cache(maxsize=512)
def compiled(expression: str) -> Pattern:
    """A regular expression, made once. Raises UndecidedError: it is none."""
    return Pattern(expression)
