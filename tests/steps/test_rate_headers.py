"""What answers say of when their source may be called again (language 19.5)."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.rate_headers import LONGEST, pause_wanted, retry_after

NOW = 1_700_000_000.0
DATE = {"Date": formatdate(NOW, usegmt=True)}
IN_8_SECONDS = formatdate(NOW + 8, usegmt=True)
ISO = "2023-11-14T22:13:27"  # seven seconds after that
IN_9_SECONDS = f"{NOW * 1000 + 9e3:.0f}"


def answer(headers: Any, code: int = 200) -> ProviderResult:
    return ProviderResult(code < 300, code, meta={"status_code": code, "headers": headers})


# language 19.5
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 30),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": f"{ISO}Z", **DATE}, 7),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": ISO, **DATE}, 7),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": f"{ISO}+00:00", **DATE}, 7),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "2026-13-01T00:00:00Z"}, 0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "30"}, 30),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 30),
        ({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "30"}, 30),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOW + 40:.0f}", **DATE}, 40),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": IN_9_SECONDS, **DATE}, 9),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": IN_8_SECONDS, **DATE}, 8),
        ({"RateLimit": '"default";r=0;t=12'}, 12),
        ({"RateLimit": '"day";r=7;t=4000, "minute";r=0;t=12'}, 12),
        ({"RateLimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"RateLimit": "limit=100, remaining=3, reset=50"}, 0),
        ({"RateLimit-Remaining": "1", "RateLimit-Reset": "30"}, 0),
        ({"RateLimit-Remaining": "0"}, 0),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "soon"}, 0),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "nan"}, 0),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "-5"}, 0),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "99999"}, LONGEST),
        ({"Retry-After": "5"}, 0),
        ("no mapping", 0),
        (None, 0),
    ],
)
def test_a_source_is_paused_until_the_reset_where_nothing_remains(
    headers: Any, seconds: float
) -> None:
    assert pause_wanted(answer(headers)) == pytest.approx(seconds, abs=0.01)


# language 19.5, 10.1
@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [("7", 7), (formatdate(NOW + 7, usegmt=True), 7), ("x", 0), ("-1", 0), ("1e9", LONGEST)],
)
def test_retry_after_means_the_source_and_the_next_attempt_alike(
    code: int, wanted: str, seconds: float
) -> None:
    result = answer({"retry-after": wanted, **DATE}, code)
    assert retry_after(result) == pause_wanted(result) == pytest.approx(seconds)
    assert retry_after(answer({"Retry-After": wanted, **DATE}, 500)) == 0
    assert retry_after(None) == 0


def test_without_a_date_of_the_server_our_own_clock_tells_the_time() -> None:
    moment = f"{time.time() + 20:.0f}"
    result = answer({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": moment})
    assert 15 < pause_wanted(result) < 21
