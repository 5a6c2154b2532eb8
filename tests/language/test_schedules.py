"""Schedules: what is one, and what Dagster makes of it (language 16)."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtoy_dagster import ConfigError, build_job, load_flow
from flowtoy_dagster.engine.jobs.schedules import schedules_of
from flowtoy_dagster.flow.schema.cron import check_cron, check_timezone

FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NAMES = {3: ["jan", "DEC", "feb"], 4: ["sun", "Mon", "fri"]}


@st.composite
def items(draw: st.DrawFn, place: int) -> str:
    low, high = FIELDS[place]
    numbers = sorted([draw(st.integers(low, high)), draw(st.integers(low, high))])
    span = draw(st.sampled_from(["*", f"{numbers[0]}-{numbers[1]}"]))
    step = draw(st.integers(1, high - low))
    return draw(
        st.sampled_from(["*", str(numbers[0]), span, f"{span}/{step}", *NAMES.get(place, [])])
    )


@st.composite
def crons(draw: st.DrawFn) -> str:
    return " ".join(
        ",".join(draw(st.lists(items(place), min_size=1, max_size=3))) for place in range(5)
    )


def taken_by_dagster(cron: str) -> bool:
    try:
        dg.ScheduleDefinition(job_name="x", cron_schedule=cron)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(crons())
def test_dagster_takes_every_cron_that_we_take(cron: str) -> None:
    # language 16.1
    try:
        check_cron(cron)
    except ValueError:
        return
    assert taken_by_dagster(cron)


@pytest.mark.parametrize(
    "cron",
    ["0 6 * * 1-5", "*/15 * * * *", "0 0 29 2 *", "0 8-18/2 * * mon-FRI", "@daily", "5,35 0 1 * *"],
)
def test_usual_crons_are_taken(cron: str) -> None:
    # language 16.1
    assert check_cron(cron) == cron
    assert taken_by_dagster(cron)


@pytest.mark.parametrize(
    ("cron", "part"),
    [
        ("* * * *", "five fields"), ("0 0 * * * *", "five fields"), ("", "five fields"),
        ("60 * * * *", "invalid minute '60' (expected 0-59)"),
        ("0 24 * * *", "invalid hour '24'"), ("0 0 0 * *", "invalid day '0'"),
        ("0 0 * moon *", "invalid month 'moon'"), ("0 0 * * 5-1", "does not go up"),
        ("*/90 * * * *", "the step in '*/90' is not between 1 and 59"),
        ("*/0 * * * *", "the step in '*/0'"),
        ("5/10 * * * *", "a step follows"), ("1;2 * * * *", "invalid minute '1;2'"),
        ("0 0 31 4,6 *", "have no day 31"), ("@reboot", "no '@reboot'"), ("٣ * * * *", "minute"),
    ],
)  # fmt: skip
def test_a_bad_cron_says_which_field_is_wrong(cron: str, part: str) -> None:
    # language 16.1
    with pytest.raises(ValueError, match=re.escape(part)):
        check_cron(cron)


@pytest.mark.parametrize("name", ["UTC", "Europe/Zurich", "Etc/GMT+5"])
def test_time_zones_are_taken_by_their_names(name: str) -> None:
    # language 16.1
    assert check_timezone(name) == name


@pytest.mark.parametrize("name", ["Mars/Olympus", "../UTC", "", "/etc/localtime", "America"])
def test_another_time_zone_is_refused(name: str) -> None:
    # language 16.1
    with pytest.raises(ValueError, match="no time zone"):
        check_timezone(name)


CONFIG: dict[str, Any] = {
    "name": "report",
    "params": {
        "region": {"default": "eu", "env": "REPORT_REGION"},
        "day": {"type": "string"},
        "token": {"env": "REPORT_TOKEN"},
    },
    "schedule": [
        {"cron": "0 6 * * *", "timezone": "Europe/Zurich", "params": {"day": "today"}},
        {"cron": "@weekly", "params": {"day": "week"}, "enabled": False, "description": "old"},
    ],
    "flow": [{"name": "a", "source": "env"}],
}


@pytest.fixture(scope="module")
def schedules() -> list[dg.ScheduleDefinition]:
    """The schedules of a flow, in definitions that Dagster has accepted."""
    flow = load_flow(CONFIG)
    job = build_job(flow)
    made = schedules_of(flow, job)
    assert dg.Definitions(jobs=[job], schedules=made).get_repository_def().schedule_defs == made
    return made


def test_each_schedule_is_one_of_dagsters(schedules: list[dg.ScheduleDefinition]) -> None:
    # language 16.1, 16.2
    assert [
        (s.name, s.cron_schedule, s.execution_timezone, s.default_status.value, s.description)
        for s in schedules
    ] == [
        ("report_schedule", "0 6 * * *", "Europe/Zurich", "RUNNING", None),
        ("report_schedule_2", "@weekly", "UTC", "STOPPED", "old"),
    ]


def test_a_tick_gives_its_run_the_values_of_the_moment_and_no_secret(
    schedules: list[dg.ScheduleDefinition], monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 16.3
    monkeypatch.setenv("REPORT_REGION", "us")
    monkeypatch.setenv("REPORT_TOKEN", "sesame-123")
    moment = dt.datetime(2026, 1, 5, 6, tzinfo=dt.timezone.utc)
    (request,) = schedules[0].evaluate_tick(
        dg.build_schedule_context(scheduled_execution_time=moment)
    ).run_requests or ()
    config = {"region": "us", "day": "today"}
    assert request.run_config == {"resources": {"params": {"config": config}}}


def test_one_schedule_needs_no_list() -> None:
    # language 16.1
    flow = load_flow({"schedule": {"cron": "@daily"}, "flow": [{"name": "a", "source": "env"}]})
    assert [(s.cron, s.timezone, s.enabled) for s in flow.schedules] == [("@daily", "UTC", True)]


def test_a_schedule_may_leave_a_secret_to_the_steps_process() -> None:
    # language 16.3
    params = {"token": {"env": "NOT_SET_HERE"}}
    config = {"params": params, "schedule": {"cron": "@daily"}, "flow": CONFIG["flow"]}
    flow = load_flow(config)
    (made,) = schedules_of(flow, build_job(flow))
    moment = dt.datetime(2026, 1, 5, tzinfo=dt.timezone.utc)
    context = dg.build_schedule_context(scheduled_execution_time=moment)
    assert len(made.evaluate_tick(context).run_requests or ()) == 1
    with pytest.raises(ConfigError, match="no value for the parameter 'token'"):
        load_flow({**config, "params": {"token": {}}})


def test_the_next_times_are_those_at_which_dagster_makes_runs() -> None:
    import datetime as dt

    from flowtoy_dagster.engine.jobs.schedules import next_times
    from flowtoy_dagster.flow.schema.models import ScheduleConfig

    def shown(cron: str, zone: str, after: str, count: int = 2) -> list[str]:
        schedule = ScheduleConfig(cron=cron, timezone=zone)
        moment = dt.datetime.fromisoformat(after)
        return [found.isoformat() for found in next_times(schedule, count, moment)]

    zone = "Europe/Zurich"
    assert shown("30 2 * * *", zone, "2026-03-27T23:00:00+00:00") == [
        "2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00",  # clocks go forward
    ]
    assert shown("@daily", "UTC", "2026-01-01T00:00:00+00:00", 1) == ["2026-01-02T00:00:00+00:00"]
    assert shown("0 0 29 2 *", "UTC", "2026-01-01T00:00:00+00:00") == [
        "2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00",
    ]
    assert len(shown("* * * * *", "UTC", "2026-01-01T00:00:30+00:00", 100)) == 100
