"""The model's variables against those of the guide, which takes them from it."""

import pytest

from fhirspace.standards import sdtm, sdtm_model

GENERAL = [name for name in sdtm.domains() if sdtm.domain(name).klass in ("Interventions", "Events", "Findings")]


@pytest.mark.parametrize("name", GENERAL)
def test_the_model_has_the_variables_of_the_guide_in_its_order(name: str) -> None:
    domain = sdtm.domain(name)
    own = [f"--{each[2:]}" if each.startswith(domain.prefix) else each for each in domain.names]
    model = sdtm_model.general(domain.klass.upper())
    assert own == sorted(own, key=model.index)


@pytest.mark.parametrize(
    ("klass", "count", "first", "last"),
    [
        ("INTERVENTIONS", 43, "--TRT", "--RSTMOD"),
        ("EVENTS", 56, "--TERM", "--USCHFL"),
        ("FINDINGS", 100, "--TESTCD", "--RSTMOD"),
    ],
)
def test_the_variables_of_a_class(*, klass: str, count: int, first: str, last: str) -> None:
    own = sdtm_model.CLASSES[klass]
    assert (len(own), own[0], own[-1]) == (count, first, last)
    assert len(set(own)) == count
