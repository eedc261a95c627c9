from __future__ import annotations

import errno
import json
import pickle
from pathlib import Path

import pytest

from fhirspace import errors
from fhirspace.cli import commands, main
from fhirspace.errors import FhirspaceError, InputError, MappingError, Place, Problem, UsageError, catalogue, explain


def test_every_entry_says_what_why_and_what_to_do() -> None:
    for entry in catalogue().values():
        assert entry.level in {"error", "warning", "note"}, entry.code
        assert all(text.endswith(".") for text in (entry.sentence, entry.cause, entry.fix)), entry.code


def test_codes_used_in_the_source_are_those_of_the_catalogue() -> None:
    import re
    from pathlib import Path

    source = Path(errors.__file__).parent
    used = {code for file in source.rglob("*.py") for code in re.findall(r'"(FS\d{3})"', file.read_text("utf-8"))}
    assert used <= catalogue().keys(), used - catalogue().keys()


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place("ae.csv"), "ae.csv"),
        (Place("ae.csv", 4), "ae.csv:4"),
        (Place("ae.csv", 4, "AESEV"), "ae.csv:4:AESEV"),
        (Place("ae.csv", None, "AESEV"), "ae.csv:AESEV"),
    ],
)
def test_a_place_reads_as_file_row_column(place: Place, text: str) -> None:
    assert str(place) == text


def test_a_problem_tells_place_sentence_expected_and_fix() -> None:
    problem = Problem("FS601", Place("x"), "a code", "AE")
    assert problem.level == "error"
    assert str(problem) == f"FS601 x: {explain('FS601').sentence} Expected a code. {explain('FS601').fix}"
    assert problem.as_dict()["table"] == "AE"
    assert "Expected" not in str(Problem("FS601", Place("x")))


def test_a_detail_is_given_as_a_fact_beside_what_was_expected() -> None:
    problem = Problem("FS601", Place("x"), "a code", detail="status 500")
    sentence = explain("FS601").sentence.removesuffix(".")
    assert str(problem) == f"FS601 x: {sentence}: status 500. Expected a code. {explain('FS601').fix}"
    assert (problem.as_dict()["detail"], problem.as_dict()["expected"]) == ("status 500", "a code")
    fact = Problem("FS601", Place("x"), detail="status 500")
    assert str(fact) == f"FS601 x: {sentence}: status 500. {explain('FS601').fix}"


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/out/sdtm"),
            "FS602",
            "No such file or directory",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "/out/sdtm"), "FS603", "No space left on device"),
        (MemoryError(), "FS604", ""),
    ],
    ids=["missing", "full", "memory"],
)
def test_what_the_operating_system_refused_has_a_code_for_each_cause(
    error: Exception, code: str, detail: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: object) -> int:
        raise error

    monkeypatch.setattr(commands, "explain", fail)
    assert main(["explain", "FS601", "--json"]) == 2
    shown = capsys.readouterr()
    found = json.loads(shown.out)["error"]
    assert (found["code"], found["detail"], found["expected"]) == (code, detail, "")
    assert "Expected" not in shown.err


def test_an_unknown_code_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        explain("FS000")
    assert caught.value.code == "FS601"


@pytest.mark.parametrize("kind", [FhirspaceError, InputError, MappingError])
def test_errors_travel_between_processes(kind: type[FhirspaceError]) -> None:
    error = pickle.loads(pickle.dumps(kind("FS601", Place("f", 2, "C"), "this", "status 500")))
    assert type(error) is kind
    assert error.problem == Problem("FS601", Place("f", 2, "C"), "this", detail="status 500")


def test_a_folder_without_a_name_is_shown_as_a_point() -> None:
    assert str(Place(Path().name)) == "."
    assert str(Place("", 2, "AGE")) == ":2:AGE"
