"""Running a run again on the page, when its file has changed since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import ConfigError, UsageError, load_flow, run_flow
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.loader import with_executor, with_timeout
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.shown.choosing import ChoiceError, choose
from flowtoy_dagster.server.changed_file import files_now, flow_now
from flowtoy_dagster.server.run_actions import Wish
from flowtoy_dagster.server.run_routes import RunReader

FLOW = """\
params: {day: {type: string}, api_token: {type: string, secret: true, default: s3cret-d}}
flow:
  - {name: a, source: {type: process, command: [echo, "{{ params.day }}"]}}
  - {name: b, source: {type: process, command: [echo, one]}}
"""


@pytest.fixture
def file(tmp_path: Path, made_home: Path) -> Path:
    """The file of a flow that has run with day=monday."""
    path = tmp_path / "shop.yaml"
    path.write_text(FLOW)
    flow = with_timeout(with_executor(load_flow(path), "in_process"), "1m")
    assert run_flow(flow, params={"day": "monday"}).success
    return path


def test_the_form_offers_the_file_as_it_is_now_where_it_has_changed(file: Path) -> None:
    with History() as history:
        reader = RunReader(history)
        # Neither options of the command line nor comments are changes.
        file.write_text(f"# a note\n{FLOW}")
        assert reader.form("last")["now"] is None
        file.write_text(FLOW.replace("one", "two").replace("params: {", "params: {much: {}, "))
        form = reader.form("last")
        assert form["now"]["told"] == "shop.yaml differs from what ran: b"
        assert form["now"]["usable"]
        assert [field["name"] for field in form["params"]] == ["day", "api_token"]
        fields = {field["name"]: field for field in form["now"]["params"]}
        assert list(fields) == ["much", "day", "api_token"]
        assert fields["day"]["text"] == "monday"
        assert "s3cret-d" not in str(form)
        before = history.flow(history.find("last"))
        with pytest.raises(ChoiceError) as wrong:
            choose(flow_now(before), {})
        assert wrong.value.fields == {"much": "a value is missing"}
        chosen = choose(flow_now(before), {"much": "1"})
        assert chosen.values is not None
        assert chosen.values.public["day"] == "monday"
        assert chosen.steps[1].source.configuration["command"] == ["echo", "two"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FLOW.replace("name: b", "name: c"), "shop.yaml differs from what ran: c, b"),
        (f"runner: {{max_workers: 2}}\n{FLOW}",
         "shop.yaml differs from what ran: no step, but other settings"),
        ("flow: [{name: a}]", "shop.yaml can't run as it is now: "),
        ("a: [", "shop.yaml can't run as it is now: "),
    ],
)
def test_what_has_changed_is_told(text: str, told: str, file: Path) -> None:
    before = bind(load_flow(file), {"day": "monday"})
    file.write_text(text)
    now = files_now(before)
    assert now is not None
    assert (now.told or "").startswith(told)
    if "can't" in told:
        assert str(file) in (now.told or "")
        with pytest.raises(ConfigError):
            flow_now(before)


def test_a_file_that_is_gone_or_never_was_is_not_offered(file: Path) -> None:
    before = bind(load_flow(file), {"day": "monday"})
    file.unlink()
    assert files_now(before) is None
    with pytest.raises(UsageError, match="the file of this run is not there any more"):
        flow_now(before)
    assert files_now(load_flow({"flow": [{"name": "a", "source": "env"}]})) is None


@pytest.mark.parametrize(
    "body", [b'{"action": "again", "run": "r", "flow": "later"}',
             b'{"action": "again", "run": "r", "flow": ["now"]}'],
)
def test_a_wish_names_the_flow_that_ran_or_the_files_of_now(body: bytes) -> None:
    assert Wish.read(b'{"action": "again", "run": "r"}').flow == "then"
    assert Wish.read(b'{"action": "again", "run": "r", "flow": "now"}').flow == "now"
    with pytest.raises(ValueError, match="flow is 'then' or 'now'"):
        Wish.read(body)


def test_a_run_knows_the_files_of_its_flow(file: Path) -> None:
    with History() as history:
        found: Any = history.flow(history.find("last"), to_run=True)
        assert found.files == (str(file),)
