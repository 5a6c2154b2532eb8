"""The cookbook: each flow really run against the shop, and tested as `flowtoy test` does.

All in one process. The pages show the very files; tests/test_docs.py compares them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
import shop_api  # type: ignore[import-not-found]

from flowtoy_dagster import load_flow, run_flow
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.run import FlowRun
from flowtoy_dagster.testing.cases import run_case
from flowtoy_dagster.testing.files import CaseReader

EXAMPLES = Path(__file__).parent.parent / "examples"
COOKBOOK = EXAMPLES / "cookbook"
FLOWS = sorted(
    path.stem for path in COOKBOOK.glob("*.yaml") if not path.name.endswith(".test.yaml")
)



@pytest.fixture(scope="module")
def shop() -> Iterator[Any]:
    with shop_api.ShopApi() as api:
        yield api


@pytest.fixture(scope="module")
def one_home(databases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from flowtoy_dagster.engine.storage.home import open_home

    home = open_home(tmp_path_factory.mktemp("cookbook") / "home")
    for name in ("history", "schedules"):  # not its configuration, which names its own folders
        shutil.copytree(databases / name, home / name)
    return home


@pytest.fixture
def run(
    shop: Any, one_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., FlowRun]:
    """Runs a flow of the cookbook in a copy of its folder, as a user does who stands in it."""
    folder = tmp_path / "cookbook"
    shutil.copytree(COOKBOOK, folder)
    (folder / "here.yaml").write_text("runner: {executor: in_process}\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FLOWTOY_HOME", str(one_home))
    monkeypatch.setenv("SHOP_API", shop.address)
    monkeypatch.setenv("NO_PROXY", shop_api.HOST)
    monkeypatch.setenv("no_proxy", shop_api.HOST)
    monkeypatch.setenv("SHOP_CLIENT_SECRET", shop_api.CLIENT[1])
    folders = [os.path.dirname(sys.executable), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))

    def start(name: str, **params: Any) -> FlowRun:
        flow = load_flow([f"{name}.yaml", "here.yaml"])
        return run_flow(bind(flow, params) if params else flow)

    return start


def outputs_of(done: FlowRun) -> Any:
    """What a run that succeeded gave."""
    assert done.success, [step.error for step in done.status.steps.values()]
    return done.outputs


def test_there_are_twelve_jobs_and_each_has_tests() -> None:
    assert len(FLOWS) == 12
    assert {path.name for path in COOKBOOK.glob("*.test.yaml")} == {
        f"{name}.test.yaml" for name in FLOWS
    }


@pytest.mark.parametrize("name", FLOWS)
def test_the_tests_of_a_job_pass(name: str, tmp_path: Path) -> None:
    cases = CaseReader().read(str(COOKBOOK / f"{name}.test.yaml"))
    assert cases
    for case in cases:
        verdict = run_case(case)
        assert verdict.passed, (case.config.name, verdict.mismatches)


def test_all_pages_are_in_both_files(run: Callable[..., FlowRun]) -> None:
    import pyarrow.parquet

    outputs = outputs_of(run("pages_to_files"))["orders"]
    assert outputs["pages"] == 3
    with Path("out/orders.csv").open(newline="") as file:
        assert [int(row["id"]) for row in csv.DictReader(file)] == [1001, 1002, 1003, 1004, 1005]
    assert pyarrow.parquet.read_table("out/orders.parquet").to_pylist() == shop_api.ORDERS


def test_the_second_incremental_run_loads_nothing(run: Callable[..., FlowRun]) -> None:
    assert outputs_of(run("incremental_load"))["load"] == {"loaded": 3}
    assert outputs_of(run("incremental_load"))["load"] is None
    with sqlite3.connect("shop.db") as database:
        rows = database.execute('select "order", status from changes order by "order"').fetchall()
    database.close()
    assert rows == [(1001, "shipped"), (1002, "paid"), (1003, "shipped")]


def test_a_retry_calls_only_for_the_items_that_failed(
    run: Callable[..., FlowRun], shop: Any
) -> None:
    done = run("items_with_resume")
    assert not done.success
    assert "the credit bureau does not answer" in str(done.status.steps["credit"].error)
    before = len(shop.requests)
    with History(done.home) as history:
        plan = plan_retry(history, history.find(done.run_id))
        again = retry_run(history, plan, 4)
    assert outputs_of(again)["report"] == {"text": "4 users, 5000 in all\n"}
    assert [request.path for request in shop.requests[before:]] == ["/credit/3"]


def test_the_token_is_requested_once_and_shown_nowhere(
    run: Callable[..., FlowRun], shop: Any
) -> None:
    before = len(shop.requests)
    done = run("oauth_api")
    assert outputs_of(done)["orders"] == {"open": [1004]}
    assert len(done.outputs["users"]["names"]) == 4  # type: ignore[index]
    paths = [request.path for request in shop.requests[before:]]
    assert sorted(paths) == ["/oauth/token", "/orders", "/users"]
    secret = shop_api.CLIENT[1].encode()
    databases = list(done.home.rglob("*.db"))
    assert databases
    assert [path for path in databases if secret in path.read_bytes()] == []


def test_the_report_is_fetched_when_it_is_done(run: Callable[..., FlowRun], shop: Any) -> None:
    outputs = outputs_of(run("wait_for_report", every=0.05))
    assert outputs["wait"] == {"state": "done"}
    assert Path("out/report.csv").read_text().startswith("id,status\n1001,shipped\n")


def test_a_call_that_comes_too_soon_is_made_again(run: Callable[..., FlowRun], shop: Any) -> None:
    before = len(shop.requests)
    assert outputs_of(run("rate_limited_api"))["stock"] == {"count": [14, 40, 310, 0]}
    assert len([r for r in shop.requests[before:] if r.path.startswith("/stock/")]) == 5


def test_the_program_joins_three_lists(run: Callable[..., FlowRun]) -> None:
    outputs = outputs_of(run("merge_with_python"))["merge"]
    assert outputs["total"] == 252.9
    lines = Path(outputs["table"]["path"]).read_text().splitlines()
    assert lines[0] == "order,customer,product,cost"
    assert lines[1] == "1001,Ada Lovelace,Mechanical keyboard,89.9"
    assert len(lines) == 6


def test_the_pipeline_counts_and_compresses(run: Callable[..., FlowRun]) -> None:
    text = outputs_of(run("nightly_log_report"))["count"]["by_status"]
    assert text.split() == ["2", "200", "1", "404"]
    assert Path("access.log.gz").exists()


def test_the_chat_hears_of_a_failure_and_of_its_end(
    run: Callable[..., FlowRun], shop: Any
) -> None:
    failed = run("notify_on_failure", database="missing")
    assert not failed.success
    assert failed.outputs["undo"] == {"text": "removing what was half loaded\n"}
    assert outputs_of(run("notify_on_failure"))["load"] == {"rows": 5}
    with build_opener(ProxyHandler({})).open(f"{shop.address}/messages") as answer:
        first, second = (json.loads(text)["text"] for text in json.load(answer))
    assert first.startswith("notify_on_failure failed: 'load': HTTP status 404")
    assert second == "notify_on_failure works again"


def test_days_are_loaded_again_only_where_they_are_named(run: Callable[..., FlowRun]) -> None:
    outputs = outputs_of(run("backfill", days=["2026-03-01", "2026-03-02"]))
    assert [len(rows) for rows in outputs["backfill"]["rows"]] == [2, 1]
    assert outputs["daily"] is None
    assert outputs["load"] == {"text": "3 rows\n"}
    outputs = outputs_of(run("backfill"))
    assert outputs["backfill"] == {"rows": []}
    assert outputs["load"] == {"text": "1 rows\n"}


def test_the_upload_is_checked(run: Callable[..., FlowRun]) -> None:
    outputs = outputs_of(run("upload_a_file"))
    table = Path(outputs["export"]["table"]["path"])
    assert outputs["upload"] == {"bytes": table.stat().st_size, "checked": "the same"}
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    assert outputs["export"]["table"]["sha256"] == digest


def test_what_was_loaded_is_counted(run: Callable[..., FlowRun]) -> None:
    outputs = outputs_of(run("load_into_sqlite"))
    assert outputs["load"] == {"loaded": 4}
    assert outputs["check"] == {"complete": "yes", "stock": 364}
