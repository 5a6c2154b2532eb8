"""Which requests may be sent again, and the key by which a server knows one (language 21.7)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from flowtoy_dagster.providers.base import Headers, ProviderResult

KEY = "Idempotency-Key"
_ONCE = ("POST", "PATCH")
"""Methods by which a request that is sent twice may do twice what it does."""


def why_not_repeated(
    configuration: Mapping[str, Any], result: ProviderResult | None
) -> str | None:
    """Why a request must not be sent again, or None.

    Args:
        configuration: of the call.
        result: what came of it; None where that is not known.
    """
    method = str(configuration.get("method") or "GET").upper()
    if method not in _ONCE or any(_is_on(configuration.get(k)) for k in _KEYS):
        return None
    headers = configuration.get("headers")
    if isinstance(headers, Mapping) and Headers(headers).get(KEY) is not None:
        return None  # the author's own key
    if result is not None and not _may_be_done(result):
        return None
    return (
        f"{method} is not repeated, as it may have been done: 'idempotency_key: true' makes the "
        "server know it again, 'idempotent: true' says that twice does no harm"
    )


_KEYS = ("idempotent", "idempotency_key")


def _is_on(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def _may_be_done(result: ProviderResult) -> bool:
    """Whether a server may have done what a request asked for."""
    meta = result.meta
    if meta.get("sent") is False or meta.get("retryable") is True:
        return False  # no server has it, or `response_actions` say that it may be repeated
    code = result.code or 0
    if code == 503 and "Retry-After" in Headers(meta.get("headers") or {}):
        return False
    return not 400 <= code < 500


def with_key(headers: Mapping[str, str | None], call_id: str, page: int) -> dict[str, str | None]:
    """Headers with the key of a request, unless they have one of the author's.

    Args:
        headers: of the request.
        call_id: the same whenever the same is called again.
        page: the number of the page that is asked for.
    """
    if any(name.lower() == KEY.lower() for name in headers):
        return dict(headers)
    return {**headers, KEY: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{call_id}/{page}"))}
