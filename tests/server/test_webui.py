"""`flowtoy webui`: a run on Dagster's pages, with the status API on the same port."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from serving_commands import (
    LAUNCH_AGAIN,
    Serving,
    gated,
    post,
    run_again,
    wait_for_location,
    wait_until,
)

SHELL = "sources: {shell: {type: process, configuration: {shell: true}}}\n"
QUICK = "flow:\n  - {name: only, source: env}\n"
LOCATION = "flowtoy_dagster.definitions"
LAUNCH = """
mutation($of: ExecutionParams!) { launchRun(executionParams: $of) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
TERMINATE = """
mutation($run: String!) { terminateRun(runId: $run) { __typename } }
"""
READ_AND_LOG = 'query Q { version } mutation M { logTelemetry(action: "", clientTime: "", ' \
    'clientId: "", metadata: "") { __typename } }'


def act(served: Serving, headers: dict[str, str], wish: dict[str, Any]) -> tuple[int, Any]:
    """What an action of flowtoy's page is answered with."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"{served.url}/flow/actions"
        answer = session.post(url, json=wish, headers=headers, timeout=120)
    return answer.status_code, answer.json()


def processes_under(pid: int) -> set[int]:
    """A process and all that descend from it."""
    found, waiting = set(), [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            waiting += map(int, tasks.read_text().split())
    return found


def alive(pids: set[int]) -> set[str]:
    """Those that still run, as the system names them."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=,args=", "-p", ",".join(map(str, pids))],
                            capture_output=True, text=True).stdout
    return {line for line in listed.splitlines() if line.split()[1][0] != "Z"}


# cli: webui; the names are those that Dagster would refuse, or that need care on the way
@pytest.mark.parametrize(
    ("name", "job", "number", "outcome"),
    [
        ("input.yaml", "flow_input", signal.SIGINT, 0),
        ("my flow.yaml", "my_flow", signal.SIGTERM, 0),
        ("été.yaml", "ete", signal.SIGHUP, 1),
        ("config.yaml", "flow_config", signal.SIGTERM, 1),
    ],
)
def test_a_flow_of_any_name_can_be_run_again_and_the_latest_run_gives_the_exit_code(
    serving: Callable[..., Serving], tmp_path: Path, name: str, job: str, number: int, outcome: int
) -> None:
    flow = "source: shell, input: {command: 'echo {{ env.WORD }} && test ! -e broken'}"
    (tmp_path / name).write_text(f"{SHELL}flow:\n  - {{name: step, {flow}}}\n", encoding="utf-8")
    (tmp_path / "my.env").write_text("WORD=spoken\n")
    served = serving("webui", name, "--port", "0", "--env-file", "my.env", "--max-workers", "3")
    first = served.wait_for_run("succeeded")["dagster_run_id"]
    if outcome:
        (tmp_path / "broken").touch()
    again = run_again(served, first)
    served.wait_for_run("failed" if outcome else "succeeded")
    assert served.ask("/").body == served.ask("/flow").body
    run = post(served, '{ runOrError(runId: "' + again + '") { ... on Run { jobName runConfigYaml '
               "parentRunId } } }")["runOrError"]
    assert (run["jobName"], run["parentRunId"]) == (job, first)
    assert "max_concurrent: 3" in run["runConfigYaml"]
    tree = processes_under(served.process.pid)
    assert served.end(number) == outcome
    assert alive(tree) == set()
    assert served.stdout() == ""
    assert re.fullmatch(r"starting the run …\nrun \S+ at \S+  \(.*\)\n", served.stderr)


# runtime 9, 11
def test_ctrl_c_cancels_the_run_and_leaves_no_process(
    serving: Callable[..., Serving], tmp_path: Path, flowtoy: Callable[..., Any],
    write: Callable[..., Path],
) -> None:
    stubborn = "trap '' TERM; touch started; while :; do sleep 0.1; done"
    step = f'{{name: stubborn, source: shell, input: {{command: "{stubborn}"}}}}'
    write(f"{SHELL}flow:\n  - {step}\n")
    served = serving("webui", "flow.yaml", "--port", "0")
    wait_until((tmp_path / "started").exists, "the step has started")
    tree = processes_under(served.process.pid)
    assert len(tree) > 3
    assert served.end(signal.SIGINT) == 130
    assert "interrupted: run" in served.stderr
    assert alive(tree) == set()
    [run] = flowtoy("runs", "--json").json
    assert run["state"] == "cancelled"


