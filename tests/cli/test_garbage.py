"""Python's collector, which is off while modules load, works while a command does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from provider_packages import install_provider

_PROVIDER = """
import gc

class Collector:
    def __init__(self, configuration):
        pass

    def call(self, payload):
        return {"works": gc.isenabled()}
"""
_FLOW = """
sources:
  collector: {{type: collector}}
runner: {{executor: {executor}}}
flow:
  - name: ask
    source: collector
    output: [{{name: works, value: works}}]
"""


@pytest.fixture
def written(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Installs the provider, and writes a flow that asks it."""
    path = install_provider(tmp_path / "site", "collector", "Collector", _PROVIDER)
    monkeypatch.setenv("PYTHONPATH", path)
    return lambda executor: write(_FLOW.format(executor=executor))


@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_it_works_while_a_run_does(
    executor: str, written: Callable[[str], Path], flowtoy: Callable[..., Any], made_home: Path
) -> None:
    done = flowtoy("run", written(executor), "-j")
    assert done.code == 0, done.stderr
    assert done.json == {"ask": {"works": True}}
    again = flowtoy("retry", "last", "--from", "ask", "-j")
    assert again.json == {"ask": {"works": True}}


def test_it_works_while_one_step_or_a_test_does(
    written: Callable[[str], Path], flowtoy: Callable[..., Any], write: Callable[..., Path],
    made_home: Path,
) -> None:
    flow = written("in_process")
    done = flowtoy("step", "ask", flow)
    assert done.code == 0, done.stderr
    assert done.json == {"works": True}
    write(
        """
        flow: flow.yaml
        tests:
          - name: it works
            real: [ask]
            expect: {outputs: {ask: {works: true}}}
        """,
        "flow.test.yaml",
    )
    tested = flowtoy("test", "flow.test.yaml")
    assert tested.code == 0, tested.stdout + tested.stderr
