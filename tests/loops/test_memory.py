"""The values of a loop's items are on disk, not in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

FEW, MANY, LARGE = 100, 300, 1_000_000


def peak(flow: Path) -> int:
    """The most memory that the process of a run had, in bytes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flowtoy_dagster", "run", "-q", str(flow)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss * 1024


def test_the_values_of_items_are_not_kept_in_memory(
    write: Callable[..., Path], made_home: Path
) -> None:
    # language 18.13
    def flow(count: int) -> Path:
        return write(
            f"""
            runner: {{executor: in_process}}
            flow:
              - name: large
                for_each: {{in: "{{{{ range({count}) | list }}}}", concurrency: 4}}
                source:
                  type: process
                  command: [sh, -c, "head -c {LARGE} /dev/zero | tr '\\\\0' x"]
                output: [{{name: text, value: stdout}}]
            """,
            f"{count}.yaml",
        )

    # Each item's thread needs memory for its own value, and the allocator keeps some of what was
    # freed: 40 MB more after 100 items than after 20, and little more after 900.
    assert peak(flow(MANY)) - peak(flow(FEW)) < (MANY - FEW) * LARGE / 2
