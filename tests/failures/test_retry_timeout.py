"""Steps that are tried again, and steps that take too long, on real servers and processes."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.cli.pools import set_pool

# Dagster calls the class of a failed check deprecated, also when an event is unpickled.
pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


class Api:
    """A server that answers with one status after another, and the last for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.times: list[float] = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.times.append(time())
                code, headers = api.answers[min(len(api.times), len(api.answers)) - 1]
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Api()
    yield served
    served.close()


def flow_of(step: dict[str, Any], executor: str = "in_process", **runner: Any) -> dict[str, Any]:
    return {"runner": {"executor": executor, **runner}, "flow": [{"name": "one", **step}]}


def run_one(step: dict[str, Any], **runner: Any) -> Any:
    return run_flow(flow_of(step, **runner))


def fails_until(folder: Path, attempt: int) -> dict[str, Any]:
    """A command that adds a line to `tries` and fails until there are enough of them."""
    script = f"echo x >> tries; [ $(wc -l < tries) -ge {attempt} ]"
    return {"source": {"type": "process", "cwd": str(folder)},
            "input": {"command": ["sh", "-c", script]}}


def tries(folder: Path) -> int:
    return len((folder / "tries").read_text().splitlines())


RETRIES: dict[str, Any] = {
    "a number": 2,
    "a mapping": {"max": 2, "delay": "10ms"},
    "linear": {"max": 2, "delay": 0.01, "backoff": "linear", "jitter": "full"},
    "exponential": {"max": 2, "delay": "10ms", "backoff": "exponential", "jitter": "plus_minus"},
    "templates": {"max": "{{ env.TRIES }}", "delay": "{{ env.DELAY }}"},
    "a template": "{{ env.TRIES }}",
}


@pytest.mark.parametrize("form", RETRIES)
def test_a_step_that_succeeds_at_last_has_succeeded(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: Callable[[str], Any]
) -> None:
    # language 10.1, 6.1, runtime 7
    monkeypatch.setenv("TRIES", "2")
    monkeypatch.setenv("DELAY", "10ms")
    run = run_one({**fails_until(tmp_path, 3), "retry": RETRIES[form]})
    assert run.success, run.status
    assert run.status.steps["one"].attempt == 3
    assert run.status.steps["one"].error is None
    assert tries(tmp_path) == 3
    kept = stored(run.run_id)
    assert kept.status == "SUCCESS"
    assert kept.types("one").count("STEP_UP_FOR_RETRY") == 2
    assert kept.types("one").count("STEP_RESTARTED") == 2


@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_step_has_failed_only_when_all_attempts_have(
    executor: str, policy: str, tmp_path: Path, stored: Callable[[str], Any],
    run_on: Callable[..., Any],
) -> None:
    # language 10.1, 9.7, runtime 7
    step = {**fails_until(tmp_path, 99), "retry": {"max": 2, "delay": 0}, "on_error": policy}
    run = run_on(flow_of(step, executor))
    one = run.status.steps["one"]
    assert (one.state, one.attempt, one.error) == ("failed", 3, "sh exited with code 1")
    assert run.success is (policy == "skip")
    assert tries(tmp_path) == 3
    assert stored(run.run_id).types("one").count("STEP_UP_FOR_RETRY") == 2


def test_dependents_wait_for_the_attempt_that_succeeds(tmp_path: Path) -> None:
    # language 10.1, 9.4: a failure that will be tried again halts nothing
    bad = {"name": "one", **fails_until(tmp_path, 2), "retry": {"max": 1, "delay": "100ms"}}
    after = {"name": "after", "source": "env", "depends_on": "one"}
    run = run_flow({"flow": [bad, after]}, 2)
    assert run.success, run.status
    assert run.status.steps["after"].state == "succeeded"


@pytest.mark.parametrize(
    ("on", "attempts"), [("exit:1", 2), (["exit"], 2), ("exit:75", 1), (["timeout", "5xx"], 1)]
)
def test_only_what_on_names_is_tried_again(on: Any, attempts: int, tmp_path: Path) -> None:
    # language 10.1
    run = run_one({**fails_until(tmp_path, 99), "retry": {"max": 1, "delay": 0, "on": on}})
    assert tries(tmp_path) == run.status.steps["one"].attempt == attempts


