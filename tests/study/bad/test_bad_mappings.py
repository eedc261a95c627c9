"""Wrong mappings given to a run: nothing runs, and the file, the line and the key are told with what would fit."""
# ruff: noqa: F401, F811 - fixtures that are imported

from __future__ import annotations

from pathlib import Path

import pytest

from tests.study.bad.bad_runs import Outcome, go, records, run, table

DOMAIN = """\
domain: ZZ
key: [STUDYID, USUBJID, ZZSEQ]
Observation:
  id: <USUBJID id>-ZZ-<ZZSEQ integer>
  meta: {tag: {system: $fs/study, code: <STUDYID>}}
  identifier: {system: $fs/ZZ, value: <USUBJID>|<ZZSEQ integer>}
  status: final
  code: {text: <ZZTEST>}
  valueString: <ZZORRES>
  extension: [<carried>]
"""
FORM = """\
form: adverse_events
key: [site_no, subject_no, ae_no]
makes: AE
rows:
  STUDYID: SPACE
  USUBJID: SPACE-<site_no>-<subject_no>
  AESPID: <ae_no>
  AETERM: <ae_term>
"""
DOMAINS = {
    "unknown key": ("key:", "keys:", "FS322", "zz.yaml:2:keys"),
    "unknown resource": ("Observation:", "Observatoin:", "FS322", "zz.yaml:3:Observatoin"),
    "wrong path": ("  code:", "  kode:", "FS332", "zz.yaml:8"),
    "two columns on one path": ("  valueString:", "  valueString|x: <A>\n  valueString:", "FS302", "zz.yaml:10"),
    "a key twice": ("  status: final", "  status: final\n  status: final", "FS302", "zz.yaml:8"),
    "cycle of constants": ("domain: ZZ", "domain: ZZ\nlet: {a: $b, b: $a}", "FS303", "zz.yaml"),
    "alias that holds itself": ("  code: {text: <ZZTEST>}", "  code: &a {text: *a}", "FS303", "zz.yaml:8"),
    "unknown code list": ("<ZZTEST>", "<ZZTEST codes(NOWHERE)>", "FS311", "zz.yaml:8"),
    "unknown codec": ("<ZZORRES>", "<ZZORRES shout>", "FS314", "zz.yaml:9"),
    "no YAML": ("domain: ZZ", "domain: [ZZ", "FS301", "zz.yaml"),
}
FORMS = {
    "unknown key": ("key:", "keys:", "FS304", "adverse_events.yaml:2:keys"),
    "wrong variable": ("  AETERM:", "  AETREM:", "FS353", "adverse_events.yaml:8:AETREM"),
    "no such dataset": ("makes: AE", "makes: ÄE", "FS352", "adverse_events.yaml"),
    "two columns on one variable": ("  AETERM:", "  AETERM: <pt_name>\n  AETERM:", "FS302", "adverse_events.yaml:9"),
    "cycle of constants": ("makes: AE", "makes: AE\nlet: {a: $b, b: $a}", "FS303", "adverse_events.yaml"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DOMAINS)
def test_a_wrong_domain_mapping(name: str, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, code, place = DOMAINS[name]
    assert old in DOMAIN
    own = tmp_path / "own"
    (own / "domains").mkdir(parents=True)
    text = DOMAIN.replace(old, new, 1)
    if name == "cycle of constants":
        text = text.replace("final", "$a")
    (own / "domains" / "zz.yaml").write_text(text, "utf-8")
    outcome = run(
        ["convert", records, "--to", "fhir", "--mappings", own], tmp_path / "out", lambda: tuple(capsys.readouterr())
    )
    refused(outcome, code, place)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("target", ["fhir", "sdtm"])
def test_a_wrong_source_mapping(
    name: str, target: str, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, code, place = FORMS[name]
    assert old in FORM
    text = FORM.replace(old, new, 1)
    if name == "cycle of constants":
        text = text.replace("AETERM: <ae_term>", "AETERM: $a")
    own = tmp_path / "own"
    own.mkdir()
    (own / "adverse_events.yaml").write_text(text, "utf-8")
    outcome = run(
        ["convert", records, "--to", target, "--source", own], tmp_path / "out", lambda: tuple(capsys.readouterr())
    )
    refused(outcome, code, place)


def refused(outcome: Outcome, code: str, place: str) -> None:
    assert outcome.exit_code == 2
    assert outcome.stderr.splitlines()[-1].startswith(f"error: {code} {place}")
    assert ("itself" if code == "FS303" else "expected ") in outcome.stderr.lower()  # a circle is a fact
    assert not (outcome.out / "manifest.json").exists()
    assert not list(outcome.out.rglob("*.ndjson"))


@pytest.mark.parametrize("arguments", [("--source", "nowhere"), ("--mappings", "nowhere")])
def test_mappings_that_are_not_there(
    arguments: tuple[str, str], records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(
        ["convert", records, "--to", "fhir", *arguments], tmp_path / "out", lambda: tuple(capsys.readouterr())
    )
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(("error: FS612 nowhere", "error: FS348 nowhere"))
