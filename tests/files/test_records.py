"""The records of files in loops and templates (language 20.4)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.datafiles.facts import FileFacts, file_facts
from flowtoy_dagster.datafiles.reading import FileRecords, read_records
from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.schema.for_each import ForEachConfig
from flowtoy_dagster.flow.templates.render import render
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.loops.item_list import ItemList, list_items

Write = Callable[..., StepOutcome]
ROWS = [{"id": 1, "n": 'a,"b"\n'}, {"id": 2, "n": None}, {"id": 3, "n": "ü"}]


def value_of(write_pages: Write, format_: str, rows: list[Any] = ROWS) -> dict[str, Any]:
    """The value of a file output that has rows."""
    outcome = write_pages([rows[:2], rows[2:]], {"format": format_})
    assert outcome.error is None, outcome.error
    found: dict[str, Any] = outcome.outputs["out0"]
    return found


def items_of(value: Any, **more: Any) -> ItemList:
    written = ForEachConfig.model_validate({"in": "{{ file }}", **more})
    return list_items(written, {"file": value})


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
def test_a_loop_has_the_records_of_a_file_as_items(write_pages: Write, format_: str) -> None:
    value = value_of(write_pages, format_)
    items = items_of(value, key="{{ item.id }}")
    rows = ROWS
    if format_ == "csv":
        rows = [{k: "" if v is None else str(v) for k, v in row.items()} for row in ROWS]
    found = [items.item(index) for index in (2, 0, 1)]
    assert [(item.key, item.names["item"]) for item in found] == [
        ("3", rows[2]), ("1", rows[0]), ("2", rows[1])
    ]
    items.close()


def test_who_has_read_a_file_of_csv_shortens_no_field_of_one_that_is_being_read(
    write_pages: Write
) -> None:
    # Threads of one process may read files at once: items of loops, steps of `in_process`.
    long = value_of(write_pages, "csv", [{"n": "x"}, {"n": "y" * 200_000}])
    facts = file_facts(long)
    assert facts is not None
    reading, other = read_records(facts), read_records(facts)
    next(reading)
    next(other)
    assert len(next(reading)["n"]) == 200_000
    reading.close()
    assert len(next(other)["n"]) == 200_000


def test_a_loop_has_batches_of_records(write_pages: Write) -> None:
    items = items_of(value_of(write_pages, "jsonl"), batch=2)
    assert [items.item(index).names["batch"] for index in range(len(items))] == [
        ROWS[:2], ROWS[2:]
    ]
    items.close()


def test_items_of_a_file_are_read_as_they_are_needed(write_pages: Write) -> None:
    rows = [{"id": number, "text": "x" * 1000} for number in range(5000)]
    value = value_of(write_pages, "jsonl", rows)
    tracemalloc.start()
    items = items_of(value)
    for index in range(0, len(items), 100):
        assert items.item(index).names["item"]["id"] == index
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    items.close()
    assert most < value["bytes"] / 2 + (1 << 20)


def test_another_mapping_has_keys_and_values_as_before() -> None:
    items = items_of({"path": "/etc/passwd", "format": "jsonl"})
    assert [items.item(0).names["item"], len(items)] == [
        {"key": "path", "value": "/etc/passwd"}, 2
    ]


def test_a_mapping_opens_no_file_whose_content_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text('{"a": 1}\n')
    forged = FileFacts(str(path), "jsonl", 1, path.stat().st_size, "0" * 64, "").as_json()
    with pytest.raises(StepError, match="has changed: its sha256 is another"):
        items_of(forged)
    path.unlink()
    with pytest.raises(StepError, match=r"for_each: the file '.*secret' is missing"):
        items_of(forged)


def test_the_filter_records_gives_a_list(write_pages: Write) -> None:
    value = value_of(write_pages, "jsonl")
    assert render("{{ f | records }}", {"f": value}) == ROWS
    assert render("{{ f | records(limit=1) }}", {"f": value}) == ROWS[:1]
    assert render("{{ (f | records(0)) | length }}", {"f": value}) == 0


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ [1] | records }}", "expected the value of an output of type 'file'"),
        ("{{ f | records(limit=-1) }}", "'limit' must be a whole number"),
        ("{{ f | records(limit=true) }}", "'limit' must be a whole number"),
    ],
)
def test_the_filter_says_what_it_can_not_read(
    write_pages: Write, template: str, why: str
) -> None:
    with pytest.raises(TemplateError, match=why):
        render(template, {"f": value_of(write_pages, "jsonl")})


def test_a_body_has_no_records(run_source: Callable[..., StepOutcome]) -> None:
    from flowtoy_dagster.flow.graph import Source

    outcome = run_source(Source("process", {"command": ["echo", "x"]}), {"format": "raw"})
    with pytest.raises(TemplateError, match="has the format 'raw', which has no records"):
        render("{{ f | records }}", {"f": outcome.outputs["out0"]})


ODD_CSV = {
    "a,b\n1\n": "line 2 of the file '.*' has 1 values, and its first line 2",
    'a\n"x': "is not CSV in UTF-8",
    "a\n\udcff\n": "is not CSV in UTF-8",
}


@pytest.mark.parametrize(("text", "why"), ODD_CSV.items())
def test_csv_that_a_command_wrote_wrongly_is_an_error(
    tmp_path: Path, text: str, why: str
) -> None:
    import hashlib

    from flowtoy_dagster.datafiles.places import PlaceError

    octets = text.encode("utf-8", "surrogateescape")
    (tmp_path / "x.csv").write_bytes(octets)
    digest = hashlib.sha256(octets).hexdigest()
    facts = FileFacts(str(tmp_path / "x.csv"), "csv", None, len(octets), digest, "")
    with pytest.raises(PlaceError, match=why):
        list(read_records(facts))
    with pytest.raises(PlaceError, match=why):
        FileRecords(facts)
