"""Operations that ask the standard: labels, and whether it has a domain."""

from __future__ import annotations

from fhirspace.sdtm.rules.operations.registry import Context, operation
from fhirspace.sdtm.rules.values import Column, constant
from fhirspace.standards import sdtm


@operation("domain_label")
def domain_label(context: Context) -> Column:
    """The label that the guide gives the domain; "" for a domain that it does not have."""
    label = sdtm.domain(context.domain).label if context.domain in sdtm.domains() else ""
    return constant(label, context.frame.size)


@operation("domain_is_custom")
def domain_is_custom(context: Context) -> Column:
    """Whether the domain is the sponsor's own: neither the guide nor the model has it."""
    return constant(context.domain not in sdtm.domains(), context.frame.size)
