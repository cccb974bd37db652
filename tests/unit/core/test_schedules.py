# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When a schedule with a calendar fires: examples from a printed calendar, and what can never fire."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, LeftOut, Move, Period, Schedule
from batchy_provider.exceptions import StateError

TARGET2 = Calendar(name="target2", holidays=("ECB",))
BUSINESS_DAYS = DayRule(days=Days.BUSINESS_DAYS)
HOLIDAYS = DayRule(days=Days.HOLIDAYS)
NIGHTLY = ("0 2 * * *",)


def nth(number: int, of: Period = Period.MONTH) -> DayRule:
    return DayRule(days=Days.NTH, nth=number, of=of)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text)


def following(schedule: Schedule, moment: str, count: int) -> list[str]:
    fires, at = [], utc(moment)
    for _ in range(count):
        at = schedule.next_fire(at)
        fires.append(at.isoformat(timespec="minutes"))
    back = [schedule.fire_before(utc(each)).isoformat(timespec="minutes") for each in fires[1:]]
    assert back == fires[:-1]
    return fires


@pytest.mark.parametrize(
    ("rule", "move", "crons", "expected"),
    [
        # Easter 2026: Good Friday is 3 April, Easter Monday 6 April.
        (BUSINESS_DAYS, Move.SKIP, NIGHTLY, ["2026-04-01", "2026-04-02", "2026-04-07", "2026-04-08"]),
        (None, Move.SKIP, NIGHTLY, ["2026-04-01", "2026-04-02", "2026-04-07", "2026-04-08"]),
        (HOLIDAYS, Move.SKIP, NIGHTLY, ["2026-04-03", "2026-04-06", "2026-05-01", "2026-12-25", "2026-12-26"]),
        # The business day after each holiday, once for holidays that touch.
        (HOLIDAYS, Move.NEXT, NIGHTLY, ["2026-04-07", "2026-05-04", "2026-12-28"]),
        (nth(1), Move.SKIP, NIGHTLY, ["2026-04-01", "2026-05-04", "2026-06-01"]),
        (nth(-1), Move.SKIP, NIGHTLY, ["2026-04-30", "2026-05-29", "2026-06-30"]),
        (nth(-2), Move.SKIP, NIGHTLY, ["2026-04-29", "2026-05-28", "2026-06-29"]),
        (nth(1, Period.WEEK), Move.SKIP, NIGHTLY, ["2026-04-07", "2026-04-13", "2026-04-20"]),
        (nth(-1, Period.WEEK), Move.SKIP, NIGHTLY, ["2026-04-02", "2026-04-10", "2026-04-17"]),
        (nth(2, Period.QUARTER), Move.SKIP, NIGHTLY, ["2026-04-02", "2026-07-02", "2026-10-02"]),
        (nth(-1, Period.YEAR), Move.SKIP, NIGHTLY, ["2026-12-31", "2027-12-31", "2028-12-29"]),
        # The expression counts too: where the first business day is a Monday.
        (nth(1), Move.SKIP, ("0 2 * * 1",), ["2026-05-04", "2026-06-01", "2026-08-03"]),
        # 28 June 2026 is a Sunday, 28 November a Saturday.
        (None, Move.NEXT, ("0 2 28 6,11 *",), ["2026-06-29", "2026-11-30"]),
        (None, Move.PREVIOUS, ("0 2 28 6,11 *",), ["2026-06-26", "2026-11-27"]),
        (None, Move.SKIP, ("0 2 28 6,11 *",), ["2027-06-28", "2028-06-28"]),
        (BUSINESS_DAYS, Move.NEXT, ("0 2 28 6,11 *",), ["2026-06-29", "2026-11-30"]),
        # Into another month, both ways.
        (None, Move.NEXT, ("0 2 31 10 *",), ["2026-11-02"]),
        (None, Move.PREVIOUS, ("0 2 1 11 *",), ["2026-10-30"]),
        # Fires of two days that meet fire once.
        (None, Move.NEXT, ("0 2 * * 6", "0 2 * * 0"), ["2026-04-07", "2026-04-13", "2026-04-20"]),
        (None, Move.NEXT, NIGHTLY, ["2026-04-01", "2026-04-02", "2026-04-07", "2026-04-08"]),
    ],
)
def test_due_days(rule: DayRule | None, move: Move, crons: tuple[str, ...], expected: list[str]) -> None:
    schedule = Schedule(crons=crons, calendar=TARGET2, on=rule, move=move)
    assert following(schedule, "2026-03-31T12:00", len(expected)) == [f"{day}T02:00" for day in expected]


