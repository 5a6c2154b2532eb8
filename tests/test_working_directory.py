"""What needs no working directory works where that was deleted; what needs one says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtoy_dagster.datafiles.places import PlaceError, local_path
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.saved_places import packed
from flowtoy_dagster.flow.places import failure_place, shown_place
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.machine.working_directory import absolute, working_directory
from flowtoy_dagster.store.recordings.recording import to_record, to_replay

FLOW = "flow: [{name: one, source: env, output: [{name: of, value: HOME}]}]\n"


@pytest.fixture
def deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is deleted; gives the folder that it was in."""
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    return tmp_path


def test_a_relative_path_has_no_place(deleted: Path) -> None:
    assert working_directory() is None
    assert absolute("a/b") is None
    assert absolute(f"{deleted}/a/../b") == f"{deleted}/b"


def test_a_flow_is_loaded_by_its_absolute_path(deleted: Path) -> None:
    path = deleted / "flow.yaml"
    path.write_text(FLOW)
    flow = load_flow(path)
    assert flow.written is not None
    assert (packed(flow.written) or {})["files"] == [str(path)]
    place = failure_place(flow, "one", "output 'of': not there")
    assert place == f"{path}:1:60"
    assert shown_place(place) == place
    assert load_flow({"flow": [{"name": "one", "source": "env"}]}).folder is None


@pytest.mark.parametrize("make", [to_record, to_replay])
def test_a_relative_recording_is_an_error(deleted: Path, make: object) -> None:
    with pytest.raises(UsageError, match="the working directory is deleted: 'rec' can't be found"):
        make("rec")  # type: ignore[operator]
    assert to_record(deleted / "rec").folder == deleted / "rec"


def test_a_relative_file_of_an_output_is_an_error(deleted: Path) -> None:
    with pytest.raises(PlaceError, match=r"deleted, and 'a\.csv' is a relative path"):
        local_path("a.csv")
    assert local_path(f"{deleted}/a.csv") == deleted / "a.csv"
