"""The narrative of a resource: XHTML in one pass, by lists of what is allowed.

Source: FHIR, "Narrative" (txt-1, txt-2): the formatting elements of XHTML, no scripts, no forms, no entities but
those of XML, something that can be seen.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from xml.parsers import expat  # nosec B406  # no DTD is let through, so that there are no entities to expand

from fhirspace.fhir.validation.values.fault import Fault
from fhirspace.fhir.validation.values.words import words

NAMESPACE: Final = "http://www.w3.org/1999/xhtml"
_INLINE: Final = words("a b i em strong small big tt code samp span q dfn abbr acronym cite kbd var sub sup bdo")
_ELEMENTS: Final = _INLINE | words("""
    p br div h1 h2 h3 h4 h5 h6 img map area pre blockquote ul ol li dl dt dd table caption colgroup col thead tr tfoot
    tbody th td hr address
    """)
_EVERYWHERE: Final = words("""
    title style class id lang xml:lang xml:space dir accesskey tabindex span width align valign char charoff abbr axis
    headers scope rowspan colspan
    """)
_ATTRIBUTES: Final = {
    "a": words("href name charset type hreflang rel rev shape coords"),
    "img": words("src alt longdesc height usemap ismap border"),
    "blockquote": frozenset({"cite"}),
    "q": frozenset({"cite"}),
    "area": words("shape coords href nohref alt"),
    "map": frozenset({"name"}),
    "pre": frozenset({"space"}),
    "table": words("summary border frame rules cellspacing cellpadding"),
    "td": frozenset({"nowrap"}),
}
_TABLE: Final = frozenset({"table", "thead", "tfoot", "tbody"})
_PARENTS: Final = {
    "li": frozenset({"ul", "ol"}),
    "dt": frozenset({"dl"}),
    "dd": frozenset({"dl"}),
    "tr": _TABLE,
    "td": frozenset({"tr", "thead", "tfoot"}),
    "th": frozenset({"tr", "thead", "tfoot"}),
    "thead": frozenset({"table"}),
    "tfoot": frozenset({"table"}),
    "tbody": frozenset({"table"}),
    "caption": frozenset({"table"}),
    "colgroup": frozenset({"table"}),
    "col": frozenset({"table", "colgroup"}),
}
_CONTENT: Final = {
    "ul": frozenset({"li"}),
    "ol": frozenset({"li"}),
    "dl": frozenset({"dt", "dd"}),
    "table": words("caption col colgroup thead tfoot tbody tr"),
    "thead": frozenset({"tr"}),
    "tfoot": frozenset({"tr"}),
    "tbody": frozenset({"tr"}),
    "tr": frozenset({"td", "th"}),
    "colgroup": frozenset({"col"}),
    "map": frozenset({"area"}),
}
"""Elements without text of their own, and what they hold."""
_OF_TEXT: Final = _INLINE | words("p h1 h2 h3 h4 h5 h6 pre address caption dt")
_BLOCKS: Final = frozenset({"div", "ul", "ol", "table", "pre"})
_NOT_IN: Final = dict.fromkeys(_OF_TEXT, _BLOCKS) | {
    "p": _BLOCKS | {"p", "blockquote"},
    "a": _BLOCKS | {"a"},
}
_SCRIPT: Final = re.compile(r"\s*(?:javascript|vbscript|data:text/html)", re.IGNORECASE)
_BLANKS: Final = " \t\r\n"
"""White space of XML: a no-break space is content."""
_MARKUP: Final = re.compile(r"<[!?](?!--|\[CDATA\[)")
_EXPECTED: Final = "formatting elements and attributes of XHTML in a div"


def narrative(text: str, contained: Collection[str] = ()) -> list[Fault]:
    """What is wrong with the ``div`` of a narrative; [] for nothing.

    Args:
        text: the value of ``Narrative.div``.
        contained: the ids of the contained resources, which links and images may name (``#id``).

    Returns:
        txt-1 for what is not well-formed or not allowed (the first such thing), txt-2 for a narrative without content.
    """
    if _MARKUP.search(text):
        return [Fault("txt-1", "no document type, processing instruction or declaration")]
    reader = _Reader(contained)
    try:
        reader.parser.Parse(text.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError:
        return [Fault("txt-1", "well-formed XHTML in a div, and no entities but those of XML")]
    if reader.wrong or reader.dangling():
        return [Fault("txt-1", reader.wrong or "links within the narrative or to contained resources")]
    return [] if reader.content else [Fault("txt-2", "a narrative with content")]


class _Reader:
    """The state of one pass: open elements, what is wrong first, whether anything can be seen, links within."""

    def __init__(self, contained: Collection[str]) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.wrong = ""
        self.content = False
        self._open: list[str] = []
        self._links: set[str] = set()
        self._targets = {"", *contained}  # "#" is the top

    def dangling(self) -> bool:
        """Whether a link leads to an id that the narrative does not have."""
        return not self._links <= self._targets

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.wrong:
            self.wrong = self._element(name) or self._attributes(name, attributes)
        self._open.append(name)
        self.content = self.content or name == "img"

    def _end(self, name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if not text.strip(_BLANKS):
            return
        self.content = True
        if self._open[-1] in _CONTENT and not self.wrong:
            self.wrong = "no text between the parts of a list or table"

    def _element(self, name: str) -> str:
        if not self._open:
            return "" if name == "div" else "a div around the whole"
        if name not in _ELEMENTS:
            return _EXPECTED
        parent = self._open[-1]
        if parent not in _PARENTS.get(name, (parent,)):
            return f"{name} in {' or '.join(sorted(_PARENTS[name]))}"
        if name not in _CONTENT.get(parent, (name,)):
            return f"{' or '.join(sorted(_CONTENT[parent]))} in {parent}"
        return f"no {name} in {parent}" if name in _NOT_IN.get(parent, ()) else ""

    def _attributes(self, name: str, attributes: dict[str, str]) -> str:
        space = attributes.pop("xmlns", "" if self._open else None)
        if space is None or (space != NAMESPACE and (space or not self._open)):
            return f'xmlns="{NAMESPACE}" on the div'
        own = _ATTRIBUTES.get(name, ())
        for attribute, value in attributes.items():
            if attribute not in _EVERYWHERE and attribute not in own:
                return _EXPECTED
            self._note(attribute, value)
        addresses = (attributes.get("href", "-"), attributes.get("src", "-"))
        if any(not address or _SCRIPT.match(address) for address in addresses):
            return "addresses in links and images, and no scripts"
        return ""

    def _note(self, attribute: str, value: str) -> None:
        if attribute in ("href", "src") and value[:1] == "#":
            self._links.add(value[1:])
        elif attribute in ("id", "name"):
            self._targets.add(value)
