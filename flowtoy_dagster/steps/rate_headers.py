"""What the headers of an answer say of when the source may be called again."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from flowtoy_dagster.providers.base import ProviderResult

LONGEST = 3600.0
"""Seconds of a wait that a server asks for that are heeded."""
_NAMED = ("ratelimit", "x-ratelimit", "x-rate-limit")
_EPOCH, _EPOCH_MS = 1e9, 1e12
"""From here on, a number is a moment: seconds, or milliseconds, since 1970."""
_REMAINING = re.compile(r"\b(?:r|remaining)\s*=\s*(\d+)", re.IGNORECASE)
_RESET = re.compile(r"\b(?:t|reset)\s*=\s*(\d+)", re.IGNORECASE)


def retry_after(result: ProviderResult | None) -> float:
    """The seconds that a server asked for with 429 or 503 and `Retry-After`; 0 where it did not."""
    if result is None or result.code not in (429, 503):
        return 0.0
    headers = _headers(result)
    return _seconds(headers.get("retry-after"), headers, number_is_span=True)


def pause_wanted(result: ProviderResult) -> float:
    """The seconds for which a server wants no more calls; 0 where it does not say.

    It says so by `Retry-After`, or by telling that nothing remains until a reset: in
    `RateLimit-Remaining` and `RateLimit-Reset`, with `X-` or in one `RateLimit`.
    """
    headers = _headers(result)
    wanted = retry_after(result)
    for name in _NAMED:
        remaining, reset = headers.get(f"{name}-remaining"), headers.get(f"{name}-reset")
        if remaining is not None and remaining.strip() in ("0", "0.0"):
            wanted = max(wanted, _seconds(reset, headers))
        whole = headers.get(name) or ""
        # One header for all: `limit=9, remaining=0, reset=30`, or several `"day";r=0;t=30`.
        for policy in whole.split(",") if ";" in whole else [whole]:
            left, until = _REMAINING.search(policy), _RESET.search(policy)
            if left is not None and not left[1].strip("0") and until is not None:
                wanted = max(wanted, _seconds(until[1], headers))
    return wanted


def _headers(result: ProviderResult) -> Mapping[str, str]:
    headers = result.meta.get("headers")
    if not isinstance(headers, Mapping):
        return {}
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _seconds(
    text: str | None, headers: Mapping[str, str], *, number_is_span: bool = False
) -> float:
    """The seconds until what a header says: a span, a moment as a number, or a date."""
    if text is None:
        return 0.0
    wanted: float | None
    try:
        wanted = float(text)
    except ValueError:
        moment = _moment(text)
        wanted = None if moment is None else moment - _now(headers)
    else:
        if not number_is_span and wanted >= _EPOCH:
            wanted = wanted / (1000 if wanted >= _EPOCH_MS else 1) - _now(headers)
    if wanted is None or wanted != wanted:
        return 0.0
    return min(max(wanted, 0.0), LONGEST)


def _now(headers: Mapping[str, str]) -> float:
    """The time by the server's clock, which may differ from ours."""
    told = _moment(headers.get("date"))
    return time.time() if told is None else told


def _moment(text: str | None) -> float | None:
    """A date of HTTP or of ISO 8601, in UTC where it names no zone, in seconds since 1970."""
    if text is None:
        return None
    for read in (parsedate_to_datetime, _iso_date):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            found = read(text)
            return (found if found.tzinfo else found.replace(tzinfo=dt.timezone.utc)).timestamp()
    return None


def _iso_date(text: str) -> dt.datetime:
    # Python 3.10 knows no Z.
    return dt.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
