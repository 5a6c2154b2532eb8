"""What is checked of executors with a broker before a run is made, and what steps see of it."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import ConfigError, load_flow, run_flow
from flowtoy_dagster.engine.executors.kinds import EXECUTORS
from flowtoy_dagster.engine.executors.remote.workers import RemoteKind
from flowtoy_dagster.errors import HomeError, UsageError
from flowtoy_dagster.masking.mask import Mask, deployment_secrets

STEP = {"name": "a", "source": "env"}
REDIS = "redis://:p4ssw0rd%2F@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FLOWTOY_BROKER", "FLOWTOY_DASK", "FLOWTOY_STORAGE", "FLOWTOY_EXECUTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLOWTOY_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(("executor", "module"), [("celery", "redis"), ("dask", "distributed")])
def test_an_extra_that_is_not_installed_is_named_before_a_run_is_made(
    monkeypatch: pytest.MonkeyPatch, executor: str, module: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == module else found(name)
    )
    with pytest.raises(HomeError) as raised:
        run_flow({"flow": [STEP], "runner": {"executor": executor}})
    assert raised.value.exit_code == 2
    assert f"pip install 'flowtoy-dagster[{executor},postgres]'" in str(raised.value)
    with pytest.raises(HomeError, match="packages that are not installed"):
        EXECUTORS[executor].serve("default", 1)


@pytest.mark.parametrize(("executor", "variables", "message"), [
    ("celery", {}, "FLOWTOY_BROKER is not set"),
    ("dask", {}, "FLOWTOY_DASK is not set"),
    ("celery", {"FLOWTOY_BROKER": "p4ssw0rd"}, "FLOWTOY_BROKER is not the address of a broker"),
    ("celery", {"FLOWTOY_BROKER": "memory://p4ssw0rd"}, "begins with one of redis://, rediss://"),
    ("celery", {"FLOWTOY_BROKER": f"{REDIS};sqs://p4ssw0rd"}, "is not the address of a broker"),
    ("dask", {"FLOWTOY_DASK": "p4ssw0rd:8786"}, "FLOWTOY_DASK is not the address of a broker"),
    ("celery", {"FLOWTOY_BROKER": REDIS}, "needs the history of runs in PostgreSQL"),
    ("dask", {"FLOWTOY_DASK": "tcp://127.0.0.1:1"}, "needs the history of runs in PostgreSQL"),
])
def test_an_address_that_is_missing_or_wrong_is_reported_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, executor: str, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HomeError, match=message) as raised:
        run_flow({"flow": [STEP], "runner": {"executor": executor}})
    assert "p4ssw0rd" not in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(("address", "message"), [
    ("redis://a:1/0?visibility_timeout=p4ssw0rd", "has the option 'visibility_timeout', which"),
    ("redis://:p4ssw0rd#x@a:1/0", "is not the address of a broker"),
    ("redis://a:p4ssw0rd/0", "is not the address of a broker"),
])
def test_an_address_that_the_client_of_the_broker_can_not_use_is_reported_before_a_run(
    monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setenv("FLOWTOY_BROKER", address)
    monkeypatch.setattr(RemoteKind, "check_home", lambda self: None)  # there is no database here
    with pytest.raises(HomeError, match=message) as raised:
        EXECUTORS["celery"].check_home()
    assert "p4ssw0rd" not in str(raised.value)


@pytest.mark.parametrize("address", [
    REDIS, f"amqp://flow:p4ssw0rd%2F@a:1//;{REDIS}", "redis://a:1/0?password=p4ssw0rd%2F",
    "amqp://flow:other@a:1//;amqp://flow:p4ssw0rd%2F@b:1//",
])
def test_the_passwords_of_a_broker_are_secrets(address: str) -> None:
    found = deployment_secrets({"FLOWTOY_BROKER": address})
    assert {"p4ssw0rd/", address} <= found
    for text in (address, "p4ssw0rd/", "AUTH p4ssw0rd%2F"):
        assert "p4ssw0rd" not in Mask(found).text(text)


def test_an_address_without_a_password_is_no_secret() -> None:
    variables = {"FLOWTOY_DASK": "tcp://127.0.0.1:8786", "FLOWTOY_BROKER": "amqp://flow@host:1//"}
    assert deployment_secrets(variables) == set()


def test_steps_do_not_see_what_a_deployment_is_reached_by(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOWTOY_BROKER", REDIS)
    monkeypatch.setenv("FLOWTOY_DASK", "tcp://127.0.0.1:1")
    done = run_flow({"flow": [{
        "name": "look", "output": [{"name": "text", "value": "stdout"}],
        "source": {"type": "process", "configuration": {
            "command": ["sh", "-c", "env | grep -c -e BROKER= -e DASK= || true"],
        }},
    }, {
        "name": "print", "source": {"type": "process", "configuration": {
            "command": ["sh", "-c", "echo p4ssw0rd/ >&2; exit 3"],
        }},
    }], "runner": {"executor": "in_process"}}, home=tmp_path / "home")
    assert done.outputs["look"] == {"text": "0\n"}
    assert done.status.steps["print"].stderr == "***"


# language 10.4
@pytest.mark.parametrize("executor", ["warm", "multiprocess", "in_process"])
def test_a_queue_of_a_step_needs_an_executor_with_queues(executor: str) -> None:
    flow = {"flow": [{**STEP, "queue": "gpu"}]}
    with pytest.raises(ConfigError, match=f"the executor '{executor}' has no queues"):
        load_flow({**flow, "runner": {"executor": executor}})
    for remote in ("workers", "celery", "dask"):
        assert load_flow({**flow, "runner": {"executor": remote}}).steps[0].queue == "gpu"


def test_a_queue_is_checked_against_the_executor_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 10.4
    flow = load_flow({"flow": [{**STEP, "queue": "gpu"}]})
    with pytest.raises(UsageError, match=r"'warm' has no queues\n.*workers or celery or dask"):
        run_flow(flow)
    monkeypatch.setenv("FLOWTOY_EXECUTOR", "celery")
    with pytest.raises(HomeError, match="FLOWTOY_BROKER is not set"):
        run_flow(flow)


@pytest.mark.parametrize("queue", ["", "two words", "a/b", "x" * 61, "a,b", 7, None])
def test_a_queue_has_a_plain_name(queue: Any) -> None:
    if queue is None:
        assert load_flow({"flow": [{**STEP, "queue": None}]}).steps[0].queue is None
        return
    with pytest.raises(ConfigError):
        load_flow({"flow": [{**STEP, "queue": queue}]})
    with pytest.raises(ConfigError):
        load_flow({
            "flow": [STEP], "runner": {"executor": "celery", "executor_options": {"queue": queue}},
        })


@pytest.mark.parametrize("executor", ["workers", "celery", "dask"])
def test_a_worker_takes_from_a_queue_that_flows_can_name(executor: str) -> None:
    with pytest.raises(UsageError, match="--queue: write the name of a queue, not 'a,b'"):
        EXECUTORS[executor].serve("a,b", 1)


def test_doctor_reports_a_broker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = EXECUTORS["celery"]
    assert [one.state for one in kind.examine(is_wanted=False)] == ["off"]
    assert [one.state for one in kind.examine(is_wanted=True)] == ["fault"]
    monkeypatch.setenv("FLOWTOY_BROKER", REDIS)
    (found,) = kind.examine(is_wanted=False)
    assert found.state == "fault"
    assert "the broker that FLOWTOY_BROKER names does not answer: " in found.text
    assert "p4ssw0rd" not in found.text
    assert found.fix == "start it, or correct FLOWTOY_BROKER"


@pytest.mark.parametrize(("error", "is_shown"), [
    (asyncio.CancelledError(), False), (ConnectionRefusedError(), False), (ValueError("no"), True),
])
def test_a_run_shows_no_traceback_of_dask_where_its_scheduler_is_away(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: BaseException,
    is_shown: bool,
) -> None:
    sender = pytest.importorskip("flowtoy_dagster.engine.executors.brokers.dask.sender")
    monkeypatch.setattr(sender, "Client", lambda *_, **__: None)
    sender.DaskSender("tcp://127.0.0.1:1")
    logger = logging.getLogger("distributed.client")
    monkeypatch.setattr(logger, "propagate", True)
    logger.error("lost", exc_info=error)
    logger.error("Failed to reconnect to scheduler after %.2f seconds, closing client", 4.0)
    assert [record.message for record in caplog.records] == ["lost"] * is_shown


def test_what_a_dask_scheduler_imports_is_light() -> None:
    code = (
        "import sys; import flowtoy_dagster.engine.executors.brokers.dask.tasks; "
        "print([m for m in ('dagster', 'distributed', 'celery', 'psycopg2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("named", "blamed"), [(None, True), ("warn", False)])
def test_an_executor_of_the_environment_that_is_unknown_is_not_blamed_on_the_flow(
    monkeypatch: pytest.MonkeyPatch, named: str | None, blamed: bool
) -> None:
    monkeypatch.setenv("FLOWTOY_EXECUTOR", "warn")
    runner = {"runner": {"executor": named}} if named else {}
    with pytest.raises(ConfigError) as raised:
        load_flow({"flow": [STEP], **runner})
    assert ("FLOWTOY_EXECUTOR: 'warn' is not one of" in str(raised.value)) == blamed
    assert "did you mean 'warm'?" in str(raised.value)
