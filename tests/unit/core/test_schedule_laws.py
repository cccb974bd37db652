# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Laws of schedules with calendars, over random ones: each against a plain search, day by day."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.cron_days import names_day
from batchy_provider.core.dates import day_of
from batchy_provider.core.day_rules import nth_day, period_of, place_in_period
from batchy_provider.core.schedules import DayRule, Days, Move, Period, Schedule

DAY = timedelta(days=1)
FIRST = date(2026, 1, 1)
YEAR = [FIRST + each * DAY for each in range(365)]

calendars = st.builds(
    Calendar,
    name=st.just("random"),
    weekend=st.frozensets(st.integers(0, 6), max_size=5),
    holidays=st.sampled_from([(), ("ECB",), ("DE-BY", "NYSE")]),
    add=st.frozensets(st.sampled_from(YEAR), max_size=20),
    remove=st.frozensets(st.sampled_from([date(2026, 4, 3), date(2026, 12, 25), date(2026, 5, 1)])),
)
rules = st.one_of(
    st.none(),
    st.builds(DayRule, days=st.sampled_from([Days.BUSINESS_DAYS, Days.HOLIDAYS])),
    st.builds(
        DayRule,
        days=st.just(Days.NTH),
        nth=st.sampled_from([1, 2, 3, -1, -2, -5]),
        of=st.sampled_from(list(Period)),
    ),
)
day_fields = st.sampled_from(
    ["* * *", "* * 1-5", "* * 0,6", "28 * *", "1,15 * *", "31 * *", "l * *", "* * 2", "*/9 * *"]
)
crons = st.lists(
    st.builds("{} {}".format, st.sampled_from(["0 2", "30 23", "15 6,18"]), day_fields), min_size=1, max_size=2
)
schedules = st.builds(
    Schedule,
    crons=crons.map(tuple),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
    calendar=calendars,
    on=rules,
    move=st.sampled_from(list(Move)),
)


def due_days(schedule: Schedule) -> list[date]:
    """Return the days of the year on which a schedule is due, found by going through all days."""
    calendar, rule = schedule.calendar, schedule.on
    assert calendar is not None
    around = [FIRST + each * DAY for each in range(-400, 765)]

    def counts(day: date) -> bool:
        if rule is not None and rule.days is Days.HOLIDAYS:
            return calendar.holiday_name(day) is not None
        if rule is not None and rule.days is Days.NTH:
            start, end = period_of(day, rule.of)
            open_days = list(calendar.business_days(start, end))
            place = rule.nth - 1 if rule.nth > 0 else rule.nth
            return -len(open_days) <= place < len(open_days) and open_days[place] == day
        return True

    named = [day for day in around if names_day(schedule.crons, day) and counts(day)]
    open_days = [day for day in around if calendar.is_business_day(day)]
    if schedule.move is Move.SKIP:
        keeps = rule is not None and rule.days is Days.HOLIDAYS
        found = {day for day in named if keeps or calendar.is_business_day(day)}
    elif schedule.move is Move.NEXT:
        found = {min((each for each in open_days if each >= day), default=day) for day in named}
    else:
        found = {max((each for each in open_days if each <= day), default=day) for day in named}
    return sorted(found & set(YEAR))


def local_day(fire: datetime, schedule: Schedule) -> date:
    return date.fromisoformat(day_of(fire, schedule.timezone))


def fires_of_the_year(schedule: Schedule) -> list[datetime]:
    around = schedule.fires(datetime(2025, 12, 30), datetime(2027, 1, 3))
    return [fire for fire in around if local_day(fire, schedule).year == 2026]


@pytest.mark.slow
@given(schedules)
def test_a_schedule_fires_on_the_days_of_a_plain_search(schedule: Schedule) -> None:
    fires = fires_of_the_year(schedule)
    assert sorted({local_day(fire, schedule) for fire in fires}) == due_days(schedule)
    assert fires == sorted(set(fires))


@given(schedules)
def test_the_fire_before_the_next_fire_is_the_fire_itself(schedule: Schedule) -> None:
    fires = fires_of_the_year(schedule)[:40]
    for fire, following in pairwise(fires):
        assert schedule.next_fire(fire) == following
        assert schedule.fire_before(following) == fire
        assert schedule.last_fire(fire) == fire
        assert schedule.last_fire(following - timedelta(microseconds=1)) == fire
        assert schedule.due_day(fire) == local_day(fire, schedule)


