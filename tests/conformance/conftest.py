"""The parts that conformance tests are made of: an echo server and a small interpreter."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from flowtoy_dagster.flow.graph import Flow, Step
from flowtoy_dagster.flow.param_values import bound, see_params
from flowtoy_dagster.steps.attempts import run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo

CASES = Path(__file__).parent


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, as JSON; `/status/N` with that status, `/text` with text."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = urlsplit(self.path)
        told = {
            "method": self.command,
            "path": asked.path,
            "query": parse_qs(asked.query),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": json.loads(body) if body[:1] in ("{", "[") else body,
        }
        status, kind, content = 200, "application/json", json.dumps(told).encode()
        if asked.path.startswith("/status/"):
            status = int(asked.path.rpartition("/")[2])
            content = b"" if status == 204 else content
        if asked.path == "/text":
            kind, content = "text/plain", b"plain text"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def echo_url() -> Iterator[str]:
    """The address of an echo server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def case_environment(echo_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What every case may count on."""
    monkeypatch.setenv("ECHO_URL", echo_url)
    monkeypatch.delenv("UNSET_VARIABLE", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def at_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's folder, with the cases' files beside it, as the place that paths start from."""
    for path in CASES.iterdir():
        if path.suffix in (".yaml", ".env", ".json"):
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Ended:
    """A step that the interpreter has run or skipped."""

    state: str
    error: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] | None = None
    items: list[dict[str, Any]] = field(default_factory=list)


def _run_one(flow: Flow, step: Step, ended: Mapping[str, Ended]) -> Ended:
    upstream = {name: ended[name] for name in step.upstream}
    run = RunInfo("run-1", flow.name, lambda: 0.0, see_params(bound(flow), os.environ))
    context = StepContext(step, run)
    outcome = run_step(context, flow.sources, upstream)
    counts = outcome.counts.facts() if outcome.counts is not None else None
    items = [one.fact() for one in context.loop.log.results()]
    result = outcome.result.envelope() if outcome.result else {}
    result.pop("status", None)
    if outcome.skipped is not None:
        return Ended("skipped", outcome.skipped)
    if outcome.error is not None:
        return Ended("failed", outcome.error, {}, result, counts, items)
    try:
        stored = json.loads(orjson.dumps(dict(outcome.outputs)))
    except TypeError:
        stored = json.loads(json.dumps(dict(outcome.outputs)))
    return Ended("succeeded", None, stored, result, counts, items)


def _blocks(flow: Flow, step: Step, ended: Mapping[str, Ended]) -> bool:
    """Whether a step is skipped because of what it waits for."""
    if step.is_closing:
        before = step.upstream or tuple(ended)
        return step.run_if == "failure" and not any(ended[n].state == "failed" for n in before)
    for name in step.upstream:
        policies = (flow.step(name).on_error, step.on_error)
        if ended[name].state == "skipped" and ended[name].error is None:
            return True  # because of a failure; a condition has a reason
        if ended[name].state == "failed" and "continue" not in policies:
            return True
    return False


def _whole_run(flow: Flow) -> tuple[str, ...]:
    """The steps that are not behind a closing step without dependencies."""
    behind = {step.name for step in flow.steps if step.is_closing and not step.upstream}
    for _ in flow.steps:
        behind |= {step.name for step in flow.steps if behind & set(step.upstream)}
    return tuple(step.name for step in flow.steps if step.name not in behind)


@pytest.fixture
def interpret() -> Callable[[Flow], dict[str, Ended]]:
    """Runs a flow's steps one after another in this process, without Dagster."""

    def run(flow: Flow) -> dict[str, Ended]:
        ended: dict[str, Ended] = {}
        while len(ended) < len(flow.steps):
            for step in flow.steps:
                waits = step.upstream
                if step.is_closing and not waits:
                    waits = _whole_run(flow)
                if step.name not in ended and all(name in ended for name in waits):
                    blocked = _blocks(flow, step, ended)
                    ended[step.name] = Ended("skipped") if blocked else _run_one(flow, step, ended)
        return ended

    return run
