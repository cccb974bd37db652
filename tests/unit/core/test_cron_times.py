# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The fire before a moment, beside Airflow's own cron timetable, days on which clocks change included."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.cron_times import previous_fire

ZONES = ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
CRONS = [
    "0 2 * * *",
    "30 2 * * *",
    "0 0 * * *",
    "*/15 * * * *",
    "0 * * * *",
    "0 3 * * 1-5",
    "0 4 1 * *",
    "0 2,14 * * *",
    "0 1 29 2 *",
]


def airflows_fires(expression: str, name: str, start: datetime, end: datetime) -> list[datetime]:
    """Return when Airflow would fire, from its public way of asking: the next run after each."""
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    timetable = CronTriggerTimetable(expression, timezone=name)
    bounds = TimeRestriction(pendulum.instance(start, tz="UTC"), pendulum.instance(end, tz="UTC"), catchup=True)
    fires: list[datetime] = []
    last = None
    while (run := timetable.next_dagrun_info(last_automated_data_interval=last, restriction=bounds)) is not None:
        fires.append(run.run_after.in_timezone("UTC").naive())
        last = run.data_interval
        if len(fires) > 1 and fires[-1] <= fires[-2]:
            raise AssertionError("Airflow goes back in time")
    return fires


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("expression", ["0 2 * * *", "30 2 * * *", "0 0 * * *", "0 3 * * 1-5", "0 2,14 * * *"])
@pytest.mark.parametrize(("start", "end"), [("2026-03-05", "2026-04-12"), ("2026-10-20", "2026-11-06")])
def test_each_fire_of_airflow_is_preceded_by_its_fire_before(expression: str, name: str, start: str, end: str) -> None:
    fires = airflows_fires(expression, name, datetime.fromisoformat(start), datetime.fromisoformat(end))
    assert len(fires) > 5
    found = [previous_fire([expression], name, fire) for fire in fires[1:]]
    assert found == fires[:-1]


@given(
    moment=st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)),
    expression=st.sampled_from(CRONS),
    name=st.sampled_from(ZONES),
)
def test_it_lies_strictly_before_and_the_ones_before_it_go_on_back(
    moment: datetime, expression: str, name: str
) -> None:
    first = previous_fire([expression], name, moment)
    second = previous_fire([expression], name, first)
    assert second < first < moment


@given(moment=st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)), expression=st.sampled_from(CRONS))
def test_in_utc_it_is_the_latest_fire_before(moment: datetime, expression: str) -> None:
    from croniter import croniter

    fire = previous_fire([expression], "UTC", moment)
    assert croniter(expression, fire).get_next(datetime) >= moment


def test_a_fire_at_the_moment_itself_does_not_count() -> None:
    assert previous_fire(["0 2 * * *"], "UTC", datetime(2026, 1, 2, 2)) == datetime(2026, 1, 1, 2)
    just_after = datetime(2026, 1, 2, 2) + timedelta(microseconds=1)
    assert previous_fire(["0 2 * * *"], "UTC", just_after) == datetime(2026, 1, 2, 2)


def test_of_several_schedules_the_latest_fire_counts() -> None:
    assert previous_fire(["0 2 * * *", "0 14 * * *"], "UTC", datetime(2026, 1, 2, 2)) == datetime(2026, 1, 1, 14)


def test_the_moment_may_be_aware() -> None:
    at = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    assert previous_fire(["0 2 * * *"], "UTC", at) == datetime(2026, 1, 1, 2)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        # Paris sets its clocks from 2 to 3 on 2026-03-29, at 01:00 UTC, and from 3 to 2 on 2026-10-25, at 01:00 UTC.
        ("2026-03-29T12:00", "2026-03-29T01:30"),
        ("2026-03-29T01:30", "2026-03-28T01:30"),
        ("2026-10-25T12:00", "2026-10-25T01:30"),
        ("2026-10-25T01:30", "2026-10-24T00:30"),
    ],
)
def test_a_time_that_the_clock_skips_or_repeats_is_read_as_airflow_reads_it(moment: str, expected: str) -> None:
    found = previous_fire(["30 2 * * *"], "Europe/Paris", datetime.fromisoformat(moment))
    assert found == datetime.fromisoformat(expected)


def test_hourly_schedules_fire_in_both_hours_that_have_the_same_name() -> None:
    at = datetime(2026, 10, 25, 3)
    fires = []
    for _ in range(5):
        at = previous_fire(["0 * * * *"], "Europe/Paris", at)
        fires.append(at.hour)
    assert fires == [2, 1, 0, 23, 22]
