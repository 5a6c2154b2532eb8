"""Flows in a code location: loaded once, rebuilt in each process of a run (runtime 1, 5)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from dagster._core.definitions.reconstruct import ReconstructableRepository

import flowtoy_dagster.deployment.location
from flowtoy_dagster import FlowTranslator, StepSpec, build_definitions
from flowtoy_dagster.definitions import defs, flow_repository
from flowtoy_dagster.engine.executors.definition import own_executor
from flowtoy_dagster.engine.jobs.reconstruction import load_repository
from flowtoy_dagster.engine.tags import CONFIG_TAG, FLOW_TAG
from flowtoy_dagster.errors import RunError, UsageError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs
from flowtoy_dagster.runs.retry import plan_retry

FETCH = "flow: [{name: fetch, source: process, input: {command: [echo, one]}, output: [{name: x}]}]"


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process makes once is made anew in each test."""
    monkeypatch.setattr(flowtoy_dagster.deployment.location, "_made", {})


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes flows into the folder that `FLOWTOY_PATH` names."""
    folder = tmp_path / "flows"
    folder.mkdir()
    monkeypatch.setenv("FLOWTOY_PATH", str(folder))

    def write(**texts: str) -> Path:
        for name, text in texts.items():
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        return folder

    return write


@contextlib.contextmanager
def rebuilding(repository: dg.RepositoryDefinition) -> Iterator[None]:
    """What is loaded in here is loaded as in a process of a run of that code location."""
    flowtoy_dagster.deployment.location._made.clear()
    load_data = repository.repository_load_data
    context = DefinitionsLoadContext(DefinitionsLoadType.RECONSTRUCTION, load_data)
    with DefinitionsLoadContext.scoped(context):
        yield


def rebuilt(repository: dg.RepositoryDefinition) -> dg.RepositoryDefinition:
    """The repository as a process of a run has it."""
    address = ReconstructableRepository.for_module("flowtoy_dagster.definitions", "defs")
    with rebuilding(repository):
        return address.with_repository_load_data(repository.repository_load_data).get_definition()


def remembered(repository: dg.RepositoryDefinition) -> dict[str, str]:
    """What Dagster stores of a code location with each of its runs."""
    assert repository.repository_load_data is not None
    metadata = repository.repository_load_data.reconstruction_metadata
    return {key: value.value for key, value in metadata.items()}


def outputs_of(job: dg.JobDefinition) -> Any:
    """What a run of a job in this process gives."""
    with History() as history:
        result = job.execute_in_process(instance=history.instance)
        run = history.find(result.run_id)
        records = history.records(run, history.status(run))
        return {name: record and record.outputs for name, record in records}


def test_any_file_name_is_a_job_and_equal_steps_stand_in_one_location(
    flows: Callable[..., Path],
) -> None:
    flows(**dict.fromkeys(("config", "input", "my flow", "été", "été 2"), FETCH))
    repository = flow_repository()
    assert set(repository.job_names) == {"flow_config", "flow_input", "my_flow", "ete", "ete_2"}
    repository.validate_loadable()
    for job in repository.get_all_jobs():
        assert list(job.graph.node_dict) == ["fetch"]


def test_a_job_that_is_called_as_a_step_of_another_stands_beside_it(
    flows: Callable[..., Path],
) -> None:
    folder = flows(a=FETCH)
    (folder / "a").mkdir()
    (folder / "a" / "0_fetch.yaml").write_text(FETCH)
    repository = flow_repository()
    repository.validate_loadable()
    assert set(repository.job_names) == {"a", "a__0_fetch"}


def test_the_files_that_the_environment_names_are_one_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base.yaml").write_text("name: My shop\n" + FETCH)
    (tmp_path / "over.yaml").write_text("tags: {team: blue}")
    paths = [str(tmp_path / name) for name in ("base.yaml", "over.yaml")]
    monkeypatch.setenv("FLOWTOY_CONFIG", os.pathsep.join(paths))
    (job,) = flow_repository().get_all_jobs()
    assert job.name == "My_shop"
    assert job.run_tags["team"] == "blue"
    assert job.run_tags[FLOW_TAG] == "My shop"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("flow: [{name: a, source: proces}]", "broken.yaml:1:26: there is no source 'proces'"),
        ("flow: [", "broken.yaml:1:8: not valid YAML"),
        ("- a\n- b", "the top level of a configuration must be a mapping"),
    ],
    ids=["wrong", "not YAML", "not a mapping"],
)
def test_a_broken_file_becomes_a_job_that_tells_what_is_wrong(
    flows: Callable[..., Path], caplog: pytest.LogCaptureFixture, text: str, told: str
) -> None:
    flows(good=FETCH, broken=text)
    with caplog.at_level(logging.WARNING, "dagster.flowtoy"):
        first = flow_repository()
    (record,) = (each for each in caplog.records if each.name == "dagster.flowtoy")
    assert told in record.getMessage()
    for repository in (first, rebuilt(first)):
        assert set(repository.job_names) == {"good", "broken"}
        job = repository.get_job("broken")
        assert job.tags["flowtoy/broken"] == "true"
        assert told in (job.description or "")
        result = job.execute_in_process(raise_on_error=False)
        (failure,) = (e for e in result.all_events if e.is_step_failure)
        assert told in str(failure.step_failure_data.user_failure_data)
    assert outputs_of(first.get_job("good")) == {"fetch": {"x": OUTPUT}}


def test_a_run_of_a_broken_flow_says_what_was_wrong_with_it(flows: Callable[..., Path]) -> None:
    flows(broken="flow: [{name: a, source: proces}]")
    job = flow_repository().get_job("broken")
    with History() as history:
        run = job.execute_in_process(instance=history.instance, raise_on_error=False).dagster_run
        told = "could not be loaded: .*broken.yaml:1:26: there is no source 'proces'"
        with pytest.raises(RunError, match=told):
            history.flow(run)


def test_warnings_of_a_flow_are_logged_where_it_is_loaded(
    flows: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = flows(a='flow: [{name: a, source: process, input: {command: [awk, "{{ env.V }}"]}}]')
    with caplog.at_level(logging.WARNING, "dagster.flowtoy"):
        repository = flow_repository()
        rebuilt(repository).get_all_jobs()
    (record,) = (each for each in caplog.records if each.name == "dagster.flowtoy")
    message = "warning: 'awk' reads the value of this template as code"
    assert record.getMessage().startswith(f"{folder}/a.yaml:1:58: {message}\n    give it as a")


OUTPUT = {"stdout": "one\n", "stderr": "", "returncode": 0}


def test_a_place_that_is_not_there_is_a_broken_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWTOY_PATH", "/no/such/folder")
    (job,) = flow_repository().get_all_jobs()
    assert job.name == "folder"
    assert "can't read the configuration '/no/such/folder'" in (job.description or "")


def test_dagster_is_given_names_and_hashes_and_no_text(
    flows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 13.3
    monkeypatch.setenv("API_TOKEN", "sesame-open")
    source = "{type: process, password: sesame-open}"
    flows(good=FETCH + "\ndescription: with sesame-open", broken=f"flow: [{{source: {source}}}]")
    repository = flow_repository()
    ((_, text),) = remembered(repository).items()
    assert "sesame" not in text
    for name, (flow, reference) in json.loads(text).items():
        assert name == flow
        assert len(bytes.fromhex(reference)) == 32
    assert repository.get_job("good").tags[CONFIG_TAG] == json.loads(text)["good"][1]
    assert "sesame" not in (repository.get_job("broken").description or "")


def test_a_location_without_flows_says_so(
    flows: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    flows()
    repository = flow_repository()
    assert repository.job_names == rebuilt(repository).job_names == []
    assert "no flow was found: FLOWTOY_PATH names files and folders" in caplog.text


def test_a_process_of_a_run_builds_what_was_loaded_whatever_the_files_hold(
    flows: Callable[..., Path],
) -> None:
    # runtime 5
    folder = flows(shop=FETCH)
    first = flow_repository()
    (folder / "shop.yaml").write_text(FETCH.replace("fetch", "other"))
    (folder / "new.yaml").write_text(FETCH)
    again = rebuilt(first)
    assert again.job_names == ["shop"]
    assert list(again.get_job("shop").graph.node_dict) == ["fetch"]
    # What it was given, it hands on to the processes that it starts itself.
    assert remembered(again) == remembered(first)
    assert set(flow_repository().job_names) == {"shop", "new"}


def test_a_process_of_a_run_builds_no_job_but_its_own(
    flows: Callable[..., Path], home: Path
) -> None:
    folder = flows(one=FETCH, two=FETCH.replace("one", "two"))
    first = flow_repository()
    reference = first.get_job("two").tags[CONFIG_TAG]
    (home / "flowtoy-configs" / f"{reference}.json").unlink()
    (folder / "two.yaml").unlink()
    again = rebuilt(first)
    assert list(again.get_job("one").graph.node_dict) == ["fetch"]
    gone = r"the configuration of job 'two' is gone from .*\n    reload the code location"
    with pytest.raises(RunError, match=gone):
        again.get_job("two")


def test_another_machine_saves_what_its_files_hold_if_that_is_the_same(
    flows: Callable[..., Path], home: Path
) -> None:
    flows(shop=FETCH)
    first = flow_repository()
    for path in (home / "flowtoy-configs").iterdir():
        path.unlink()
    assert list(rebuilt(first).get_job("shop").graph.node_dict) == ["fetch"]


def test_schedules_come_with_their_flows(flows: Callable[..., Path]) -> None:
    flows(shop="schedule: {cron: '0 6 * * *'}\n" + FETCH)
    first = flow_repository()
    (schedule,) = first.schedule_defs
    assert (schedule.name, schedule.job_name) == ("shop_schedule", "shop")
    context = DefinitionsLoadContext(
        DefinitionsLoadType.RECONSTRUCTION, first.repository_load_data
    )
    # A code server loads its location a second time, to serve it.
    with DefinitionsLoadContext.scoped(context):
        served: Any = defs()
    assert [each.name for each in served.schedule_defs] == ["shop_schedule"]
    assert served.get_job("shop") is served.schedule_defs[0].job


def test_configurations_that_a_location_refers_to_are_not_pruned(
    flows: Callable[..., Path],
) -> None:
    folder = flows(shop=FETCH)
    first = flow_repository()
    with History() as history:
        assert prune_runs(history, 0) == []
    # With the file gone, nothing can save the configuration again.
    (folder / "shop.yaml").unlink()
    assert list(rebuilt(first).get_job("shop").graph.node_dict) == ["fetch"]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"resources": {"io_manager": {"config": {"base_dir": "/tmp"}}}}, "base_dir"),
        ({"ops": {"fetch": {"config": {"command": ["ls"]}}}}, "command"),
        ({"ops": {"fetch": {"inputs": {"x": 1}}}}, "inputs"),
        ({"ops": {"fetch": {"outputs": [{"result": {"path": "/tmp"}}]}}}, "outputs"),
        ({"execution": {"config": {"start_method": {"spawn": {}}}}}, "start_method"),
        ({"execution": {"config": {"max_concurrent": {"env": "HOME"}}}}, "HOME"),
    ],
    ids=["io manager", "op", "inputs", "outputs", "executor", "environment"],
)
def test_a_run_can_be_told_nothing_that_could_do_harm(
    flows: Callable[..., Path], config: Mapping[str, Any], told: str
) -> None:
    flows(shop=FETCH)
    job = flow_repository().get_job("shop")
    with pytest.raises(dg.DagsterInvalidConfigError, match=told):
        dg.validate_run_config(job, dict(config))
    assert dg.validate_run_config(job, {"execution": {"config": {"max_concurrent": 2}}})


class Owned(FlowTranslator):
    """Adds an owner."""

    def step_spec(self, flow: Any, step: Any) -> StepSpec:
        spec = super().step_spec(flow, step)
        return StepSpec(spec.description, {**spec.tags, "owner": "blue"}, "toy", "api")


def test_flows_stand_beside_a_teams_own_definitions(flows: Callable[..., Path]) -> None:
    folder = flows(shop=FETCH)

    @dg.asset
    def sales() -> int:
        return 1

    def team() -> dg.Definitions:
        ours = build_definitions(folder, translator=Owned(), tags={"team": "blue"})
        return dg.Definitions.merge(dg.Definitions(assets=[sales]), ours)

    first = load_repository(team)
    (folder / "shop.yaml").write_text(FETCH.replace("fetch", "other"))
    with rebuilding(first):
        again = team().get_repository_def()
    for repository in (first, again):
        repository.validate_loadable()
        job = repository.get_job("shop")
        op = job.graph.node_dict["fetch"].definition
        assert job.run_tags["team"] == "blue"
        assert (op.tags["owner"], op.tags["kind"], op.tags["flowtoy/step"]) == (
            "blue", "toy", "fetch"
        )
        assert isinstance(op, dg.OpDefinition)
        assert op.pool == "api"


def test_several_sets_of_flows_stand_in_one_location(flows: Callable[..., Path]) -> None:
    folder = flows(shop=FETCH, bank=FETCH)

    def team() -> dg.Definitions:
        return dg.Definitions.merge(
            build_definitions(folder / "shop.yaml"), build_definitions([folder / "bank.yaml"])
        )

    first = load_repository(team)
    with rebuilding(first):
        again = team().get_repository_def()
    assert set(first.job_names) == set(again.job_names) == {"shop", "bank"}


WITH_DEFAULT = """\
params: {who: {type: string, default: Ada}}
flow:
  - {name: a, source: process, input: {command: [echo, "{{ params.who }}"]}}
  - {name: b, source: process, input: {command: ["false"]}, depends_on: a}
