"""The headers that a call sends."""

from __future__ import annotations

import functools
import importlib.metadata
from contextlib import suppress

from urllib3.util import SKIP_HEADER

from flowtoy_dagster.providers.rest.content import Call
from flowtoy_dagster.providers.rest.network.compression import ACCEPTED


def headers_of(call: Call) -> dict[str, str | bytes]:
    """What is sent: the call's headers over those that every call has."""
    given = {"User-Agent": _user_agent(), "Accept-Encoding": ACCEPTED, "Accept": "*/*",
             "Connection": "keep-alive"}
    headers: dict[str, str | None] = dict(given)
    if not any(name.lower() == "traceparent" for name in call.headers):
        headers.update(call.trace)
    for name, value in call.headers.items():
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        # These two urllib3 would add again.
        skipped = SKIP_HEADER if name.lower() in ("user-agent", "accept-encoding") else None
        headers[name] = skipped if value is None else value
    if call.authorization is not None:
        headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
        headers["Authorization"] = call.authorization
    # http.client would write text as Latin-1.
    return {k: v if v.isascii() else v.encode() for k, v in headers.items() if v is not None}


@functools.lru_cache(maxsize=1)
def _user_agent() -> str:
    with suppress(importlib.metadata.PackageNotFoundError):
        return f"flowtoy-dagster/{importlib.metadata.version('flowtoy-dagster')}"
    return "flowtoy-dagster"
