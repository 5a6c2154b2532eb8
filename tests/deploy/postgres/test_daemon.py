"""What `flowtoy deploy init` writes: its commands as real processes, on a real database."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from ports import unused_port  # type: ignore[import-not-found]
from team_dagster import Deployment, wait_for  # type: ignore[import-not-found]

from flowtoy_dagster.deployment.templates import files_of

FILES = files_of("compose")
BIN = Path(sys.executable).parent
PATIENCE = 100.0
"""Seconds, of which a schedule of every minute may take sixty."""
START = """
mutation { startSchedule(scheduleSelector: {
  repositoryLocationName: "flowtoy_dagster.definitions"
  repositoryName: "__repository__"
  scheduleName: "minutely_schedule"
}) { __typename ... on PythonError { message } } }
"""
WAITS = """
flow:
  - name: waits
    source: {type: process, pool: POOL}
    input:
      command: [sh, -c, "echo here >> NAME.here; while ! test -e NAME.go; do sleep 0.1; done"]
"""
FLOWS = {
    "minutely": """
schedule: {cron: "* * * * *"}
flow:
  - {name: ticks, source: process, input: {command: [echo, tick]}, output: [{name: all}]}
""",
    "waits": WAITS.replace(", pool: POOL", ""),
    "pooled": WAITS.replace("POOL", "narrow"),
}


def services() -> dict[str, dict[str, Any]]:
    """The services of the compose file."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILES["compose.yaml"])
    return found["services"]


def settings(home: Path, limit: int) -> str:
    """The settings of Dagster, for another home and with another limit of runs at once."""
    text = FILES["workspace/dagster.yaml"].replace("/home/flowtoy/home", str(home))
    assert "max_concurrent_runs: 10" in text
    return text.replace("max_concurrent_runs: 10", f"max_concurrent_runs: {limit}")


