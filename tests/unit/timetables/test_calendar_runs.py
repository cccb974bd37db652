# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Runs of a calendar timetable: those of its schedule, and otherwise as Airflow's own cron timetable makes them."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from airflow.timetables.base import DagRunInfo, TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable, MultipleCronTriggerTimetable
from asked_by_airflow import aware, naive, next_run, scheduled
from hypothesis import assume, given
from hypothesis import strategies as st

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Move, Period, Schedule
from batchy_provider.timetables import CalendarTimetable
from batchy_provider.timetables import calendar as timetables

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Santiago", "Australia/Lord_Howe")
EVERY_DAY = Calendar(name="every day", weekend=frozenset())
CRONS = ("0 2 * * *", "30 2 * * *", "0 3 * * 1-5", "15 0,12 * * *", "*/30 1-3 * * *", "0 6 28 * *", "0 9 * * 1")


def random_schedule(chance: random.Random, zone: str) -> Schedule:
    holidays = {date(2026, 1, 1) + timedelta(days=chance.randrange(730)) for _ in range(chance.randrange(40))}
    calendar = Calendar(
        name="random",
        weekend=frozenset(chance.sample(range(7), chance.randrange(4))),
        holidays=tuple(chance.sample(["ECB", "NYSE", "DE-BY", "IN"], chance.randrange(3))),
        add=frozenset(holidays | {date(2026, 5, 8)}),
    )
    nth = chance.choice([1, 2, 5, -1, -2])
    rule = chance.choice(
        [
            None,
            DayRule(days=Days.BUSINESS_DAYS),
            DayRule(days=Days.HOLIDAYS),
            DayRule(days=Days.NTH, nth=nth, of=chance.choice([Period.MONTH, Period.QUARTER])),
        ]
    )
    # A day that few crons name, and that is to be a certain one, may never come.
    daily = rule is not None and rule.days in (Days.NTH, Days.HOLIDAYS)
    crons = CRONS[:2] if daily else CRONS
    return Schedule(
        crons=tuple(chance.sample(crons, chance.choice([1, 1, 1, 2]))),
        timezone=zone,
        calendar=calendar,
        on=rule,
        move=Move.SKIP if daily else chance.choice(list(Move)),
    )


@pytest.mark.parametrize("number", range(50))
def test_the_scheduler_fires_as_the_schedule_says_over_two_years(number: int) -> None:
    schedule = random_schedule(random.Random(number), ZONES[number % len(ZONES)])
    start, end = datetime(2026, 1, 1), datetime(2028, 1, 1)
    timetable = CalendarTimetable.deserialize(CalendarTimetable.of(schedule).serialize())
    runs = list(scheduled(timetable, start, end - timedelta(seconds=1)))
    assert runs, schedule
    assert [naive(run.run_after) for run in runs] == list(schedule.fires(start, end))
    for run in runs:
        assert run.logical_date == run.run_after
        assert run.data_interval.start == run.data_interval.end == run.run_after


moments = st.datetimes(datetime(2025, 12, 1), datetime(2027, 2, 1)).map(lambda each: each.replace(microsecond=0))


