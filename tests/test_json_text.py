"""JSON is read and written exactly, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowtoy_dagster.json_text import MAX_DEPTH, JsonError, dumps, dumps_checked, loads

LONG = 1234567890123456789012
NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    "number",
    [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, -9999999999999999999, LONG, -LONG],
)
@pytest.mark.parametrize("shape", ["{}", '{{"a": [{}, null]}}', "[{},0.12345678901234567890]"])
def test_integers_keep_all_their_digits(number: int, shape: str) -> None:
    written = shape.format(number)
    value = loads(written)
    assert value == json.loads(written)
    assert str(number) in dumps(value).decode()
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("beside", ["0.12", "0.1234567890123456789", str(LONG), "null"])
@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"])
def test_numbers_that_no_float_holds_are_no_json_whatever_is_beside_them(
    number: str, beside: str
) -> None:
    with pytest.raises(JsonError):
        loads(f'{{"x": {number}, "y": {beside}}}')


@pytest.mark.parametrize("beside", ["1", str(LONG)])
@pytest.mark.parametrize(
    "written", [r'"\ud800"', r'"\uDFFF"', r'"a\ud800b"', r'{"\udc00": 1}'],
)
def test_lone_surrogates_are_no_json_whatever_is_beside_them(written: str, beside: str) -> None:
    with pytest.raises(JsonError):
        loads(f"[{beside}, {written}]")
    with pytest.raises(JsonError):
        loads(f"[{beside}, {written}]".encode())


@pytest.mark.parametrize("beside", [b"1", str(LONG).encode()])
def test_escaped_pairs_are_one_character(beside: bytes) -> None:
    assert loads(b"[" + beside + rb', "\ud83d\ude00"]')[1] == "\N{GRINNING FACE}"


@pytest.mark.parametrize("beside", [b"1", str(LONG).encode()])
def test_bytes_that_are_not_utf8_are_named(beside: bytes) -> None:
    with pytest.raises(JsonError, match=r"not UTF-8 text \(byte 0xfc at position \d+\)"):
        loads(b"[" + beside + b', "Z\xfcrich"]')


def test_a_text_with_a_lone_surrogate_is_not_read() -> None:
    with pytest.raises(JsonError, match="not valid Unicode"):
        loads('["\ud800"]')


@pytest.mark.parametrize("beside", ["1", str(LONG)])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]\\"":', "}]")])
def test_depth_is_bounded(opening: str, closing: str, beside: str) -> None:
    levels = MAX_DEPTH // (2 if opening.startswith("[{") else 1)
    good = opening * (levels - 1) + f"[{beside}]" + closing * (levels - 1)
    assert loads(good) == json.loads(good)
    for more in (levels + 1, 2000, 100_000):
        with pytest.raises(JsonError, match="nested more than 200 levels"):
            loads(opening * more + beside + closing * more)


def test_brackets_inside_texts_are_no_levels() -> None:
    value = ["[" * 1000, '"[{\\' * 1000, {"{" * 1000: ""}]
    assert loads(json.dumps(value)) == value


def test_what_was_read_can_be_written_within_more() -> None:
    deepest = loads("[" * MAX_DEPTH + str(LONG) + "]" * MAX_DEPTH)
    assert json.loads(dumps_checked({"out": {"value": deepest}})) == {"out": {"value": deepest}}


@pytest.mark.parametrize("number", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("beside", [1, None, LONG])
@pytest.mark.parametrize("key", ["a", 1])
def test_nan_is_never_written_as_null(number: float, beside: Any, key: Any) -> None:
    with pytest.raises(JsonError) as caught:
        dumps({key: [beside, {"ratio": number}]})
    assert caught.value.path == f"{key}[1].ratio"
    assert caught.value.why == f"JSON can't hold the number {number}"


def test_null_is_written() -> None:
    assert dumps({"a": [None, 1.5], "null": "null"}) == b'{"a":[null,1.5],"null":"null"}'


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({1: "a", "1": "b"}, "two of its keys are '1'"),
        ({None: "a", "null": "b"}, "two of its keys are 'null'"),
        ({True: "a", "true": "b"}, "two of its keys are 'true'"),
        ({1.5: "a", "1.5": "b"}, "two of its keys are '1.5'"),
        ({NAN: 1}, "can't hold the number nan"),
        ({b"a": 1}, "a key of type 'bytes'"),
        (["\ud800"], "not valid Unicode"),
        ({"\ud800": 1}, "not valid Unicode"),
        ([10**5000], "too many digits"),
        ([{1}], "type 'set'"),
    ],
)
def test_what_json_can_not_hold_is_never_written_as_something_else(value: Any, why: str) -> None:
    with pytest.raises(JsonError, match=why):
        dumps(value)


def test_keys_that_are_no_texts_are_written_as_json() -> None:
    assert json.loads(dumps({1: "a", None: "b", False: {2.5: LONG}})) == {
        "1": "a", "null": "b", "false": {"2.5": LONG},
    }


def test_integers_with_more_digits_than_python_reads_are_an_error() -> None:
    with pytest.raises(JsonError):
        loads("[" + "9" * 5000 + "]")


def test_the_last_of_two_keys_counts_unless_keys_must_be_unique() -> None:
    assert loads('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(JsonError, match="the key 'a' is given twice"):
        loads('[{"b": {"a": 1, "a": 2}}]', unique_keys=True)
    assert loads('{"a": {"a": 1}}', unique_keys=True) == {"a": {"a": 1}}


def test_a_byte_order_mark_is_skipped() -> None:
    assert loads(b"\xef\xbb\xbf[1]") == loads("\ufeff[1]") == [1]