# runtime 10; the process of the code location ends by itself when it isn't asked for long
def test_a_server_that_is_killed_takes_its_run_with_it(
    serving: Callable[..., Serving], tmp_path: Path, flowtoy: Callable[..., Any],
    write: Callable[..., Path],
) -> None:
    write("flow:\n" + gated("waits", tmp_path))
    served = serving("webui", "flow.yaml", "--port", "0")
    served.wait_for(waits="running")
    tree = processes_under(served.process.pid)
    assert served.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: all("api grpc" in line for line in alive(tree)), "the run has ended")
    for line in alive(tree):
        os.kill(int(line.split()[0]), signal.SIGKILL)
    [run] = flowtoy("runs", "--json").json
    assert run["state"] == "failed"
    assert "interrupted" in flowtoy("runs", "show", "last").stdout


def test_a_run_can_be_cancelled_from_elsewhere_while_the_server_goes_on(
    serving: Callable[..., Serving], tmp_path: Path, flowtoy: Callable[..., Any],
    write: Callable[..., Path],
) -> None:
    write("flow:\n" + gated("waits", tmp_path))
    served = serving("webui", "flow.yaml", "--port", "0")
    first = served.wait_for(waits="running")["dagster_run_id"]
    assert flowtoy("cancel", "last").code == 0
    served.wait_for_run("cancelled")
    # A re-execution has its parent's tags, that of its process too.
    again = run_again(served, first)
    served.wait_for(waits="running")
    assert flowtoy("cancel", again).code == 0
    assert served.wait_for_run("cancelled")["dagster_run_id"] == again
    assert served.end() == 1


def test_a_run_that_was_cancelled_before_the_servers_end_was_not_ended_by_it(
    serving: Callable[..., Serving], tmp_path: Path, flowtoy: Callable[..., Any],
    write: Callable[..., Path],
) -> None:
    waits = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    # The run's process goes on when the run is over: it notifies.
    notify = [{"on": "cancelled", "source": {"type": "process", "command": ["sh", "-c", waits]}}]
    write(f"notify: {json.dumps(notify)}\nflow:\n" + gated("waits", tmp_path))
    served = serving("webui", "flow.yaml", "--port", "0")
    served.wait_for(waits="running")
    assert flowtoy("cancel", "last").code == 0
    served.wait_for_run("cancelled")
    assert served.end() == 1
    assert "interrupted" not in served.stderr
    own = f"{tmp_path}/go"
    assert not [one for one in psutil.process_iter(["cmdline"])
                if own in " ".join(one.info["cmdline"] or ())]


# runtime 5
def test_a_file_that_is_edited_while_its_flow_runs_changes_nothing_until_it_is_loaded_again(
    serving: Callable[..., Serving], tmp_path: Path, write: Callable[..., Path],
) -> None:
    write("flow:\n" + gated("before", tmp_path) + gated("too", tmp_path, depends_on="before"))
    served = serving("webui", "flow.yaml", "--port", "0")
    served.wait_for(before="running")
    wait_for_location(served)
    write("flow:\n" + gated("after", tmp_path))
    for name in ("before", "too", "after"):
        (tmp_path / name).touch()
    first = served.wait_for_run("succeeded")
    assert list(first["steps"]) == ["before", "too"]
    again = run_again(served, first["dagster_run_id"])
    assert list(served.wait_for_run("succeeded")["steps"]) == ["before", "too"]
    post(served, 'mutation { reloadRepositoryLocation(repositoryLocationName: "' + LOCATION
         + '") { __typename } }')
    selector = {"jobName": "flow", "repositoryName": "__repository__",
                "repositoryLocationName": LOCATION}
    answer = post(served, LAUNCH, of={"selector": selector, "runConfigData": {}})["launchRun"]
    wait_until(lambda: served.status()["dagster_run_id"] not in (first["dagster_run_id"], again),
               f"the new run is shown: {answer}")
    assert list(served.wait_for_run("succeeded")["steps"]) == ["after"]
    assert served.end() == 0
    assert re.fullmatch(r"starting the run …\nrun \S+ at \S+  \(.*\)\n", served.stderr)


