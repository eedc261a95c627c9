"""Codelists: the terms of CDISC terminology that a variable uses, with their C-codes and decodes, and a study's own.

Only terms in use are listed. A value beside an extensible list is marked as an extension; one beside a closed list is a
fault of the data and is not listed. A result (--STRESC) gets a list only where all its values are terms: other results
are values of patients. Nothing is listed for free text, since it has no list.

Source: CDISC Define-XML 2.1, section 5.3.11 (CodeList); NCI EVS terminology.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fhirspace.sdtm.define import kinds
from fhirspace.sdtm.define.model import Codelist, Term
from fhirspace.sdtm.define.oids import Oids
from fhirspace.standards import sdtm, terminology
from fhirspace.standards.units import canonical_number

CT: Final = "STD.CT"
"""The OID of the terminology among the standards."""
_MOST: Final = 2_000
"""Terms of a list: more are no codelist."""
_LONGEST: Final = 100
"""Characters of a value beside a list: a longer one is a text."""
_DICTIONARIES: Final = {"MedDRA": "MedDRA", "LOINC": "LOINC"}
_COUNTRIES: Final = "ISO 3166"
_WITHOUT_DECODE: Final = frozenset({"UNIT", "VSRESU", "PKUNIT", "PKUDMG", "PKUDUG", "PKUWG", "PKUWKG"})
"""Lists whose terms are their own names."""


@dataclass(slots=True)
class Codelists:
    """The codelists of a package: each set of terms of a list once."""

    oids: Oids
    made: dict[str, Codelist] = field(default_factory=dict)
    _known: dict[tuple[str, str, tuple[Term, ...]], str] = field(default_factory=dict)

    def of_variable(self, name: str, variable: sdtm.Variable, values: Collection[str], beside: Collection[str]) -> str:
        """The OID of the codelist of a variable of the guide, "" where it has none or no value of it is a term.

        Args:
            name: what the OID is called after. variable: what the guide says of it.
            values: its distinct values. beside: values that the guide itself asks for beside the list.
        """
        dictionary = _COUNTRIES if variable.name == "COUNTRY" else _DICTIONARIES.get(variable.format, "")
        if dictionary:
            return self._external(dictionary) if values else ""
        lists = [terminology.codelist(code) for code in variable.codelists if terminology.known(code)]
        result = variable.name.endswith("STRESC")
        return self.of_lists(name, lists, values, beside=beside, whole=result)

    def of_lists(
        self,
        name: str,
        lists: Iterable[terminology.Codelist],
        values: Collection[str],
        *,
        beside: Collection[str] = (),
        whole: bool = False,
    ) -> str:
        """The OID of the codelist with the terms that some values use; "" without one.

        Args:
            name, values, beside: as in `of_variable`. lists: those that the values may be from.
            whole: there is a codelist only if each value is a term.
        """
        found = _best(list(lists), values)
        if found is None:
            return ""
        used = [found.terms[value] for value in sorted(values) if value in found.terms]
        others = sorted(set(values) - {term.value for term in used})
        if not used or (others and whole):
            return ""
        named = terminology.decode(found.code)
        plain = found.submission_value in _WITHOUT_DECODE
        terms = [Term(each.value, None if plain else named.get(each.value, each.preferred), each.code) for each in used]
        extra = [value for value in others if (found.extensible or value in beside) and len(value) <= _LONGEST]
        terms += [Term(value, None if plain else value, extended=True) for value in extra]
        about = Codelist("", found.name, code=found.code, standard=CT)
        return self._add(f"CL.{found.submission_value}", name, about, terms)

    def of_pairs(
        self, name: str, place: str, title: str, pairs: Mapping[str, str], codelist: str = "", *, kind: str = "text"
    ) -> str:
        """The OID of a codelist of codes with the names beside them in the data, such as ARMCD and ARM; "" for none.

        Args:
            name, place: what the OID is called after: `name`, and `place` too if another list is called so.
            title: the name of the list. pairs: code -> name, "" for none.
            codelist: the C-code of the terminology's list, where it has one. kind: the data type of the variable.
        """
        pairs = {code: text for code, text in pairs.items() if kinds.fits(kind, code)}
        if not pairs or len(pairs) > _MOST:
            return ""
        known = terminology.codelist(codelist) if codelist and terminology.known(codelist) else None
        terms = [_paired(code, pairs[code], known) for code in sorted(pairs, key=_in_order)]
        if known is None or not any(term.code for term in terms):
            plain = [Term(term.value, term.decode) for term in terms]
            return self._add(f"CL.{name}", place, Codelist("", title, kind, nonstandard=True), plain)
        return self._add(f"CL.{name}", place, Codelist("", known.name, code=known.code, standard=CT), terms)

    def of_texts(self, name: str, title: str, texts: Collection[str]) -> str:
        """The OID of a study's own codelist: the only texts that its mapping can write; "" for none."""
        if not texts or len(texts) > _MOST:
            return ""
        return self._add(
            f"CL.{name}", name, Codelist("", title, nonstandard=True), [Term(text) for text in sorted(texts)]
        )

    def _external(self, dictionary: str) -> str:
        return self._add(f"CL.{dictionary}", "", Codelist("", dictionary, dictionary=dictionary), [])

    def _add(self, oid: str, name: str, about: Codelist, terms: list[Term]) -> str:
        """The OID of a list of these terms: called after the list; after the variable too if that one is taken."""
        key = (about.code or about.dictionary or about.name, about.type, tuple(terms))
        if len(terms) > _MOST:
            return ""
        if key not in self._known:
            free = self.oids.free(oid)
            self._known[key] = made = self.oids.new(oid if free or not name else f"{oid}.{name}")
            self.made[made] = Codelist(
                made,
                about.name,
                about.type,
                tuple(terms),
                code=about.code,
                dictionary=about.dictionary,
                standard=about.standard,
                nonstandard=about.nonstandard,
            )
        return self._known[key]


def _in_order(code: str) -> tuple[bool, float, str]:
    """Numbers by size, then texts."""
    number = canonical_number(code)
    return (number is None, float(number or 0), code)


def _best(lists: list[terminology.Codelist], values: Collection[str]) -> terminology.Codelist | None:
    """The list that has most of the values, the first of equals; None where there is no list, or there are too many."""
    if not values or len(values) > _MOST:
        return None
    return max(lists, key=lambda each: sum(value in each.terms for value in values), default=None)


def _paired(code: str, name: str, known: terminology.Codelist | None) -> Term:
    term = known.terms.get(code) if known else None
    return Term(code, name or None, term.code if term else "", extended=known is not None and term is None)