@pytest.mark.parametrize(
    ("retry", "codes", "requests"),
    [
        ({}, [404], 1),
        ({}, [401], 1),
        ({"on": "404"}, [404, 200], 2),
        ({}, [500, 502, 200], 3),
        ({}, [503], 4),
        ({}, [408, 429, 200], 3),
        ({"on": "429"}, [500], 1),
    ],
)
def test_statuses_that_are_tried_again(
    retry: dict[str, Any], codes: list[int], requests: int, api: Api
) -> None:
    # language 10.1: what the client did wrong is not fixed by asking again
    api.answers = [(code, {}) for code in codes]
    step = {"source": {"type": "rest", "url": api.url}, "retry": {"max": 3, "delay": 0, **retry}}
    run = run_one(step)
    assert len(api.times) == requests
    assert run.success is (codes[-1] == 200)


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_delay_that_a_server_asks_for_is_kept(code: int, form: str, api: Api) -> None:
    # language 10.1. A date has whole seconds, so up to one of the three may be gone at once.
    wanted = "1" if form == "seconds" else formatdate(time() + 3, usegmt=True)
    api.answers = [(code, {"Retry-After": wanted}), (200, {})]
    step = {"source": {"type": "rest", "url": api.url}, "retry": {"max": 1, "delay": 0}}
    run = run_one(step)
    assert run.success, run.status
    first, second = api.times
    # The server's own clock: it was asked again no earlier than it said.
    assert second - first >= (0.9 if form == "seconds" else 0)
    if form == "date":
        from email.utils import parsedate_to_datetime

        assert second >= parsedate_to_datetime(wanted).timestamp() - 0.1


def test_a_wrong_configuration_is_not_tried_again() -> None:
    # language 10.1: it never fixes
    step = {"source": "process", "input": {"command": ["echo", "{{ env.NOT_SET_AT_ALL }}"]},
            "retry": {"max": 3, "delay": 0}}
    run = run_one(step)
    assert run.status.steps["one"].attempt == 1
    assert "NOT_SET_AT_ALL" in (run.status.steps["one"].error or "")


@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_a_command_that_takes_too_long_is_ended_with_its_group(
    executor: str, tmp_path: Path, wait_until: Callable[..., None], run_on: Callable[..., Any]
) -> None:
    # language 10.2. It ignores TERM, and so does what it started.
    script = f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/pid; wait; sleep 600"
    step = {"source": "process", "input": {"command": ["sh", "-c", script]}, "timeout": "4s"}
    run = run_on(flow_of(step, executor))
    assert run.status.steps["one"].error == "timed out after 4 s"
    pid = (tmp_path / "pid").read_text().strip()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "what it started is gone")


def test_a_timeout_is_tried_again_and_bounds_each_attempt(tmp_path: Path) -> None:
    # language 10.1, 10.2
    script = f"echo x >> {tmp_path}/tries; exec sleep 600"
    run = run_one(
        {"source": "process", "input": {"command": ["sh", "-c", script]},
         "timeout": "{{ '3s' }}", "retry": {"max": 1, "delay": 0, "on": "timeout"}}
    )
    assert run.status.steps["one"].error == "timed out after 3 s"
    assert tries(tmp_path) == 2


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a server that sends a byte at a time and never ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stop.wait(0.05):
                    connection.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    stop.set()
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_an_answer_that_drips_for_ever_is_given_up(
    dripping: str, monkeypatch: pytest.MonkeyPatch, run_on: Callable[..., Any]
) -> None:
    # language 10.2: no single read ever times out
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    step = {"source": {"type": "rest", "url": dripping}, "timeout": 0.5}
    run = run_on(flow_of(step, "warm"))
    assert run.status.steps["one"].error == "timed out after 0.5 s"


def troubled(what: str, tmp_path: Path, more: str = "") -> str:
    return f"""
        flow:
          - name: one
            source: {{type: trouble, what: {what}, count: {tmp_path}/calls, unless: {tmp_path}/no}}
            timeout: 1s
            {more}
          - {{name: after, source: env, depends_on: one, on_error: continue}}
        """


