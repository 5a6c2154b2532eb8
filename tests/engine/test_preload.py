"""What workers need was imported before they were forked (a preload that fails is silent)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from provider_packages import install_provider

PROVIDER = """
import os

class Preloaded:
    def __init__(self, configuration):
        pass

    def call(self, input_payload=None):
        from flowtoy_dagster.engine.executors.warm import preload
        return {"worker": os.getpid(), "server": os.getppid(), "preloaded": preload.PRELOADED_IN}
"""
FLOW = """
runner: {executor: EXECUTOR}
flow: [{name: a, source: preloaded, output: [{name: seen}]}]
"""
# Runs of the Python API come from a Python of their own, those of the command line from a fork.
COMMANDS = {
    "api": ["-c", "import json, sys\n"
                  "from flowtoy_dagster import run_flow\n"
                  "if __name__ == '__main__':\n"
                  "    print(json.dumps(run_flow(sys.argv[1]).outputs))"],
    "command line": ["-m", "flowtoy_dagster", "run", "-j"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("executor", ["multiprocess", "warm"])
def test_workers_are_forked_from_a_process_that_has_imported_what_they_need(
    executor: str, command: str, tmp_path: Path
) -> None:
    path = install_provider(tmp_path / "site", "preloaded", "Preloaded", PROVIDER)
    (tmp_path / "flow.yaml").write_text(FLOW.replace("EXECUTOR", executor))
    done = subprocess.run(
        [sys.executable, *COMMANDS[command], "flow.yaml"], capture_output=True, text=True,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, timeout=200,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)["a"]["seen"]
    # The module tells in which process it was imported.
    assert seen["preloaded"] != seen["worker"]
    if command == "api" or executor == "multiprocess":
        assert seen["preloaded"] == seen["server"]
