# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`schedule` with a calendar: why a day is left out, from where a fire has moved, and where the data ends."""

from __future__ import annotations

from datetime import date

import pytest
from command_line import Cli

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Move, Schedule
from batchy_provider.core.values import OpenRequest, WorkflowConfig

BAVARIA = Calendar(name="bavaria", holidays=("DE-BY",), add=frozenset({date(2026, 12, 31)}))
DAILY = ("0 7 * * *",)


def remember(cli: Cli, schedule: Schedule) -> None:
    """Let Redis remember a workflow `sales` of this schedule; it has no file."""
    config = WorkflowConfig(name="sales", jobs={"a": {}}, timezone=schedule.timezone, schedule=schedule)
    cli.store.open("sales", OpenRequest(config=config))


def berlin(crons: tuple[str, ...] = DAILY, **options: object) -> Schedule:
    return Schedule(crons=crons, timezone="Europe/Berlin", calendar=BAVARIA, **options)


def test_days_that_are_left_out_are_between_the_fires_with_their_reason(cli: Cli) -> None:
    remember(cli, berlin(on=DayRule(days=Days.BUSINESS_DAYS)))
    options = ("schedule", "sales", "--from", "2026-12-24", "--count", "2")
    assert cli.json(*options, "--left-out") == [
        {"due": "2026-12-24T07:00:00+01:00", "day": "2026-12-24", "note": None},
        {"due": None, "day": "2026-12-25", "note": "Christmas Day, DE-BY"},
        {"due": None, "day": "2026-12-26", "note": "Second Day of Christmas, DE-BY"},
        {"due": None, "day": "2026-12-27", "note": "weekend"},
        {"due": "2026-12-28T07:00:00+01:00", "day": "2026-12-28", "note": None},
    ]
    assert [each["day"] for each in cli.json(*options)] == ["2026-12-24", "2026-12-28"]
    shown = cli(*options, "--left-out").splitlines()
    assert [line.split() for line in shown if "2026-12-27" in line] == [["2026-12-27", "Sun", "left", "out", "weekend"]]


def test_a_list_begins_and_ends_with_days_that_are_left_out(cli: Cli) -> None:
    remember(cli, berlin(on=DayRule(days=Days.BUSINESS_DAYS)))
    found = cli.json("schedule", "sales", "--from", "2026-12-25T12:00", "--count", "1", "--left-out")
    assert [each["day"] for each in found] == ["2026-12-25", "2026-12-26", "2026-12-27", "2026-12-28"]


@pytest.mark.parametrize(
    ("move", "due", "note"),
    [
        (Move.NEXT, "2026-03-02T07:00:00+01:00", "moved from Sat 28 Feb: weekend"),
        (Move.PREVIOUS, "2026-02-27T07:00:00+01:00", "moved from Sat 28 Feb: weekend"),
    ],
)
def test_a_moved_fire_says_from_where_also_if_the_list_begins_at_it(cli: Cli, move: Move, due: str, note: str) -> None:
    remember(cli, berlin(("0 7 28 * *",), move=move))
    for start in ("2026-02-01", due):
        (found,) = cli.json("schedule", "sales", "--from", start, "--count", "1")
        assert found == {"due": due, "day": due[:10], "note": note}
    days = cli.json("schedule", "sales", "--from", "2026-02-01", "--count", "2", "--left-out")
    to = "Mon 2 Mar" if move is Move.NEXT else "Fri 27 Feb"
    moved = next(each for each in days if each["day"] == "2026-02-28")
    assert moved == {"due": None, "day": "2026-02-28", "note": f"moved to {to}: weekend"}


def test_a_daily_fire_has_its_own_day_and_is_moved_from_nowhere(cli: Cli) -> None:
    remember(cli, berlin(move=Move.NEXT))
    found = cli.json("schedule", "sales", "--from", "2026-12-26", "--count", "1", "--left-out")
    assert [each["note"] for each in found] == ["Second Day of Christmas, DE-BY", "weekend", None]


def test_the_last_business_day_of_the_month(cli: Cli) -> None:
    remember(cli, berlin(("0 18 * * *",), on=DayRule(days=Days.NTH, nth=-1)))
    found = cli.json("schedule", "sales", "--from", "2026-11-01", "--count", "5")
    assert [each["day"] for each in found] == ["2026-11-30", "2026-12-30", "2027-01-29", "2027-02-26", "2027-03-31"]


def test_a_list_beyond_the_years_that_the_library_knows_says_so(cli: Cli) -> None:
    remember(cli, berlin(on=DayRule(days=Days.BUSINESS_DAYS)))
    assert BAVARIA.last_year_known == 2100
    cli("schedule", "sales", "--from", "2100-12-30", "--count", "9")
    assert "the holidays of calendar bavaria are known up to 2100" in cli.said
    cli("schedule", "sales", "--from", "2100-12-01", "--count", "9")
    assert "known up to" not in cli.said


def test_a_rule_that_never_fires_is_an_answer_and_no_crash(cli: Cli) -> None:
    remember(cli, berlin(on=DayRule(days=Days.NTH, nth=25)))
    assert cli.json("schedule", "sales") == []
    assert "never due" in cli.said


def test_a_code_that_the_library_has_no_more_is_named(cli: Cli) -> None:
    remember(cli, Schedule(crons=DAILY, calendar=Calendar(name="gone", holidays=("ATLANTIS",))))
    cli("schedule", "sales", "--left-out", code=1)
    assert "'ATLANTIS'; update the library" in cli.said
