# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The fires before and after a moment, beside Airflow's own cron timetable, days on which clocks change included."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.core.cron_times import next_fire, previous_fire

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


# -- the inverse, and Airflow, about changes of clocks -------------------------------------------------------------

CHANGING = [
    "Europe/Paris",
    "America/New_York",
    "America/Santiago",  # at midnight
    "America/St_Johns",  # at a minute after midnight, until 2011
    "America/Havana",
    "Africa/Casablanca",  # back and forth for a month each year
    "Africa/Cairo",
    "Asia/Gaza",
    "Asia/Tehran",
    "Australia/Lord_Howe",  # by half an hour
    "Antarctica/Troll",  # by two hours
    "Pacific/Apia",  # left out a whole day in 2011
    "Pacific/Chatham",  # 45 minutes off the full hour
    "Asia/Pyongyang",  # by half an hour, for once
]
DAY = timedelta(days=1)


def offset(name: str, moment: datetime) -> timedelta | None:
    return moment.replace(tzinfo=timezone.utc).astimezone(ZoneInfo(name)).utcoffset()


@cache
def changes(name: str, year: int) -> list[datetime]:
    """Return the days, UTC, in which the clocks change."""
    days = [datetime(year, 1, 1) + number * DAY for number in range(365)]
    return [day for day in days if offset(name, day) != offset(name, day + DAY)]


@st.composite
def changing_clocks(draw: st.DrawFn) -> tuple[str, datetime]:
    """A timezone, and a day on which its clocks change."""
    name = draw(st.sampled_from(CHANGING))
    year = draw(st.sampled_from([2007, 2011, 2015, 2018, 2026]))
    days = changes(name, year)
    assume(days)
    return name, draw(st.sampled_from(days))


def lists(low: int, high: int) -> st.SearchStrategy[str]:
    values = st.lists(st.integers(low, high), min_size=1, max_size=4, unique=True)
    return values.map(lambda each: ",".join(map(str, sorted(each))))


MINUTES = lists(0, 59) | st.integers(13, 30).map("*/{}".format)
HOURS = st.just("*") | lists(0, 5) | lists(0, 23) | st.integers(2, 12).map("*/{}".format)
WEEKDAYS = st.sampled_from(["*", "*", "1-5", "0", "1", "6"])
EXPRESSIONS = st.builds("{} {} * * {}".format, MINUTES, HOURS, WEEKDAYS)


@settings(max_examples=scaled(40))
@given(clocks=changing_clocks(), expression=EXPRESSIONS, data=st.data())
def test_about_a_change_of_clocks_it_fires_as_airflow_does(
    clocks: tuple[str, datetime], expression: str, data: st.DataObject
) -> None:
    name, day = clocks
    # Begun so early, Airflow's fires do not depend on where it began: at least two come before those about the day.
    margin = (5 if expression.endswith("* * *") else 16) * DAY
    fires = airflows_fires(expression, name, day - margin, day + margin)
    near = [number for number, fire in enumerate(fires) if abs(fire - day) < 2 * DAY and number > 1]
    near = near or [number for number, fire in enumerate(fires) if fire > day][:1]
    number = data.draw(st.sampled_from(near))
    before, fire = fires[number - 1], fires[number]
    moment = before + data.draw(st.timedeltas(timedelta(), fire - before))
    assert previous_fire([expression], name, fire) == before
    assert next_fire([expression], name, before) == fire
    assert previous_fire([expression], name, moment) == (before if moment > before else fires[number - 2])
    assert next_fire([expression], name, moment) == (fire if moment < fire else fires[number + 1])


@settings(max_examples=scaled(100))
@given(clocks=changing_clocks(), expression=EXPRESSIONS, after=st.timedeltas(-3 * DAY, 4 * DAY))
def test_next_and_previous_are_inverse(clocks: tuple[str, datetime], expression: str, after: timedelta) -> None:
    name, day = clocks
    moment = day + after
    following = next_fire([expression], name, moment)
    before = previous_fire([expression], name, moment)
    assert before < moment < following
    assert previous_fire([expression], name, following) in {before, moment}
    assert next_fire([expression], name, before) in {following, moment}
    assert next_fire([expression], name, previous_fire([expression], name, following)) == following
    assert previous_fire([expression], name, next_fire([expression], name, before)) == before


@pytest.mark.parametrize("name", ["Europe/Paris", "Australia/Lord_Howe", "Antarctica/Troll"])
@pytest.mark.parametrize("expression", ["0 * 1 * *", "15,35 * * * 0", "15,35 0-3 * * 0", "30 2 1 1 *", "0 2 28-31 * *"])
def test_seldom_fires_are_airflows_too(expression: str, name: str) -> None:
    fires = airflows_fires(expression, name, datetime(2026, 1, 1), datetime(2027, 2, 1))[1:]
    step = max(1, len(fires) // 40)
    for before, fire in list(itertools.pairwise(fires))[::step]:
        assert (next_fire([expression], name, before), previous_fire([expression], name, fire)) == (fire, before)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # Lord Howe sets its clocks from 2:00 (UTC+11) to 1:30 (UTC+10:30) on 2026-04-05, at 15:00 UTC of the 4th.
        ("0 * * * *", ["2026-04-04T14:00", "2026-04-04T15:00", "2026-04-04T15:30", "2026-04-04T16:30"]),
        ("45 * * * *", ["2026-04-04T13:45", "2026-04-04T14:45", "2026-04-04T15:45", "2026-04-04T16:15"]),
        ("45 1 * * *", ["2026-04-03T14:45", "2026-04-04T15:15", "2026-04-05T15:15"]),
        # It sets them from 2:00 (UTC+10:30) to 2:30 (UTC+11) on 2026-10-04, at 15:30 UTC of the 3rd.
        ("15,50 2 * * *", ["2026-10-02T16:20", "2026-10-03T15:45", "2026-10-03T15:50", "2026-10-04T15:15"]),
        ("15,35 2 * * *", ["2026-10-02T16:05", "2026-10-03T15:45", "2026-10-04T15:15"]),
    ],
)
def test_where_the_clock_changes_by_half_an_hour_it_fires_as_airflow_does(expression: str, expected: list[str]) -> None:
    fires = [datetime.fromisoformat(each) for each in expected]
    for before, fire in itertools.pairwise(fires):
        assert next_fire([expression], "Australia/Lord_Howe", before) == fire
        assert previous_fire([expression], "Australia/Lord_Howe", fire) == before


def test_of_several_times_that_the_clock_skips_only_the_first_fires() -> None:
    assert next_fire(["0,20 2 * * *"], "Europe/Paris", datetime(2026, 3, 29)) == datetime(2026, 3, 29, 1)
    assert next_fire(["0,20 2 * * *"], "Europe/Paris", datetime(2026, 3, 29, 1)) == datetime(2026, 3, 30)


def test_of_several_schedules_the_first_fire_comes_next() -> None:
    assert next_fire(["0 2 * * *", "0 14 * * *"], "UTC", datetime(2026, 1, 2, 2)) == datetime(2026, 1, 2, 14)
