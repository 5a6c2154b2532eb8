"""Warnings of values that YAML 1.1 reads as something else than they look like (language 1.5)."""

from __future__ import annotations

import re
from collections.abc import Collection

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
            names = [part for part in (*path, *place) if isinstance(part, str)]
            if any(is_secret_name(name) for name in names[2:]):
                reason = "this value is not text in YAML 1.1"
            problems.warning((*path, *place), reason, "put it in quotes, if text is meant")


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
