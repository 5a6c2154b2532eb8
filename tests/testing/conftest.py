"""Test files of flows, run in this process."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from flowtoy_dagster.testing.cases import Verdict, run_case
from flowtoy_dagster.testing.files import CaseReader

Check = Callable[..., list[Verdict]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Writes a flow and its tests, and runs them."""
    monkeypatch.chdir(tmp_path)

    def run(flow: str, tests: str) -> list[Verdict]:
        Path("flow.yaml").write_text(textwrap.dedent(flow), encoding="utf-8")
        written = "flow: flow.yaml\ntests:\n" + tests
        Path("flow.test.yaml").write_text(written, encoding="utf-8")
        return [run_case(case) for case in CaseReader().read("flow.test.yaml")]

    return run
