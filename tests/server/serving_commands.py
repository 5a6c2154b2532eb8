"""Commands that serve, and readers of what they tell."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import requests

from flowtoy_dagster.runs.status.status_document import SCHEMA

DEADLINE = 120.0
LAUNCH_AGAIN = """
mutation($of: ReexecutionParams) { launchRunReexecution(reexecutionParams: $of) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }
"""


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Poll until something is so; gives what the condition gave."""
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.03)
    return found


@dataclass(frozen=True)
class Answer:
    """What a server has answered."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def ask(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """Ask a server, without anything between it and us."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path or "/", headers=dict(headers or {}))
        response = connection.getresponse()
        found: dict[str, str] = {}
        for name, value in response.getheaders():
            before = found.get(name.lower())
            found[name.lower()] = value if before is None else f"{before}; {value}"
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


class Serving:
    """A command that serves, in a process group of its own."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, home: Path) -> None:
        self._stderr: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowtoy_dagster", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            cwd=folder, start_new_session=True,
            env={**os.environ, "FLOWTOY_HOME": str(home)},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        found = wait_until(self._find_url, "an address is printed")
        self.printed_url, self.url = found[0], found[1]
        self.token = self.printed_url.partition("?token=")[2].rstrip(",")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._stderr.append(line)

    def _find_url(self) -> re.Match[str] | None:
        found = re.search(r"(http://[^/\s]+)/\S*", self.stderr)
        assert found or self.process.poll() is None, self.stderr
        return found

    @property
    def stderr(self) -> str:
        """What it has printed on stderr by now."""
        return "".join(self._stderr)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask it, with its token unless another header for that is given."""
        if not headers.keys() & {"Authorization", "Cookie"}:
            headers = {**self.known, **headers}
        return ask(self.url + path, method, headers)

    @property
    def known(self) -> dict[str, str]:
        """The header by which it lets us in."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def page(self, path: str = "/") -> str:
        """The address of a path for a browser that was not here before."""
        return f"{self.url}{path}" + (f"?token={self.token}" if self.token else "")

    def status(self) -> Any:
        """The status document, which fits its schema."""
        answer = self.ask("/status")
        assert answer.code == 200, answer.body
        check_document(answer.json)
        return answer.json

    def wait_for(self, **states: str) -> Any:
        """The status document once steps are in these states."""

        def reached() -> Any:
            document = self.status()
            found = {name: document["steps"][name]["state"] for name in states}
            return document if found == states else None

        return wait_until(reached, f"steps are {states}")

    def wait_for_run(self, *states: str) -> Any:
        """The status document once the run is in one of these states."""
        return wait_until(
            lambda: document if (document := self.status())["state"] in states else None,
            f"the run is {states}",
        )

    def wait_for_line(self, text: str) -> None:
        """Wait until something was printed on stderr."""
        wait_until(lambda: text in self.stderr, f"'{text}' is printed")

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal to the command; gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code

    def stdout(self) -> str:
        """All that it has printed on stdout; once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def check_document(document: Any) -> None:
    """Fail where a status document does not fit its schema, or its parts not each other."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)
    states = [step["state"] for step in document["steps"].values()]
    assert document["total_steps"] == len(states)
    assert document["completed_steps"] == states.count("succeeded") + states.count("failed")
    assert document["skipped_steps"] == states.count("skipped")
    running = [name for name, step in document["steps"].items() if step["state"] == "running"]
    assert document["running_steps"] == running
    assert document["running_count"] == len(running)
    assert document["current_step"] == (running[0] if running else None)


def gated(name: str, folder: Path, then: str = "true", **more: Any) -> str:
    """A step, as a line of YAML, that waits for the file of its name and then does something."""
    command = f"while [ ! -e {folder}/{name} ]; do sleep 0.02; done; {then}"
    step = {"name": name, "source": "process", "input": {"command": ["sh", "-c", command]},
            "output": [{"name": "text", "value": "stdout"}], **more}
    return f"  - {json.dumps(step)}\n"


def post(
    served: Serving, query: str, headers: dict[str, str] | None = None, **variables: Any
) -> Any:
    """What GraphQL answers, as Dagster's pages ask."""
    with requests.Session() as session:
        session.trust_env = False  # nothing stands between us, whatever the environment says
        answer = session.post(
            f"{served.url}/graphql",
            json={"query": query, "variables": variables},
            headers=served.known if headers is None else headers,
            timeout=300,
        )
    answer.raise_for_status()
    assert "errors" not in answer.json(), answer.text
    return answer.json()["data"]


def wait_for_location(served: Serving) -> None:
    """Wait until jobs can be run again."""

    def loaded() -> bool:
        entries = post(served, LOCATIONS)["workspaceOrError"]["locationEntries"]
        return [entry["loadStatus"] for entry in entries] == ["LOADED"]

    wait_until(loaded, "the code location is loaded")


def run_again(served: Serving, run_id: str, strategy: str = "ALL_STEPS") -> str:
    """Run a run again, as the page's button does; gives the new run's id."""
    wait_for_location(served)
    wanted = {"parentRunId": run_id, "strategy": strategy, "useParentRunTags": True}
    answer = post(served, LAUNCH_AGAIN, of=wanted)["launchRunReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    found: str = answer["run"]["runId"]
    wait_until(lambda: served.status()["dagster_run_id"] == found, "the status is the new run's")
    return found
