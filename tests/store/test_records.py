"""The file that a step leaves behind (runtime 3, 13, 14; language 13.3)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from flowtoy_dagster.json_text import dumps_checked, loads_checked
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.store import records
from flowtoy_dagster.store.output_text import PREVIEW_CHARACTERS, summarize
from flowtoy_dagster.store.outputs import OutputText
from flowtoy_dagster.store.record import RecordError
from flowtoy_dagster.store.records import RecordStore, records_of
from flowtoy_dagster.store.store import open_store

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = json_values(SCALARS, st.text(), max_size=None, max_leaves=12)


def outcome(outputs: dict[str, Any], **more: Any) -> StepOutcome:
    return StepOutcome(outputs=outputs, result=ProviderResult(True, 0), **more)


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return records_of(str(tmp_path / "storage"))


def path_of(tmp_path: Path, step: str = "step") -> Path:
    return tmp_path / "flowtoy-records" / "run" / "steps" / step


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    text = dumps_checked(value)
    assert b"\n" not in text
    assert loads_checked(text) == value


@pytest.mark.parametrize(
    "number",
    [2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**70, 10**30, -(2**63), -(2**63) - 1, -(10**40)],
)
def test_integers_of_any_size_keep_their_digits(number: int) -> None:
    found = loads_checked(dumps_checked({"rows": [number]}))
    assert found == {"rows": [number]}
    assert isinstance(found["rows"][0], int)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_outputs_come_back_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, outputs: dict[str, Any]
) -> None:
    store = RecordStore(open_store(tmp_path_factory.mktemp("storage")))
    summaries = store.write("run", "step", outcome(outputs), False)
    record = store.read("run", "step")
    assert record is not None
    assert record.state == "succeeded"
    assert record.error is None
    assert record.outputs == outputs
    assert list(record.outputs) == list(outputs) == list(summaries)
    assert loads_checked(OutputText(record).read()) == outputs
    assert OutputText(record).size == len(OutputText(record).read())
    assert record.result == {"success": True, "code": 0, "notes": []}


def test_a_result_is_kept_where_it_is_asked_for(store: RecordStore) -> None:
    result = ProviderResult(True, 7, ("well done",), [1, {"a": 2**70}], {"url": "x"})
    store.write("run", "kept", StepOutcome(outputs={"x": 1}, result=result), True)
    store.write("run", "dropped", StepOutcome(outputs={"x": 1}, result=result), False)
    kept, dropped = store.read("run", "kept"), store.read("run", "dropped")
    assert kept is not None
    assert dropped is not None
    own = {"success": True, "code": 7, "notes": ["well done"]}
    assert kept.result == {**own, "data": [1, {"a": 2**70}], "meta": {"url": "x"}}
    assert dropped.result == own
    assert kept.outputs == dropped.outputs == {"x": 1}


def test_a_failure_keeps_why(store: RecordStore) -> None:
    result = ProviderResult(False, 404, ("HTTP status 404",))
    store.write("run", "step", StepOutcome("HTTP status 404", result=result), False)
    record = store.read("run", "step")
    assert record is not None
    assert (record.state, record.error, record.outputs) == ("failed", "HTTP status 404", {})
    assert record.result == {"success": False, "code": 404, "notes": ["HTTP status 404"]}


def test_notes_with_half_a_character_are_kept_with_a_mark(store: RecordStore) -> None:
    result = ProviderResult(success=False, notes=("no caf\udce9.csv", "\ud83d\ude42"))
    store.write("run", "a", StepOutcome(error="no", result=result), keep_result=False)
    record = store.read("run", "a")
    assert record is not None
    assert record.result["notes"] == ["no caf\ufffd.csv", "🙂"]


def test_a_step_that_never_reached_its_provider_has_a_record_too(store: RecordStore) -> None:
    store.write("run", "step", StepOutcome("input: 'x' is missing"), True)
    record = store.read("run", "step")
    assert record is not None
    assert record.result == {"success": False, "code": None, "notes": []}


def test_a_step_without_a_record_has_none(store: RecordStore) -> None:
    assert store.read("run", "step") is None


def test_records_are_for_their_owner_alone(store: RecordStore, tmp_path: Path) -> None:
    # language 13.3
    mask = os.umask(0)
    try:
        store.write("run", "step", outcome({"token": "hidden"}), False)
    finally:
        os.umask(mask)
    path = path_of(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, tmp_path / "flowtoy-records"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


class Unwritable:
    """What no JSON encoder takes."""


def test_a_record_is_whole_or_absent(store: RecordStore, tmp_path: Path) -> None:
    # runtime 13. The result is written last, when all else has been; then its encoding fails.
    result = ProviderResult(True, 0, data=Unwritable())
    whole = StepOutcome(outputs={"x": "first"}, result=ProviderResult(True, 0, data=1))
    folder = path_of(tmp_path).parent
    with pytest.raises(Exception, match="Unwritable"):
        store.write("run", "step", StepOutcome(outputs={"x": "y"}, result=result), True)
    assert list(folder.iterdir()) == []
    store.write("run", "step", whole, True)
    with pytest.raises(Exception, match="Unwritable"):
        store.write("run", "step", StepOutcome(outputs={"x": "y"}, result=result), True)
    assert [path.name for path in folder.iterdir()] == ["step"]
    record = store.read("run", "step")
    assert record is not None
    assert record.outputs == {"x": "first"}


def test_a_full_disk_is_an_error_and_leaves_nothing(store: RecordStore, tmp_path: Path) -> None:
    # runtime 13. A folder in the way of the rename stands for every error of the system.
    path_of(tmp_path).mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        store.write("run", "step", outcome({"x": 1}), False)
    assert [path.name for path in path_of(tmp_path).parent.iterdir()] == ["step"]


def test_reading_the_header_reads_no_values(store: RecordStore, tmp_path: Path) -> None:
    # runtime 14
    store.write("run", "step", outcome({"x": ["value"] * 1000}), False)
    path = path_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"value"', b"'value'"))
    record = store.read("run", "step")
    assert record is not None
    assert record.state == "succeeded"
    assert record.header["sizes"] == {"x": len(dumps_checked(["value"] * 1000))}
    with pytest.raises(RecordError, match=r"record of step 'step' .* damaged: line 2 is not JSON"):
        record.outputs  # noqa: B018


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=6))
def test_each_step_key_has_a_record_of_its_own_inside_the_runs_folder(keys: list[str]) -> None:
    names = [records._step_key("run", key) for key in keys]
    assert len(set(names)) == len(keys)
    for name in names:
        run, steps, file = name.split("/")
        assert (run, steps) == ("run", "steps")
        assert len(file) <= 255
        # A file without a full stop is out of reach of Dagster's route for logs.
        assert "." not in file


@pytest.mark.parametrize("kept", [False, True], ids=["outputs", "outputs and result"])
def test_a_record_that_is_cut_anywhere_counts_as_absent(
    store: RecordStore, tmp_path: Path, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    # what a power cut leaves on some file systems: fewer bytes, or none
    result = ProviderResult(True, 0, data=[1], meta={"url": "x"})
    store.write("run", "step", StepOutcome(outputs={"x": "y"}, result=result), kept)
    path = path_of(tmp_path)
    whole = path.read_bytes()
    assert store.read("run", "step") is not None
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert store.read("run", "step") is None, length
    path.write_bytes(bytes(len(whole)))
    assert store.read("run", "step") is None
    (warning,) = caplog.messages  # said once
    assert warning.startswith("the record of step 'step' of run run is damaged: ")
    assert warning.endswith("it counts as absent")


def test_a_record_of_the_first_release_is_read_from_its_place(
    store: RecordStore, tmp_path: Path
) -> None:
    folder = tmp_path / "storage" / "run"
    folder.mkdir(parents=True)
    header = {"state": "succeeded", "error": None, "success": True, "code": 0, "notes": [],
              "secrets": [], "sizes": {"x": 3}}
    whole = dumps_checked(header) + b'\n{"x":"y"}\n{"data":[1],"meta":{}}\n'
    (folder / "a%20b.jsonl").write_bytes(whole)
    (folder / "a b.jsonl").write_bytes(whole)
    (folder / "params.json").write_bytes(b'{"token":"given"}')
    record = store.read("run", "a b")
    assert record is not None
    assert record.outputs == {"x": "y"}
    assert OutputText(record).read() == b'{"x":"y"}'
    assert record.result["data"] == [1]
    assert store.given("run") == {"token": "given"}
    (folder / "a b.jsonl").write_bytes(whole[: whole.index(b"\n") + 1])
    assert store.read("run", "a b") is None
    store.delete("run")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("left", [b"", b"[]", b"null\n", b"\xff"])
def test_given_secrets_come_back_and_damaged_ones_count_as_absent(
    store: RecordStore, left: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert store.given("run") is None
    store.keep_given("run", {"token": "hidden", "n": 2**70})
    assert store.given("run") == {"token": "hidden", "n": 2**70}
    path = tmp_path / "flowtoy-records" / "run" / "params"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(left)
    assert store.given("run") is None
    assert store.given("run") is None
    (warning,) = caplog.messages  # said once
    assert warning == f"the kept parameters of run run can't be read: {path.as_uri()}: damaged"


@pytest.mark.parametrize(
    ("value", "kind", "items"),
    [
        (None, "null", None),
        (True, "true or false", None),
        (1.5, "number", None),
        ("text", "text", None),
        ([1, 2], "list", 2),
        ({"a": 1}, "object", 1),
    ],
    ids=["null", "boolean", "number", "text", "list", "object"],
)
def test_a_summary_tells_type_size_and_number_of_items(
    value: Any, kind: str, items: int | None
) -> None:
    # runtime 3
    encoded = orjson.dumps(value)
    summary = summarize(value, encoded, Mask())
    assert summary.as_json() == {
        "type": kind,
        "bytes": len(encoded),
        "preview": encoded.decode(),
        **({} if items is None else {"items": items}),
    }


@pytest.mark.parametrize("letter", ["a", "é", "日", "😀"])
@pytest.mark.parametrize("length", [150, 198, 199, 500, 20_000])
def test_a_preview_is_the_first_part_and_marked_where_there_is_more(
    letter: str, length: int
) -> None:
    # runtime 3
    value = letter * length
    preview = summarize(value, dumps_checked(value), Mask()).preview
    whole = f'"{value}"'
    if len(whole) <= PREVIEW_CHARACTERS:
        assert preview == whole
    else:
        assert preview == whole[: PREVIEW_CHARACTERS] + "…"


def test_a_preview_hides_secrets_even_at_its_edge() -> None:
    # language 13.2, runtime 3
    value = "x" * (PREVIEW_CHARACTERS - 5) + "sesame-open" + "y" * 50
    preview = summarize(value, dumps_checked(value), Mask(["sesame-open"])).preview
    assert "sesame" not in preview
    assert "ses" not in preview
