# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Calendars against what their owners publish, ten years each: by rule or by table, never by the library itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.day_rules import DayRule, Days
from batchy_provider.core.schedules import Schedule

YEARS = range(2017, 2027)
EASTER = dict(
    zip(
        YEARS,
        ("04-16", "04-01", "04-21", "04-12", "04-04", "04-17", "04-09", "03-31", "04-20", "04-05"),
        strict=True,
    )
)


def easter(year: int, days: int) -> date:
    return date.fromisoformat(f"{year}-{EASTER[year]}") + timedelta(days=days)


def fixed(year: int, *days: str) -> set[date]:
    return {date.fromisoformat(f"{year}-{day}") for day in days}


def target(year: int) -> set[date]:
    """Return the closing days of TARGET, as the ECB has set them since 2002."""
    return fixed(year, "01-01", "05-01", "12-25", "12-26") | {easter(year, -2), easter(year, 1)}


def german(year: int) -> set[date]:
    """Return what is a holiday in all German states; in 2017, the Reformation's 500 years were one too."""
    moving = {easter(year, days) for days in (-2, 1, 39, 50)}
    once = fixed(year, "10-31") if year == 2017 else set()
    return fixed(year, "01-01", "05-01", "10-03", "12-25", "12-26") | moving | once


def bavaria(year: int) -> set[date]:
    return german(year) | fixed(year, "01-06", "11-01") | {easter(year, 60)}


def saxony(year: int) -> set[date]:
    """Return the holidays of Saxony: with the Wednesday before 23 November."""
    before = date(year, 11, 22)
    return german(year) | fixed(year, "10-31") | {before - timedelta(days=(before.weekday() - 2) % 7)}


NYSE_DAYS = {
    2017: "01-02 01-16 02-20 04-14 05-29 07-04 09-04 11-23 12-25",
    2018: "01-01 01-15 02-19 03-30 05-28 07-04 09-03 11-22 12-05 12-25",
    2019: "01-01 01-21 02-18 04-19 05-27 07-04 09-02 11-28 12-25",
    2020: "01-01 01-20 02-17 04-10 05-25 07-03 09-07 11-26 12-25",
    2021: "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24",
    2022: "01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26",
    2023: "01-02 01-16 02-20 04-07 05-29 06-19 07-04 09-04 11-23 12-25",
    2024: "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25",
    2025: "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
}
"""Days on which the New York Stock Exchange is closed, the two days of mourning among them."""


def nyse(year: int) -> set[date]:
    return fixed(year, *NYSE_DAYS[year].split())


PASSOVER = dict(
    zip(
        YEARS,
        ("04-11", "03-31", "04-20", "04-09", "03-28", "04-16", "04-06", "04-23", "04-13", "04-02"),
        strict=True,
    )
)
INDEPENDENCE = dict(
    zip(
        YEARS,
        ("05-02", "04-19", "05-09", "04-29", "04-15", "05-05", "04-26", "05-14", "05-01", "04-22"),
        strict=True,
    )
)


def israel(year: int) -> set[date]:
    """Return Israel's days of rest: counted from the first day of Passover, and Independence Day."""
    passover = date.fromisoformat(f"{year}-{PASSOVER[year]}")
    new_year = passover + timedelta(days=163)
    of_new_year = {new_year + timedelta(days=days) for days in (0, 1, 9, 14, 21)}
    return of_new_year | {passover + timedelta(days=days) for days in (0, 6, 50)} | fixed(year, INDEPENDENCE[year])


SATURDAY_SUNDAY, FRIDAY_SATURDAY = frozenset({5, 6}), frozenset({4, 5})


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize(
    ("code", "weekend", "published"),
    [
        ("ECB", SATURDAY_SUNDAY, target),
        ("NYSE", SATURDAY_SUNDAY, nyse),
        ("DE-BY", SATURDAY_SUNDAY, bavaria),
        ("DE-SN", SATURDAY_SUNDAY, saxony),
        ("IL", FRIDAY_SATURDAY, israel),
    ],
)
def test_business_days_are_those_that_are_published(
    code: str, weekend: frozenset[int], published: Callable[[int], set[date]], year: int
) -> None:
    calendar = Calendar(name="published", weekend=weekend, holidays=(code,))
    expected = published(year)
    open_days = set(calendar.business_days(date(year, 1, 1), date(year + 1, 1, 1)))
    days = {date(year, 1, 1) + timedelta(days=each) for each in range(366)}
    assert open_days == {day for day in days if day.year == year and day.weekday() not in weekend} - expected
    # On a weekend, a market publishes no closing.
    assert {day for day in calendar.holidays_in(year) if day.weekday() not in weekend} == {
        day for day in expected if day.weekday() not in weekend
    }


@pytest.mark.parametrize("year", YEARS)
def test_a_nightly_workflow_keeps_the_closing_days_of_target(year: int) -> None:
    closing = [day for day in sorted(target(year)) if day.weekday() < 5]
    schedule = Schedule(
        crons=("30 4 * * *",),
        timezone="Europe/Berlin",
        calendar=Calendar(name="target2", holidays=("ECB",)),
        on=DayRule(days=Days.BUSINESS_DAYS),
    )
    for day in closing:
        start = datetime.combine(day, datetime.min.time())
        fires = list(schedule.fires(start - timedelta(days=1), start + timedelta(days=2)))
        assert day not in {fire.date() for fire in fires}
        assert [each.reason.split(", ")[1] for each in schedule.left_out(start, start + timedelta(hours=20))] == ["ECB"]
