"""NDJSON, Bundles and strict JSON: bytes in, the same bytes out; damaged files are told from right ones."""

import gzip
from pathlib import Path

import pytest

from fhirspace.errors import InputError
from fhirspace.fhir import ndjson, wire
from fhirspace.fhir.files import FhirFile, find, recognise
from fhirspace.json import JsonError, Number, number_text, parse

LINE = b'{"resourceType":"Basic","id":"a","code":{"text":"x"},"n":5.50}'
BUNDLE = (
    b'{"resourceType":"Bundle","entry":[{"fullUrl":"x"},{"resource":'
    + LINE
    + b'},{"resource":{"resourceType": "Basic"}}]}'
)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_lines_are_read_as_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ndjson", b"\xef\xbb\xbf" + LINE + b"\r\n\r\n  \n" + LINE)
    assert list(ndjson.read(path)) == [(1, LINE), (4, LINE)]


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz"])
def test_what_is_written_is_read_again_and_has_the_same_bytes(tmp_path: Path, name: str) -> None:
    assert ndjson.write(tmp_path / name, [LINE, LINE]) == 2
    first = (tmp_path / name).read_bytes()
    assert [line for _, line in ndjson.read(tmp_path / name)] == [LINE, LINE]
    ndjson.write(tmp_path / name, [LINE, LINE])
    assert (tmp_path / name).read_bytes() == first


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.ndjson", LINE + b"\n" + b"x" * 200)
    monkeypatch.setenv("FHIRSPACE_LIMITS", "line-bytes=100,document-bytes=100")
    with pytest.raises(InputError, match=r"FS405 a\.ndjson:2"):
        list(ndjson.read(path))
    with pytest.raises(InputError, match="FS405"):
        FhirFile(path, "resource").document()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="FS404"):
        list(ndjson.read(tmp_path / "no.ndjson"))


@pytest.mark.parametrize("damage", [-9, 3])
def test_damaged_compressed_data_are_refused(tmp_path: Path, damage: int) -> None:
    data = gzip.compress((LINE + b"\n") * 3000, mtime=0)
    path = written(tmp_path / "a.ndjson.gz", data[:damage] if damage < 0 else data[:3])
    with pytest.raises(InputError, match="FS404"):
        list(ndjson.read(path))
    with pytest.raises(InputError, match="FS404"):
        FhirFile(path, "resource").document()


@pytest.mark.parametrize("damage", [3, 10])
def test_damaged_compressed_data_are_not_recognised(tmp_path: Path, damage: int) -> None:
    path = written(tmp_path / "a.ndjson.gz", gzip.compress(LINE, mtime=0)[:damage])
    with pytest.raises(InputError, match="FS404"):
        recognise(path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (LINE, "Basic"),
        (b'{"id":"x","resourceType":"Patient"}', "Patient"),
        (b'{"id":"x"}', ""),
        (b'{"resourceType":5}', ""),
        (b'{"resourceType":"Patient"', ""),
        (b"[1]", ""),
        (b'{"resourceType":"\xff"}', ""),
        (b'{"a":' * 100000, ""),
    ],
)
def test_the_type_of_a_line_is_found(line: bytes, expected: str) -> None:
    assert wire.resource_type(line) == expected


def test_entries_keep_the_spelling_of_their_values(tmp_path: Path) -> None:
    path = written(tmp_path / "b.json", b"\xef\xbb\xbf" + BUNDLE)
    assert list(recognise(path).resources()) == [(2, LINE), (3, b'{"resourceType": "Basic"}')]


@pytest.mark.parametrize(("data", "code"), [(b'{"a":1}', "FS406"), (b"{", "FS401"), (b'{"a":' * 100000, "FS403")])
def test_what_is_no_bundle_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    with pytest.raises(InputError, match=code):
        recognise(written(tmp_path / "b.json", data))


