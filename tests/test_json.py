"""JSON read strictly and within bounds: the depth is counted exactly, and there is one error for all faults."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from fhirspace import json as jsontext, limits
from fhirspace.json import (
    JsonError,
    bounded,
    decode,
    decoder,
    exact,
    parse,
    parse_resource,
    resource_decoder,
    strict,
)
from fhirspace.limits import LIMITS

MOST = LIMITS["json-depth"].default


class _Head(msgspec.Struct):
    id: str = ""


_head = decoder(_Head)
READERS: dict[str, Callable[[bytes], object]] = {
    "parse": parse,
    "decode": decode,
    "strict": strict,
    "head": _head,
    "bounded": bounded,
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "")


def nested(depth: int, opening: str = "[", closing: str = "]", inner: str = "1") -> bytes:
    """An object with lists or objects in it, `depth` levels in all."""
    return ('{"id":"a","x":' + opening * (depth - 1) + inner + closing * (depth - 1) + "}").encode()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"[[\\"":', "}]"), (" [ ", " ] ")])
def test_the_depth_is_counted_exactly(reader: str, opening: str, closing: str) -> None:
    levels = opening.replace("[[", "").count("[") + opening.count("{")
    inner = "1" if (MOST - 1) % levels == 0 else "[]"  # a level of its own
    most = (MOST - 1) // levels
    READERS[reader](nested(most + 1, opening, closing, inner))
    with pytest.raises(JsonError, match=r"at most 100 objects and arrays .*json-depth=N") as caught:
        READERS[reader](nested(most + 1, opening, closing, f"[{inner}]"))
    assert caught.value.code == "FS403"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("depth", [900, 1_100, 100_000])
def test_what_is_far_too_deep_is_refused_by_each_reader(reader: str, depth: int) -> None:
    for raw in (nested(depth), b"[" * depth, b'{"a":' * depth):
        with pytest.raises(JsonError, match="FS403"):
            READERS[reader](raw)


def test_the_bound_can_be_chosen_as_far_as_checks_can_go(monkeypatch: pytest.MonkeyPatch) -> None:
    most = LIMITS["json-depth"].most or 0
    monkeypatch.setenv(limits.VARIABLE, f"json-depth={most}")
    assert parse(nested(most))
    with pytest.raises(JsonError, match=f"at most {most} "):
        parse(nested(most + 1))


def test_brackets_in_texts_do_not_count() -> None:
    text = json.dumps({"a": ["[" * 500, '"[{' * 500, "\\" * 7 + "[" * 500, "{" * 500 + "\\"]}).encode()
    for reader in READERS.values():
        reader(text)


_TEXTS = st.text(st.sampled_from('[]{}\\",: é'), max_size=12)
_TREES = st.recursive(
    _TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=40
)


@given(_TREES, st.integers(1, 9), st.sampled_from([2, 3, 5, 1 << 20]))
def test_the_count_is_that_of_the_tree(tree: object, most: int, chunk: int) -> None:
    def depth(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsontext, "_CHUNK", chunk)
        assert jsontext._deeper(json.dumps(tree).encode(), most) == (depth(tree) > most)


FAULTS = {
    "nothing": (b"", "FS401"),
    "cut": (b'{"id":"a"', "FS401"),
    "two values": (b'{"id":"a"}{}', "FS401"),
    "NaN": (b'{"id":"a","x":NaN}', "FS401"),
    "Infinity": (b'{"id":"a","x":-Infinity}', "FS401"),
    "comment": (b'{"id":"a"/**/}', "FS401"),
    "NUL": (b'{"id":"a\x00"}', "FS401"),
    "NUL after it": (b'{"id":"a"}\x00', "FS401"),
    "not UTF-8": (b'{"id":"\xff"}', "FS401"),
    "UTF-16": ('{"id":"a"}'.encode("utf-16"), "FS401"),
    "half a pair": (b'{"id":"\\ud800"}', "FS401"),
    "halves in a wrong order": (b'{"id":"\\udc00\\ud800"}', "FS401"),
    "a name twice": (b'{"id":"a","id":"a"}', "FS402"),
    "a name twice, further in": (b'{"id":"a","x":[{"y":1,"y":2}]}', "FS402"),
    "a name twice, once escaped": (b'{"id":"a","\\u0069d":"b"}', "FS402"),
    "a digit too much": (b'{"id":"a","x":01}', "FS401"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_strict_refuses_what_parse_refuses(name: str) -> None:
    raw, code = FAULTS[name]
    for reader in (parse, strict):
        with pytest.raises(JsonError) as caught:
            reader(raw)
        assert caught.value.code == code


@pytest.mark.parametrize("name", FAULTS)
def test_no_other_exception_comes_out_of_a_decoder(name: str) -> None:
    for reader in (decode, exact, _head):
        try:
            reader(FAULTS[name][0])
        except JsonError as error:
            assert error.code == "FS401"


@pytest.mark.parametrize("number", ["1e300", "1e-999", "-0", "1" * 100, "9" * 4_300, "5.50", "1." + "9" * 100_000])
def test_numbers_of_any_size_are_written_as_they_were_spelt(number: str) -> None:
    raw = f'{{"x":{number}}}'.encode()
    strict(raw)
    assert parse(raw) == {"x": number}
    if number != "-0":
        assert msgspec.json.encode(exact(raw)) == raw


@pytest.mark.parametrize("digits", [4_301, 100_000])
def test_a_whole_number_that_no_program_reads_is_refused(digits: int) -> None:
    for reader in (decode, exact, strict):
        with pytest.raises(JsonError, match="FS414"):
            reader(b'{"x":' + b"9" * digits + b"}")


def test_a_number_out_of_range_is_the_same_error() -> None:
    for number in (b"1e999", b"-1E+309", b"9" * 400 + b".5"):
        for reader in (parse, exact, strict):
            with pytest.raises(JsonError, match="FS414"):
                reader(b'{"x":%s}' % number)
    with pytest.raises(JsonError, match="FS414"):
        decode(b'{"x":1e999}')
    with pytest.raises(JsonError, match="FS414"):
        _head(b'{"id":7}')


EMPTY = {
    "null": (b'{"x":null,"y":1}', {"y": "1"}, ["x"]),
    "text": (b'{"y":1,"x":""}', {"y": "1"}, ["x"]),
    "object": (b'{"x":{ }}', {}, ["x"]),
    "array": (b'{"x":[\n]}', {}, ["x"]),
    "in an array": (b'{"x":["a",null,"",[],{},"b"]}', {"x": ["a", "b"]}, ["x[1]", "x[2]", "x[3]", "x[4]"]),
    "what holds nothing else": (b'{"x":[{"y":{"z":[[{"a":null}]]}}],"b":false}', {"b": False}, ["x[0].y.z[0][0].a"]),
    "arrays with companions": (b'{"x":[],"_x":[],"y":["",null],"_y":[null,{"id":"a"}]}',
        {"y": [None, None], "_y": [None, {"id": "a"}]}, ["x", "_x", "y[0]"]),
    "a companion that is no array": (b'{"x":[null],"_x":{"id":"a"}}', {"_x": {"id": "a"}}, ["x[0]"]),
    "a name that is none of FHIR": (b'{"a b":null}', {}, ["<member 1>"]),
    "nothing": (b'{"given":["a",null],"_given":[null,{"id":"b"}]}',
        {"given": ["a", None], "_given": [None, {"id": "b"}]}, []),
    "nothing but in a text": (b'{"x":"null \\"\\" [] {}"}', {"x": 'null "" [] {}'}, []),
    "an empty object": (b"{}", {}, []),
    "no object": (b"null", None, []),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_empty_values_of_a_resource_are_left_out_and_named(name: str) -> None:
    raw, value, empty = EMPTY[name]
    assert parse_resource(raw) == (value, empty)


class _Inner(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    text: str | msgspec.UnsetType = msgspec.UNSET
    size: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Outer(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    a: list[_Inner] = []
    b: _Inner | msgspec.UnsetType = msgspec.UNSET


@given(
    st.lists(st.sampled_from(['"text":"{}"', '"size":5.50', '"\\u0074ext":"x"']), max_size=3),
    st.sampled_from(["", "a", '\\"', "\\\\", "\\u0022", "\\u005c", '\\\\\\"', "\\/", "é", "\\n"]),
    st.sampled_from(["", " "]),
)
def test_a_compiled_reader_sees_each_name_that_comes_twice(names: list[str], text: str, blank: str) -> None:
    inner = "{" + f"{blank},{blank}".join(names).replace("{}", text) + "}"
    spelt = [name.replace("\\u0074", "t").partition(":")[0] for name in names]
    for raw in (f'{{"a":[{blank}{inner}]}}', f'{{{blank}"b":{inner}}}'):
        reader = resource_decoder(_Outer)
        if len(set(spelt)) == len(spelt):
            assert isinstance(reader(raw.encode()), _Outer)
            continue
        with pytest.raises(JsonError, match="FS402"):
            reader(raw.encode())


def test_strict_takes_any_spelling_of_what_is_right() -> None:
    strict(b' { "id" : "\\u00e9\\ud83d\\ude00" , "x" : [ 1.0 , -0 ] } ')


def test_the_error_goes_from_one_process_to_another() -> None:
    error = pickle.loads(pickle.dumps(JsonError("FS402", "each name once")))
    assert (error.code, error.expected) == ("FS402", "each name once")


@pytest.mark.parametrize("depth", [2_000, 100_000])
def test_without_the_bound_it_is_still_no_other_error(depth: int) -> None:
    for reader in (exact, decoder(dict[str, msgspec.Raw], bound=False)):
        with pytest.raises(JsonError, match="FS403"):
            reader(nested(depth))


OWN = {
    "localserver/digests.py": "our own list of digests",
    "localserver/packages.py": "packages of HL7 in jars whose digests are known",
    "delivery/runs.py": "our own report of a run; it may hold half a pair of surrogates",
    "localserver/server.py": "our own note of a running server",
    "mapping/read/program.py": "types made from mappings; what they refuse is parsed",
    "standards/fhir.py": "packaged data",
    "standards/hl7/structures.py": "packaged data",
    "standards/hl7/terms.py": "packaged data",
    "standards/sdtm.py": "packaged data",
    "standards/terminology.py": "packaged data",
    "standards/units.py": "packaged data",
    "study/demo/figures.py": "resources that the demonstration made",
    "study/inspect/mappings.py": "resources that a mapping made",
    "study/inspect/sample.py": "resources that a mapping made",
}
"""Modules that decode JSON by themselves, and why they may."""


def test_all_other_json_is_decoded_here() -> None:
    package = Path(jsontext.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"msgspec\.json\.(decode|Decoder)\(|\bjson\.(loads|load|JSONDecoder)\(", path.read_text("utf-8"))
    }
    assert {name for name in found if not name.startswith("testing/")} == {*OWN, "json.py"}
