"""The checks of resources that describe FHIR itself, where their parts have to fit together.

The content of a CodeSystem is what it says, and a ValueSet takes codes of code systems. Conditions of a Questionnaire
ask for items that it has. A ConceptMap maps codes that there are. Variables of a StructureMap have to be known where
they are used, and its paths to be elements of types that are known; the expression of a SearchParameter starts at a
type that the parameter searches, and a composite one has parts. Source: FHIR, "CodeSystem" (content, count,
supplements), "ValueSet" (compose.include.system), "Questionnaire" (enableWhen; que-12, whose expression in R4 says less
than its text), "ConceptMap" (group), "StructureMap" (group.input, rule.source, rule.target), "FHIR Mapping Language",
"SearchParameter" (base, expression, component); HL7's validator, for guides of HL7's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhirspace.fhir.validation.elements.findings import Finding
from fhirspace.fhir.validation.elements.objects import ObjectCheck
from fhirspace.fhir.validation.invariants import syntax
from fhirspace.fhir.validation.invariants.items import model
from fhirspace.fhir.validation.invariants.lexer import ExpressionError
from fhirspace.fhir.validation.values.addresses import absolute
from fhirspace.json import number_text
from fhirspace.standards.hl7.terms import CodeSystem

_TYPES = "http://hl7.org/fhir/StructureDefinition/"
_HL7 = "http://hl7.org/fhir"
_STATUS = f"{_TYPES}structuredefinition-standards-status"
_PARTS = 2
"""The fewest components of a composite SearchParameter."""
_SUPPLEMENT = "supplement"
_ABSTRACT = frozenset({"Resource", "DomainResource", "CanonicalResource", "MetadataResource"})
_ANY = frozenset({"Element", "Base", "Any", "*"})
"""Names of more than one type, which contexts may have."""


class SearchParameterCheck(ObjectCheck):
    """The check of a SearchParameter: its expression starts at one of the types that it is for."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also that the types at the start of the expression are in ``base``, and that a composite has parts."""
        found = super().whole(value)
        if value.get("type") == "composite" and len(_listed(value.get("component"))) < _PARTS:
            found = [*(found or ()), ("component", "FS412", "the parts of the composite, two or more")]
        bases = {each for each in _listed(value.get("base")) if type(each) is str}
        text = value.get("expression")
        if not bases or bases & _ABSTRACT or type(text) is not str:
            return found
        try:
            roots = set(_roots(syntax.parse(text)))
        except (ExpressionError, RecursionError):
            return found  # it may be FHIRPath that is not implemented here
        strange = roots & self._checker.definitions.resources - bases - _ABSTRACT
        if not strange:
            return found
        return [*(found or ()), ("expression", "FS415", f"a path from {' or '.join(sorted(bases))}, as base says")]


def _roots(tree: syntax.Tree | None) -> Iterator[str]:
    """The names at which an expression starts."""
    while isinstance(tree, syntax.Member | syntax.Call | syntax.Index | syntax.TypeTest):
        if isinstance(tree, syntax.Member) and tree.base is None:
            yield tree.name
        tree = tree.base
    if isinstance(tree, syntax.Operation):
        yield from _roots(tree.left)
        yield from _roots(tree.right)


