"""Whether a rule is about a dataset: the scope that names domains and observation classes."""

from __future__ import annotations

from fhirspace.sdtm.rules.model import Names, Rule
from fhirspace.sdtm.rules.study import Dataset, Study

_ALL = "ALL"
_PATTERNS = frozenset({"SUPP--", "SQ--", "AP--", "APFA--"})


def applies(rule: Rule, dataset: Dataset, study: Study) -> bool:
    """Whether the scope of a rule has the dataset in it."""
    return _domain(rule.domains, dataset) and _class(rule.classes, dataset, study)


def _domain(names: Names, dataset: Dataset) -> bool:
    included = _included(names, dataset)
    excluded = bool(names.exclude) and (
        _named(names.exclude, dataset) or dataset.whole in names.exclude or _patterned(names.exclude, dataset)
    )
    if names.split is True and dataset.split and not excluded:
        included = True
    if names.split is False and dataset.split:
        excluded = True
    return included and not excluded


def _included(names: Names, dataset: Dataset) -> bool:
    if not names.include:
        return dataset.split or names.split is not True
    return _named(names.include, dataset) or _patterned(names.include, dataset)


def _named(names: tuple[str, ...], dataset: Dataset) -> bool:
    return _ALL in names or dataset.name in names or (dataset.domain is not None and dataset.domain in names)


def _patterned(names: tuple[str, ...], dataset: Dataset) -> bool:
    """As in CORE, any of the patterns stands for supplemental qualifiers as well as for associated persons."""
    return bool(_PATTERNS & set(names)) and (dataset.supplementary or dataset.associated)


def _class(names: Names, dataset: Dataset, study: Study) -> bool:
    if _ALL in names.include or not (names.include or names.exclude):
        return True
    klass = study.class_of(dataset)
    kin = {klass, "FINDINGS"} if klass == "FINDINGS ABOUT" else {klass}
    included = not names.include or bool(kin & set(names.include))
    return included and not (klass and kin & set(names.exclude))
