"""A team's Dagster: a web server of its own, with flowtoy's flows as a code location."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ports import unused_port  # type: ignore[import-not-found]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
WORKSPACE = ROOT / "workspace.yaml"
BIN = Path(sys.executable).parent
PATIENCE = 120.0
ENDED = ("SUCCESS", "FAILURE", "CANCELED")

JOBS = """
query { workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
  ... on PythonError { message }
  ... on RepositoryLocation { repositories { name jobs { name description tags { key value } } } }
} } } } }
"""
LAUNCH = """
mutation($job: String!, $config: RunConfigData) {
  launchRun(executionParams: {runConfigData: $config, selector: {
    repositoryLocationName: "flowtoy_dagster.definitions"
    repositoryName: "__repository__"
    jobName: $job
  }}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
RETRY = """
mutation($run: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: FROM_FAILURE}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
RUN = """
query($run: ID!) { runOrError(runId: $run) { ... on Run {
  status tags { key value } stepStats { stepKey status attempts { startTime } }
} } }
"""
RELOAD = """
mutation {
  reloadRepositoryLocation(repositoryLocationName: "flowtoy_dagster.definitions") { __typename }
}
"""


@dataclass(frozen=True)
class Deployment:
    """A web server, and what it is about.

    Attributes:
        url: its GraphQL.
        home: its home folder.
        flows: a folder of flows, which it serves beside the examples.
        folder: where it was started.
    """

    url: str
    home: Path
    flows: Path
    folder: Path

    def ask(self, query: str, **variables: Any) -> Any:
        """What GraphQL answers to a query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The jobs that the location has, by name."""
        (entry,) = self.ask(JOBS)["workspaceOrError"]["locationEntries"]
        (repository,) = entry["locationOrLoadError"]["repositories"]
        return {job["name"]: job for job in repository["jobs"]}

    def reload(self) -> None:
        """Load the location anew, as the button does."""
        assert self.ask(RELOAD)["reloadRepositoryLocation"]["__typename"] == (
            "WorkspaceLocationEntry"
        )

    def launch(self, job: str, config: Mapping[str, Any] | None = None) -> str:
        """Start a run of a job; gives its id."""
        answer = self.ask(LAUNCH, job=job, config=dict(config or {}))["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id: str = answer["run"]["runId"]
        return run_id

    def retry(self, run_id: str) -> str:
        """Re-execute a run from its failure; gives the new run's id."""
        answer = self.ask(RETRY, run=run_id)["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        new_id: str = answer["run"]["runId"]
        return new_id

    def run(self, run_id: str) -> dict[str, Any]:
        """A run as it stands: its status, and that of each step that has one."""
        found = self.ask(RUN, run=run_id)["runOrError"]
        steps = {step["stepKey"]: step["status"] for step in found["stepStats"]}
        tags = {tag["key"]: tag["value"] for tag in found["tags"]}
        return {"status": found["status"], "steps": steps, "tags": tags}

    def until(self, run_id: str, state: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """A run once it is in some state."""
        deadline = time.monotonic() + PATIENCE
        while not state(found := self.run(run_id)):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def ended(self, run_id: str) -> dict[str, Any]:
        """A run once it has ended."""
        return self.until(run_id, lambda run: run["status"] in ENDED)

    def flowtoy(self, *arguments: str, stdin: str | None = None) -> Any:
        """A flowtoy command on the deployment's home."""
        return subprocess.run(
            [sys.executable, "-m", "flowtoy_dagster", *arguments],
            input=stdin, capture_output=True, text=True, timeout=PATIENCE, cwd=self.folder,
            env={**clean_environment(), "DAGSTER_HOME": str(self.home)},
        )


def clean_environment() -> dict[str, str]:
    """The environment without variables of the developer's."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "FLOWTOY_"))}


@contextlib.contextmanager
def serving(home: Path, flows: Path, folder: Path, **environment: str) -> Iterator[Deployment]:
    """Dagster's web server with the workspace of the project; nothing is left of it at the end.

    Args:
        home: the home folder, which is Dagster's.
        flows: a folder of flows, served beside the examples.
        folder: where it is started.
        environment: variables for it.
    """
    port = unused_port()
    command = ["-w", str(WORKSPACE), "-h", "127.0.0.1", "-p", str(port)]
    paths = os.pathsep.join([str(EXAMPLES), str(flows)])
    variables = {"DAGSTER_HOME": str(home), "FLOWTOY_PATH": paths, **environment}
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(BIN / "dagster-webserver"), *command], stdout=file, stderr=file,
            start_new_session=True, cwd=folder, env={**clean_environment(), **variables},
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/server_info", log)
        yield Deployment(f"http://127.0.0.1:{port}/graphql", home, flows, folder)
    finally:
        # Asked to end, it would wait for its code server.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def wait_for(url: str, log: Path) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + PATIENCE
    while not answers(url):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether a server answers."""
    try:
        urllib.request.urlopen(url, timeout=PATIENCE).close()
    except OSError:
        return False
    return True
