# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The JSON form of a schedule: it comes back as it was, equal schedules look the same, and nothing is read in part."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedule_form import read_schedule, schedule_form
from batchy_provider.core.schedules import DayRule, Days, Move, Period, Schedule
from batchy_provider.core.typed_data import FormError

days = st.frozensets(st.dates(date(2000, 1, 1), date(2100, 1, 1)), max_size=4)
calendars = st.builds(
    Calendar,
    name=st.text(min_size=1),
    weekend=st.frozensets(st.integers(0, 6), max_size=6),
    holidays=st.lists(st.sampled_from(["ECB", "NYSE", "DE", "DE-BY"]), unique=True).map(tuple),
    add=days,
    remove=days,
)
rules = st.builds(DayRule, days=st.sampled_from([Days.BUSINESS_DAYS, Days.HOLIDAYS])) | st.builds(
    DayRule, days=st.just(Days.NTH), nth=st.integers(-25, 25), of=st.sampled_from(Period)
)
schedules = st.builds(
    Schedule,
    crons=st.lists(st.sampled_from(["0 2 * * *", "30 6 1 * *", "0 0 * * mon,thu"]), min_size=1).map(tuple),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    calendar=st.none() | calendars,
    on=st.none() | rules,
    move=st.sampled_from(Move),
)


@given(schedules)
def test_a_schedule_comes_back_as_it_was(schedule: Schedule) -> None:
    text = json.dumps(schedule_form(schedule))
    assert read_schedule(json.loads(text)) == schedule
    assert json.dumps(schedule_form(read_schedule(json.loads(text)))) == text


def test_the_form_has_what_decides_and_nothing_else() -> None:
    calendar = Calendar(name="shop", weekend=frozenset({6}), holidays=("DE-BY",), add=frozenset({date(2026, 12, 31)}))
    schedule = Schedule(
        crons=("0 2 * * *",),
        timezone="Europe/Berlin",
        calendar=calendar,
        on=DayRule(days=Days.NTH, nth=-2),
        move=Move.PREVIOUS,
    )
    assert schedule_form(Schedule(crons=("0 2 * * *",))) == {"crons": ["0 2 * * *"]}
    assert schedule_form(schedule) == {
        "crons": ["0 2 * * *"],
        "timezone": "Europe/Berlin",
        "calendar": {"name": "shop", "weekend": [6], "holidays": ["DE-BY"], "add": ["2026-12-31"]},
        "on": {"nth": -2},
        "move": "previous",
    }


def test_the_order_in_which_days_were_named_does_not_matter() -> None:
    one = Calendar(name="x", add=frozenset([date(2026, 1, 2), date(2026, 1, 1), date(2027, 1, 1)]))
    other = Calendar(name="x", add=frozenset([date(2027, 1, 1), date(2026, 1, 1), date(2026, 1, 2)]))
    forms = [json.dumps(schedule_form(Schedule(crons=("0 2 * * *",), calendar=each))) for each in (one, other)]
    assert forms[0] == forms[1]


@given(schedules, calendars)
def test_another_calendar_makes_another_form(schedule: Schedule, calendar: Calendar) -> None:
    other = replace(schedule, calendar=calendar)
    assert (schedule_form(other) == schedule_form(schedule)) == (other == schedule)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "is []; expected a JSON object"),
        ({"crons": []}, "without a cron expression"),
        ({"timezone": "UTC"}, "lacks the key 'crons'"),
        ({"crons": ["0 2 * * *"], "timezone": "Mars"}, "has a schedule whose timezone is none: 'Mars'"),
        ({"crons": ["0 2 * * *"], "until": 3}, "has a schedule with 'until', which this version of batchy_provider"),
        ({"crons": ["0 2 * * *"], "move": "twice"}, "move = 'twice', which this version of batchy_provider does not"),
        ({"crons": ["0 2 * * *"], "on": "fridays"}, "on = 'fridays', which this version of batchy_provider does not"),
        ({"crons": ["0 2 * * *"], "on": "nth"}, "on = 'nth', without the number of the day"),
        ({"crons": ["0 2 * * *"], "on": {"nth": 1, "of": "era"}}, "of = 'era', which this version"),
        ({"crons": ["0 2 * * *"], "on": {"nth": "1"}}, "has nth = '1'; expected a whole number"),
        ({"crons": ["0 2 * * *"], "calendar": {}}, "lacks the key 'name'"),
        ({"crons": ["0 2 * * *"], "calendar": {"name": "x", "moon": 1}}, "has a calendar with 'moon'"),
        ({"crons": ["0 2 * * *"], "calendar": {"name": "x", "weekend": [7]}}, "days of the week from 0 to 6"),
        ({"crons": ["0 2 * * *"], "calendar": {"name": "x", "add": ["2026-02-30"]}}, "a date that is none"),
    ],
)
def test_what_cannot_be_read_whole_is_refused(data: Any, message: str) -> None:
    with pytest.raises(FormError) as caught:
        read_schedule(data)
    assert message in str(caught.value)
