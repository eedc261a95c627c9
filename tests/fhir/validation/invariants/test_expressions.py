"""FHIRPath: what expressions give, by hand from its specification."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.json import encode

from fhirspace.fhir.validation.invariants.compiler import compiled
from fhirspace.fhir.validation.invariants.items import Item, UndecidedError, model
from fhirspace.fhir.validation.invariants.lexer import ExpressionError
from fhirspace.fhir.validation.invariants.rules import _Around
from fhirspace.fhir.validation.invariants.surroundings import Surroundings
from fhirspace.json import parse

PATIENT = {
    "resourceType": "Patient",
    "id": "a",
    "active": True,
    "name": [{"family": "A", "given": ["B", "C"]}, {"family": "D", "_given": [{"id": "x"}]}],
    "birthDate": "1970-03",
    "_birthDate": {"extension": [{"url": "http://x", "valueString": "y"}]},
    "deceasedDateTime": "2015-02-14T13:42:00+10:00",
    "multipleBirthInteger": 2,
    "contained": [{"resourceType": "Organization", "id": "o", "name": "N"}],
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/1"}, {"display": "p"}],
}


def result(expression: str, resource: dict[str, Any] = PATIENT) -> list[Any]:
    value = parse(encode(resource))
    item = Item(value, value["resourceType"])
    found = compiled(expression)((item,), _Around(model("R4"), item, Surroundings(value, value)))
    return [each.value for each in found]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("name.family", ["A", "D"]),
        ("Patient.name.family", ["A", "D"]),
        ("Observation.name", []),
        ("name.given", ["B", "C", None]),
        ("name.given.hasValue()", [False]),
        ("name.first().given.count() = 2", [True]),
        ("name[1].family", ["D"]),
        ("name[5].family", []),
        ("name.where(family = 'D').exists()", [True]),
        ("name.exists(family = 'X')", [False]),
        ("name.all(family.exists())", [True]),
        ("name.select(family & '!')", ["A!", "D!"]),
        ("name.family.isDistinct()", [True]),
        ("(name.family | 'A').count() = 2", [True]),
        ("name.family.combine('A').isDistinct()", [False]),
        ("name.family contains 'A'", [True]),
        ("'A' in name.family", [True]),
        ("{} in name.family", []),
        ("deceased is dateTime", [True]),
        ("deceased is boolean", [False]),
        ("multipleBirth is Integer", [True]),
        ("multipleBirth.ofType(integer) > 1", [True]),
        ("(multipleBirth as boolean).empty()", [True]),
        ("birthDate < '1970-04'", [True]),
        ("birthDate < @1970-03-05", []),
        ("birthDate.extension.value", ["y"]),
        ("deceased < @2015-02-14T03:43:00Z", [True]),
        ("deceased = @2015-02-14T03:42:00Z", [True]),
        ("birthDate.lowBoundary()", ["1970-03-01T00:00:00.000+14:00"]),
        ("birthDate.highBoundary()", ["1970-03-31T23:59:59.999-12:00"]),
        ("(@T10:30).highBoundary()", ["10:30:59.999"]),
        ("name.given.join('-')", ["B-C"]),
        ("multipleBirth * 3", [6]),
        ("multipleBirth / 4", [Decimal("0.5")]),
        ("multipleBirth / 0", []),
        ("getResourceKey()", ["a"]),
        ("generalPractitioner.first().getReferenceKey('Practitioner')", ["1"]),
        ("generalPractitioner.first().getReferenceKey('Patient')", []),
        ("true and {}", []),
        ("false and {}", [False]),
        ("true or {}", [True]),
        ("{} or false", []),
        ("{} implies true", [True]),
        ("{} implies false", []),
        ("false implies {}", [True]),
        ("true xor {}", []),
        ("true xor false", [True]),
        ("{}.not()", []),
        ("active", [True]),
        ("active.not()", [False]),
        ("'1' = 1", [False]),
        ("1.0 = 1", [True]),
        ("2 - 3 = -1", [True]),
        ("'a' + 'b'", ["ab"]),
        ("'a' & {}", ["a"]),
        ("'a' + {}", []),
        ("'abc'.substring(1)", ["bc"]),
        ("'abc'.substring(1, 1)", ["b"]),
        ("'abc'.substring(7)", []),
        ("'abc'.length() = 3", [True]),
        ("'abc'.matches('[a-c]+')", [True]),
        ("'abcd'.matches('[a-c]+')", [False]),
        ("'a.b'.replaceMatches('\\\\..*', '')", ["a"]),
        ("'12'.toInteger() > 2", [True]),
        ("'*'.toInteger()", []),
        ("'Ab' ~ 'aB'", [True]),
        ("iif(active, 'y', 'n')", ["y"]),
        ("iif({}, 'y', 'n')", ["n"]),
        ("managingOrganization.resolve().name", ["N"]),
        ("managingOrganization.resolve() is Organization", [True]),
        ("contained.name", ["N"]),
        ("%resource.id", ["a"]),
        ("%rootResource.contained.id", ["o"]),
        ("%ucum", ["http://unitsofmeasure.org"]),
        ("generalPractitioner.where(display.exists()).resolve()", []),
        ("descendants().where($this = 'C').count() = 1", [True]),
        ("name.tail().family", ["D"]),
        ("name.repeat(given).count() = 3", [True]),
        ("(1 | 2 | 3).tail().first()", None),
        ("'a' 'b'", ExpressionError),
        ("generalPractitioner.resolve()", UndecidedError),
        ("name.family.substring(1)", UndecidedError),
        ("name.family.memberOf('x')", UndecidedError),
        ("name.nowhere()", ExpressionError),
        ("name.family = ", ExpressionError),
        ("§", ExpressionError),
        ("(" * 100 + "1" + ")" * 100, ExpressionError),
    ],
)
def test_an_expression(expression: str, expected: Any) -> None:
    if expected is None:
        assert [int(each) for each in result(expression)] == [2]
    elif isinstance(expected, list):
        assert result(expression) == expected
    else:
        with pytest.raises(expected):
            result(expression)
