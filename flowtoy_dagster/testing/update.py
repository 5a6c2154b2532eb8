"""Writes what was found into a test file as the new expectations; all other text stays."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.testing.cases import Verdict
from flowtoy_dagster.testing.expectations import MISSING

_LONGEST_LINE = 90
_KEEPS = re.compile(r"[|>]\d?\+")
"""The beginning of a text to which the blank lines behind it belong."""
_COMMENT = re.compile(r"[^\S\r\n]+#[^\r\n]*")


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
                nodes = _nodes(root, (*path, *mismatch.path))
                if mismatch.can_update and mismatch.found is not MISSING and nodes:
                    edit = _replaced(text, nodes, mismatch.found)
                    edits[edit.start] = edit
        elif all(mismatch.path[0] != "mock" for mismatch in verdict.mismatches):
            test = _node(root, path)
            if test is not None:
                edit = _added(text, test, verdict)
                edits[edit.start] = edit
    line_end = _line_end(text)
    for edit in sorted(edits.values(), key=lambda edit: edit.start, reverse=True):
        new = edit.text.replace("\n", line_end)
        text = text[: edit.start] + new + text[edit.end :]
    return text, len(edits)


def read_as_written(path: str | Path) -> str:
    """The text of a test file, with the line ends that it has.

    Raises:
        OSError: it can't be read.
        UnicodeDecodeError: it is not UTF-8 text.
    """
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def with_case(text: str, case: Mapping[str, Any], file: str) -> str:
    """The text of a test file with one more test at its end.

    Args:
        text: the file's.
        case: the test.
        file: what messages call it.

    Raises:
        UsageError: it has a test of that name, or no block with tests.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    tests = _node(root, ("tests",))
    is_block = isinstance(tests, yaml.SequenceNode) and not tests.flow_style
    is_empty = isinstance(tests, yaml.ScalarNode) and not tests.value
    if not is_block and not is_empty:
        raise UsageError(
            f"'{file}' has no list of tests to which one can be added\n"
            "    write 'tests:' and below it a line '- name: …' for each test"
        )
    if is_block and case["name"] in (_name_of(one) for one in tests.value):
        raise UsageError(f"'{file}' has a test '{case['name']}' already\n    give another name")
    column = tests.start_mark.column if is_block else 2
    block = _block([dict(case)])
    lines = (" " * column + line if line else line for line in block.rstrip("\n").splitlines())
    end = _end_of_lines(text, tests) if is_block else len(text[: tests.end_mark.index].rstrip())
    line_end = _line_end(text)
    return text[:end] + line_end + line_end.join(lines) + (text[end:] or line_end)


def _name_of(test: Any) -> Any:
    name = _node(test, ("name",))
    return name.value if isinstance(name, yaml.ScalarNode) else None


def _node(node: Any, path: KeyPath) -> Any:
    """The node of YAML at a place; None where there is none."""
    return next(reversed(_nodes(node, path)), None)


def _nodes(node: Any, path: KeyPath) -> list[Any]:
    """The node of YAML at a place, after those around it; none where there is none."""
    found = [node]
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part] if part < len(node.value) else None
        elif isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == str(part)), None)
        else:
            node = None
        if node is None:
            return []
        found.append(node)
    return found


def _replaced(text: str, nodes: Sequence[Any], value: Any) -> _Edit:
    *around, node = nodes
    start, end = node.start_mark.index, _end(text, node)
    line = text[text.rfind("\n", 0, start) + 1 : start]
    flow = in_one_line(value)
    within_flow = any(one.flow_style for one in around)
    if within_flow or len(line) + len(flow) <= _LONGEST_LINE or not isinstance(value, (dict, list)):
        # What is empty ends at the colon, or the dash, before it.
        return _Edit(start, end, f" {flow}" if line[-1:] in (":", "-") else flow)
    indent = len(line) - len(line.lstrip(" -")) + 2
    block = _block(value)
    body = "\n".join(" " * indent + one for one in block.rstrip("\n").splitlines())
    if not line.strip():  # a block of its own lines
        return _Edit(start - len(line), end, body)
    return _Edit(start - (line[-1:] == " "), end, "\n" + body)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines in one, with `\\n`, and each value where it stands."""

    def ignore_aliases(self, data: Any) -> bool:
        """No value refers to another one."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # YAML breaks lines at more characters than `\n`, and spaces of other kinds can't be seen.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def in_one_line(value: Any) -> str:
    """A value as it can stand within others, in quotes where YAML needs them."""
    listed: str = yaml.dump([value], Dumper=_Dumper, allow_unicode=True, sort_keys=False,
                            default_flow_style=True, width=math.inf)
    return listed.strip()[1:-1]


def _block(value: Any) -> str:
    block: str = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False,
                           default_flow_style=None, width=_LONGEST_LINE)
    return block


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
    kept = isinstance(node, yaml.ScalarNode) and _KEEPS.match(text, node.start_mark.index)
    return len(text[:end].rstrip()) if not kept else end - text[:end].endswith("\n")


def _end_of_lines(text: str, node: Any) -> int:
    """Where the lines of a block end, with the comment behind the last of them."""
    end = _end(text, node)
    comment = _COMMENT.match(text, end)
    return end if comment is None else comment.end()


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
    if test.flow_style:
        end = _end(text, test.value[-1][1])
        return _Edit(end, end, f", expect: {in_one_line(expect)}")
    block = _block({"expect": expect})
    indent = " " * test.start_mark.column
    end = _end_of_lines(text, test)
    body = "".join(f"\n{indent}{line}" for line in block.rstrip("\n").splitlines())
    return _Edit(end, end, body)
