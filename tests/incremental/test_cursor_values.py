"""Which of two cursor values comes later, and what lies a lag behind one."""

from __future__ import annotations

import datetime as dt
import itertools
from fractions import Fraction

import hypothesis
import pytest
from hypothesis import strategies as st

from flowtoy_dagster.flow.schema.incremental import read_lag
from flowtoy_dagster.steps.state.cursor_values import (
    CursorError,
    Scalar,
    behind,
    cursor_value,
    is_later,
)

# language 22.1, 22.2

ASCENDING: list[tuple[str, list[Scalar]]] = [
    ("numbers", [-1, 0, 0.5, 1, 2**53, 2**53 + 1, 10**40]),
    ("zones", ["2026-01-01T00:30:00+02:00", "2025-12-31T23:00:00Z", "2026-01-01T00:00:00-01:00"]),
    ("fractions", [f"2026-01-01T00:00:00{each}Z" for each in ("", ".0000001", ".5")]),
    ("spaces", ["2026-01-01 09:00:00", "2026-01-01T10:00", "2026-01-01 10:00:01"]),
    ("dates", ["2025-12-31", "2026-01-01", "2026-02-01"]),
    ("text", ["", "01H", "01HZ", "a", "b", "é"]),
    ("ids of one length", ["007", "123", "999"]),
]


@pytest.mark.parametrize(("_", "values"), ASCENDING, ids=[name for name, _ in ASCENDING])
def test_values_are_ordered_by_what_they_are(_: str, values: list[Scalar]) -> None:
    for first, second in itertools.pairwise(values):
        assert is_later(second, first)
        assert not is_later(first, second)
        assert not is_later(first, first)


def test_the_same_moment_in_two_zones_is_no_later() -> None:
    assert not is_later("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z")
    assert not is_later("2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        ("2026-01-01T00:00:00Z", 1767225600),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00"),
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("2026-01-01", "abc"),
        ("9", "10"),
        ("-5", "-3"),
        ("Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT"),
        ("01/02/2026", "02/01/2026"),
    ],
)
def test_what_can_not_be_compared_names_both_values(one: Scalar, other: Scalar) -> None:
    for pair in ((one, other), (other, one)):
        with pytest.raises(CursorError) as error:
            is_later(*pair)
        assert repr(one) in str(error.value)
        assert repr(other) in str(error.value)


@pytest.mark.parametrize("value", [None, True, "", [1], {"a": 1}, float("nan"), float("inf")])
def test_what_is_no_cursor_is_an_error(value: object) -> None:
    with pytest.raises(CursorError):
        cursor_value(value)


@pytest.mark.parametrize(
    ("value", "lag", "start"),
    [
        ("2026-01-01T00:00:00Z", "1h", "2025-12-31T23:00:00Z"),
        ("2026-01-01T00:00:00+05:30", "1h", "2025-12-31T23:00:00+05:30"),
        ("2026-01-01 00:00:00", 60, "2025-12-31 23:59:00"),
        ("2026-01-01T00:00:00.250Z", "500ms", "2025-12-31T23:59:59.750Z"),
        ("2026-01-01T00:00:00.123456789Z", "1s", "2025-12-31T23:59:59.123456789Z"),
        ("2026-01-01T00:00:00,5Z", "1s", "2025-12-31T23:59:59,5Z"),
        ("2026-01-01T00:00:00Z", "500ms", "2025-12-31T23:59:59Z"),
        ("2026-01-01T10:00", "90s", "2026-01-01T09:58"),
        ("2026-03-01", "1d", "2026-02-28"),
        ("2026-03-01", "1h", "2026-02-28"),
        ("0001-01-01T00:00:00Z", "1h", "0001-01-01T00:00:00Z"),
        (100, 10, 90),
        (10**40, 1, 10**40 - 1),
        (2.5, 0.5, 2.0),
        (1767225600, "1h", 1767222000),
        (1767225600.5, "1h", 1767222000.5),
        (1767225600000, "1h", 1767222000000),
        (1767225600000000, "1s", 1767225599000000),
        (1767225600000000000, "1s", 1767225599000000000),
        ("anything", 0, "anything"),
    ],
)
def test_a_start_has_the_form_of_the_stored_value(
    value: Scalar, lag: object, start: Scalar
) -> None:
    found = behind(value, read_lag(lag), -1)
    assert (type(found), found) == (type(start), start)


def test_with_the_smallest_value_the_lag_goes_the_other_way() -> None:
    assert behind("2026-01-01T00:00:00Z", read_lag("1h"), 1) == "2026-01-01T01:00:00Z"
    assert behind("2026-01-01", read_lag("1h"), 1) == "2026-01-02"
    assert behind(100, read_lag(10), 1) == 110


def test_text_has_no_lag() -> None:
    with pytest.raises(CursorError, match="'01HZ'"):
        behind("01HZ", read_lag("1h"), -1)


@pytest.mark.parametrize("written", ["-1", -1, "soon", True, None, "1w", float("nan")])
def test_what_is_no_lag_is_an_error(written: object) -> None:
    with pytest.raises(ValueError, match="expected a span"):
        read_lag(written)


ZONES = st.sampled_from(["Z", "+00:00", "+05:30", "-0800", "+14"])
MOMENTS = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29))


@hypothesis.given(MOMENTS, ZONES, st.integers(0, 9), st.integers(0, 10**6))
@hypothesis.settings(max_examples=60, deadline=None)
def test_a_start_is_never_later_than_the_lag_says(
    moment: dt.datetime, zone: str, digits: int, lag: int
) -> None:
    fraction = f".{moment.microsecond:06d}000"[: digits + 1] if digits else ""
    text = f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + fraction + zone
    start = behind(text, read_lag(lag / 1000), -1)
    assert isinstance(start, str)
    assert len(start) == len(text)
    assert not is_later(start, text)
    back = behind(start, read_lag(lag / 1000), 1)
    assert not is_later(back, text) or len(fraction) < 4


@hypothesis.given(
    value=st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
    lag=st.integers(1, 10**6), sign=st.sampled_from([-1, 1]),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_a_float_never_loses_any_of_its_lag(value: float, lag: int, sign: int) -> None:
    start = behind(value, read_lag(lag / 1000), sign)
    moved = (Fraction(start) - Fraction(value)) * sign
    assert moved >= read_lag(lag / 1000).amount
