"""A define.xml made to harm its reader: entities, addresses, depth, size. Each is refused at once, with a code."""

import pytest

from fhirspace.errors import InputError
from fhirspace.sdtm.define.document import reading

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
ATTACKS = {
    "billion laughs": ('<!DOCTYPE ODM [<!ENTITY l0 "ha">' + LAUGHS + "]><ODM>&l9;</ODM>", "FS770"),
    "external entity": ('<!DOCTYPE ODM [<!ENTITY x SYSTEM "file:///etc/passwd">]><ODM>&x;</ODM>', "FS770"),
    "external definitions": ('<!DOCTYPE ODM SYSTEM "http://127.0.0.1:9/odm.dtd"><ODM/>', "FS770"),
    "parameter entity": ('<!DOCTYPE ODM [<!ENTITY % x SYSTEM "file:///dev/zero"> %x;]><ODM/>', "FS770"),
    "undeclared entity": ("<ODM>&x;</ODM>", "FS770"),
    "deep nesting": ("<a>" * 5_000, "FS160"),
    "huge attribute": (f'<ODM a="{"x" * 1_100_000}"/>', "FS160"),
    "huge text": (f"<ODM>{'x' * 1_100_000}</ODM>", "FS160"),
    "stray bytes": ("<ODM>\x00</ODM>", "FS770"),
    "two roots": ("<ODM/><ODM/>", "FS770"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_refused(attack, tmp_path):
    text, code = ATTACKS[attack]
    path = tmp_path / "define.xml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        reading.read(path)
    assert caught.value.code == code


@pytest.mark.parametrize("bound", ["define-bytes", "xml-nodes"])
def test_a_large_file_is_refused(bound, tmp_path, monkeypatch):
    monkeypatch.setenv("FHIRSPACE_LIMITS", f"{bound}=100")
    path = tmp_path / "define.xml"
    path.write_text(f"<ODM>{'<a/>' * 200}</ODM>", "utf-8")
    with pytest.raises(InputError) as caught:
        reading.read(path)
    assert caught.value.code == "FS160"
