"""Commands that open a page say what they do before they import what takes long."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

# Stands for Dagster, and ends the command where it would be imported.
STANDS_FOR_DAGSTER = """\
import os
os.write(2, b"Dagster is imported\\n")
os._exit(9)
"""


def said_before_dagster(tmp_path: Path, words: Sequence[str]) -> list[str]:
    """The lines in a file that a command's stderr goes to, when Dagster is to be imported."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "dagster.py").write_text(STANDS_FOR_DAGSTER)
    (tmp_path / "flow.yaml").write_text("flow: [{name: only, source: env}]\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "first")}
    with open(tmp_path / "said", "wb") as said:
        done = subprocess.run(
            [sys.executable, "-m", "flowtoy_dagster", *words], cwd=tmp_path, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, timeout=120,
        )
    assert done.returncode == 9
    return (tmp_path / "said").read_text().splitlines()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["webui", "flow.yaml", "--port", "0"], "starting the run …"),
        (["webui", "last", "--port", "0"], "opening the history …"),
        (["runs", "open", "last", "--port", "0"], "opening the history …"),
    ],
)
def test_the_first_line_comes_before_dagster_is_imported(
    tmp_path: Path, words: list[str], line: str
) -> None:
    first, second, *_ = said_before_dagster(tmp_path, words)
    assert (first, second) == (line, "Dagster is imported")
