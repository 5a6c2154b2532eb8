"""Warnings of values that YAML 1.1 reads as something else than they look like (language 1.5)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from flowtoy_dagster.flow.compile.diagnostics import Diagnostics
from flowtoy_dagster.flow.files.nodes import KeyPath, Node
from flowtoy_dagster.masking.names import is_secret_name

_TRUTH = re.compile(r"true|false", re.IGNORECASE)
_DECIMAL = re.compile(r"[-+]?(0|[1-9]\d*)")


def warn_of_plain_scalars(
    problems: Diagnostics, root: Node, path: KeyPath, texts: Collection[str], *, is_payload: bool
) -> None:
    """Warn of values in a configuration or an input.

    Args:
        problems: takes the warnings.
        root: the document's tree.
        path: where the configuration or the input is.
        texts: its keys below which all values become text.
        is_payload: whether all of it is data; else its own keys have types of their own.
    """
    node = root.at(path)
    if node is None:
        return
    for place, scalar in node.scalars():
        if scalar.written is None or (len(place) < 2 and not is_payload):
            continue
        as_text = bool(place) and place[0] in texts
        reason = _reason(scalar.written, scalar.value, as_text=as_text)
        if reason is not None:
            names = _names((*path, *place))[2:]
            _warn(problems, (*path, *place), reason, is_secret=any(map(is_secret_name, names)))


def warn_of_plain_scalars_elsewhere(problems: Diagnostics, root: Node) -> None:
    """The same of what is data beside configurations and inputs: the defaults and the values of
    parameters, the items of a `for_each`, where a cursor begins, and tags, which become texts.

    Args:
        problems: takes the warnings.
        root: the document's tree.
    """
    for path in _tags(root):
        _warn_below(problems, root, path, as_text=True)
    for path in _data(root):
        _warn_below(problems, root, path, as_text=False)


def warn_of_plain_scalars_in_param(
    problems: Diagnostics, root: Node, name: str, *, is_secret: bool
) -> None:
    """The same of the list or mapping that a file of values has for a parameter.

    Args:
        problems: takes the warnings.
        root: the file's tree.
        name: the parameter's.
        is_secret: whether its value is.
    """
    node = root.child(name)
    if node is not None and isinstance(node.value, (dict, list)):
        _warn_below(problems, root, (name,), as_text=False, is_secret=is_secret)


def _warn_below(
    problems: Diagnostics, root: Node, path: KeyPath, *, as_text: bool, is_secret: bool = False
) -> None:
    node = root.at(path)
    for place, scalar in node.scalars(path) if node is not None else ():
        if scalar.written is None:
            continue
        reason = _reason(scalar.written, scalar.value, as_text=as_text)
        if reason is not None:
            _warn(problems, place, reason, is_secret=is_secret or _is_secret(root, place))


def _warn(problems: Diagnostics, place: KeyPath, reason: str, *, is_secret: bool) -> None:
    """Warn of a value, and don't show it where it may be secret."""
    told = "this value is not text in YAML 1.1" if is_secret else reason
    problems.warning(place, told, "put it in quotes, if text is meant")


def _names(place: KeyPath) -> list[str]:
    return [part for part in place if isinstance(part, str)]


def _is_secret(root: Node, place: KeyPath) -> bool:
    """Whether a name in a path is that of a secret, or of a parameter that is declared as one."""
    names = _names(place)
    marks = [root.at(("params", name, "secret")) for name in names]
    declared = any(mark is not None and mark.value is True for mark in marks)
    return declared or any(map(is_secret_name, names))


def _tags(root: Node) -> Iterator[KeyPath]:
    yield ("tags",)
    yield from (("flow", step, "tags") for step in root.indexes(("flow",)))


def _data(root: Node) -> Iterator[KeyPath]:
    params = root.child("params")
    declarations = params.value if params is not None and _is_mapping(params) else {}
    for name, declared in declarations.items():
        if not _is_mapping(declared):
            yield ("params", name)
        else:
            # The value itself must be of a type that is declared.
            has_type = declared.child("type") is not None
            for key in ("default", "enum"):
                held = declared.child(key)
                is_list = held is not None and isinstance(held.value, (dict, list))
                if held is not None and (not has_type or (is_list and key == "default")):
                    yield ("params", name, key)
    yield ("schedule", "params")
    yield from (("schedule", index, "params") for index in root.indexes(("schedule",)))
    for step in root.indexes(("flow",)):
        loop = root.at(("flow", step, "for_each"))
        yield ("flow", step, "for_each", "in") if _is_mapping(loop) else ("flow", step, "for_each")
        yield ("flow", step, "incremental", "initial_value")


def _is_mapping(node: Node | None) -> bool:
    return node is not None and isinstance(node.value, dict)


def _reason(written: str, value: object, *, as_text: bool) -> str | None:
    """What is surprising about a value, in words; None where nothing is."""
    if isinstance(value, bool):
        if _TRUTH.fullmatch(written):
            return None
        return f"{written} is {str(value).lower()} in YAML 1.1"
    if isinstance(value, int) and not _DECIMAL.fullmatch(written):
        octal = " (octal)" if re.fullmatch(r"[-+]?0[0-7_]+", written) else ""
        return f"{written} is the number {value} in YAML 1.1{octal}"
    if isinstance(value, float) and (":" in written or (as_text and str(value) != written)):
        return f"{written} is the number {value:g}"
    return None