class StructureMapCheck(ObjectCheck):
    """The check of a StructureMap: its variables are known where they are used, and the elements of typed ones."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also what its rules refer to."""
        found = super().whole(value) or []
        aliases = {
            each["alias"]: str(each.get("url")).removeprefix(_TYPES)
            for each in _objects(value.get("structure"))
            if type(each.get("alias")) is str
        }
        for place, group in enumerate(_listed(value.get("group"))):
            if type(group) is dict:
                inputs = _inputs(group, aliases)
                found += self._rules(group.get("rule"), inputs, f"group[{place}].rule")
        return found or None

    def _rules(self, rules: Any, outer: Mapping[str, str], path: str) -> Iterator[Finding]:
        """What is wrong in rules. Args: the rules, the types ("": not known) of the variables around, their path."""
        for place, rule in enumerate(_listed(rules)):
            if type(rule) is not dict:
                continue
            known = dict(outer)
            for name in ("source", "target"):
                for at, part in enumerate(_listed(rule.get(name))):
                    if type(part) is dict:
                        yield from self._part(part, known, f"{path}[{place}].{name}[{at}]")
                        if type(part.get("variable")) is str:
                            known[part["variable"]] = ""
            yield from self._rules(rule.get("rule"), known, f"{path}[{place}].rule")

    def _part(self, part: Mapping[str, Any], known: Mapping[str, str], path: str) -> Iterator[Finding]:
        context, element = part.get("context"), part.get("element")
        if type(context) is not str or part.get("contextType") == "type":
            return
        if context not in known:
            yield f"{path}.context", "FS415", "a variable that the group, or a rule around it, has"
            return
        definitions, kind = self._checker.definitions, known[context]
        typed = type(element) is str and kind in definitions.types
        if typed and element not in model(definitions.release).steps(kind):
            yield f"{path}.element", "FS415", f"an element of {kind}"


class ConceptGroupCheck(ObjectCheck):
    """The check of a group of a ConceptMap: complete code systems have the codes that it maps from and to."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also the codes, where the group names systems and no versions of them."""
        found = super().whole(value) or []
        source, target = self._system(value, "source"), self._system(value, "target")
        for place, element in enumerate(_listed(value.get("element"))):
            if type(element) is dict:
                path = f"element[{place}]"
                found += _unknown_code(element, source, path)
                for at, each in enumerate(_objects(element.get("target"))):
                    found += _unknown_code(each, target, f"{path}.target[{at}]")
        return found or None

    def _system(self, group: Mapping[str, Any], name: str) -> CodeSystem | None:
        system = group.get(name)
        if type(system) is not str or f"{name}Version" in group:
            return None
        return self._checker.registry.system(system)


def _unknown_code(value: Mapping[str, Any], system: CodeSystem | None, path: str) -> Iterator[Finding]:
    code = value.get("code")
    if system is not None and type(code) is str and not system.holds(code):
        yield f"{path}.code", "FS426", "a code of the system that the group names"


class CodeSystemCheck(ObjectCheck):
    """The check of a CodeSystem: ``content`` and ``count`` say what it has."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also that a supplement names what it supplements, and that the concepts are as many as it says."""
        found = super().whole(value) or []
        content = value.get("content")
        if content == _SUPPLEMENT and "supplements" not in value:
            found.append(("content", "FS415", "supplements beside it: the code system that it supplements"))
        if content not in (None, _SUPPLEMENT) and "supplements" in value:
            found.append(("content", "FS415", f"{_SUPPLEMENT}, as supplements is given"))
        if content == "not-present" and "concept" in value:
            found.append(("concept", "FS415", "no concepts, as content is not-present"))
        count = number_text(value.get("count"))
        if content == "complete" and count is not None and count != str(_concepts(value)):
            found.append(("count", "FS415", "the number of concepts, as content is complete"))
        return found or None


def _concepts(value: Mapping[str, Any]) -> int:
    """How many concepts a CodeSystem has, with those in others."""
    number, waiting = 0, [value]
    while waiting:
        inner = list(_objects(waiting.pop().get("concept")))
        number += len(inner)
        waiting += inner
    return number


class IncludeCheck(ObjectCheck):
    """The check of what a ValueSet takes of a code system: ``system`` is the address of one."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also that the address is absolute, without a version, and that of no value set."""
        found = super().whole(value)
        system = value.get("system")
        if type(system) is not str or system[:1] == "#":
            return found
        if absolute(system) and "|" not in system and self._checker.registry.value_set(system) is None:
            return found
        expected = "the absolute address of a code system; its version is in another element"
        return [*(found or ()), ("system", "FS415", expected)]


