"""`flowtoy pools` and `flowtoy runs schedules`: limits of all runs, and when runs come next."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtoy_dagster.cli.authoring.schedules import schedules
from flowtoy_dagster.cli.pools import set_pool
from flowtoy_dagster.engine.jobs.limits import pool_limits
from flowtoy_dagster.errors import ConfigError, UsageError
from flowtoy_dagster.runs.history import History


@pytest.mark.usefixtures("made_home")
def test_the_limit_of_a_pool_is_set_for_all_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for most, told in {2: "at most 2 steps at once", 1: "at most 1 step at once"}.items():
        set_pool("shop", most)
        assert capsys.readouterr().err == f"pool 'shop': {told}\n"
        with History() as history:
            assert pool_limits(history.instance) == {"shop": (most, 0)}
    for name in ("", "a b", "a\nb"):
        with pytest.raises(UsageError, match="is not the name of a pool"):
            set_pool(name, 1)


@pytest.mark.usefixtures("home")
def test_the_first_limit_of_a_new_home_is_kept_although_it_is_0() -> None:
    set_pool("shop", 0)
    with History() as history:
        assert pool_limits(history.instance) == {"shop": (0, 0)}


def test_next_runs_are_listed_from_files_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no flow in the folder"):
        schedules(None)
    step = "flow: [{name: x, source: process, input: {command: ls}}]"
    Path("a.yaml").write_text(step)
    schedules(["a.yaml"])
    assert capsys.readouterr().err == "no flow has a schedule\n"
    Path("b.yaml").write_text(f"schedule: {{cron: '@daily', enabled: false}}\n{step}")
    schedules(None, count=1)
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["FLOW", "CRON", "TIME", "ZONE", "NEXT"]
    assert line.startswith("b     @daily  UTC, off   ")
    assert line.endswith("T00:00:00+00:00")
    Path("c.yaml").write_text(step.replace("ls", "[]") + "\nnme: x")
    with pytest.raises(ConfigError, match=r"c\.yaml:2:1"):
        schedules(None)