@given(
    crons=st.lists(st.sampled_from(CRONS), min_size=1, max_size=2, unique=True),
    # Where clocks change by half an hour, Airflow's own timetable may fire out of order.
    zone=st.sampled_from(ZONES[:-1]),
    now=moments,
    last=st.none() | moments,
    earliest=st.none() | moments,
    latest=st.none() | moments,
    catchup=st.booleans(),
)
def test_without_days_off_it_runs_as_airflows_own_timetable(
    crons: list[str],
    zone: str,
    now: datetime,
    last: datetime | None,
    earliest: datetime | None,
    latest: datetime | None,
    catchup: bool,
) -> None:
    # Without any date to go by, Airflow begins each of several crons for itself.
    assume(len(crons) == 1 or last is not None or earliest is not None)
    # After the end, Airflow still runs the latest fire of that cron of several whose latest fire lies before the end.
    assume(len(crons) == 1 or catchup or latest is None or latest >= now)
    schedule = Schedule(crons=tuple(crons), timezone=zone, calendar=EVERY_DAY)
    restriction = TimeRestriction(aware(earliest), aware(latest), catchup)
    several = MultipleCronTriggerTimetable(*crons, timezone=zone)
    theirs = CronTriggerTimetable(crons[0], timezone=zone) if len(crons) == 1 else several
    if last is not None:
        last = schedule.last_fire(last)
    before = None if last is None else DagRunInfo.exact(aware(last))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timetables, "_now", lambda: now)
        patch.setattr("airflow.timetables.trigger.utcnow", lambda: aware(now))
        patch.setattr("airflow.timetables.trigger.time.time", lambda: aware(now).timestamp())
        found = next_run(CalendarTimetable.of(schedule), before, restriction)
        wanted = next_run(theirs, before, restriction)
    assert found == wanted


def test_runs_that_were_missed_are_left_out_without_catchup(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Airflow's own: the latest that is due runs, and those before it do not."""
    weekdays = Schedule(crons=("0 2 * * *",), calendar=Calendar(name="weekdays"))
    timetable = CalendarTimetable.of(weekdays)
    restriction = TimeRestriction(aware("2026-01-01"), None, catchup=False)
    monkeypatch.setattr(timetables, "_now", lambda: datetime(2026, 11, 29, 12))  # a Sunday
    last = DagRunInfo.exact(aware("2026-11-25T02:00:00"))
    first = next_run(timetable, last, restriction)
    assert naive(first.run_after) == datetime(2026, 11, 27, 2), "the Friday before"
    assert naive(next_run(timetable, first, restriction).run_after) == datetime(2026, 11, 30, 2)


def test_start_and_end_date_bound_the_runs() -> None:
    holiday = date(2026, 4, 3)
    schedule = Schedule(crons=("0 2 * * *",), calendar=Calendar(name="bank", add=frozenset({holiday})))
    runs = scheduled(CalendarTimetable.of(schedule), datetime(2026, 4, 1, 2), datetime(2026, 4, 6, 2))
    assert [naive(run.run_after).day for run in runs] == [1, 2, 6], "both inclusive, without holiday and weekend"


@pytest.mark.parametrize(
    ("cron", "day", "fires"),
    [
        ("30 2 * * *", "2026-03-29", ["01:30"]),  # skipped: 03:30 in Berlin
        ("30 2 * * *", "2026-10-25", ["01:30"]),  # repeated: the second 02:30
        ("*/30 2 * * *", "2026-10-25", ["01:00", "01:30"]),
        ("0 2,3 * * *", "2026-03-29", ["01:00"]),  # both are 03:00
    ],
)
def test_an_hour_that_the_clocks_skip_or_repeat_fires_once(cron: str, day: str, fires: list[str]) -> None:
    schedule = Schedule(crons=(cron,), timezone="Europe/Berlin", calendar=EVERY_DAY)
    start = datetime.fromisoformat(day) - timedelta(hours=1)
    runs = scheduled(CalendarTimetable.of(schedule), start, start + timedelta(hours=22))
    assert [f"{naive(run.run_after):%H:%M}" for run in runs] == fires


def test_a_run_by_hand_has_its_own_moment() -> None:
    timetable = CalendarTimetable.of(Schedule(crons=("0 2 * * *",), calendar=EVERY_DAY))
    at: Any = aware("2026-04-03T10:11:12")
    assert timetable.infer_manual_data_interval(run_after=at) == (at, at)


def test_a_schedule_that_fires_no_more_ends_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    never = Schedule(crons=("0 2 * * *",), calendar=EVERY_DAY, on=DayRule(days=Days.HOLIDAYS))
    restriction = TimeRestriction(aware("2026-01-01"), None, catchup=True)
    assert next_run(CalendarTimetable.of(never), None, restriction) is None
    assert "No further run is due: the schedule '0 2 * * *'" in caplog.text
