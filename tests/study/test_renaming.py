"""Ids of another key, renamed before resources are compared."""

from __future__ import annotations

import pytest

from fhirspace.study.reading.renaming import Renaming, named

OLD, NEW = "a" * 32, "b" * 32


def patient(key: str) -> bytes:
    return b'{"resourceType":"Patient","id":"%s","identifier":[{"value":"S-1"}]}' % key.encode()


RENAME = Renaming(named([patient(OLD)]), named([patient(NEW)]))


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b'{"id":"OLD","subject":{"reference":"Patient/OLD"}}', b'{"id":"NEW","subject":{"reference":"Patient/NEW"}}'),
        (b'{"id":"OLD-AE-1"}', b'{"id":"NEW-AE-1"}'),
        (b'{"a":{"reference":"Patient\\/OLD"}}', b'{"a":{"reference":"Patient/NEW"}}'),
        (b'{"\\u0069d":"OLD"}', b'{"\\u0069d":"NEW"}'),
        (b'{"text":"OLD","note":"see Patient/OLD"}', None),
        (b'{"a":{"reference":"#OLD-x y"}}', None),
        (b'{"id":"OLD0"}', None),
        (b"no JSON OLD", None),
    ],
)
def test_ids_and_references_are_renamed_and_texts_that_quote_them_are_not(line: bytes, wanted: bytes | None) -> None:
    given = line.replace(b"OLD", OLD.encode())
    assert RENAME(given) == (given if wanted is None else wanted.replace(b"NEW", NEW.encode()))
