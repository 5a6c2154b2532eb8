"""The formats of file outputs (language 20.1)."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.steps.attempts import StepOutcome

Write = Callable[..., StepOutcome]
LONG = 2**70


def written(outcome: StepOutcome, name: str = "out0") -> bytes:
    assert outcome.error is None, outcome.error
    return Path(outcome.outputs[name]["path"]).read_bytes()


def test_the_value_says_what_was_written(write_pages: Write, folder: Path) -> None:
    outcome = write_pages([[{"a": 1}], [], [{"a": 2}, {"b": None}]], {"format": "jsonl"})
    content = b'{"a":1}\n{"a":2}\n{"b":null}\n'
    assert written(outcome) == content
    assert outcome.outputs["out0"] == {
        "path": str(folder / "out0.jsonl"), "format": "jsonl", "records": 3,
        "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        "content_type": "application/x-ndjson",
    }  # fmt: skip
    assert [path.name for path in folder.iterdir()] == ["out0.jsonl"]
    assert (folder / "out0.jsonl").stat().st_mode & 0o777 == 0o600


def test_lines_hold_values_of_any_type(write_pages: Write) -> None:
    records = [None, 1, LONG, "a\nb\u2028ü", [1, [2]], {"ключ": {"x": -0.5}}, True]
    lines = written(write_pages([records], {"format": "jsonl"})).decode().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == records


CSV = {
    "columns are those of all records": ([[{"a": 1}], [{"b": 2, "a": 3}]], "a,b\n1,\n3,2\n"),
    "null is nothing and an empty text is quoted": (
        [[{"a": None, "b": ""}]], 'a,b\n,""\n'
    ),
    "quotes": ([[{"a": 'x"y', "b": "1,2", "c": "l\r\nm"}]], 'a,b,c\n"x""y","1,2","l\r\nm"\n'),
    "white space at an end": ([[{"a": " x", "b": "y "}]], 'a,b\n" x","y "\n'),
    "nested values are JSON": (
        [[{"a": [1, None], "b": {"x": "ü"}}]], 'a,b\n"[1,null]","{""x"":""ü""}"\n'
    ),
    "numbers keep their digits": (
        [[{"a": LONG, "b": 1.5, "c": True}]], f"a,b,c\n{LONG},1.5,true\n"
    ),
    "one column that is null": ([[{"a": None}, {"a": 1}]], 'a\n""\n1\n'),
    "a name with a comma": ([[{"a,b": 1}]], '"a,b"\n1\n'),
    "a name that begins as a file in UTF-8 may": ([[{"\ufeffid": 1}]], '"\ufeffid"\n1\n'),
    "no records": ([[]], ""),
}


@pytest.mark.parametrize(("pages", "text"), CSV.values(), ids=list(CSV))
def test_csv(write_pages: Write, pages: list[Any], text: str) -> None:
    assert written(write_pages(pages, {"format": "csv"})).decode() == text


def test_csv_is_what_a_reader_of_csv_reads(write_pages: Write) -> None:
    rows = [{"a": 'x"\n,', "b": "ü\r"}, {"a": "'", "b": "\t"}]
    text = written(write_pages([rows], {"format": "csv"})).decode()
    assert list(csv.DictReader(text.splitlines(keepends=True))) == rows


def test_the_columns_of_csv_can_be_listed(write_pages: Write) -> None:
    options = {"format": "csv", "columns": ["b", "a", "c"]}
    assert written(write_pages([[{"a": 1, "b": 2}]], options)) == b"b,a,c\n2,1,\n"
    outcome = write_pages([[{"a": 1}], [{"a": 1, "d": 2}]], options)
    assert outcome.error == (
        "output 'out0': record 2 has the key 'd', which 'columns' does not list; list it, or "
        "select other keys by 'value'"
    )


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_what_has_no_columns_is_an_error_that_names_the_record(
    write_pages: Write, folder: Path, format_: str
) -> None:
    error = write_pages([[{"a": 1}], [7]], {"format": format_}).error or ""
    assert error.startswith("output 'out0': record 2 is not a mapping, so it has no columns")
    assert list(folder.iterdir()) == []


def parquet(outcome: StepOutcome) -> Any:
    import pyarrow.parquet as pq

    assert outcome.error is None, outcome.error
    return pq.read_table(outcome.outputs["out0"]["path"])


def test_parquet_has_one_type_for_all_pages(write_pages: Write) -> None:
    pages = [
        [{"id": 1, "n": 1, "x": None, "big": 2**64 - 1}],
        [{"id": -(2**63), "n": 0.5, "x": {"y": [1, None]}, "late": "ü"}],
        [{"id": 2**63 - 1, "n": None, "x": {"z": True}, "e": {}, "nothing": None}],
    ]
    table = parquet(write_pages(pages, {"format": "parquet"}))
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "int64", "n": "double", "x": "struct<y: list<element: int64>, z: bool>",
        "big": "uint64", "late": "string", "e": "string", "nothing": "string",
    }  # fmt: skip
    assert table.to_pylist() == [
        {"id": 1, "n": 1.0, "x": None, "big": 2**64 - 1, "late": None, "e": None,
         "nothing": None},
        {"id": -(2**63), "n": 0.5, "x": {"y": [1, None], "z": None}, "big": None, "late": "ü",
         "e": None, "nothing": None},
        {"id": 2**63 - 1, "n": None, "x": {"y": None, "z": True}, "big": None, "late": None,
         "e": "{}", "nothing": None},
    ]  # fmt: skip


NOT_PARQUET = {
    "text and number": ([[{"a": 1}], [{"a": "x"}]], "'a' is text in record 2 and a number in rec"),
    "number and boolean": ([[{"a": True}], [{"a": 1}]], "'a' is a number in record 2 and true or"),
    "list and text": ([[{"a": {"b": []}}, {"a": {"b": ""}}]], "'a.b' is text in record 2 and a li"),
    "in a list": ([[{"a": [1, "x"]}]], "'a[]' is text in record 1 and a number in record 1"),
    "more than 64 bits": ([[{"a": LONG}]], "'a' has integers of more than 64 bits (record 1)"),
    "negative beside unsigned": (
        [[{"a": -1}, {"a": 2**63}]], "'a' has integers of more than 64 bits (record 2)"
    ),
    "not a float": ([[{"a": 0.5}, {"a": 2**53 + 1}]], "'a' has a number with a fraction and an i"),
}


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    """A number within so many lists or mappings."""
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(("deepest", "wrap"), [
    (49, lambda value: [value]), (98, lambda value: {"k": value}),
], ids=["lists", "mappings"])
def test_what_is_nested_deeper_than_readers_of_parquet_take_is_an_error(
    write_pages: Write, deepest: int, wrap: Callable[[Any], Any]
) -> None:
    rows = [{"a.b": 1, "a": nested(deepest, wrap)}]
    assert parquet(write_pages([rows], {"format": "parquet"})).to_pylist() == rows
    outcome = write_pages([[{"a": nested(deepest + 1, wrap)}]], {"format": "parquet"})
    assert (outcome.error or "").startswith("output 'out0': 'a")
    assert "…' has more lists and mappings within each other in rec" in (outcome.error or "")


@pytest.mark.parametrize(("pages", "error"), NOT_PARQUET.values(), ids=list(NOT_PARQUET))
def test_what_has_no_type_in_parquet_is_an_error(
    write_pages: Write, folder: Path, pages: list[Any], error: str
) -> None:
    outcome = write_pages(pages, {"format": "parquet"})
    assert (outcome.error or "").startswith(f"output 'out0': {error}")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_records_without_a_column_are_an_error(
    write_pages: Write, folder: Path, format_: str
) -> None:
    # A file of no columns has no records for whoever reads it.
    outcome = write_pages([[{}], [{}]], {"format": format_})
    assert (outcome.error or "").startswith("output 'out0': none of the records has a key, so")
    assert list(folder.iterdir()) == []


def test_parquet_without_records_is_a_file(write_pages: Write) -> None:
    assert parquet(write_pages([[]], {"format": "parquet"})).num_rows == 0


def test_value_selects_records_page_by_page(write_pages: Write) -> None:
    # language 20.2
    pages = [[{"id": 1, "x": 1}, {"id": 2, "x": 5}], [{"id": 3, "x": 9}]]
    options = {"format": "jsonl", "value": "[?x > `3`].{id: id}"}
    assert written(write_pages(pages, options)) == b'{"id":2}\n{"id":3}\n'
    outcome = write_pages(pages, {"format": "jsonl", "value": "[0].id"})
    assert outcome.error == (
        "output 'out0': 'value' ([0].id) must find a list of records, and found the number 1"
    )


def test_what_json_can_not_hold_names_the_record(write_pages: Write) -> None:
    outcome = write_pages([[{"a": 1}], [{"a": float("nan")}]], {"format": "jsonl"})
    assert (outcome.error or "").startswith("output 'out0': record 2 at a: ")


def test_several_outputs_take_the_same_pages(write_pages: Write, folder: Path) -> None:
    outcome = write_pages(
        [[{"a": 1}], [{"a": 2}]], {"format": "jsonl"}, {"format": "csv"},
        {"type": "raw", "name": "all"}, {"type": "jmespath", "value": "[1].a", "name": "last"},
    )  # fmt: skip
    assert written(outcome, "out1") == b"a\n1\n2\n"
    assert outcome.outputs["all"] == [{"a": 1}, {"a": 2}]
    assert outcome.outputs["last"] == 2


def test_raw_of_records_is_an_error(write_pages: Write, folder: Path) -> None:
    outcome = write_pages([[{"a": 1}]], {"format": "raw"})
    assert (outcome.error or "").startswith("output 'out0': the format 'raw' is one body as it is")
    assert list(folder.iterdir()) == []
