"""Keys of a call that have several forms: what is written becomes one form, or is invalid."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.providers.rest.bodies.contents import as_list
from flowtoy_dagster.providers.rest.urls import is_proxy


def json_findings(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """A warning where `json` is the text of a mapping or a list, which is sent as a text."""
    written = configuration.get("json")
    if not isinstance(written, str) or is_template(written):
        return
    if written.lstrip()[:1] not in ("{", "["):
        return
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(written)
        yield Finding(("json",), "this is sent as a text in quotes, not as the JSON in it",
                      "write the mapping or the list without quotes around it", warning=True)


def one_or_more(value: Any) -> Any:
    """A status, or a list of them, as a list."""
    if value in ([], ()):
        raise ValueError("expected a status or a list of them, got none")
    return as_list(value)


def switch_or_path(value: Any) -> Any:
    """`true`, `false` or the path of a file."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool) or (isinstance(value, str) and value):
        return value
    raise ValueError(f"expected true, false or the path of a file, got {value!r}")


def path_or_pair(value: Any) -> Any:
    """The path of a certificate, or a pair of its path and its key's."""
    paths = as_list(value)
    if len(paths) <= 2 and paths and all(isinstance(path, str) and path for path in paths):
        return paths[0] if len(paths) == 1 else tuple(paths)
    raise ValueError(
        f"expected the path of a certificate, or a list of its path and its key's, got {value!r}"
    )


def proxy_or_none(value: Any) -> Any:
    """The URL of a proxy, False for none, or None where nothing is said."""
    if isinstance(value, str) and is_template(value):
        return value
    if value is None or value is False or (isinstance(value, str) and value.lower() == "false"):
        return None if value is None else False
    if isinstance(value, str) and is_proxy(value):
        return value.strip()
    # Not shown: it may hold a password.
    raise ValueError("expected false, or the URL of a proxy as in http://proxy.example:3128")
