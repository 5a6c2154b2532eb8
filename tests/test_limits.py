"""Whether a failure is tried again, and after what delay."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.schema.fields import STATIC
from flowtoy_dagster.flow.schema.models import RetryConfig
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.retry import (
    delay_before,
    is_worth_a_retry,
    retries_of,
    timeout_of,
)

SCOPE = {"env": {"TRIES": "4", "WAIT": "250ms", "SLOWLY": "linear", "ZERO": "0"}}


def written(**settings: Any) -> RetryConfig:
    """Settings as a flow holds them: templates stand for what they will give."""
    return RetryConfig.model_validate(settings, context=STATIC)


def http(code: int, **headers: str) -> ProviderResult:
    """An answer of a server."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ProviderResult(False, code, meta={"status_code": code, "headers": named})


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [("constant", [2, 2, 2, 2]), ("linear", [2, 4, 6, 8]), ("exponential", [2, 4, 8, 16])],
)
def test_delays_grow_as_the_backoff_says(backoff: Any, delays: list[float]) -> None:
    # language 10.1
    retry = RetryConfig(max=4, delay="2s", backoff=backoff)
    assert [delay_before(retry, attempt, None) for attempt in range(1, 5)] == delays


def test_a_delay_is_a_second_unless_said_and_never_more_than_a_day() -> None:
    # language 10.1
    assert delay_before(RetryConfig(max=1), 1, None) == 1
    endless = RetryConfig(max=100, delay="2h", backoff="exponential")
    assert delay_before(endless, 99, None) == 24 * 3600


# language 10.1
@given(
    attempt=st.integers(1, 30),
    delay=st.floats(0, 100),
    backoff=st.sampled_from(["constant", "linear", "exponential"]),
    jitter=st.sampled_from(["none", "full", "plus_minus"]),
)
def test_jitter_stays_within_its_bounds(
    attempt: int, delay: float, backoff: Any, jitter: Any
) -> None:
    plain = delay_before(RetryConfig(max=9, delay=delay, backoff=backoff), attempt, None)
    retry = RetryConfig(max=9, delay=delay, backoff=backoff, jitter=jitter)
    most = {"none": 1, "full": 1, "plus_minus": 2}[jitter] * plain
    least = plain if jitter == "none" else 0
    assert least <= delay_before(retry, attempt, None) <= most


def test_jitter_spreads_around_the_delay() -> None:
    # language 10.1
    for jitter, low, high in (("full", 0, 10), ("plus_minus", 0, 20)):
        retry = RetryConfig(max=1, delay=10, jitter=jitter)
        found = [delay_before(retry, 1, None) for _ in range(300)]
        assert len(set(found)) > 100
        assert min(found) < low + high / 3
        assert max(found) > high - high / 3


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_may_ask_for_a_longer_delay_in_seconds(code: int) -> None:
    # language 10.1
    retry = RetryConfig(max=1, delay=2)
    assert delay_before(retry, 1, http(code, Retry_After="7")) == 7
    assert delay_before(retry, 1, http(code, retry_after="1")) == 2
    assert delay_before(retry, 1, http(code, Retry_After="soon")) == 2
    assert delay_before(retry, 1, http(code, Retry_After="-5")) == 2
    assert delay_before(retry, 1, http(code)) == 2
    assert delay_before(retry, 1, http(code, Retry_After="999999")) == 3600


def test_a_server_may_ask_for_a_delay_by_a_date() -> None:
    # language 10.1
    later = formatdate(time.time() + 60, usegmt=True)
    past = formatdate(time.time() - 60, usegmt=True)
    retry = RetryConfig(max=1, delay=2)
    assert 30 < delay_before(retry, 1, http(503, Retry_After=later)) <= 60
    assert delay_before(retry, 1, http(503, Retry_After=past)) == 2


@pytest.mark.parametrize("text", ["nan", "inf", "1e400", "-inf"])
def test_a_delay_that_is_no_number_is_not_heeded(text: str) -> None:
    # language 10.1
    found = delay_before(RetryConfig(max=1, delay=2), 1, http(503, Retry_After=text))
    assert found in (2, 3600)


def test_other_answers_ask_for_no_delay() -> None:
    # language 10.1
    retry = RetryConfig(max=1, delay=2)
    assert delay_before(retry, 1, http(500, Retry_After="60")) == 2


@pytest.mark.parametrize(
    ("result", "kind", "again"),
    [
        (None, "timeout", True),
        (None, "crash", True),
        (None, "raised", True),
        (None, "configuration", False),
        (ProviderResult(False, 3), "provider", True),
        (ProviderResult(False, None), "provider", True),
        (http(400), "provider", False),
        (http(404), "provider", False),
        (http(408), "provider", True),
        (http(425), "provider", True),
        (http(429), "provider", True),
        (http(500), "provider", True),
        (http(503), "provider", True),
        # A command's exit code is no status.
        (ProviderResult(False, 404), "provider", True),
    ],
)
def test_what_is_tried_again_where_the_step_does_not_say(
    result: ProviderResult | None, kind: str, again: bool
) -> None:
    # language 10.1
    assert is_worth_a_retry(RetryConfig(max=1), result, kind) is again


@pytest.mark.parametrize(
    ("on", "result", "kind", "again"),
    [
        ("404", http(404), "provider", True),
        ("404", http(400), "provider", False),
        ("4xx", http(404), "provider", True),
        ("4xx", http(500), "provider", False),
        (["5xx", "429"], http(429), "provider", True),
        ("exit", ProviderResult(False, 3), "provider", True),
        ("exit", http(503), "provider", False),
        ("exit:75", ProviderResult(False, 75), "provider", True),
        ("exit:75", ProviderResult(False, 1), "provider", False),
        ("timeout", None, "timeout", True),
        ("timeout", None, "crash", False),
        ("crash", None, "crash", True),
        ("raised", None, "raised", True),
        ("connection", ProviderResult(False, meta={"failure": "connection"}), "provider", True),
        ("connection", ProviderResult(False, 1), "provider", False),
        (["timeout", "connection", "crash", "raised", "exit", "4xx", "5xx"], None,
         "configuration", False),
    ],
)
def test_on_names_what_is_tried_again(
    on: Any, result: ProviderResult | None, kind: str, again: bool
) -> None:
    # language 10.1
    assert is_worth_a_retry(RetryConfig(max=1, on=on), result, kind) is again


def test_templates_in_retry_and_timeout_are_rendered() -> None:
    # language 6.1, 10.1, 10.2
    retry = retries_of(
        written(max="{{ env.TRIES }}", delay="{{ env.WAIT }}", backoff="{{ env.SLOWLY }}"), SCOPE
    )
    assert (retry.max, retry.delay, retry.backoff) == (4, 0.25, "linear")
    assert timeout_of("{{ env.WAIT }}", SCOPE) == 0.25
    assert timeout_of(None, SCOPE) is None
    assert retries_of(None, SCOPE).max == 0


@pytest.mark.parametrize("text", ["{{ env.SLOWLY }}", "{{ env.ZERO }}", "{{ nowhere }}"])
def test_a_timeout_whose_template_gives_no_duration_fails_the_step(text: str) -> None:
    # language 10.2, 10.3
    with pytest.raises(StepError, match=r"^timeout: "):
        timeout_of(text, SCOPE)


@pytest.mark.parametrize("text", ["{{ env.SLOWLY }}", "{{ env.WAIT }}", "{{ nowhere }}"])
def test_a_number_of_retries_that_is_none_fails_the_step(text: str) -> None:
    # language 10.1
    with pytest.raises(StepError, match=r"^retry\.max: "):
        retries_of(written(max=text), SCOPE)
