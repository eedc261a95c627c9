"""Operations over the study: its datasets and their variables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from fhirspace.sdtm.rules.errors import CannotRun
from fhirspace.sdtm.rules.operations.registry import Context, operation
from fhirspace.sdtm.rules.operators.equality import normal, spelt
from fhirspace.sdtm.rules.study import Dataset
from fhirspace.sdtm.rules.values import Column, Lists, constant

_REFERENCE = ("RDOMAIN", "IDVAR", "USUBJID", "IDVARVAL")


@operation("study_domains")
def study_domains(context: Context) -> Column:
    """The domains of the study."""
    return _list(context, dict.fromkeys(each.domain or "" for each in context.study.datasets.values()))


@operation("dataset_names")
def dataset_names(context: Context) -> Column:
    """The names of the datasets of the study."""
    return _list(context, context.study.datasets)


@operation("get_column_order_from_dataset")
def column_order(context: Context) -> Column:
    """The variables of the dataset in its order."""
    return _list(context, context.dataset.names)


@operation("variable_exists")
def variable_exists(context: Context) -> Column:
    """Whether the dataset has the variable."""
    return constant(context.source.has(context.target), context.frame.size)


@operation("variable_count")
def variable_count(context: Context) -> Column:
    """How many domains of the study have the variable, with the prefix of each."""
    name = context.operation.parameters.get("name")
    if not isinstance(name, str):
        raise CannotRun("`variable_count` needs the name of a variable")
    domains = {each.whole: each for each in context.study.datasets.values()}
    count = sum(name.replace("--", each.prefix) in each.names for each in domains.values())
    return constant(count, context.frame.size)


@operation("referred_record_exists")
def referred_record_exists(context: Context) -> Column:
    """Whether RDOMAIN, USUBJID, IDVAR and IDVARVAL of a record fit one of the study; an operation of ours.

    Without IDVARVAL the dataset must have the variable. Nothing where the study lacks the dataset.
    """
    rows = zip(*(context.frame.plain(name).to_pylist() for name in _REFERENCE), strict=True)
    known: dict[tuple[str, str], frozenset[tuple[Any, ...]]] = {}
    found: list[bool | None] = []
    for domain, variable, subject, value in rows:
        parents = context.study.named(domain) if domain and variable else []
        if not parents:
            found.append(None)
            continue
        if (domain, variable) not in known:
            known[domain, variable] = frozenset(key for each in parents for key in _keys(each, variable))
        there = known[domain, variable]
        found.append(bool(there) if value is None else (subject, spelt(value)) in there)
    return pa.array(found, pa.bool_())


def _keys(dataset: Dataset, variable: str) -> Iterable[tuple[Any, ...]]:
    """The subject and value of each record that has a value in the variable, numbers spelt one way."""
    if variable not in dataset.names:
        return ()
    values = dataset.column(variable)
    size = len(values)
    subjects = dataset.column("USUBJID") if "USUBJID" in dataset.names else pa.nulls(size, pa.string())
    pairs = pa.table({"subject": subjects, "value": normal(values)}).group_by(["subject", "value"]).aggregate([])
    both = zip(pairs["subject"].to_pylist(), pairs["value"].to_pylist(), strict=True)
    return ((subject, value) for subject, value in both if value)


@operation("extract_metadata")
def extract_metadata(context: Context) -> Column:
    """What is known of the dataset: its name, label, size."""
    facts = about(context.dataset)
    name = str(context.operation.parameters.get("name"))
    if name not in facts:
        raise CannotRun(f"nothing is known of a dataset's {name}")
    return constant(facts[name], context.frame.size)


def about(dataset: Dataset) -> dict[str, str | int | bool | None]:
    """What rules can ask of a dataset."""
    return {
        "dataset_size": dataset.size,
        "dataset_location": dataset.file,
        "dataset_name": dataset.name,
        "dataset_label": dataset.label,
        "record_count": dataset.table.num_rows,
        "is_ap": dataset.associated,
        "ap_suffix": dataset.suffix,
        "domain": dataset.domain,
    }


def _list(context: Context, names: Iterable[str]) -> Lists:
    return Lists((tuple(names),), context.frame.size)