def test_of_fires_that_meet_on_one_day_the_nearest_ones_come() -> None:
    """Saturday 28 February 2026 moves to the Monday; so does Sunday 1 March, which lies between."""
    crons = ("0 2 28 2 *", "0 14 1 3 *")
    schedule = Schedule(crons=crons, calendar=TARGET2, move=Move.NEXT)
    assert following(schedule, "2026-02-01", 1) == ["2026-03-02T14:00"]
    before = Schedule(crons=crons, calendar=TARGET2, move=Move.PREVIOUS)
    assert following(before, "2026-02-01", 1) == ["2026-02-27T02:00"]


def test_a_day_with_fires_of_its_own_keeps_them() -> None:
    schedule = Schedule(crons=("0 2 28 2 *", "0 14,20 2 3 *"), calendar=TARGET2, move=Move.NEXT)
    assert following(schedule, "2026-02-01", 3) == ["2026-03-02T14:00", "2026-03-02T20:00", "2027-03-01T02:00"]


def test_several_times_of_one_day_move_together() -> None:
    schedule = Schedule(crons=("0 6 28 2 *", "30 1,22 28 2 *"), calendar=TARGET2, move=Move.NEXT)
    assert following(schedule, "2026-02-01", 3) == ["2026-03-02T01:30", "2026-03-02T06:00", "2026-03-02T22:30"]
    assert schedule.last_fire(utc("2026-03-02T06:00")) == utc("2026-03-02T06:00")
    assert schedule.fire_before(utc("2026-03-02T06:00")) == utc("2026-03-02T01:30")


def test_the_day_and_the_time_of_day_are_those_of_the_timezone() -> None:
    """Clocks in Berlin go forward on Sunday 29 March 2026, at 02:00, and back on Sunday 25 October."""
    schedule = Schedule(crons=("30 2 29 3 *",), timezone="Europe/Berlin", calendar=TARGET2, move=Move.NEXT)
    assert following(schedule, "2026-03-01", 1) == ["2026-03-30T00:30"]
    before = Schedule(crons=("30 0 * * 1",), timezone="Europe/Berlin", calendar=TARGET2, move=Move.PREVIOUS)
    assert following(before, "2026-04-03T12:00", 2) == ["2026-04-12T22:30", "2026-04-19T22:30"]
    assert following(before, "2026-04-01T12:00", 1) == ["2026-04-01T22:30"]  # Easter Monday's, on Thursday 2 April


@pytest.mark.parametrize(
    ("day", "expected"),
    # On a Sunday that is a business day: a skipped time of day fires an hour later, a repeated one the second time.
    [("2026-03-29", ["2026-03-29T01:30"]), ("2026-10-25", ["2026-10-25T01:30"])],
)
def test_a_time_of_day_that_is_skipped_or_repeated_fires_once(day: str, expected: list[str]) -> None:
    daily = Calendar(name="daily", weekend=frozenset())
    own = Schedule(crons=("30 2 * * *",), timezone="Europe/Berlin", calendar=daily)
    day_before = date.fromisoformat(day) - timedelta(days=1)
    closed = Calendar(name="closed", weekend=frozenset(), add=frozenset({day_before}))
    cron = f"30 2 {day_before.day} {day_before.month} *"
    moved = Schedule(crons=(cron,), timezone="Europe/Berlin", calendar=closed, move=Move.NEXT)
    start = utc(day) - timedelta(hours=4)
    for schedule in (own, moved):
        found = [each.isoformat(timespec="minutes") for each in schedule.fires(start, start + timedelta(hours=26))]
        assert found == expected


def test_hours_of_a_business_day_are_those_of_the_cron_expression() -> None:
    hourly = Schedule(crons=("15 8-10 * * *",), calendar=TARGET2)
    found = list(hourly.fires(utc("2026-04-02T00:00"), utc("2026-04-08T00:00")))
    assert [f"{each:%d %H:%M}" for each in found] == [
        f"{day} {hour}:15" for day in ("02", "07") for hour in ("08", "09", "10")
    ]


