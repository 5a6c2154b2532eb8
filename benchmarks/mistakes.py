"""What many mistakes cost: `python benchmarks/mistakes.py`.

A thousand mistakes must cost no more than a thousand steps do. Measured are seconds of CPU, of one
number of mistakes and of four times as many; exits with 1 where a bar is not reached.
"""

from __future__ import annotations

import argparse
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import machine
from runners import own_command

from flowtoy_dagster.masking.mask import Mask

BAR = 2.0
"""Seconds of CPU."""
GROWTH = 6.0
"""How much more four times as many may cost."""
STEP = "  - name: step_{0}\n    source: {{type: process}}\n    input: {{command: ['true']}}\n"


def main() -> int:
    """Measure, print, and tell whether the bars are reached."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    missed = 0
    for title, count, measure in CASES:
        few, many = measure(count), measure(4 * count)
        reached = few <= BAR and many / few <= GROWTH
        missed += not reached
        print(f"{title.format(count)}: {few:.2f} s, four times as many: {many:.2f} s"
              f"{'' if reached else '  NOT REACHED'}", flush=True)
    return int(missed > 0)


def _validated(text: str) -> float:
    """Seconds of CPU for `flowtoy validate`, whatever it finds."""
    with tempfile.TemporaryDirectory(prefix="flowtoy-mistakes-") as name:
        path = Path(name) / "flow.yaml"
        path.write_text(text, encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([own_command(), "validate", str(path)], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime


def _steps(count: int, mistake: str = "") -> str:
    return "flow:\n" + "".join((STEP + mistake).format(number) for number in range(count))


def _unknown_keys(count: int) -> str:
    return _steps(1) + "".join(f"    key_{number}: 1\n" for number in range(count))


def _masked(count: int) -> float:
    """Seconds of CPU for making a mask of so many secrets, and for masking 100 kB with it."""
    mask = Mask(secrets.token_urlsafe(20) for _ in range(count))
    started = time.process_time()
    mask.text("some text that holds no secret; " * 3200)
    return time.process_time() - started


CASES: list[tuple[str, int, Callable[[int], float]]] = [
    ("{} steps without a mistake", 1000, lambda count: _validated(_steps(count))),
    ("{} misspelt dependencies", 1000,
     lambda count: _validated(_steps(count, "    depends_on: [stpe_{0}]\n"))),
    ("{} misspelt references", 1000,
     lambda count: _validated(_steps(count, "    when: flows.stpe_{0}.rows is defined\n"))),
    ("{} unknown keys of a step", 4000, lambda count: _validated(_unknown_keys(count))),
    ("a mask of {} secrets", 3200, _masked),
]

if __name__ == "__main__":
    sys.exit(main())