@pytest.mark.parametrize("entry", [b"7", b"[7]", b'[{"resource":1,"fullUrl":2}]'])
def test_entries_that_are_none_are_refused(tmp_path: Path, entry: bytes) -> None:
    file = recognise(written(tmp_path / "b.json", b'{"resourceType":"Bundle","entry":' + entry + b"}"))
    with pytest.raises(InputError, match="FS401"):
        list(file.resources())


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.ndjson", LINE, "ndjson"),
        ("a.ndjson.gz", gzip.compress(LINE, mtime=0), "ndjson"),
        ("a.ndjson", b"{damaged\n" + LINE, "ndjson"),
        ("a.ndjson", b'{"code":"FS101"}\n', "FS406"),
        ("a.jsonl", LINE, "ndjson"),
        ("A.NDJSON", LINE, "ndjson"),
        ("a.txt", LINE, "resource"),
        ("a.json", b"[" + LINE + b"," + LINE + b"]", "array"),
        ("a.json", b'[\n{"x":1},\n' + LINE + b"\n]", "array"),
        ("a.json.gz", gzip.compress(b"[" + LINE + b"]", mtime=0), "array"),
        ("a.json", b"[]", "FS406"),
        ("a.json", b"plain text", "FS401"),
        ("a.json", LINE[:-9], "FS401"),
        ("a.ndjson", b"\n \n", "FS102"),
        ("a.json.gz", gzip.compress(b"", mtime=0), "FS102"),
        ("a.json", LINE + b"\n" + LINE, "ndjson"),
        ("a.json", b"\xef\xbb\xbf\r\n" + LINE + b"\n", "resource"),
        ("a.json", LINE.replace(b",", b",\n"), "resource"),
        ("a.json", BUNDLE, "bundle"),
        ("a.json", BUNDLE.replace(b",", b",\n"), "bundle"),
        ("a.json.gz", gzip.compress(BUNDLE, mtime=0), "bundle"),
        ("a.json", b'{"files":\n{}}', "FS406"),
        ("a.json", b"[1]", "FS406"),
        ("a.csv", b"USUBJID,AETERM\n", "FS401"),
        ("a.json", b"", "FS102"),
    ],
)
def test_files_are_recognised(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    path = written(tmp_path / name, data)
    if expected.startswith("FS"):
        with pytest.raises(InputError, match=rf"{expected} {name}"):
            recognise(path)
    else:
        assert recognise(path) == FhirFile(path, expected)  # type: ignore[arg-type]


def test_items_of_an_array_have_their_places(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", b"[ " + LINE + b' , {"resourceType":"Patient","n":1.0} ]')
    assert list(recognise(path).resources()) == [(1, LINE), (2, b'{"resourceType":"Patient","n":1.0}')]


def test_a_folder_gives_what_it_holds(tmp_path: Path) -> None:
    good = [written(tmp_path / name, LINE) for name in ("a.json", "b.ndjson", "c.JSON")]
    broken = [written(tmp_path / "d.json", b"{"), written(tmp_path / "e.ndjson", b"")]
    others = [written(tmp_path / name, LINE if name == ".h.json" else b"{}") for name in (".h.json", "f.json", "g.txt")]
    written(tmp_path / "journal.db", b"x")
    (tmp_path / "sub.json").mkdir()
    found = find([tmp_path])
    assert [file.path for file in found.files] == good
    assert [(path, fault.code) for path, fault in found.faults.items()] == list(
        zip(broken, ("FS401", "FS102"), strict=True)
    )
    assert found.others == others
    assert [problem.code for problem in found.problems()] == ["FS401", "FS102", "FS181", "FS180", "FS181"]


@pytest.mark.parametrize("name", ["problems.ndjson", "unread.ndjson", "manifest.json"])
@pytest.mark.parametrize("manifest", [True, False])
def test_what_runs_write_is_no_input_beside_a_manifest(tmp_path: Path, name: str, manifest: bool) -> None:
    written(tmp_path / name, LINE)
    if manifest:
        written(tmp_path / "manifest.json", b"{}")
    found = find([tmp_path])
    assert [file.name for file in found.files] == ([] if manifest or name == "manifest.json" else [name])
    assert not found.problems()


def test_numbers_keep_their_spelling() -> None:
    found = parse(b' {"a":5.50,"b":-0,"c":1E300,"d":"5.50"} ')
    assert found == {"a": "5.50", "b": "-0", "c": "1E300", "d": "5.50"}
    assert [type(value) for value in found.values()] == [Number, Number, Number, str]


@pytest.mark.parametrize(
    ("value", "text"),
    [(Number("5.50"), "5.50"), (7, "7"), (0.1, "0.1"), ("5", None), (True, None), (None, None), ([], None)],
)
def test_the_text_of_a_number_is_what_json_writes(value: object, text: str | None) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "FS401"),
        (b"{", "FS401"),
        (b'{"a":1}x', "FS401"),
        (b'{"a":01}', "FS401"),
        (b'{"a":NaN}', "FS401"),
        (b'{"a":-Infinity}', "FS401"),
        (b'{"a":"\n"}', "FS401"),
        (b'{"a":"\xff"}', "FS401"),
        (b'{"a":"\\ud800"}', "FS401"),
        (b"{'a':1}", "FS401"),
        (b'{"a":1,"a":1}', "FS402"),
        (b'{"x":[{"a":1,"a":2}]}', "FS402"),
        (b"[" * 100000, "FS403"),
    ],
)
def test_what_is_no_strict_json_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse(raw)
    assert caught.value.code == code


def test_whole_surrogate_pairs_are_text() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"
