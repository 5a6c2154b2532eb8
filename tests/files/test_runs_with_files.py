"""File outputs in runs: retries, prune, large outputs (language 20.4 to 20.6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

FLOW = """
    name: files
    flow:
      - name: rows
        source: {type: process, command: [echo, '[{"id": 1}, {"id": 2}]']}
        output:
          - {name: own, type: file, format: jsonl}
          - {name: other, type: file, format: csv, path: out/rows.csv}
      - name: each
        for_each: "{{ flows.rows.own }}"
        source: {type: process, command: [echo, "{{ item.id }}"]}
        output:
          - {name: text, type: file, format: raw}
          - {name: printed, value: stdout}
      - name: large
        source: {type: process, command: [head, -c, "2900000", /dev/zero]}
        output: [{name: all}]
      - name: last
        source: {type: process, command: [test, -e, go]}
        depends_on: [rows, each]
"""


def test_a_retry_runs_what_files_are_gone_of(
    flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, made_home: Path
) -> None:
    # language 20.4, 20.5, 20.6
    flow = write(FLOW)
    first = flowtoy("run", flow, "-j")
    assert first.code == 1
    assert "large  warning: output 'all' has" in first.stderr
    assert "place:  flow.yaml:17:14" in first.stderr
    assert "'type: file' writes records to a file" in first.stderr
    outputs = first.json
    assert outputs["each"]["printed"] == ["1\n", "2\n"]
    assert (tmp_path / "out" / "rows.csv").read_text() == "id\n1\n2\n"
    texts = [Path(value["path"]) for value in outputs["each"]["text"]]
    assert [path.read_text() for path in texts] == ["1\n", "2\n"]
    assert all(path.is_relative_to(made_home) for path in texts)

    (tmp_path / "out" / "rows.csv").write_text("id\n1\n3\n")
    texts[1].unlink()
    (tmp_path / "go").touch()
    again = flowtoy("retry", "last", "-j")
    assert again.code == 0, again.stderr
    changed = f"the file '{tmp_path}/out/rows.csv' has changed: its sha256 is another"
    assert f"runs    {changed}" in again.stderr
    assert "1 of 2 reused, 1 run" in again.stderr or f"'{texts[1]}' is missing" in again.stderr
    assert (tmp_path / "out" / "rows.csv").read_text() == "id\n1\n2\n"
    values = again.json["each"]["text"]
    assert [Path(value["path"]).read_text() for value in values] == ["1\n", "2\n"]

    assert flowtoy("runs", "prune", "--keep", "0").code == 0
    assert list((made_home / "flowtoy-records").rglob("*.jsonl")) == []
    assert (tmp_path / "out" / "rows.csv").exists()
