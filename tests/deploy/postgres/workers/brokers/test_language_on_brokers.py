"""The whole conformance set, and random flows, on workers behind brokers.

Too long for every day: `FLOWTOY_BROKER_LANGUAGE=rabbitmq` runs the first on this broker, and
`FLOWTOY_BROKER_RANDOM=100` so many random flows on Redis.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from module_files import load

from flowtoy_dagster import run_flow
from flowtoy_dagster.loader import load_flow, with_executor

pytestmark = [
    pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning"),
    pytest.mark.timeout(0),
]

TESTS = Path(__file__).parents[4]
CONFORMANCE = TESTS / "conformance"
NAMES = [name for name in os.environ.get("FLOWTOY_BROKER_LANGUAGE", "").split(",") if name]
RANDOM = int(os.environ.get("FLOWTOY_BROKER_RANDOM", "0"))


@pytest.fixture
def echo_url() -> Iterator[str]:
    """The echo server of the conformance set."""
    made = load(CONFORMANCE / "conftest.py", "conformance_parts")
    yield from made.echo_url.__wrapped__()


@pytest.mark.skipif(not NAMES, reason="FLOWTOY_BROKER_LANGUAGE names no broker")
@pytest.mark.parametrize("name", NAMES)
def test_valid_flows_give_the_listed_outputs_on_workers(
    here: Any, brokers: Callable[[str], Any], echo_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:
    cases: dict[str, dict[str, Any]] = yaml.safe_load(
        (CONFORMANCE / "table_valid.yaml").read_text("utf-8")
    )
    for path in CONFORMANCE.iterdir():
        if path.suffix in (".yaml", ".env", ".json"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path)
    variables = {"ECHO_URL": echo_url, "PLACE": str(tmp_path / "place")}
    for case in cases.values():
        for key, value in case.get("env", {}).items():
            variables.setdefault(key, value)
    broker = brokers(name)
    # Cursors that were kept with another broker, by the same flows, are not these ones' start.
    shutil.rmtree(here.files / "flowtoy-state", ignore_errors=True)
    # The machines of the test have one environment, and one place that paths start from.
    for key, value in {**variables, **broker.variables}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(here, "working_folder", tmp_path)
    worker = here.launch("flowtoy_dagster", "worker", "--executor", broker.executor, "-c", "4")
    worker.wait_for("takes up to")
    wrong, tried, left = {}, 0, []
    for file, case in cases.items():
        own = {**case.get("env", {}), **({"PLACE": "x"} if case.get("chdir") else {})}
        given_env = any(variables[key] != value for key, value in own.items())
        files = case.get("files", [file])
        if given_env or files == ["-"] or "arguments" in case:
            left.append(file)
            continue
        done = run_flow(with_executor(load_flow(files), broker.executor))
        tried += 1
        if done.outputs != case["outputs"]:
            wrong[file] = [step.error for step in done.status.steps.values()]
    print(f"{name}: {tried} flows, left out {left}")
    assert not wrong


@pytest.mark.skipif(not RANDOM, reason="FLOWTOY_BROKER_RANDOM is not set")
def test_random_flows_end_as_the_model_says_on_workers(
    deployments: Any, carried: Any
) -> None:
    carried(deployments("redis"))
    model = load(TESTS / "failures" / "model.py", "failure_model")
    load(TESTS / "failures" / "simulated.py", "simulated_run")
    random = load(TESTS / "failures" / "test_random_flows.py", "random_flows")

    @settings(random.UNHURRIED, max_examples=RANDOM)
    @given(steps=random.flows(), default=random.DEFAULTS)
    def check(steps: Any, default: str | None) -> None:
        run = run_flow(model.as_flow(steps, default, executor="celery"), 3)
        states = {name: step.state for name, step in run.status.steps.items()}
        model.Model(steps, default).check(states, run.success)

    check()
