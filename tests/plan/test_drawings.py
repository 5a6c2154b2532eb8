"""`flowtoy graph`: text, Mermaid, DOT, SVG; names of any kind."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster.errors import FlowtoyError, UsageError
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.plan.drawings.dot import dot_lines, svg
from flowtoy_dagster.plan.drawings.graph import Graph, graph_of
from flowtoy_dagster.plan.drawings.mermaid import mermaid_lines
from flowtoy_dagster.plan.drawings.terminal import graph_lines

HOSTILE = 'ha"c]k; <b>`x`\n#1 🎉 \\N &lt; {"} %% --> end'


def graph(waits: dict[str, list[str]], states: dict[str, str] | None = None) -> Graph:
    steps = [{"name": name, "source": "env", "depends_on": on} for name, on in waits.items()]
    return graph_of(load_flow({"flow": steps}), states)


def text(found: Graph, **more: Any) -> list[str]:
    return ["".join(part for _, part in line).rstrip() for line in graph_lines(found, **more)]


DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "lone": [], "d": ["b", "c"], "e": ["a", "d"]}


def test_lanes_lead_from_each_step_to_what_waits_for_it() -> None:
    assert text(graph(DIAMOND)) == [
        "●      a     env",
        "│ ●    lone  env",
        "├─╮",
        "│ ●    b     env",
        "├─│─╮",
        "│ │ ●  c     env",
        "│ ├─╯",
        "│ ●    d     env",
        "├─╯",
        "●      e     env",
    ]
    assert text(graph(DIAMOND), unicode=False)[4:7] == [
        "+-|-.", "| | *  c     env", "| +-'"
    ]


@given(st.data(), st.integers(1, 12))
def test_every_step_of_any_graph_has_one_row(data: st.DataObject, size: int) -> None:
    waits = {
        str(n): [str(m) for m in data.draw(st.sets(st.integers(0, n - 1)) if n else st.just(()))]
        for n in range(size)
    }
    lines = text(graph(waits))
    assert [line.split()[-2] for line in lines if "●" in line] == list(graph(waits).types)
    assert len(lines) == size + sum(1 for on in waits.values() if on)


def test_a_graph_with_too_many_lanes_is_a_list() -> None:
    many = {f"s{n}": [] for n in range(40)}
    lines = text(graph({**many, "last": list(many)}))
    assert len(lines) == 41
    assert lines[0] == "1 ● s0  env"
    assert lines[-1].startswith("2 ● last  env  after s0, s1, ")


def test_the_state_of_a_step_is_its_colour() -> None:
    found = graph({"a": [], "b": ["a"]}, {"a": "succeeded", "b": "failed"})
    styles = {part: style for line in graph_lines(found) for style, part in line}
    assert (styles["a"], styles["b"]) == ("good", "bad")
    assert text(found)[0] == "●  a  env  succeeded"
    mermaid = "\n".join(mermaid_lines(found))
    assert 's1["b<br/>env"]:::failed' in mermaid
    assert "classDef failed fill:#ffd7d5" in mermaid
    assert 'tooltip="failed"' in "\n".join(dot_lines(found))


def test_an_edge_is_dashed_where_its_output_is_not_needed() -> None:
    echo = {"source": "process", "output": [{"name": "x"}]}
    flow = load_flow({"flow": [
        {"name": "a", **echo, "input": {"command": ["true"]}},
        {"name": "b", **echo, "input": {"command": ["echo", "{{ flows.a.x }}"]}},
        {"name": "c", **echo, "input": {"command": ["echo", "{{ flows.a.x | default(1) }}"]}},
    ]})  # fmt: skip
    assert list(mermaid_lines(graph_of(flow)))[-2:] == ["    s0 --> s1", "    s0 -.-> s2"]
    assert list(dot_lines(graph_of(flow)))[-3:-1] == ["    s0 -> s1", "    s0 -> s2 [style=dashed]"]


def test_names_of_any_kind_are_only_text_in_a_drawing() -> None:
    found = graph({HOSTILE: [], "end": [HOSTILE], "\x1b[31mred": [HOSTILE]})
    line = next(line for line in mermaid_lines(found) if "s0[" in line)
    label = re.fullmatch(r'    s0\["(.*)<br/>env"\]', line)
    assert label is not None
    assert re.fullmatch(r"(?:[\w .,/\-]|#\d+;)*", label[1], re.ASCII)
    shown = re.sub(r"#(\d+);", lambda found: chr(int(found[1])), label[1])
    assert shown == HOSTILE.replace("\n", "")
    node = next(line for line in dot_lines(found) if line.startswith("    s0 ["))
    quoted = re.fullmatch(r'    s0 \[label="((?:[^"\\]|\\.)*)\\nenv"\]', node)
    assert quoted is not None
    said = quoted[1].replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\")
    assert said.replace("&amp;", "&") == HOSTILE.replace("\n", "")
    for lines in (text(found), mermaid_lines(found), dot_lines(found)):
        assert "\x1b" not in "".join(lines)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_shows_names_of_any_kind_as_they_are() -> None:
    names = [
        "plain", 'a "quoted" one', "it's", "back\\slash", "ends with \\", "\\N \\G \\l \\n \\r",
        "<b>bold</b>", "a < b && c > d", "&amp; &lt; &#35;", "end", "node", "strict", "{curly|bar}",
        "graph TD; A-->B", 'a"]b', "/*c*/ //url # x", "$HOME ${X}", "s0", "ünïcode ✓ 日本語", "😀",
        "x" * 300,
    ]
    waits = {name: names[:number][-1:] for number, name in enumerate(names)}
    drawn = ET.fromstring(svg(graph(waits)))
    of_svg = "{http://www.w3.org/2000/svg}"
    found = {}
    for node in drawn.iter(f"{of_svg}g"):
        if node.get("class") == "node":
            title = node.findtext(f"{of_svg}title") or ""
            # Blanks that are not to be joined are written as such.
            texts = [one.text or "" for one in node.iter(f"{of_svg}text")]
            found[title] = [one.replace("\xa0", " ") for one in texts]
    assert found == {f"s{number}": [name, "env"] for number, name in enumerate(names)}


def test_a_name_has_no_line_break_in_mermaid() -> None:
    # Mermaid makes one of a backslash with an n, whatever they are written as.
    line = next(line for line in mermaid_lines(graph({"C:\\new": []})) if "s0[" in line)
    assert line == '    s0["C#58;#92;#8203;new<br/>env"]'


def program(folder: Path, script: str) -> None:
    (folder / "dot").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "dot").chmod(0o755)


def test_svg_is_what_graphviz_makes_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, 'test "$1" = -Tsvg && cat')
    assert svg(graph({"a": []})) == "\n".join(dot_lines(graph({"a": []})))
    program(tmp_path, "echo 'syntax error' >&2; exit 1")
    with pytest.raises(FlowtoyError, match="Graphviz can't draw this graph: syntax error"):
        svg(graph({"a": []}))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="needs Graphviz"):
        svg(graph({"a": []}))


def test_the_command_draws_files_and_runs(
    tmp_path: Path, flowtoy: Callable[..., Any], made_home: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(
        "flow:\n"
        "  - {name: bad, source: process, input: {command: ['false']}}\n"
        "  - {name: late, source: env, depends_on: bad}\n"
    )
    done = flowtoy("graph", "flow.yaml")
    assert (done.code, done.stdout) == (0, "●  bad   process\n│\n●  late  env\n")
    assert flowtoy("run", "flow.yaml").code == 1
    done = flowtoy("graph", "--run", "last")
    assert done.stdout == "●  bad   process  failed\n│\n●  late  env  skipped\n"
    told = flowtoy("graph", "flow.yaml", "--format", "json").json
    assert told["edges"] == [{"from": "bad", "to": "late", "needed": False}]
    (tmp_path / "other.yaml").write_text("flow: [{name: other, source: env}]")
    done = flowtoy("graph", "other.yaml", "--run", "last")
    assert (done.code, done.stdout) == (2, "")
    assert "is of the flow 'flow', and has none of these steps\n" in done.stderr
    done = flowtoy("graph")
    assert (done.code, done.stdout) == (2, "")
    assert "give the files of a flow, or --run RUN" in done.stderr
