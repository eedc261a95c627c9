"""The JSON schema of mapping files, for editors: which key is allowed where, with a sentence on each key.

It checks the shape of a document. `mapping check` does the checks that need HL7's definitions, code lists and the other
mappings. ``mappings/schema.json`` is written from it by ``scripts/make_docs.py``.
"""

from __future__ import annotations

from typing import Any, Final

from fhirspace.standards.fhir import definitions
from fhirspace.template.yaml_nodes import VERSION_KEY
from fhirspace.version import MAPPING_LANGUAGE

Schema = dict[str, Any]

CODECS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "text": ("the cell as it is", ("Headache",)),
    "integer": ("a whole number of at most nine digits", ("3", "007")),
    "decimal": ("a decimal number; its digits stay as they are spelt", ("5.50", ".5")),
    "number": ("a number in its shortest spelling, for ids and references: visit 1.0 is visit 1", ("1.0", "2.01")),
    "date": ("an ISO 8601 date, whole or partial; a time of day is carried", ("2024-03-05", "2024-03")),
    "datetime": (
        "an ISO 8601 date/time, whole or partial; a time of day without its offset from UTC is carried",
        ("2024-03-05T10:30+02:00", "2024-03-05T10:30"),
    ),
    "yes": ("Y as true; N, U and NA are carried", ("Y", "N")),
    "yes/no": ("Y and N as true and false; U and NA are carried", ("Y", "N", "U")),
    "codes": (
        "a code of a list: `codes(SEX)`, of another column `codes(SEX.display)`, of a CDISC codelist `codes(C66731)`",
        (),
    ),
    "comparator": ("a sign before a number", ("<", ">=")),
    "fhirid": (
        "a part of an `id`: 16 digits of a keyed hash; of SITEID the cell itself where it is a number such as `01` or "
        "`DE-07`; not read back",
        ("01", "Site 7/b"),
    ),
    "id": ("a hash with a key, 32 digits, for `id` and references of a subject; not read back", ("STUDY1-01-001",)),
    "day": (
        "a date of an EDC system in a [shape](#shapes-of-dates), `day(DD/MM/YYYY hh:mm)`; unknown parts as UN",
        ("05 MAR 2024", "UN MAR 2024"),
    ),
    "duration": ("an ISO 8601 duration", ("P6M", "PT30M")),
    "checkbox": ("a tick box in a spelling, `checkbox(Checked/Unchecked)`, as Y and N", ("1", "0")),
    "ucum": ("a unit by its UCUM code; a unit without one leaves the place empty; not read back", ("mg/dL", "10^9/L")),
    "unit": (
        "a unit as it is spelt; a micro sign reads back as CDISC's u, and is carried",
        ("ug/L", "µg/L"),
    ),
}
"""By codec what it is for, and cells that show it. ``docs/mapping-language.md`` has its table from here."""

_TEXT: Final = {"type": ["string", "number", "boolean"]}
_SLOTTED: Final = {"type": ["string", "number", "boolean"], "pattern": "^[^<>]*(<[^<>]+>[^<>]*)*$"}
_PAIRS: Final = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/text"}},
        {"type": "string", "pattern": "^\\$"},
    ]
}
_GIVEN: Final = _PAIRS | {
    "description": "Columns of the form and the cell that each must have ('' is empty); known again on reading."
}
_ALWAYS: Final = {"description": "The row stands with every record.", "enum": [True, "true"]}
_VERSION: Final = {
    "description": "The version of the mapping language that the file is written in (default: 1).",
    "enum": [number for known in range(1, MAPPING_LANGUAGE + 1) for number in (known, str(known))],
}
_WHEN: Final = {"$ref": "#/$defs/condition"}
_LEFT_OUT: Final = {
    "drop": "Columns that are left out: names, or patterns such as '*_note', which spare the columns of the mapping.",
    "missing": "Texts that mean an empty cell, as in [-99, NA]; those of a form replace those of its source.",
}
_CARRY: Final = {
    "description": "Whether columns that no mapping names travel to FHIR, too; they may hold names of patients.",
    "enum": [True, "true", False, "false"],
}


