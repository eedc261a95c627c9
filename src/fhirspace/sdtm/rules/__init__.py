"""Conformance rules as data: CDISC's Open Rules, ours and a sponsor's, in one language, run over columns.

The language is that of the CDISC Open Rules: a rule is a YAML file with a scope (which datasets), the datasets that are
joined, operations that compute values beside the data, a check (a tree of conditions, true for a row at fault) and an
outcome. `model` reads rules, `study` and `frame` hold the data, `joins`, `operations` and `operators` are the language,
`engine` runs a rule over a study and `cases` runs the cases that come with a rule.
"""
