"""Durations (language 10.3)."""

from __future__ import annotations

import pytest

from flowtoy_dagster.flow.schema.durations import seconds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (30, 30.0), (0, 0.0), (1.5, 1.5), ("30", 30.0), ("500ms", 0.5), ("30s", 30.0),
        ("5m", 300.0), ("2h", 7200.0), ("1.5 s", 1.5), (" 2m ", 120.0), ("0.5h", 1800.0),
    ],
)  # fmt: skip
def test_durations_are_seconds(written: object, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "", "s", "5 days", "-5s", "5S", "1h30m", "1e3", "nan", "inf", -1, float("nan"),
        float("inf"), True, None, [1], {"s": 1},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as"):
        seconds(written)