class QuestionnaireCheck(ObjectCheck):
    """The check of a Questionnaire: its conditions ask for other items that it has."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also ``enableWhen``; a Questionnaire that is derived from another one may ask for items of that."""
        items = list(_items(value))
        known = Counter(item["linkId"] for _, item in items if type(item.get("linkId")) is str)
        found = [*(super().whole(value) or ())]
        for path, item in items:
            conditions = list(_objects(item.get("enableWhen")))
            if len(conditions) > 1 and "enableBehavior" not in item:
                found.append((f"{path}.enableBehavior", "FS412", "how the conditions are combined: all or any"))
            for place, each in enumerate(conditions):
                question = each.get("question")
                if type(question) is not str:
                    continue
                own = question == item.get("linkId") and known[question] == 1
                if own or (question not in known and "derivedFrom" not in value):
                    expected = "the linkId of another item of this Questionnaire"
                    found.append((f"{path}.enableWhen[{place}].question", "FS415", expected))
        return found or None


def _items(questionnaire: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All items, with their paths."""
    waiting: list[tuple[str, Mapping[str, Any]]] = [("", questionnaire)]
    while waiting:
        around, holder = waiting.pop()
        for place, item in enumerate(_listed(holder.get("item"))):
            if type(item) is dict:
                yield f"{around}item[{place}]", item
                waiting.append((f"{around}item[{place}].", item))


class StructureDefinitionCheck(ObjectCheck):
    """The check of a StructureDefinition: an extension has its address as the fixed value of its url, and contexts."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also these, for an extension; a context that is an element starts at a type that there is."""
        found = super().whole(value) or []
        if value.get("type") != "Extension" or value.get("derivation") != "constraint":
            return found or None
        views = [each for name in ("differential", "snapshot") if type(each := value.get(name)) is dict]
        elements = [each for view in views for each in _objects(view.get("element"))]
        fixed = [each.get("fixedUri") for each in elements if each.get("path") == "Extension.url"]
        if elements and value.get("url") not in fixed:
            found.append(("url", "FS415", "the fixed value of the element Extension.url"))
        for place, each in enumerate(_objects(value.get("context"))):
            path = each.get("expression")
            if each.get("type") == "element" and type(path) is str and ":" not in path:
                root = path.partition(".")[0]
                if root not in self._checker.definitions.types and root not in _ABSTRACT and root not in _ANY:
                    found.append((f"context[{place}].expression", "FS415", "a path that starts at a type"))
        return found or None


class ImplementationGuideCheck(ObjectCheck):
    """The check of an ImplementationGuide: one of HL7's says how far it is in the process of a standard."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also that a guide with an address of HL7's has the extension for that."""
        found = super().whole(value)
        url = value.get("url")
        if type(url) is not str or not url.startswith(_HL7):
            return found
        if any(each.get("url") == _STATUS for each in _objects(value.get("extension"))):
            return found
        return [*(found or ()), ("extension", "FS412", f"{_STATUS}, as in all guides of HL7's")]


def _inputs(group: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, str]:
    """The variables of a group and their types, "" where nobody says."""
    return {
        each["name"]: aliases.get(str(each.get("type")), str(each.get("type", "")))
        for each in _objects(group.get("input"))
        if type(each.get("name")) is str
    }


def _listed(value: Any) -> list[Any]:
    return value if type(value) is list else []


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    return (each for each in _listed(value) if type(each) is dict)


KINDS: dict[str, type[ObjectCheck]] = {
    "CodeSystem": CodeSystemCheck,
    "ConceptMap.group": ConceptGroupCheck,
    "ImplementationGuide": ImplementationGuideCheck,
    "Questionnaire": QuestionnaireCheck,
    "SearchParameter": SearchParameterCheck,
    "StructureDefinition": StructureDefinitionCheck,
    "StructureMap": StructureMapCheck,
    "ValueSet.compose.include": IncludeCheck,
}
"""By the names of the types."""