@dataclass
class Team:
    """A deployment that runs.

    Attributes:
        web: its web server.
        home: its home folder.
        folder: where its steps run.
        environment: of all its processes.
    """

    web: Deployment
    home: Path
    folder: Path
    environment: Mapping[str, str]

    def flowtoy(self, *arguments: str) -> Any:
        """A command of flowtoy on the deployment's home; what it prints as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "flowtoy_dagster", *arguments], capture_output=True, text=True,
            cwd=self.folder, env={**os.environ, **self.environment}, timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}\n{self.logs()}"
            time.sleep(0.1)
        return found

    def logs(self) -> str:
        """The end of what its processes have printed."""
        return "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))


@pytest.fixture
def team(database: Any, tmp_path: Path, home: Path) -> Iterator[Team]:
    """The services of the compose file on free ports, with one run at a time in the queue."""
    ports = {"4000": str(unused_port()), "3000": str(unused_port())}
    flows = tmp_path / "flows"
    flows.mkdir()
    for name, text in FLOWS.items():
        path = tmp_path / name
        (flows / f"{name}.yaml").write_text(text.replace("NAME", str(path)))
    environment = {
        "DAGSTER_HOME": str(home), "FLOWTOY_STORAGE": database.address,
        "FLOWTOY_CODE_HOST": "127.0.0.1", "FLOWTOY_CODE_PORT": ports["4000"],
        "FLOWTOY_PATH": str(flows), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    (tmp_path / "workspace.yaml").write_text(FILES["workspace/workspace.yaml"])
    (tmp_path / "dagster.yaml").write_text(settings(home, 1))
    replaced = {**ports, "0.0.0.0": "127.0.0.1"}

    def command(name: str) -> list[str]:
        words = [replaced.get(part, part) for part in services()[name]["command"]]
        return [
            word.replace("/etc/flowtoy/", f"{tmp_path}/").replace("/home/flowtoy/home", str(home))
            for word in words
        ]

    variables = {**os.environ, **environment}
    subprocess.run(command("home"), check=True, env=variables, timeout=PATIENCE)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name in ("code", "daemon", "webserver"):
            with open(tmp_path / f"{name}.log", "wb") as log:
                running.append(subprocess.Popen(
                    command(name), cwd=tmp_path, env=variables, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                ))
        url = f"http://127.0.0.1:{ports['3000']}"
        wait_for(f"{url}/server_info", tmp_path / "webserver.log")
        web = Deployment(f"{url}/graphql", home, flows, tmp_path)
        yield Team(web, home, tmp_path, environment)
    finally:
        end(running)


def end(services: list[subprocess.Popen[bytes]]) -> None:
    """End services and what they have started."""
    for process in services:
        process.terminate()
    for process in services:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


# One test: the deployment takes longer to start than all that is looked at in it.
@pytest.mark.timeout(1000)
def test_a_deployment_queues_limits_schedules_and_tells_of_its_runs(team: Team) -> None:
    team.until(lambda: "waits" in jobs_of(team), "the flows were not loaded")
    # It is on already; but the daemon may only hear of it when this minute is over.
    assert team.web.ask(START)["startSchedule"]["__typename"] == "ScheduleStateResult"
    with dg.DagsterInstance.from_config(str(team.home)) as instance:
        check_the_queue(team, instance)
        check_the_pool(team, instance)
        check_the_schedule(team, instance)


def jobs_of(team: Team) -> Mapping[str, Any]:
    """The jobs that the web server knows; none while the flows are being loaded."""
    try:
        return team.web.jobs()
    except (KeyError, ValueError):
        return {}


def check_the_queue(team: Team, instance: dg.DagsterInstance) -> None:
    """One run at a time is taken out of it; flowtoy's commands see and end them as they are."""
    here, go = team.folder / "waits.here", team.folder / "waits.go"
    cancelled = team.web.launch("waits")
    team.until(here.exists, "the run has not started")
    first, second = team.web.launch("waits"), team.web.launch("waits")
    states = {run["run_id"]: run["state"] for run in team.flowtoy("runs", "--json")}
    # No process of flowtoy carries the first: it must not be taken for interrupted.
    assert states[cancelled] == "running"
    assert {states[first], states[second]} == {"pending"}
    in_vain = team.web.launch("waits")
    for run_id in (in_vain, cancelled):  # one that is in the queue, one that runs
        team.flowtoy("cancel", run_id)
        assert team.web.ended(run_id)["status"] == "CANCELED"
    assert here.read_text() == "here\n"
    go.touch()
    for run_id in (first, second):
        assert team.web.ended(run_id)["status"] == "SUCCESS"
    records = [instance.get_run_record_by_id(run_id) for run_id in (first, second)]
    spans = sorted((r.start_time, r.end_time) for r in records if r and r.start_time and r.end_time)
    assert len(spans) == 2
    assert spans[1][0] >= spans[0][1]
    shown = team.flowtoy("runs", "show", first, "--json")
    assert (shown["name"], shown["state"]) == ("waits", "succeeded")
    assert shown["steps"]["waits"]["state"] == "succeeded"


def check_the_pool(team: Team, instance: dg.DagsterInstance) -> None:
    """A step of a run of the daemon's, and one of `flowtoy run`, use a pool of one in turn."""
    log = instance.event_log_storage
    log.set_concurrency_slots("narrow", 1)
    launched = team.web.launch("pooled")
    team.until((team.folder / "pooled.here").exists, "the pooled run has not started")
    ours = subprocess.Popen(
        [sys.executable, "-m", "flowtoy_dagster", "run", str(team.web.flows / "pooled.yaml")],
        cwd=team.folder, env={**os.environ, **team.environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        team.until(
            lambda: log.get_concurrency_info("narrow").pending_step_count, "the pool let both in"
        )
        assert (team.folder / "pooled.here").read_text() == "here\n"
        (team.folder / "pooled.go").touch()
        assert ours.wait(PATIENCE) == 0
    finally:
        ours.kill()
        ours.wait()
    assert team.web.ended(launched)["status"] == "SUCCESS"
    assert (team.folder / "pooled.here").read_text() == "here\n" * 2


def check_the_schedule(team: Team, instance: dg.DagsterInstance) -> None:
    """The daemon has made a run of the flow that says when, and its outputs are there."""
    wanted = dg.RunsFilter(
        job_name="minutely", statuses=[dg.DagsterRunStatus.SUCCESS],
        tags={"dagster/schedule_name": "minutely_schedule"},
    )
    run = team.until(lambda: instance.get_runs(wanted), "the schedule has made no run")[0]
    assert team.flowtoy("runs", "outputs", run.run_id, "-j")["ticks"]["all"]["stdout"] == "tick\n"