@given(schedules, st.sampled_from(YEAR), st.integers(0, 100))
def test_the_fires_between_two_moments_are_the_next_ones_one_by_one(schedule: Schedule, day: date, days: int) -> None:
    start = datetime(day.year, day.month, day.day, 2)
    end = start + timedelta(days=days)
    found, fire = [], start - timedelta(microseconds=1)
    for _ in list(schedule.fires(start, end)):
        fire = schedule.next_fire(fire)
        found.append(fire)
    assert list(schedule.fires(start, end)) == found
    assert all(start <= each < end for each in found)


@given(schedules.filter(lambda each: each.move is not Move.SKIP))
def test_no_fire_moves_past_the_day_of_another_fire(schedule: Schedule) -> None:
    for fire in fires_of_the_year(schedule)[:40]:
        day = local_day(fire, schedule)
        due = schedule._due_days()
        assert due is not None
        source = due.source(day)
        assert source is not None
        between = [source + each * DAY for each in range(1, (day - source).days)]
        between += [source - each * DAY for each in range(1, (source - day).days)]
        assert not [each for each in between if due._names(each)]
        assert (day >= source) if schedule.move is Move.NEXT else (day <= source)


@given(schedules)
def test_each_day_that_is_named_is_due_or_left_out(schedule: Schedule) -> None:
    start, end = datetime(2026, 3, 1, 14), datetime(2026, 6, 1, 14)
    left_out = {each.day for each in schedule.left_out(start, end)}
    first, last = local_day(start, schedule), local_day(end, schedule)
    named = {day for day in YEAR if first <= day <= last and names_day(schedule.crons, day)}
    assert left_out <= named
    due = schedule._due_days()
    assert due is not None
    assert named - left_out == {day for day in named if due.source(day) == day}
    assert named - left_out <= set(due_days(schedule))


@given(calendars, st.sampled_from(list(Period)), st.sampled_from(YEAR))
def test_business_days_counted_from_both_ends_meet(calendar: Calendar, period: Period, day: date) -> None:
    start, end = period_of(day, period)
    assert start <= day < end
    open_days = list(calendar.business_days(start, end))
    assume(open_days)
    for index, each in enumerate(open_days):
        forward = DayRule(days=Days.NTH, nth=index + 1, of=period)
        backward = DayRule(days=Days.NTH, nth=index - len(open_days), of=period)
        assert nth_day(calendar, forward, day) == nth_day(calendar, backward, day) == each
        assert place_in_period(calendar, forward, each) == forward.nth
        assert place_in_period(calendar, backward, each) == backward.nth
    too_many = DayRule(days=Days.NTH, nth=len(open_days) + 1, of=period)
    assert nth_day(calendar, too_many, day) is None


CHANGES = [
    ("Europe/Berlin", "2026-03-28"),
    ("Europe/Berlin", "2026-10-24"),
    ("America/Havana", "2026-03-07"),
    ("America/Nuuk", "2026-03-27"),  # the clock skips the last hour of a day
    ("Australia/Lord_Howe", "2026-10-03"),
    ("Antarctica/Troll", "2026-03-28"),
    ("Pacific/Apia", "2011-12-29"),  # a day that there was not
]


@pytest.mark.parametrize(("timezone", "day"), CHANGES)
@pytest.mark.parametrize(
    "crons",
    [("30 2 * * *",), ("30 23 * * *", "0 1 * * *"), ("*/20 1-2 * * *",), ("15 0,1,2,3 * * *",), ("0 * * * *",)],
)
def test_a_calendar_without_days_off_changes_nothing(timezone: str, day: str, crons: tuple[str, ...]) -> None:
    """Also where the clock changes."""
    plain = Schedule(crons=crons, timezone=timezone)
    calendar = Calendar(name="always", weekend=frozenset())
    always = Schedule(crons=crons, timezone=timezone, calendar=calendar, move=Move.NEXT)
    start = datetime.fromisoformat(day)
    end = start + timedelta(days=3, hours=6)
    fires = list(plain.fires(start, end))
    assert list(always.fires(start, end)) == fires
    for fire, following in list(pairwise(fires))[::5]:
        assert always.next_fire(fire) == following
        assert always.fire_before(following) == fire
