"""Programs of the system that some tests need."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str) -> None:
    """Skip the test on a machine that lacks a program; in CI, fail it."""
    if shutil.which(program) is None:
        if "CI" in os.environ:
            pytest.fail(f"there is no {program}; .ci/run installs what the tests need")
        pytest.skip(f"there is no {program}")