def _words(description: str) -> Schema:
    one_or_more = [{"$ref": "#/$defs/text"}, {"type": "array", "items": {"$ref": "#/$defs/text"}}]
    return {"description": description, "anyOf": one_or_more}


def _left_out() -> Schema:
    """What a form or a whole source declares not to convert."""
    return {key: _words(description) for key, description in _LEFT_OUT.items()} | {"carry unmapped": _CARRY}


def _forms() -> Schema:
    spellings = {"type": "object", "additionalProperties": {"$ref": "#/$defs/slotted"}}
    return {
        "description": "By column the ways to spell its cells; parts become columns like LBORRES.number.value.",
        "type": "object",
        "additionalProperties": {"anyOf": [{"type": "string", "pattern": r"^\$"}, spellings]},
    }


def _codes() -> Schema:
    return {
        "description": "Code lists of this file: name, then cell: code.",
        "type": "object",
        "additionalProperties": _PAIRS,
    }


def _let() -> Schema:
    return {
        "description": "Constants: $name anywhere below stands for the text, object or list given here.",
        "type": "object",
        "propertyNames": {"pattern": "^[a-zA-Z][A-Za-z0-9]*$"},
    }


def schema() -> Schema:
    """The schema of one YAML document of a mapping file (JSON Schema 2020-12); a file may hold several documents."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://fhirspace.org/schema/mapping.json",
        "title": "A document of a fhirspace mapping file",
        "description": "With domain: a domain mapping, with class: what several of them have in common, with form: or "
        "makes: a source form, with view: a view, else what is common to all files of a folder.",
        "type": "object",
        "if": {"anyOf": [{"required": ["domain"]}, {"required": ["class"]}]},
        "then": {"$ref": "#/$defs/domain"},
        "else": {
            "if": {"anyOf": [{"required": ["form"]}, {"required": ["makes"]}]},
            "then": {"$ref": "#/$defs/form"},
            "else": {
                "if": {"required": ["view"]},
                "then": {"$ref": "#/$defs/view"},
                "else": {
                    "if": {"anyOf": [{"required": [name]} for name in ("extends", "left", "subjects", "visits")]},
                    "then": {"$ref": "#/$defs/views"},
                    "else": {"$ref": "#/$defs/common"},
                },
            },
        },
        "$defs": {
            "text": _TEXT,
            "slotted": _SLOTTED
            | {
                "description": 'A text with slots: <COLUMN codec>, <"a column" codec>. Codecs: '
                + ", ".join(CODECS)
                + "."
            },
            "condition": {
                "type": "string",
                "description": "AEREL or AEACN; LBSTAT is 'NOT DONE'; A in [X, 'Y Z']; not A; SV has USUBJID VISITNUM.",
            },
            "template": _template(),
            "resource": _resource(),
            "domain": _domain(),
            "form": _form(),
            "cell": _cell(),
            "view": _view(),
            "views": _of_views(),
            "common": {
                "type": "object",
                "properties": {VERSION_KEY: _VERSION, "let": _let(), "codes": _codes(), "origin": _TEXT, **_left_out()},
                "additionalProperties": False,
            },
        },
    }


def _view() -> Schema:
    address = {"type": "string", "description": "code.coding[system=$loinc].code; a | b; first a; a -> Type.b; ^a."}
    names = ("visit", "phase", "enrolment", "least", "greatest", "give", "item", "unless")
    agree = dict.fromkeys(("by", "least", "greatest"), _words("Columns of the view."))
    merge = {"type": "object", "required": ["by"], "properties": agree, "additionalProperties": False}
    computed = {"type": "object", "properties": dict.fromkeys(names, _TEXT), "additionalProperties": False}
    return {
        "type": "object",
        "required": ["view", "of"],
        "properties": {
            VERSION_KEY: _VERSION,
            "view": {"description": "The name of the view and of its records.", **_TEXT},
            "of": {"description": "The resource type.", **_TEXT},
            "when": {"$ref": "#/$defs/condition"},
            "each": {"description": "The element of which each item makes a record, as in component and .", **_TEXT},
            "subject": {"description": "The reference to the patient.", **_TEXT},
            "columns": {"type": "object", "additionalProperties": {"anyOf": [address, computed]}},
            "merge": merge,
            "left": {"type": "object", "additionalProperties": {"$ref": "#/$defs/condition"}},
            "never": _never(),
            "let": _let(),
        },
        "additionalProperties": False,
    }


def _never() -> Schema:
    codes = {"type": "array", "items": {"type": "string"}}
    return {"description": "Status codes of which no record is made.", "type": "object", "additionalProperties": codes}


def _of_views() -> Schema:
    """The common file of a folder of views."""
    zones = {"type": "object", "additionalProperties": _TEXT}
    return {
        "type": "object",
        "properties": {
            VERSION_KEY: _VERSION,
            "let": _let(),
            "codes": _codes(),
            "extends": {"description": "The views that these add to.", **_TEXT},
            "left": _words("Resource types that no view is for, on purpose."),
            "never": _never(),
            "zone": {"description": "The time zone of all sites, or by SITEID.", "anyOf": [_TEXT, zones]},
            "subjects": {"description": "The enrolment table, or {view: NAME}.", "type": ["string", "object"]},
            "visits": {"description": "The table with the windows of visits.", **_TEXT},
            "day one": {"description": "The date that study days count from.", "type": "object"},
        },
        "additionalProperties": False,
    }


def _template() -> Schema:
    return {
        "description": "A text with slots, an object of elements, or a list of them. Names a|b are R4|R5, - is absent.",
        "anyOf": [
            {"$ref": "#/$defs/slotted"},
            {"type": "array", "items": {"$ref": "#/$defs/template"}},
            {
                "type": "object",
                "properties": {
                    "when": _WHEN,
                    "for": {
                        "description": "Repeats the item over a table: {CODE VAR: [C48275 AESDTH, C84266 AESLIFE]}.",
                        "type": "object",
                        "minProperties": 1,
                        "maxProperties": 1,
                        "additionalProperties": {"type": "array"},
                    },
                    "always": {
                        "description": "An item that stands with its parent even when no slot in it is filled.",
                        "$ref": "#/$defs/template",
                    },
                },
                "patternProperties": {
                    r"^one of( \w+)*$": {
                        "description": "Alternatives: the first in which a slot is filled is taken.",
                        "anyOf": [
                            {"type": "array", "items": {"$ref": "#/$defs/template"}},
                            {"type": "string", "pattern": r"^\$"},
                        ],
                    },
                    r"^(?!one of)[^$]": {"$ref": "#/$defs/template"},
                },
                "additionalProperties": False,
            },
        ],
    }


def _domain() -> Schema:
    resources = sorted(definitions("R4").resources | definitions("R5").resources)
    block = {"$ref": "#/$defs/resource"}
    attach = {
        "description": "Its rows hang into the resource of another dataset's row, at <each THIS> there.",
        "type": "object",
        "required": ["to", "on"],
        "properties": {
            "to": {"description": "The other dataset; -- for every dataset that has the place.", **_TEXT},
            "on": _words("The columns that both rows share."),
            "order": _words("The columns by which the items are ordered."),
            "via": _words("The two columns that name a column of the other row and its value: [IDVAR, IDVARVAL]."),
        },
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "anyOf": [
            {"required": ["domain", "key"]},
            {"required": ["domain", "extends"]},
            {"required": ["class"], "not": {"required": ["domain"]}},
        ],
        "properties": {
            VERSION_KEY: _VERSION,
            "domain": {"description": "The dataset whose rows this mapping carries to FHIR and back.", **_TEXT},
            "class": {
                "description": "The name of a class mapping: what the datasets that extend it have in common.",
                **_TEXT,
            },
            "topic": _words("In a class: the variable that a dataset without a file of its own is recognised by."),
            "extends": {
                "description": "The class whose entries and elements this document takes over or changes.",
                **_TEXT,
            },
            "key": _words("The columns that identify a row; each must be readable from a slot."),
            "let": _let(),
            "codes": _codes(),
            "carried": _words("Columns without a home on purpose: they ride in the extension at <carried>."),
            "forms": _forms(),
            "attach": attach,
            **dict.fromkeys(resources, block),
        },
        "patternProperties": {
            r"^item ((R4|R5) )?[A-Za-z.|-]+$": {
                "description": "What one row puts at <each THIS>: an item of this element.",
                "$ref": "#/$defs/template",
            },
            r"^[A-Z][A-Za-z]+ as \w+$": block,
            r"^(-|[A-Z][A-Za-z]+)\|(-|[A-Z][A-Za-z]+)( as \w+)?$": block,
        },
        "additionalProperties": False,
    }


def _resource() -> Schema:
    return {
        "description": "A resource that a row makes, as an example with slots.",
        "type": "object",
        "properties": {
            "one per": _words("The columns of which each combination makes the resource once."),
            "when": _WHEN,
        },
        "patternProperties": {"^(?!one per$|when$)": {"$ref": "#/$defs/template"}},
    }


def _form() -> Schema:
    variable = "^[A-Z][A-Z0-9]{0,7}$"
    lines = {
        "type": "object",
        "properties": {"when": _WHEN, "given": _GIVEN, "always": _ALWAYS},
        "patternProperties": {variable: {"$ref": "#/$defs/cell"}},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            VERSION_KEY: _VERSION,
            "form": {
                "description": "The form: the name of its file without extension. Documents below inherit it.",
                **_TEXT,
            },
            "key": _words("The columns that identify a record; a ? after a name says that it may be empty."),
            "makes": {"description": "The dataset of which the records make rows.", **_TEXT},
            "one per": _words("Where several forms make one row: the variables by which their rows meet."),
            "when": _WHEN,
            "given": _GIVEN,
            "always": _ALWAYS,
            "codes": _codes(),
            "let": _let(),
            "forms": _forms(),
            "rows": {
                "description": "The variables of each row and what stands in them.",
                "type": "object",
                "propertyNames": {"pattern": variable},
                "additionalProperties": {"$ref": "#/$defs/cell"},
            },
            "each": {
                "description": "One item a row that a record makes, with what differs from rows:.",
                "type": "array",
                "items": lines,
            },
            "needs": _PAIRS
            | {"description": "Columns and the column that must be filled where they are: weight: weight_unit."},
            "supplemental": _PAIRS | {"description": "Variables that are not standard, with their labels (SUPP--)."},
            "comments": _PAIRS | {"description": "Variables whose text is a comment (CO), with its reference."},
            "related": _PAIRS | {"description": "Variables that name a related record (RELREC): CMAENO: AESPID."},
            "columns": _words("Columns that are known, go to no variable, and are carried as they are."),
            "zone": {"description": "The time zone (IANA) in which the form has its times: Europe/Berlin.", **_TEXT},
            "skip when": {"description": "Records for which this is true are left out.", **_WHEN},
            **_left_out(),
        },
        "additionalProperties": False,
    }


def _cell() -> Schema:
    option = {
        "type": "object",
        "required": ["text"],
        "properties": {"when": _WHEN, "given": _GIVEN, "text": {"$ref": "#/$defs/slotted"}},
        "additionalProperties": False,
    }
    options = {"type": "array", "minItems": 1, "items": {"anyOf": [{"$ref": "#/$defs/slotted"}, option]}}
    return {
        "description": "What stands in a variable: a text with slots, or one of several.",
        "anyOf": [
            {"$ref": "#/$defs/slotted"},
            {
                "type": "object",
                "required": ["one of"],
                "properties": {
                    "one of": {
                        "description": "The first whose condition is true and whose slots are filled.",
                        **options,
                    }
                },
                "additionalProperties": False,
            },
        ],
    }
