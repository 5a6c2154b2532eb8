"""The commands of the README, pasted as a new user would: in a fresh clone, with a fresh venv."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = re.findall(
    r"^```bash\n(python3 -m venv [^\n]+)\n```$",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def clone(folder: Path) -> None:
    """Copy what a clone would have if all that is here were committed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def paste(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in a shell without this environment's Python; skip without a network."""
    own = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    own |= {name for name in os.environ if name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name not in own},
    )
    if done.returncode != 0 and "connection broken by" in done.stderr and "CI" not in os.environ:
        pytest.skip("pip reaches no package index, which the README's commands need")
    return done


def check_outputs(printed: str) -> None:
    outputs = json.loads(printed)
    assert list(outputs) == ["authenticate", "fetch_users", "fetch_products", "combine_data"]
    assert len(outputs["combine_data"]["combined"]) == 5


@pytest.mark.timeout(900)  # downloads and installs all dependencies
def test_the_commands_of_the_readme_work_in_a_fresh_clone(tmp_path: Path) -> None:
    """One test for both, because installing twice would take twice as long."""
    assert len(COMMANDS) == 2
    if "README_PRINTED" in os.environ:
        # .ci/run has pasted the first into its fresh clone, and this is a part of the second.
        check_outputs(Path(os.environ["README_PRINTED"]).read_text(encoding="utf-8"))
        return
    first, second = COMMANDS
    clone(tmp_path)

    done = paste(first, tmp_path)
    assert done.returncode == 0, done.stderr
    check_outputs(done.stdout)
    assert "succeeded: 4 succeeded" in done.stderr

    # All tests would include this one, without end. A file of quick ones shows that the command
    # installs what pytest needs, and that what it installs passes; CI runs the command as it is.
    done = paste(f"{second} tests/test_packaging.py", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^(=+ )?\d+ passed", done.stdout, re.MULTILINE)


def test_ci_runs_the_very_commands_that_the_readme_gives() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    first, second = COMMANDS
    (place,) = (index for index, line in enumerate(lines) if first in line)
    assert lines[place].endswith(f'; {first}) >"$README_PRINTED"')
    parts = second.split(" && ")
    assert len(parts) == 3
    places = [place, *(lines.index(part) for part in parts)]
    assert places == sorted(places)
    assert lines[-1] == parts[-1], "pytest's closing line is the last that CI prints"


def test_the_picture_is_small_shows_the_flow_and_loads_nothing() -> None:
    picture = ROOT / "docs" / "assets" / "run.svg"
    assert f"]({picture.relative_to(ROOT)})" in (ROOT / "README.md").read_text(encoding="utf-8")
    text = picture.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert re.findall(r"href|url\(|<script|<style|<image|@import", text) == []
    for step in ("authenticate", "fetch_users", "fetch_products", "combine_data"):
        assert f">{step}" in text
    assert "succeeded: 4 succeeded" in text
