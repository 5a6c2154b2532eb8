"""The same APIs are read by dlt's `rest_api` and by the rest provider.

`tests/data/dlt_records.json` has what dlt 1.31.0 has read. With `DLT_PYTHON`, the path of a Python
that has dlt, it is read again and compared; with `DLT_RENEW=1` too, the file is written anew.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt_apis
import pytest
from dlt_apis import APIS
from loopback import call

RECORDED = Path(__file__).parent.parent / "data" / "dlt_records.json"


@pytest.fixture
def url(serve: Callable[..., str]) -> str:
    return serve(dlt_apis.reply)


def test_dlt_and_we_read_the_same(url: str) -> None:
    recorded = json.loads(RECORDED.read_text())
    assert recorded.keys() == APIS.keys()
    differences = {}
    for name, api in APIS.items():
        keys = {key: value for key, value in api.ours.items() if value is not None}
        done = call(base_url=url, url=f"/{name}/rows", **keys)
        ours = done.data if done.success else {"error": "; ".join(done.notes)}
        if ours != recorded[name]:
            differences[name] = (len(recorded[name]), ours)
    assert differences.keys() == {name for name, api in APIS.items() if api.differs}, differences
    assert differences["offset-short-pages"] == (5, dlt_apis.ROWS)
    lost, ours = differences["selector-that-finds-nothing"]
    assert lost == 0
    assert ours["error"].startswith("'data_selector' (row) found nothing")


@pytest.mark.skipif("DLT_PYTHON" not in os.environ, reason="DLT_PYTHON names no Python with dlt")
def test_dlt_reads_what_it_has_read_before(url: str, tmp_path: Path) -> None:
    command: list[Any] = [os.environ["DLT_PYTHON"], dlt_apis.__file__, url]
    quiet = {**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false", "HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=quiet
    )
    assert done.returncode == 0, done.stderr
    if os.environ.get("DLT_RENEW"):
        RECORDED.write_text(done.stdout + "\n")
    assert json.loads(done.stdout) == json.loads(RECORDED.read_text())
