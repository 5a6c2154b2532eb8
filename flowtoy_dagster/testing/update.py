"""Writes what was found into a test file as the new expectations; all other text stays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.testing.cases import Verdict
from flowtoy_dagster.testing.expectations import MISSING

_LONGEST_LINE = 90


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    text: str


def updated(text: str, verdicts: Iterable[Verdict]) -> tuple[str, int]:
    """The text of a test file with new expectations.

    Args:
        text: the file's.
        verdicts: of tests in it.

    Returns:
        The new text, and how many expectations it changes.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits: dict[int, _Edit] = {}
    for verdict in verdicts:
        path = verdict.case.path
        if verdict.case.config.expect.model_fields_set or _node(root, (*path, "expect")):
            for mismatch in verdict.mismatches:
                node = _node(root, (*path, *mismatch.path))
                if mismatch.can_update and mismatch.found is not MISSING and node is not None:
                    edit = _replaced(text, node, mismatch.found)
                    edits[edit.start] = edit
        elif all(mismatch.path[0] != "mock" for mismatch in verdict.mismatches):
            test = _node(root, path)
            if test is not None and not test.flow_style:
                edit = _added(text, test, verdict)
                edits[edit.start] = edit
    for edit in sorted(edits.values(), key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text, len(edits)


def _node(node: Any, path: KeyPath) -> Any:
    """The node of YAML at a place; None where there is none."""
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part] if part < len(node.value) else None
        elif isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == str(part)), None)
        else:
            return None
    return node


def _replaced(text: str, node: Any, value: Any) -> _Edit:
    start, end = node.start_mark.index, _end(text, node)
    line = text[text.rfind("\n", 0, start) + 1 : start]
    flow = json.dumps(value, ensure_ascii=False)
    within_flow = _is_within_flow(line)
    if within_flow or len(line) + len(flow) <= _LONGEST_LINE or not isinstance(value, (dict, list)):
        return _Edit(start, end, flow)
    indent = len(line) - len(line.lstrip(" -")) + 2
    block = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, default_flow_style=None,
                           width=_LONGEST_LINE)
    body = "\n".join(" " * indent + one for one in block.rstrip("\n").splitlines())
    if not line.strip():  # a block of its own lines
        return _Edit(start - len(line), end, body)
    return _Edit(start - (line[-1:] == " "), end, "\n" + body)


def _is_within_flow(line: str) -> bool:
    return line.count("{") > line.count("}") or line.count("[") > line.count("]")


def _end(text: str, node: Any) -> int:
    """Where a value ends, without the blank lines and comments behind a block."""
    end: int = node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">"):
        return end
    if isinstance(node, yaml.CollectionNode) and node.flow_style:
        return end
    if isinstance(node, yaml.CollectionNode) and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    return len(text[:end].rstrip())


def _added(text: str, test: Any, verdict: Verdict) -> _Edit:
    """An expectation for a test that has none: how the run ended, and all outputs."""
    run = verdict.run
    outputs = {
        name: dict(ended.shown) for name, ended in run.steps.items()
        if ended.state == "succeeded" and ended.shown
    }
    states = {
        name: {"state": ended.state} for name, ended in run.steps.items()
        if ended.state != "succeeded"
    }
    expect: dict[str, Any] = {"state": run.state}
    if states:
        expect["steps"] = states
    if outputs:
        expect["outputs"] = outputs
    block = yaml.safe_dump({"expect": expect}, allow_unicode=True, sort_keys=False,
                           default_flow_style=None, width=_LONGEST_LINE)
    indent = " " * test.start_mark.column
    end = _end(text, test)
    body = "".join(f"\n{indent}{line}" for line in block.rstrip("\n").splitlines())
    return _Edit(end, end, body)