@pytest.mark.usefixtures("trouble")
def test_a_provider_that_sleeps_is_interrupted(
    flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    # language 10.2: whatever its provider
    done = flowtoy("run", write(troubled("sleeps", tmp_path)), "-j")
    assert done.code == 1
    assert "reason: timed out after 1 s" in done.stderr
    assert done.json == {"one": None, "after": {}}


@pytest.mark.usefixtures("trouble")
def test_a_provider_that_cannot_be_interrupted_loses_its_worker(
    flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    # language 10.2, runtime 8. It keeps the signal from its thread, as native code may.
    done = flowtoy("run", write(troubled("blocks", tmp_path, "on_error: skip")), "-j")
    assert done.code == 0, done.stderr
    assert "reason: timed out, and could not be interrupted" in done.stderr
    # The step is told of once, and its dependents go on.
    assert (tmp_path / "calls").read_text() == "called\n"
    assert done.json == {"one": None, "after": {}}


TEN = [
    {"name": f"s{n}", "source": "process", "input": {"command": ["sleep", "600"]}}
    for n in range(10)
]


@pytest.mark.parametrize("executor", ["warm", "in_process"])
def test_a_run_that_takes_too_long_fails_and_says_so(
    executor: str, run_on: Callable[..., Any]
) -> None:
    # language 10.4. Only a few of the ten can run at once.
    tolerant = [{**step, "on_error": "continue"} for step in TEN]
    run = run_on({"runner": {"timeout": "2s", "executor": executor}, "flow": tolerant}, 2)
    assert run.status.state == "failed"
    states = {step.state for step in run.status.steps.values()}
    assert states <= {"failed", "skipped"}
    for step in run.status.steps.values():
        if step.state == "failed":
            assert step.error == "the run's timeout has passed"


@pytest.mark.parametrize("executor", ["warm", "in_process", "multiprocess"])
@pytest.mark.parametrize("repeated", [False, True], ids=["step", "items"])
def test_a_failure_is_not_tried_again_once_the_run_s_timeout_would_have_passed(
    executor: str, repeated: bool, run_on: Callable[..., Any], tmp_path: Path
) -> None:
    # language 10.1, 10.4
    more = {"for_each": [1]} if repeated else {}
    step = {"name": "one", **fails_until(tmp_path, 99), "retry": {"max": 2, "delay": "1h"}, **more}
    run = run_on({"flow": [step], "runner": {"executor": executor, "timeout": "10m"}})
    one = run.status.steps["one"]
    assert (one.state, one.attempt, tries(tmp_path)) == ("failed", 1, 1)
    assert str(one.error).endswith(
        "sh exited with code 1; it is not tried again: the run's timeout comes first"
    )


@pytest.mark.parametrize("executor", ["warm", "in_process", "multiprocess"])
def test_the_timeout_of_a_run_ends_the_wait_for_a_pool(
    executor: str, run_on: Callable[..., Any], tmp_path: Path
) -> None:
    # language 10.4, 17.1: the step fails under its policy, and has called nothing
    set_pool("full", 0)
    step = {"pool": "full", "source": "process",
            "input": {"command": ["touch", str(tmp_path / "called")]}}
    echo = {"source": "process", "input": {"command": ["echo", "x"]}}
    flow = [
        {"name": "a", "on_error": "continue", **step},
        {"name": "b", **step},
        {"name": "c", "depends_on": "a", **echo},
        {"name": "last", "run_if": "always", **echo},
    ]
    run = run_on({"flow": flow, "runner": {"executor": executor, "timeout": "2s"}})
    found = {name: (step.state, step.error) for name, step in run.status.steps.items()}
    late = "failed", "the run's timeout has passed"
    assert (found["a"], found["b"], found["last"][0]) == (late, late, "succeeded")
    assert found["c"][0] in ("failed", "skipped")
    assert run.status.state == "failed"
    assert not (tmp_path / "called").exists()


def test_the_timeout_of_a_run_does_not_touch_one_that_ends_in_time() -> None:
    # language 10.4
    run = run_one({"source": "env"}, timeout="60s")
    assert run.success


def test_the_command_line_sets_the_timeout_of_a_run_and_of_a_retry(
    flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    # language 10.3, 10.4
    path = write(
        """
        runner: {timeout: 10m}
        flow:
          - {name: long, source: process, input: {command: [sleep, "600"]}}
          - {name: never, source: env, depends_on: long}
        """
    )
    done = flowtoy("run", path, "--timeout", "3s", "-j")
    assert done.code == 1
    assert done.json == {"long": None, "never": None}
    assert "reason: the run's timeout has passed" in done.stderr
    again = flowtoy("retry", "last", "--timeout", "2s", "-j")
    assert again.code == 1
    assert "reason: the run's timeout has passed" in again.stderr
    for command in (["run", path], ["retry", "last"]):
        wrong = flowtoy(*command, "--timeout", "soon")
        assert wrong.code == 2
        assert "'soon' is not a timeout: write 90, 30s or 5m" in wrong.stderr