"""


def test_a_retry_keeps_what_succeeded_in_a_run_of_dagsters_own_with_defaults(
    flows: Callable[..., Path],
) -> None:
    flows(one=WITH_DEFAULT)
    job = flow_repository().get_job("one")
    with History() as history:
        done = job.execute_in_process(instance=history.instance, raise_on_error=False)
        plan = plan_retry(history, history.find(done.run_id))
    assert {name: what for name, (what, _) in plan.fates().items()} == {"a": "reused", "b": "runs"}


def test_steps_that_were_not_chosen_say_so(flows: Callable[..., Path]) -> None:
    flows(one=WITH_DEFAULT)
    job = flow_repository().get_job("one")
    with History() as history:
        done = job.execute_in_process(instance=history.instance, op_selection=["a"])
        status = history.status(history.find(done.run_id))
    assert {name: (step.state, step.error) for name, step in status.steps.items()} == {
        "a": ("succeeded", None), "b": ("skipped", "it was not chosen for this run"),
    }


def test_a_number_of_steps_at_once_below_0_is_an_error_and_no_run_for_ever() -> None:
    made = own_executor("one", lambda config: cast(dg.Executor, config), 4, [])
    assert made.executor_creation_fn is not None
    for most, is_right in ((-1, False), (0, True), (2, True)):
        context: Any = SimpleNamespace(executor_config={"max_concurrent": most})
        with contextlib.nullcontext() if is_right else pytest.raises(UsageError, match="got -1"):
            made.executor_creation_fn(context)
