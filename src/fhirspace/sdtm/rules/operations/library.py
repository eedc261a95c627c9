"""Operations that ask the standard: labels, variables of the guide and of the model, which domains there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from fhirspace.sdtm.rules.errors import CannotRun, MissingDataset
from fhirspace.sdtm.rules.operations.registry import Context, operation
from fhirspace.sdtm.rules.study import Dataset, Study
from fhirspace.sdtm.rules.values import Column, Lists, constant
from fhirspace.standards import sdtm, sdtm_model
from fhirspace.standards.countries import ALPHA_3


@operation("domain_label")
def domain_label(context: Context) -> Column:
    """The label that the guide gives the domain; "" for a domain that it does not have."""
    label = sdtm.domain(context.domain).label if context.domain in sdtm.domains() else ""
    return constant(label, context.frame.size)


@operation("domain_is_custom")
def domain_is_custom(context: Context) -> Column:
    """Whether the domain is the sponsor's own: neither the guide nor the model has it."""
    custom = context.domain not in sdtm.domains() and context.domain not in sdtm_model.DATASETS
    return constant(custom, context.frame.size)


@operation("required_variables")
def required_variables(context: Context) -> Column:
    """The variables of the guide that every dataset of the domain must have, filled."""
    return _core(context, "Req")


@operation("expected_variables")
def expected_variables(context: Context) -> Column:
    """The variables of the guide that every dataset of the domain is expected to have."""
    return _core(context, "Exp")


def _core(context: Context, core: str) -> Column:
    specified = _specified(context.dataset)
    old = frozenset() if context.study.newest else sdtm_model.NEW
    return _list(context, (each.name for each in specified if each.core == core and each.name not in old))


@operation("get_column_order_from_library")
def library_order(context: Context) -> Column:
    """All variables that the domain may have, in the order of the standard."""
    return _list(context, _guide(context))


@operation("get_dataset_filtered_variables")
def dataset_variables(context: Context) -> Column:
    """Those of the dataset's variables that have a role in the standard: `key_name` must be ``role``."""
    names = set(context.dataset.names)
    return _list(context, (name for name in _of_role(context, _guide(context)) if name in names))


@operation("get_model_column_order")
def model_order(context: Context) -> Column:
    """All variables that the model allows in the dataset, in its order."""
    return _list(context, _model(context.dataset, context.study))


@operation("get_model_filtered_variables")
def model_variables(context: Context) -> Column:
    """Those of the model's variables that have a role: `key_name` must be ``role``."""
    return _list(context, _of_role(context, _model(context.dataset, context.study)))


@operation("get_parent_model_column_order")
def parent_order(context: Context) -> Column:
    """For each record, all variables that the model allows in the dataset that RDOMAIN names."""
    related = context.frame.plain("RDOMAIN")
    encoded = related.cast(pa.string()).dictionary_encode()
    lists = [tuple(_model(_parent(context.study, name), context.study)) for name in encoded.dictionary.to_pylist()]
    return Lists((*lists, ()), context.frame.size, encoded.indices.cast(pa.int64()))


def _parent(study: Study, name: str) -> Dataset:
    found = next((each for each in study.datasets.values() if each.domain == name), None)
    if found is None:
        raise MissingDataset(name)
    return found


@operation("codelist_terms")
def codelist_terms(context: Context) -> Column:
    """The codes or values of codelists of SDTM terminology, or of their terms; of the version that the study names."""
    asked = context.operation.parameters
    names = asked.get("codelists")
    if not isinstance(names, tuple) or asked.get("returntype", "value") not in ("code", "value"):
        raise CannotRun("`codelist_terms` needs `codelists`, and `returntype` code or value")
    terms = context.study.terms
    if (wanted := context.study.terminology or terms.version()) != terms.version():
        raise CannotRun(f"the study names terminology {wanted}, but {terms.version()} is here")
    if lacking := [str(name) for name in names if not terms.known(str(name))]:
        raise CannotRun(f"there is no codelist {', '.join(lacking)}")
    chosen = [terms.codelist(name) for name in names]
    code = asked.get("returntype") == "code"
    if asked.get("level") == "codelist":
        return _list(context, (each.code if code else each.submission_value for each in chosen))
    return _list(context, (term.code if code else term.value for each in chosen for term in each.terms.values()))


@operation("codelist_decodes")
def codelist_decodes(context: Context) -> Column:
    """For each record, the names that SDTM terminology gives the code in the variable; an operation of ours."""
    variable = sdtm.variable(context.domain, context.target) if sdtm.known(context.domain) else None
    names: dict[str, list[str]] = {}
    terms = context.study.terms
    for codelist in filter(terms.known, variable.codelists if variable else ()):
        for code, name in terms.decode(codelist).items():
            names.setdefault(code, []).append(name)
    encoded = context.frame.plain(context.target).dictionary_encode()
    lists = tuple(tuple(names.get(code, ())) for code in encoded.dictionary.to_pylist())
    return Lists((*lists, ()), context.frame.size, encoded.indices.cast(pa.int64()))


@operation("country_codes")
def country_codes(context: Context) -> Column:
    """The codes of three letters of ISO 3166-1; an operation of ours."""
    return _list(context, sorted(ALPHA_3))


def _of_role(context: Context, names: Iterable[str]) -> Iterator[str]:
    asked = context.operation.parameters
    roles = {"Timing": sdtm_model.TIMING, "Identifier": [*sdtm_model.IDENTIFIERS, *sdtm_model.PERSONS]}
    wanted = roles.get(str(asked.get("key_value")))
    if asked.get("key_name") != "role" or wanted is None:
        raise CannotRun("variables are only known by the roles Timing and Identifier")
    prefix = context.dataset.prefix
    filled = {name.replace("--", prefix) for name in wanted}
    return (name for name in names if name in filled)


def _specified(dataset: Dataset) -> tuple[sdtm.Variable, ...]:
    """The variables of the dataset's own specification in the guide."""
    name = "SUPPQUAL" if dataset.supplementary else dataset.suffix or dataset.whole
    return sdtm.domain(name).variables if name in sdtm.domains() else ()


def _guide(context: Context) -> list[str]:
    """The model's variables in its order, with those that only the guide has at the end of their part."""
    dataset = context.dataset
    klass = context.study.class_of(dataset) or ""
    specified = _specified(dataset)
    identifiers, own, timing = sdtm_model.partition(klass, newest=context.study.newest)
    if not own:
        return [each.name for each in specified] or _model(dataset, context.study)
    parts = [[name.replace("--", dataset.prefix) for name in part] for part in (identifiers, own, timing)]
    known = {name for part in parts for name in part}
    for each in specified:
        if each.name not in known:
            parts[{"Identifier": 0, "Timing": 2}.get(each.role, 1)].append(each.name)
    return [name for part in parts for name in part]


def _model(dataset: Dataset, study: Study) -> list[str]:
    """The variables that the model allows; for a dataset of no general observation class those of its specification."""
    names = sdtm_model.general(study.class_of(dataset) or "", persons=dataset.associated, newest=study.newest)
    if names:
        return [name.replace("--", dataset.prefix) for name in names]
    if dataset.whole in sdtm_model.DATASETS:
        return list(sdtm_model.DATASETS[dataset.whole][1])
    more = sdtm_model.DEMOGRAPHICS if dataset.whole == "DM" else []
    return [*(each.name for each in _specified(dataset)), *more]


def _list(context: Context, names: Iterable[str]) -> Lists:
    return Lists((tuple(names),), context.frame.size)
