"""What the tests of deployments have in common."""

from __future__ import annotations

from pathlib import Path

from module_files import load

load(Path(__file__).with_name("team_dagster.py"))
