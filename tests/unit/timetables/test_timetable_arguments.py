# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A calendar timetable in a DAG file: arguments as workflow files have them, checked by the same rules."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Move, Period, Schedule
from batchy_provider.timetables import CalendarTimetable

ECB = {"holidays": "ECB"}


def test_the_arguments_make_a_schedule() -> None:
    timetable = CalendarTimetable(
        "0 2 * * *",
        "0 14 * * *",
        timezone="Europe/Berlin",
        calendar={"holidays": ["DE-BY"], "weekend": ["sun"], "add": "2026-12-31", "remove": ["2026-11-01"]},
        on={"nth": -2, "of": "quarter"},
    )
    calendar = Calendar(
        name="DE-BY",
        weekend=frozenset({6}),
        holidays=("DE-BY",),
        add=frozenset({date(2026, 12, 31)}),
        remove=frozenset({date(2026, 11, 1)}),
    )
    assert timetable.due_schedule == Schedule(
        crons=("0 2 * * *", "0 14 * * *"),
        timezone="Europe/Berlin",
        calendar=calendar,
        on=DayRule(days=Days.NTH, nth=-2, of=Period.QUARTER),
    )


def test_a_calendar_may_be_given_as_a_value_and_a_preset_as_a_cron() -> None:
    calendar = Calendar(name="mine", add=frozenset({date(2026, 4, 3)}))
    timetable = CalendarTimetable("@daily", calendar=calendar, on="business_days", move="next")
    assert timetable.due_schedule == Schedule(
        crons=("0 0 * * *",), calendar=calendar, on=DayRule(days=Days.BUSINESS_DAYS), move=Move.NEXT
    )
    # Good Friday and the weekend after it.
    assert timetable.due_schedule.next_fire(datetime(2026, 4, 2)) == datetime(2026, 4, 6)


def test_a_calendar_of_the_workflow_files_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "_calendars.yaml").write_text("target2: {holidays: ECB}\nbank: {extends: target2, add: [2026-12-24]}\n")
    timetable = CalendarTimetable("0 2 * * *", calendar="bank", cfg=tmp_path)
    day = date(2026, 12, 24)
    bank = Calendar(name="bank", holidays=("ECB",), add=frozenset({day}))
    assert timetable.due_schedule == Schedule(crons=("0 2 * * *",), calendar=bank)
    with pytest.raises(ValueError, match=r"^calendar: no calendar 'bnak' in .*did you mean 'bank'"):
        CalendarTimetable("0 2 * * *", calendar="bnak", cfg=tmp_path)


@pytest.mark.parametrize(
    ("crons", "arguments", "message"),
    [
        (["0 2 * * *"], {"calendar": {"holidayz": "ECB"}}, "calendar.holidayz: unknown key; did you mean 'holidays'?"),
        (["0 2 * * *"], {"calendar": {"holidays": "ECC"}}, "no holidays have the code 'ECC'"),
        (["0 2 * * *"], {"calendar": {"extends": "x"}}, "calendar.extends: a calendar of a DAG extends no other"),
        (["0 2 * * *"], {"calendar": ECB, "on": {"nth": 0}}, "on.nth: expected 1 for the first business day"),
        (["0 2 * * *"], {"calendar": ECB, "on": {"nth": 25}}, "on: the schedule never fires"),
        (["0 2 * * *"], {"calendar": ECB, "on": {"nth": 1}, "move": "next"}, "move: the business days that nth counts"),
        (["0 2 * * *"], {"calendar": ECB, "move": "nxt"}, "move: expected skip, next or previous, not 'nxt'"),
        (["0 2 * * *"], {"calendar": ECB, "timezone": "Mars"}, "timezone: expected a timezone's IANA name"),
        (["0 2 31 6 *"], {"calendar": ECB}, "cron.0: '0 2 31 6 *' never fires"),
        (["0 2 * * *"], {"calendar": "target2"}, "calendar: 'target2' is a name; give cfg"),
        (["R 2 * * *"], {"calendar": ECB}, "a random value"),
        ([], {"calendar": ECB}, "cron: expected at least one entry"),
        (["0 2 * * *"], {"calendar": {"weekend": ["sun"]}, "on": "holidays"}, "on: the schedule never fires"),
    ],
)
def test_what_cannot_be_used_is_named(crons: list[str], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-z]+(\.\w+)*: ") as caught:
        CalendarTimetable(*crons, **arguments)
    assert message in str(caught.value)