def test_other_machines_need_a_token_and_visitors_may_be_held_to_looking(
    serving: Callable[..., Serving], write: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(QUICK)
    beside = serving("webui", "flow.yaml", "--port", "0")
    first = beside.wait_for_run("succeeded")["dagster_run_id"]
    opener = tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    opener.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{opener} %s")
    served = serving("webui", "flow.yaml", "--host", "0.0.0.0", "--port", "0", "--read-only",
                     "--open")
    assert "warning: other machines can reach this server" in served.stderr
    printed = urlsplit(served.printed_url)
    token = printed.query.removeprefix("token=")
    served.url = f"http://127.0.0.1:{printed.port}"
    served.token = ""
    assert {served.ask(path).code for path in ("/", "/status", "/graphql", "/runs")} == {401}
    assert served.ask("/status", Authorization="Bearer wrong").code == 401
    known = {"Authorization": f"Bearer {token}"}
    assert served.ask("/status", **known).code == 200
    landed = served.ask(f"/?token={token}")
    assert (landed.code, landed.headers["location"]) == (303, "/")
    cookie = landed.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert served.ask("/", Cookie=cookie.partition(";")[0]).code == 200
    assert served.ask("/flow/features", **known).json["actions"] is False
    wish = {"action": "again", "run": first}
    assert act(served, known, wish) == (403, {"error": "this server is read-only"})
    # The home is the same, and so is the history.
    runs = post(served, "{ runsOrError { ... on Runs { results { runId } } } }", known)
    assert first in [run["runId"] for run in runs["runsOrError"]["results"]]
    delete = 'mutation { deletePipelineRun(runId: "' + first + '") { __typename } }'
    for change in (delete, "mutation { setNuxSeen }", READ_AND_LOG):
        answer = requests.post(f"{served.url}/graphql", json={"query": change}, headers=known,
                               timeout=60)
        assert answer.json()["data"] is None
        assert "this server is read-only" in answer.text
    # Others see what a browser is started with.
    opened = tmp_path / "opened"
    wait_until(lambda: opened.exists() and opened.read_text().strip(), "a browser is opened")
    page = Path(urlsplit(opened.read_text().strip()).path)
    assert token not in opened.read_text()
    assert token in page.read_text()
    assert page.stat().st_mode & 0o077 == 0
    assert (served.end(), beside.end()) == (0, 0)


def handshake(served: Serving, origin: str | None, cookie: str | None = None) -> int:
    """How a websocket from a page of `origin` is answered."""
    parts = urlsplit(served.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=120)
    try:
        known = served.known if cookie is None else {"Cookie": cookie}
        connection.request("GET", "/graphql", headers={
            **known, **({} if origin is None else {"Origin": origin}),
            "Connection": "Upgrade", "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": "graphql-ws",
        })
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_running_server_refuses_what_a_foreign_page_could_make_a_browser_ask(
    serving: Callable[..., Serving], write: Callable[..., Path],
) -> None:
    write(QUICK)
    served = serving("webui", "flow.yaml", "--port", "0")
    first = served.wait_for_run("succeeded")["dagster_run_id"]
    cookie = served.ask(f"/?token={served.token}", Cookie="").headers["set-cookie"].split(";")[0]
    assert served.token not in cookie
    body = json.dumps({"query": LAUNCH_AGAIN, "variables": {
        "of": {"parentRunId": first, "strategy": "ALL_STEPS"}}})
    wait_for_location(served)

    def code(method: str, path: str = "/graphql", **headers: str) -> int:
        with requests.Session() as session:
            session.trust_env = False
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            given.setdefault("Cookie", cookie)
            sent = body if method == "POST" else ""
            found = session.request(
                method, served.url + path, data=sent, headers=given, timeout=120
            )
        return found.status_code

    as_json = {"Content_Type": "application/json"}
    refused = {
        "a foreign origin": code("POST", Origin="http://evil.example", **as_json),
        "no origin at all": code("POST", Origin="null", **as_json),
        "another port": code("POST", Origin="http://127.0.0.1:1", **as_json),
        "another site": code("POST", Sec_Fetch_Site="cross-site", **as_json),
        "a foreign name": code("GET", "/status", Host="evil.example"),
        "a form": code("POST", Content_Type="text/plain", Origin=served.url),
        "a form with a query": code("POST", "/graphql?query={version}", Origin=served.url,
                                    Content_Type="text/plain"),
        "an image": code("GET", "/graphql?query=mutation{launchRun}"),
        "a websocket": handshake(served, "http://evil.example"),
        "a websocket of no page": handshake(served, None, cookie),
        "a websocket of a stranger": handshake(served, served.url, ""),
        "no cookie": code("POST", Cookie="", **as_json),
        "no page": code("POST", **as_json),
        "a newline in the path": code("GET", "/graphql%0A?query=mutation{launchRun}"),
        "a newline in a post": code("POST", "/graphql%0A", Origin=served.url, **as_json),
        "an action of another site": code("POST", "/flow/actions", Sec_Fetch_Site="cross-site",
                                          **as_json),
        "an action of no page": code("POST", "/flow/actions", **as_json),
        "an action as a form": code("POST", "/flow/actions", Origin=served.url,
                                    Content_Type="text/plain"),
        "an action that is read": code("GET", "/flow/actions"),
        "an event": code("POST", "/report_asset_materialization/x", Origin=served.url, **as_json),
    }
    assert refused == {
        "a foreign origin": 403, "no origin at all": 403, "another port": 403, "another site": 403,
        "a foreign name": 421, "a form": 415, "a form with a query": 415, "an image": 405,
        "a websocket": 403, "a websocket of no page": 403, "a websocket of a stranger": 403,
        "no cookie": 401, "no page": 403, "a newline in the path": 400,
        "a newline in a post": 400, "an action of another site": 403,
        "an action of no page": 403, "an action as a form": 415, "an action that is read": 405,
        "an event": 405,
    }
    assert handshake(served, served.url) == handshake(served, served.url, cookie) == 101
    for path in ("/", "/runs", "/status", "/flow", "/nothing", "/flow/page.css"):
        policies = served.ask(path).headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policies
    assert code("POST", Origin=served.url, Sec_Fetch_Site="same-origin", **as_json) == 200
    wait_until(lambda: served.status()["dagster_run_id"] != first, "our own page can start a run")
    served.wait_for_run("succeeded")
    assert served.end() == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give either the files of a flow or --status-url"),
        (["flow.yaml", "--status-url", "http://x"], "either the files of a flow or --status-url"),
        (["flow.yaml", "--port", "70000"], "65535"),
        (["flow.yaml", "--port", "0", "--max-workers", "0"], "at least 1"),
        (["flow.yaml", "--host", "no.such.host.invalid"], "'no.such.host.invalid' is neither"),
        (["flow.yaml", "--host", "192.0.2.1"], "'192.0.2.1' is not an address of this machine"),
        (["flow.yaml", "--env-file", "gone.env"], "gone.env"),
        (["gone.yaml"], "gone.yaml"),
    ],
    ids=["neither", "both", "port", "workers", "name", "address", "env-file", "config"],
)
def test_what_is_wrong_with_the_command_line_is_one_line_and_exit_code_2(
    flowtoy: Callable[..., Any], write: Callable[..., Path], arguments: list[str], told: str
) -> None:
    write(QUICK)
    done = flowtoy("webui", *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


# cli: "a port in use is an error (exit 2) that names the port, before any step starts"
def test_a_port_in_use_is_told_before_any_step_starts(
    flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, home: Path
) -> None:
    write(f'{SHELL}flow:\n  - {{name: step, source: shell, input: {{command: "touch ran"}}}}\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = flowtoy("webui", "flow.yaml", "--port", port)
    assert done.code == 2
    assert done.stderr.startswith(f"port {port} of 127.0.0.1 is in use\n")
    assert not (tmp_path / "ran").exists()
    assert list(home.iterdir()) == []


def test_what_a_port_in_use_is_told_with_needs_no_dagster(write: Callable[..., Path]) -> None:
    program = """
        import sys
        from flowtoy_dagster.errors import UsageError
        from flowtoy_dagster.server.http.endpoint import listen
        import flowtoy_dagster.server.webui
        import flowtoy_dagster.server.http.guard
        taken = listen()
        try:
            listen(taken.host, taken.port)
        except UsageError as error:
            print(error)
        print(sorted({name.split(".")[0] for name in sys.modules}
                     & {"dagster", "starlette", "uvicorn"}))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "is in use" in done.stdout
    assert done.stdout.endswith("[]\n"), done.stderr