def test_left_out_days_say_why() -> None:
    schedule = Schedule(crons=NIGHTLY, calendar=TARGET2, on=BUSINESS_DAYS)
    assert list(schedule.left_out(utc("2026-04-03T00:00"), utc("2026-04-07T00:00"))) == [
        LeftOut(date(2026, 4, 3), "Good Friday, ECB"),
        LeftOut(date(2026, 4, 4), "Saturday"),
        LeftOut(date(2026, 4, 5), "Sunday"),
        LeftOut(date(2026, 4, 6), "Easter Monday, ECB"),
    ]
    moved = Schedule(crons=("0 2 28 * *",), calendar=TARGET2, move=Move.NEXT)
    assert list(moved.left_out(utc("2026-06-01"), utc("2026-07-30"))) == [
        LeftOut(date(2026, 6, 28), "Sunday", date(2026, 6, 29))
    ]
    # Fires of a day off move nowhere if the business day has fires of its own, or those of a nearer day.
    nightly = Schedule(crons=NIGHTLY, calendar=TARGET2, move=Move.NEXT)
    assert [each.moved_to for each in nightly.left_out(utc("2026-06-27"), utc("2026-06-29"))] == [None, None]
    twice = Schedule(crons=("0 2 27,28 * *",), calendar=TARGET2, move=Move.NEXT)
    found = [(each.day.day, each.moved_to) for each in twice.left_out(utc("2026-06-27"), utc("2026-06-30"))]
    assert found == [(27, None), (28, date(2026, 6, 29))]
    counted = Schedule(crons=NIGHTLY, calendar=TARGET2, on=nth(-1))
    assert [each.reason for each in counted.left_out(utc("2026-04-28"), utc("2026-05-04T23:00"))] == [
        "business day -3 of the month",
        "business day -2 of the month",
        "Labour Day, ECB",
        "Saturday",
        "Sunday",
        "business day -20 of the month",
    ]
    holidays = Schedule(crons=NIGHTLY, calendar=TARGET2, on=HOLIDAYS)
    assert [each.reason for each in holidays.left_out(utc("2026-04-04"), utc("2026-04-05"))] == ["no holiday"]
    assert list(Schedule(crons=NIGHTLY).left_out(utc("2026-04-01"), utc("2026-05-01"))) == []
    own = Calendar(name="shop", weekend=frozenset({6}), add=frozenset({date(2026, 12, 31)}))
    assert list(Schedule(crons=NIGHTLY, calendar=own).left_out(utc("2026-12-30"), utc("2027-01-02"))) == [
        LeftOut(date(2026, 12, 31), "added to shop")
    ]


@pytest.mark.parametrize(
    ("rule", "move", "crons", "calendar"),
    [
        (nth(25), Move.SKIP, NIGHTLY, TARGET2),
        (nth(-8, Period.WEEK), Move.SKIP, NIGHTLY, TARGET2),
        (BUSINESS_DAYS, Move.SKIP, ("0 2 * * 0",), TARGET2),
        (HOLIDAYS, Move.SKIP, NIGHTLY, Calendar(name="no holidays")),
        (nth(1), Move.SKIP, ("0 2 20 * *",), TARGET2),
    ],
)
def test_a_schedule_that_never_fires_is_an_error(
    rule: DayRule, move: Move, crons: tuple[str, ...], calendar: Calendar
) -> None:
    schedule = Schedule(crons=crons, calendar=calendar, on=rule, move=move)
    for ask in (schedule.next_fire, schedule.fire_before, schedule.due_day):
        with pytest.raises(StateError, match=f"calendar {calendar.name}.* has no fire (after|before) 2026-01-01"):
            ask(utc("2026-01-01"))


def test_holidays_alone_leave_no_business_day() -> None:
    schedule = Schedule(crons=("0 2 25 12 *", "0 2 1 1 *"), calendar=TARGET2)
    with pytest.raises(StateError, match="it names no day within fifty years"):
        schedule.next_fire(utc("2026-01-01"))


def test_the_fires_of_a_calendar_that_ends_are_those_of_its_days() -> None:
    ends = Calendar(name="ends", add=frozenset({date(2026, 12, 30), date(2026, 12, 31)}))
    schedule = Schedule(crons=NIGHTLY, calendar=ends, on=HOLIDAYS)
    assert [each.day for each in schedule.fires(utc("2026-01-01"), utc("2030-01-01"))] == [30, 31]
    assert schedule.last_fire(utc("2030-01-01")) == utc("2026-12-31T02:00")
    with pytest.raises(StateError, match="calendar ends"):
        schedule.next_fire(utc("2026-12-31T02:00"))


def test_each_hour_of_a_business_day_counts_also_where_the_clock_repeats_one() -> None:
    daily = Calendar(name="daily", weekend=frozenset())
    hourly = Schedule(crons=("0 * * * *",), timezone="Europe/Berlin", calendar=daily)
    assert len(list(hourly.fires(utc("2026-10-24T22:00"), utc("2026-10-25T23:00")))) == 25
    assert len(following(hourly, "2026-10-24T22:30", 30)) == 30


def test_a_code_that_the_library_does_not_know_is_an_error() -> None:
    schedule = Schedule(crons=NIGHTLY, calendar=Calendar(name="moon", holidays=("MOON",)))
    with pytest.raises(StateError, match=r"the library holidays [0-9.]+ does not know the code 'MOON'"):
        schedule.next_fire(utc("2026-01-01"))
