"""Which file set a value of a configuration that is merged from several (language 1.1)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowtoy_dagster.errors import Location
from flowtoy_dagster.flow.files.loading import merged, read_parts
from flowtoy_dagster.flow.files.nodes import KeyPath, Node
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.loader import flow_of_document
from flowtoy_dagster.masking.mask import HIDDEN, Mask, hide
from flowtoy_dagster.masking.names import is_secret_name
from flowtoy_dagster.plan.keys import path_of, shown_path

_LONGEST = 60
"""Characters of a value that are shown to people."""


@dataclass(frozen=True)
class Setting:
    """A value in one of the files.

    Attributes:
        value: as written; `***` where it is secret.
        place: where it is written.
    """

    value: Any
    place: Location


@dataclass(frozen=True)
class Origin:
    """Where a value comes from.

    Attributes:
        key: its path, such as `runner.max_workers`.
        settings: what counts first, then what it replaced, the latest first.
    """

    key: str
    settings: tuple[Setting, ...]


def origins_of(paths: Sequence[str], key: str) -> list[Origin]:
    """Where the value under a key comes from; of a mapping, where each of its values does.

    Args:
        paths: YAML files, merged left to right.
        key: keys with dots, indexes in brackets: `sources.crm.url`, `flow[0].timeout`. A step may
            be named instead of counted: `flow.load.timeout`.

    Raises:
        ConfigError: the files are no flow.
        UsageError: there is no such key.
    """
    parts = read_parts(paths)
    document = merged(parts, paths)
    flow = flow_of_document(document)
    mask = FlowSecrets(flow).mask(os.environ)
    hidden = {name for name, param in flow.params.items() if param.secret}
    path = path_of(document.root, key)
    node: Node = document.root
    for part in path:
        child = node.child(part)
        assert child is not None, "the path was found in this tree"
        node = child
    return [
        Origin(shown_path(leaf), tuple(_settings(leaf, parts, mask, hidden)))
        for leaf in _leaves(node, path)
    ]


def _settings(
    path: KeyPath, parts: Sequence[Node], mask: Mask, hidden: set[str]
) -> Iterator[Setting]:
    """The values under a path, the one that counts first."""
    for part in reversed(parts):
        node: Node | None = part
        for key in path:
            node = node.child(key) if node is not None else None
        if node is not None:
            is_secret = _is_secret(path, node.value, hidden)
            value = HIDDEN if is_secret else mask.data(_plain(node))
            yield Setting(value, (node.key_mark or node.mark).location)


def _is_secret(path: KeyPath, value: Any, hidden: set[str]) -> bool:
    """Whether a value is secret by its key; true and false never are."""
    if isinstance(value, bool):
        return False
    if path[:1] == ("params",):
        is_value = len(path) == 2 or path[2] in ("default", "enum")
        return is_value and path[1] in hidden
    keys = path[2:] if path[:1] == ("sources",) else path
    return any(isinstance(key, str) and is_secret_name(key) for key in keys)


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {
            key: hide(child.plain())
            if is_secret_name(str(key)) and not isinstance(child.value, bool)
            else _plain(child)
            for key, child in node.value.items()
        }
    return [_plain(child) for child in node.value] if isinstance(node.value, list) else node.value


def _leaves(node: Node, path: KeyPath) -> Iterator[KeyPath]:
    """The paths below a mapping; lists are replaced whole, so they are values."""
    if isinstance(node.value, dict) and node.value:
        for key, child in node.value.items():
            yield from _leaves(child, (*path, key))
    else:
        yield path


def as_plain_data(found: Sequence[Origin]) -> list[dict[str, Any]]:
    """Origins as JSON has them: what counts, and what it replaced."""

    def data(setting: Setting) -> dict[str, Any]:
        at = setting.place
        return {"value": setting.value, "file": at.file, "line": at.line, "column": at.column}

    return [
        {"key": one.key, **data(one.settings[0]), "replaces": list(map(data, one.settings[1:]))}
        for one in found
    ]


def origin_lines(found: Sequence[Origin]) -> Iterator[str]:
    """Origins for people: a line for what counts, more lines for what it replaced."""
    width = max((len(one.key) for one in found), default=0)
    for one in found:
        first, *others = one.settings
        yield f"{one.key:<{width}}  {_text(first.value)}  {first.place.file}:{first.place.line}"
        for setting in others:
            place = f"{setting.place.file}:{setting.place.line}"
            yield f"{'':<{width}}  replaces {_text(setting.value)}  {place}"


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
