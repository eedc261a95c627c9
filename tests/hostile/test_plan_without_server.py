"""A plan without a server reports the lines that a push would reject."""

from pathlib import Path

import pytest

from fhirspace.cli import main

_GOOD = '{"resourceType":"Patient","id":"b"}'
_DEEP = '{"resourceType":"Patient","id":"a","extension":' + "[" * 900 + "]" * 900 + "}"


@pytest.mark.parametrize(
    ("line", "code"),
    [(_DEEP, "FS403"), ("{broken", "FS401"), ('{"resourceType":"Patient"}', "FS522")],
    ids=["deep", "broken", "no id"],
)
@pytest.mark.parametrize("good", [[], [_GOOD]], ids=["alone", "beside a good one"])
def test_unsendable_line(
    line: str, code: str, good: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Patient.ndjson").write_text("\n".join([*good, line, ""]))
    no_fhir = line == "{broken" and not good  # no line of the file is a resource: it is refused as every command does
    assert main(["plan", str(tmp_path)]) == (2 if no_fhir else 1)
    captured = capsys.readouterr()
    assert ("FS406 Patient.ndjson" if no_fhir else f"{code} Patient.ndjson") in captured.err
    assert ("Patient" in captured.out) == bool(good)
