"""`flowtoy test --record`: a test of a real run."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flowtoy_dagster.cli.shared import collect_garbage_again
from flowtoy_dagster.cli.shared.options import flow_of
from flowtoy_dagster.errors import FlowtoyError, UsageError, system_reason
from flowtoy_dagster.json_text import loads
from flowtoy_dagster.terminal import plain, say

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow
    from flowtoy_dagster.runs.run import FlowRun
    from flowtoy_dagster.testing.cases import Verdict


def record_test(name: str, flows: Sequence[str], params: Sequence[str]) -> None:
    """Run a flow, and write a test with the answers that it got and what it came to.

    Args:
        name: the test's.
        flows: the files of the flow; the test file is next to the last.
        params: values of parameters, as `--param` has them.

    Raises:
        UsageError: the test file can't take another test.
        typer.Exit: the test does not come to what the run came to.
    """
    from flowtoy_dagster.testing.update import with_case

    if not flows or any(Path(path).is_dir() for path in flows):
        raise UsageError("name the flow: flowtoy test --record NAME flow.yaml")
    file = _test_file(flows[-1])
    text = _read(file, flows)
    _check_flow(file, text, flows)
    with_case(text, {"name": name}, str(file))  # before anything is called
    flow = flow_of(flows, params)
    with tempfile.TemporaryDirectory(prefix="flowtoy-test-") as folder:
        run, mocks = _run(flow, Path(folder) / "recording")
    case: dict[str, Any] = {"name": name, **_given(flow, run), "mock": mocks}
    _write(file, with_case(text, case, str(file)))
    verdict = _expect(file, name)
    differing = _differing(run, verdict)
    print(f"{plain(str(file))}: '{plain(name)}' is recorded")
    for line in differing:
        say(f"    {line}")
    if differing:
        say("    with the recorded answers the flow has another result: edit the test")
        raise typer.Exit(FlowtoyError.exit_code)


def _test_file(flow: str) -> Path:
    path = Path(flow)
    suffix = path.suffix if path.suffix in (".yaml", ".yml") else ".yaml"
    return path.with_name(f"{path.name.removesuffix(suffix)}.test{suffix}")


def _read(file: Path, flows: Sequence[str]) -> str:
    """The text of the test file, or of a new one."""
    from flowtoy_dagster.testing.update import in_one_line, read_as_written

    try:
        return read_as_written(file)
    except FileNotFoundError:
        names = [os.path.relpath(path, file.parent) for path in flows]
        return f"flow: {in_one_line(names if len(names) > 1 else names[0])}\ntests:\n"
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"can't read '{file}': {str(reason).lower()}") from None


def _check_flow(file: Path, text: str, flows: Sequence[str]) -> None:
    """Check that a test file is about a flow.

    Raises:
        ConfigError: it is not YAML.
        UsageError: it is about another flow.
    """
    from flowtoy_dagster.flow.files.yaml_reader import read_document

    root = read_document(text, str(file)).plain()
    written = root.get("flow", []) if isinstance(root, dict) else []
    listed = [str(each) for each in (written if isinstance(written, list) else [written])]
    tested = [os.path.realpath(file.parent / each) for each in listed]
    if listed and tested != [os.path.realpath(path) for path in flows]:
        raise UsageError(
            f"'{file}' has the tests of another flow: {', '.join(listed)}\n"
            "    move it, or name its flow there"
        )


def _write(file: Path, text: str) -> None:
    from flowtoy_dagster.store.files import write_whole

    try:
        target = Path(os.path.realpath(file))
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        write_whole(target, text.encode("utf-8"), mode)
    except OSError as error:
        reason = system_reason(error)
        raise UsageError(f"can't write '{file}': {reason}") from None


def _run(flow: Flow, folder: Path) -> tuple[FlowRun, dict[str, Any]]:
    from flowtoy_dagster.progress import progress_on_stderr
    from flowtoy_dagster.runs.run import run_flow
    from flowtoy_dagster.store.recordings.as_mocks import mocks_of
    from flowtoy_dagster.store.recordings.recording import to_replay

    collect_garbage_again()
    with progress_on_stderr() as progress:
        progress.start(flow, ())
        try:
            run = run_flow(flow, on_change=progress.show, record=folder)
        finally:
            progress.stop()
        progress.summarize(run.status)
    mocks = mocks_of(to_replay(folder))
    return run, {step.name: mocks[step.name] for step in flow.steps if step.name in mocks}


def _given(flow: Flow, run: FlowRun) -> dict[str, Any]:
    """The parameters and variables that the run had; secret ones are `***`."""
    from flowtoy_dagster.flow.param_values import bound, see_params
    from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
    from flowtoy_dagster.masking.mask import HIDDEN

    values = bound(flow).values
    params = {
        name: run.mask.data(value) for name, value in (values.public if values else {}).items()
        if flow.params[name].config.default != value
    }
    seen = see_params(flow, os.environ).values
    params |= {
        name: HIDDEN for name, param in flow.params.items()
        if param.secret and name in seen and seen[name] != param.config.default
    }
    names = sorted(FlowSecrets(flow).variables & os.environ.keys())
    env = {name: run.mask.text(os.environ[name]) for name in names}
    found: dict[str, Mapping[str, Any]] = {"params": params, "env": env}
    return {key: given for key, given in found.items() if given}


def _expect(file: Path, name: str) -> Verdict:
    """Run the new test, and write what it comes to as its expectation."""
    from flowtoy_dagster.testing.cases import run_case
    from flowtoy_dagster.testing.files import CaseReader
    from flowtoy_dagster.testing.update import read_as_written, updated

    case = next(one for one in CaseReader().read(str(file)) if one.config.name == name)
    verdict = run_case(case)
    text, _ = updated(read_as_written(file), [verdict])
    _write(file, text)
    return verdict


def _differing(run: FlowRun, verdict: Verdict) -> list[str]:
    """What the steps of the test came to otherwise than those of the run."""
    found = []
    for name, text in run.output_texts():
        ended, state = verdict.run.steps.get(name), run.status.steps[name].state
        if ended is None:
            continue
        if ended.state != state:
            reason = f": {ended.error}" if ended.error else ""
            found.append(f"step '{name}' {state} in the run, and {ended.state} in the test{reason}")
        elif text is not None and _placeless(loads(text.read())) != _placeless(dict(ended.shown)):
            found.append(f"the outputs of step '{name}' are others in the test than in the run")
    return [verdict.run.mask.text(told) for told in found]


def _placeless(value: Any) -> Any:
    """Outputs without the places of files, which differ in each run."""
    if isinstance(value, dict):
        is_file = {"path", "sha256"} <= value.keys()
        return {k: _placeless(v) for k, v in value.items() if not (is_file and k == "path")}
    return [_placeless(item) for item in value] if isinstance(value, list) else value
