"""Whatever happens in an attempt is a failure with a reason, under the step's policy."""

from __future__ import annotations

import asyncio
import decimal
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from flowtoy_dagster.flow.schema.models import RetryConfig
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.retry import delay_before, is_worth_a_retry
from flowtoy_dagster.steps.state.deadline import OutOfTime
from flowtoy_dagster.steps.state.mask import StepMask

Run = Callable[..., StepOutcome]


class WordlessError(Exception):
    """An exception whose own text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class OwnError(BaseException):
    """An exception that no `except Exception` catches."""


def envelope(**status: Any) -> dict[str, Any]:
    """What a provider returns."""
    return {"status": status, "data": {"x": 1}, "meta": {}}


# language 10.1, 11
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("queue\nclosed"), "RuntimeError: queue closed"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (MemoryError(), "MemoryError"),
        (SystemExit("bye"), "SystemExit: bye"),
        (asyncio.CancelledError("by the pool"), "CancelledError: by the pool"),
        (GeneratorExit(), "GeneratorExit"),
        (OwnError("mine"), "OwnError: mine"),
        (WordlessError(), "WordlessError"),
        (OSError("no caf\udce9.csv"), "OSError: no caf\ufffd.csv"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_a_provider_raises_is_a_failure_that_is_tried_again(
    run_call: Run, error: BaseException, words: str
) -> None:
    def call(payload: Any) -> Any:
        raise error

    outcome = run_call(call)
    assert outcome.error == f"the provider 'other' raised {words}"
    assert outcome.retry_in == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"code": 5}, "the provider 'other' reported a failure (code 5)"),
        ({}, "the provider 'other' reported a failure"),
        ({"notes": ["no caf\udce9.csv"]}, "no caf\ufffd.csv"),
    ],
)
def test_what_a_provider_reports_is_the_reason(
    run_call: Run, status: Mapping[str, Any], words: str
) -> None:
    assert run_call(lambda _: envelope(success=False, **status)).error == words


def test_the_reason_of_an_unusual_exception_is_masked(run_call: Run) -> None:
    # language 13.2
    def call(payload: Any) -> Any:
        raise asyncio.CancelledError("with sesame-open")

    outcome = run_call(call, context={"mask": StepMask(Mask(["sesame-open"]))})
    assert outcome.error == "the provider 'other' raised CancelledError: with ***"


def test_an_interrupt_of_the_run_is_no_failure_of_the_step(run_call: Run) -> None:
    def call(payload: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_call(call)


def test_an_interrupt_that_breaks_a_wait_is_still_an_interrupt(run_call: Run) -> None:
    # A wait for a lock that is left while it takes the lock back gives back what it does not have.
    lock = threading.Lock()

    def call(payload: Any) -> Any:
        try:
            raise KeyboardInterrupt
        finally:
            lock.release()

    with pytest.raises(KeyboardInterrupt):
        run_call(call)


def test_an_error_that_met_itself_is_a_failure(run_call: Run) -> None:
    def call(payload: Any) -> Any:
        first, second = RuntimeError("first"), RuntimeError("second")
        first.__context__, second.__context__ = second, first
        raise first

    assert run_call(call).error == "the provider 'other' raised RuntimeError: first"


# language 11
@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (envelope(success=True, code="fine"), "not 'fine'"),
        (envelope(success=True, code=decimal.Decimal(3)), "not a value of type 'Decimal'"),
        (envelope(success=True, code=True), "not a value of type 'bool'"),
        (envelope(success=True, code=10**5000), "not a value of type 'int'"),
        (envelope(success=True, notes=[WordlessError()]), "no words"),
    ],
    ids=["text", "Decimal", "bool", "long", "notes without words"],
)
def test_a_status_that_cannot_be_used_is_a_failure(
    run_call: Run, returned: Any, reason: str
) -> None:
    outcome = run_call(lambda payload: returned)
    assert (outcome.error or "").startswith(
        "the provider 'other' returned a result that can't be used: "
    )
    assert reason in (outcome.error or "")
    assert outcome.retry_in == 0


def test_a_returned_status_without_success_is_a_success(run_call: Run) -> None:
    # language 11
    outcome = run_call(lambda payload: envelope(code=5), ("code", "code"))
    assert outcome.error is None
    assert outcome.outputs == {"code": 5}


# language 7.3
@pytest.mark.parametrize(
    ("returned", "expression", "place"),
    [
        ({"rows": [{"price": decimal.Decimal("1.5")}]}, "rows[0]", "at price"),
        ({"status": {"code": 1}, "data": 1, "meta": {"at": b"x"}}, "meta", "at at"),
    ],
    ids=["Decimal", "meta"],
)
def test_an_output_that_json_cannot_hold_is_a_failure_with_its_place(
    run_call: Run, returned: Any, expression: str, place: str
) -> None:
    outcome = run_call(lambda payload: returned, ("x", expression))
    assert "output 'x'" in (outcome.error or "")
    assert place in (outcome.error or "")


@pytest.mark.parametrize("meta", [{"headers": ["x"]}, {"headers": {1: 2}}, {"failure": ["x"]}])
def test_odd_facts_about_a_failure_do_not_keep_it_from_being_tried_again(
    run_call: Run, meta: Mapping[str, Any]
) -> None:
    # language 10.1
    returned = {"status": {"success": False, "code": 503, "notes": ["busy"]}, "meta": meta}
    outcome = run_call(lambda payload: returned)
    assert (outcome.error, outcome.retry_in) == ("busy", 0)


def test_a_result_that_other_steps_want_must_be_json(run_call: Run) -> None:
    # language 6.3
    returned = {"status": {"success": True}, "data": 1, "meta": {"at": {1, 2}}}
    assert run_call(lambda payload: returned).error is None
    outcome = run_call(lambda payload: returned, keep_result=True)
    assert (outcome.error or "").startswith("its result can't be kept for other steps: ")


# language 6.2
@pytest.mark.parametrize("template", ["{{ '' | map('x') | dictsort }}", "{{ cycler() }}"])
def test_a_template_that_breaks_a_filter_names_its_field(run_call: Run, template: str) -> None:
    outcome = run_call(lambda payload: 1, payload={"a": [template]})
    assert (outcome.error or "").startswith("input.a[0]: ")
    # An error of the configuration is permanent.
    assert outcome.retry_in is None


# language 7.2
@pytest.mark.parametrize(
    "expression",
    ["rows[?price > `10`]", "merge(none, none)", "rows[::0]", "contains(name, `9`)", "&name"],
)
def test_a_type_error_in_an_expression_names_the_output(run_call: Run, expression: str) -> None:
    data = {"rows": [{"price": "12.50"}], "none": None, "name": "n"}
    outcome = run_call(lambda payload: data, ("x", expression))
    if outcome.error is None:
        # By the specification an ordering of a text and a number is null, and no error.
        assert outcome.outputs["x"] in ([], None, False)
    else:
        assert outcome.error.startswith("output 'x': ")
        assert outcome.retry_in == 0


def test_debug_shows_where_it_happened(run_call: Run, caplog: pytest.LogCaptureFixture) -> None:
    def call(payload: Any) -> Any:
        raise RuntimeError("closed")

    with caplog.at_level(logging.DEBUG, "flowtoy.step"):
        run_call(call)
    (record,) = [r for r in caplog.records if r.exc_info]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "closed"


@pytest.mark.parametrize("attempt", [1, 1025, 1_000_000])
def test_no_attempt_is_too_late_for_a_delay(attempt: int) -> None:
    # language 10.1
    retry = RetryConfig(max=1_000_001, delay="1s", backoff="exponential")
    assert 0 <= delay_before(retry, attempt, None) <= 24 * 3600
    assert is_worth_a_retry(retry, ProviderResult(False, 503), "provider")


# A provider of others


def test_a_provider_gets_the_context_where_it_has_an_argument_for_it(run_call: Run) -> None:
    # language 11
    seen: list[Any] = []

    def call(payload: Any, context: Any = None) -> Any:
        seen.append((context.attempt, context.deadline is not None))
        context.mask.learn(["learned-token"])
        return {"token": "learned-token"}

    outcome = run_call(call, ("x", "token"), timeout=60, context={"attempt": 2})
    assert seen == [(2, True)]
    assert outcome.secrets == {"learned-token"}
    assert outcome.mask.text("a learned-token") == "a ***"


def test_a_provider_cannot_change_what_others_see(run_call: Run) -> None:
    # language 6
    written = {"rows": [1]}

    def call(payload: Any) -> Any:
        payload["rows"].append(2)
        return payload

    run_call(call, payload=written)
    assert written == {"rows": [1]}


def test_secrets_in_a_rendered_payload_are_learned(run_call: Run) -> None:
    # language 13.1
    payload = {"login": {"password": "{{ 'sesame' ~ '-open' }}"}}

    def call(payload: Any) -> Any:
        raise RuntimeError(payload["login"]["password"])

    outcome = run_call(call, payload=payload)
    assert outcome.error == "the provider 'other' raised RuntimeError: ***"
    assert outcome.secrets == {"sesame-open"}


# Deadlines


@pytest.fixture
def in_threads() -> Callable[..., Any]:
    """Runs a function in a thread that is not the main one, and gives what it returns."""

    def run(function: Callable[[], Any]) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(function()))
        thread.start()
        thread.join(60)
        return found[0]

    return run


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


# language 10.2
@pytest.mark.parametrize("threaded", [False, True], ids=["main thread", "other thread"])
@pytest.mark.parametrize(
    "fields",
    [{"payload": ENDLESS}, {"configuration": {"a": [ENDLESS]}}, {"timeout": ENDLESS + "1s"}],
    ids=["input", "source", "timeout"],
)
def test_rendering_is_part_of_the_attempts_time(
    run_call: Run, in_threads: Any, threaded: bool, fields: dict[str, Any]
) -> None:
    def run() -> StepOutcome:
        context = {"deadline": time.monotonic() + 0.3} if "timeout" in fields else {}
        return run_call(lambda payload: 1, context=context, **{"timeout": 0.3, **fields})

    outcome = in_threads(run) if threaded else run()
    words = "the run's timeout has passed" if "timeout" in fields else "timed out after 0.3 s"
    assert outcome.error == words
    assert outcome.retry_in == (None if "timeout" in fields else 0)


# language 10.2
@pytest.mark.parametrize("threaded", [False, True], ids=["main thread", "other thread"])
def test_extraction_is_part_of_the_attempts_time(
    run_call: Run, in_threads: Any, threaded: bool
) -> None:
    def run() -> StepOutcome:
        return run_call(lambda payload: 1, ("x", ENDLESS + "{{ 1 }}"), timeout=0.3)

    outcome = in_threads(run) if threaded else run()
    assert outcome.error == "timed out after 0.3 s"


# language 10.2
def test_code_that_waits_in_another_thread_is_abandoned(run_call: Run, in_threads: Any) -> None:
    release = threading.Event()

    def call(payload: Any) -> Any:
        release.wait(60)

    outcome = in_threads(lambda: run_call(call, timeout=0.2))
    release.set()
    assert outcome.error == "timed out after 0.2 s"


def test_out_of_time_is_no_exception_that_providers_catch() -> None:
    assert not issubclass(OutOfTime, Exception)
