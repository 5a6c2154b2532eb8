"""A package of providers, installed beside flowtoy and used by flows."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.usefixtures("made_home")
PACKAGE = Path(__file__).parent / "packages" / "flowtoy_sample"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the package and its metadata.

    Laid out as an installer would do it, but without one: no network, no pip, no build backend.
    """
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copytree(
        PACKAGE / "flowtoy_sample", folder / "flowtoy_sample",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    info = folder / f"flowtoy_sample-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = ["[flowtoy.providers]"]
    for name, value in project["entry-points"]["flowtoy.providers"].items():
        lines.append(f"{name} = {value}")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def run(flowtoy: Callable[..., Any], write: Callable[..., Path], site: Path) -> Callable[..., Any]:
    """Runs a flow with the package installed."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))

    def run_flow(text: str, *options: str) -> Any:
        return flowtoy("run", write(text), *options, env={"PYTHONPATH": path, "TEAM": "blue"})

    return run_flow


def test_a_provider_gets_its_configuration_and_payload_rendered(run: Callable[..., Any]) -> None:
    # language 3.2, 5.2, 5.5, 6.1, 7.2, 11
    done = run(
        """
        sources:
          queue:
            type: sample
            team: "{{ env.TEAM }}"
            configuration: {size: 3, nested: {list: ["{{ 1 + 1 }}"]}}
        flow:
          - name: mapping
            source: queue
            input: {url: http://localhost, method: GET, command: ls, "{{ env.TEAM }}": 1}
            output: [{name: all}, {name: code, value: code}, {name: notes, value: notes},
                     {name: meta, value: meta}, {name: text, value: "{{ result.payload.url }}"},
                     {name: by, value: "{{ meta.source }} {{ status.code }}"}]
          - name: inline
            source: {type: sample, configuration: {a: 1}}
            input: {type: value, value: "{{ flows.mapping.code }}"}
            output: [{name: all, type: json}]
          - name: derived
            source: {base: queue, override: {nested: {list: []}}}
            input: [1, "{{ sources.queue.size }}"]
            output: [{name: all, type: raw}]
          - name: by_type
            source: sample
            output: [{name: all}]
          - name: bare
            source: sample-bare
            input: "{{ steps.mapping.result.data.configuration.team }}"
            output: [{name: all}, {name: first, value: "data[0]"}, {name: ok, value: success}]
        """,
        "-j",
    )
    assert done.code == 0, done.stderr
    configuration = {"team": "blue", "size": 3, "nested": {"list": [2]}}
    payload = {"url": "http://localhost", "method": "GET", "command": "ls", "{{ env.TEAM }}": 1}
    assert done.json == {
        "mapping": {
            "all": {"payload": payload, "configuration": configuration},
            "code": 7,
            "notes": ["well done"],
            "meta": {"source": "sample"},
            "text": "http://localhost",
            "by": "sample 7",
        },
        "inline": {"all": {"payload": 7, "configuration": {"a": 1}}},
        "derived": {
            "all": {"payload": [1, 3], "configuration": {**configuration, "nested": {"list": []}}}
        },
        "by_type": {"all": {"payload": None, "configuration": {}}},
        "bare": {"all": ["bare", "blue"], "first": "bare", "ok": True},
    }


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param(
            "sample-raises",
            "the provider 'sample-raises' raised RuntimeError: the queue is closed",
            id="raises in call",
        ),
        pytest.param(
            "sample-exits",
            "the provider 'sample-exits' raised SystemExit: nothing to do",
            id="exits",
        ),
        pytest.param(
            "sample-refuses",
            "the provider 'sample-refuses' rejected its configuration: "
            "ValueError: 'queue' is required",
            id="refuses its configuration",
        ),
        pytest.param(
            "{type: sample-status, success: false, code: 3, notes: [queue full, try later]}",
            "queue full; try later",
            id="reports a failure",
        ),
        pytest.param(
            "{type: sample-status, success: false, code: 3}",
            "the provider 'sample-status' reported a failure (code 3)",
            id="reports a failure without notes",
        ),
    ],
)
def test_a_provider_that_fails_fails_its_step(
    run: Callable[..., Any], source: str, reason: str
) -> None:
    # language 11, 12
    done = run(
        f"""
        flow:
          - name: a
            source: {source}
            output: [{{name: x}}]
          - name: b
            source: sample
            input: "{{{{ flows.a.x }}}}"
        """,
        "-j",
    )
    assert done.code == 1
    assert f"reason: {reason}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.json == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("nan", "JSON can't hold the number nan"),
        ("bytes", "JSON can't hold a value of type 'bytes'"),
        ("datetime", "JSON can't hold a value of type 'datetime'"),
    ],
    ids=["nan", "bytes", "datetime"],
)
def test_an_output_that_json_cannot_hold_fails_the_step_and_is_named_with_its_path(
    run: Callable[..., Any], kind: str, why: str
) -> None:
    # language 7.3
    done = run(
        f"""
        flow:
          - name: a
            source: {{type: sample-unholdable, kind: {kind}}}
            output: [{{name: fine, value: "rows[0]"}}, {{name: everything}}]
        """
    )
    assert done.code == 1
    assert f"reason: output 'everything' at rows[1].at: {why}\n" in done.stderr


def test_what_a_provider_prints_stays_out_of_stdout(run: Callable[..., Any]) -> None:
    done = run("flow: [{name: a, source: sample, output: [{name: x, value: code}]}]", "-j")
    assert done.code == 0, done.stderr
    assert done.json == {"a": {"x": 7}}


def test_an_unknown_type_lists_the_types_there_are(run: Callable[..., Any]) -> None:
    # language 3.2
    done = run(
        """
        sources:
          q: {type: samples}
          r: {type: something else}
        flow: [{name: a, source: q}, {name: b, source: r}]
        """
    )
    assert done.code == 2
    assert "there is no provider type 'samples'" in done.stderr
    assert "did you mean 'sample'?" in done.stderr
    listed = "'rest', 'process', 'env', 'sample', 'sample-bare'"
    assert f"the types are {listed}" in " ".join(done.stderr.split())


def test_a_provider_that_fails_to_import_is_a_warning_where_no_step_uses_it(
    run: Callable[..., Any],
) -> None:
    # language 3.2
    done = run(
        """
        sources: {lost: {type: sample-broken}}
        flow: [{name: a, source: sample-bare, output: [{name: x}]}]
        """,
        "-j",
    )
    assert done.code == 0, done.stderr
    assert done.json == {"a": {"x": ["bare", None]}}
    assert ": warning: source 'lost' can't be used" in done.stderr
    assert "No module named 'a_package_that_nobody_has'" in done.stderr


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param("sample-broken", "No module named 'a_package_that_nobody_has'", id="module"),
        pytest.param("sample-renamed", "has no attribute 'NoLongerHere'", id="class"),
        pytest.param("{type: sample-broken}", "No module named", id="inline"),
    ],
)
def test_a_provider_that_fails_to_import_is_an_error_where_a_step_uses_it(
    run: Callable[..., Any], source: str, reason: str
) -> None:
    # language 3.2
    done = run(f"flow: [{{name: a, source: {source}}}]")
    assert done.code == 2
    assert "flow.yaml:1:" in done.stderr
    assert "fails to import" in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_an_entry_point_cannot_take_the_place_of_a_built_in_type(run: Callable[..., Any]) -> None:
    # language 3.2: the built-in's own check of the keys proves which class it is
    done = run("flow: [{name: a, source: {type: rest, url: http://localhost, heders: {}}}]")
    assert done.code == 2
    assert "unknown key 'heders'" in done.stderr
    assert "did you mean 'headers'?" in done.stderr
