# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`schedule` as a mapping with `cron`: what it means, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchy_provider.config.graph import schedule_text
from batchy_provider.config.inspection import inspect_folder
from batchy_provider.config.reader import Reader
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Move, Period, Schedule

CALENDARS = "target2: {holidays: ECB}\nplain: {}\npast: {add: [2020-01-01]}\nahead: {add: [2222-01-01]}\n"
TARGET2 = Calendar(name="target2", holidays=("ECB",))


def write(folder: Path, schedule: str, more: str = "") -> Path:
    (folder / "_calendars.yaml").write_text(CALENDARS)
    path = folder / "one.yaml"
    path.write_text(f'schedule: {schedule}\n{more}jobs: {{load: {{bash: "true"}}}}\n')
    (folder / "crm.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    return path


@pytest.mark.parametrize(
    ("written", "expected", "text"),
    [
        (
            '{cron: "0 2 * * *", calendar: target2, on: business_days}',
            Schedule(crons=("0 2 * * *",), calendar=TARGET2, on=DayRule(days=Days.BUSINESS_DAYS)),
            "0 2 * * * UTC, business days of target2",
        ),
        (
            '{cron: "0 2 * * *", calendar: target2}',
            Schedule(crons=("0 2 * * *",), calendar=TARGET2),
            "0 2 * * * UTC, business days of target2",
        ),
        (
            '{cron: "@daily", calendar: target2, on: holidays}',
            Schedule(crons=("0 0 * * *",), calendar=TARGET2, on=DayRule(days=Days.HOLIDAYS)),
            "@daily UTC, holidays of target2",
        ),
        (
            '{cron: ["0 2 * * *", "30 6 * * 1"], calendar: target2, on: {nth: -2}}',
            Schedule(crons=("0 2 * * *", "30 6 * * 1"), calendar=TARGET2, on=DayRule(days=Days.NTH, nth=-2)),
            "0 2 * * * | 30 6 * * 1 UTC, 2nd last business day of the month of target2",
        ),
        (
            '{cron: "0 2 * * *", calendar: plain, on: {nth: 1, of: year}, move: skip}',
            Schedule(
                crons=("0 2 * * *",),
                calendar=Calendar(name="plain"),
                on=DayRule(days=Days.NTH, nth=1, of=Period.YEAR),
            ),
            "0 2 * * * UTC, 1st business day of the year of plain",
        ),
        (
            '{cron: "0 2 28 * *", calendar: target2, move: next}',
            Schedule(crons=("0 2 28 * *",), calendar=TARGET2, move=Move.NEXT),
            "0 2 28 * * UTC, business days of target2, moved to the next one",
        ),
        ('{cron: "0 2 * * *"}', Schedule(crons=("0 2 * * *",)), "0 2 * * * UTC"),
        ('{cron: "0 2 * * *", after: crm}', Schedule(crons=("0 2 * * *",)), "0 2 * * * UTC, or after crm"),
        (
            '{cron: "0 2 * * *", calendar: target2, after: [crm], any: true, result: closed, outside: true}',
            Schedule(crons=("0 2 * * *",), calendar=TARGET2),
            "0 2 * * * UTC, business days of target2, or after crm",
        ),
        # Days that a calendar adds may all be past, or far ahead: then it was due, or will be.
        (
            '{cron: "0 2 * * *", calendar: plain, on: {nth: 23}}',
            Schedule(crons=("0 2 * * *",), calendar=Calendar(name="plain"), on=DayRule(days=Days.NTH, nth=23)),
            "0 2 * * * UTC, 23rd business day of the month of plain",
        ),
    ],
)
def test_what_a_schedule_means(tmp_path: Path, written: str, expected: Schedule, text: str) -> None:
    path = write(tmp_path, written)
    workflow, diagnostics = Reader(tmp_path).read(path)
    assert diagnostics == []
    assert workflow is not None
    assert workflow.model is not None
    assert workflow.schedule == expected
    assert workflow.config().schedule == expected
    assert schedule_text(workflow.model) == text
    assert inspect_folder(tmp_path) == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{cron: "0 2 * * *", on: business_days}', "1:31: schedule.on: on needs a calendar"),
        ('{cron: "0 2 * * *", move: next}', "1:31: schedule.move: move needs a calendar"),
        ("{calendar: target2}", "schedule: the key 'cron' is missing"),
        ('{corn: "0 2 * * *"}', "schedule.corn: unknown key; did you mean 'cron'?"),
        ('{cron: "0 2 * * *", calendr: target2}', "schedule.calendr: unknown key; did you mean 'calendar'?"),
        ('{cron: "0 2 * * *", calendar: target}', "no calendar 'target' in"),
        ('{cron: "0 2 * * *", calendar: target2, on: weekends}', "schedule.on: expected business_days or holidays"),
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: 0}}', "schedule.on.nth: expected 1 for the first"),
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: 1.5}}', "schedule.on.nth: expected a whole number"),
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: 1, of: monthly}}', "schedule.on.of: expected week, month"),
        ('{cron: "0 2 * * *", calendar: target2, on: {of: week}}', "schedule.on: the key 'nth' is missing"),
        ('{cron: "0 2 * * *", calendar: target2, move: forward}', "schedule.move: expected skip, next or previous"),
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: 1}, move: next}', "schedule.move: the business days that"),
        ('{cron: "0 2 * * *", any: true}', "schedule.any: any has an effect only together with after"),
        ('{cron: "0 2 * * *", after: []}', "schedule.after: expected at least one workflow"),
        ('{cron: "0 2 * * *", after: [one]}', "a workflow cannot be scheduled by its own success"),
        ('{cron: "0 2 * * *", after: [crn]}', "no file defines the workflow 'crn'; did you mean 'crm'?"),
        ('{cron: "0 2 * * *", after: [crm], same_day: true}', "schedule.same_day: same_day is for schedules by"),
        ('{cron: ["0 2 * * *", "H 3 * * *"], calendar: target2}', "schedule.cron[1]: the minute of"),
        ('{cron: "0 2 30 2 *", calendar: target2}', "schedule.cron: '0 2 30 2 *' never fires"),
        ("{cron: 5, calendar: target2}", "schedule.cron: expected a cron expression"),
        # What only the calendar makes so.
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: 25}}', "schedule.on: the schedule never fires"),
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: -6, of: week}}', "schedule.on: the schedule never fires"),
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: 300, of: year}}', "schedule.on: the schedule never fires"),
        ('{cron: "0 2 20 * *", calendar: target2, on: {nth: 1}}', "schedule.on: the schedule never fires"),
        ('{cron: "0 2 * * 6", calendar: target2, on: business_days}', "schedule.on: the schedule never fires"),
        ('{cron: "0 2 * * sat,sun", calendar: target2}', "schedule.calendar: the schedule never fires"),
        ('{cron: "0 2 25 12 *", calendar: target2}', "schedule.calendar: the schedule never fires"),
        ('{cron: "0 2 * * *", calendar: plain, on: holidays}', "schedule.on: the schedule never fires"),
        ('{cron: "0 2 * 3 *", calendar: past, on: holidays}', "schedule.on: the schedule never fires"),
        ('{cron: "0 2 * * *", calendar: ahead, on: holidays}', "schedule.on: the schedule never fires"),
    ],
)
def test_what_is_refused(tmp_path: Path, written: str, expected: str) -> None:
    write(tmp_path, written)
    found = [str(each) for each in inspect_folder(tmp_path)]
    assert len(found) == 1, found
    assert f"{tmp_path / 'one.yaml'}:1:" in found[0]
    assert expected in found[0]


def test_a_calendar_beside_the_schedule_is_told_its_place(tmp_path: Path) -> None:
    write(tmp_path, '"0 2 * * *"', "calendar: target2\n")
    assert [each.message for each in inspect_folder(tmp_path)] == [
        "unknown key; you probably mean schedule: {cron: …, calendar: …}"
    ]


def test_a_calendar_whose_days_are_past_was_due(tmp_path: Path) -> None:
    path = write(tmp_path, '{cron: "0 2 * * *", calendar: past, on: holidays}')
    workflow, diagnostics = Reader(tmp_path).read(path)
    assert diagnostics == []
    assert workflow is not None


def test_a_time_of_day_in_a_deadline_needs_one_that_is_known(tmp_path: Path) -> None:
    deadline = 'deadline: {closed_by: "06:00", notify: {notifier: a.b}}\n'
    write(tmp_path, '{cron: "0 2 28 * *", calendar: target2, move: next}', deadline)
    assert inspect_folder(tmp_path) == []
    for schedule in ('{cron: ["0 2 * * *", "0 3 * * *"], calendar: target2}', '{cron: "0 2 * * *", after: crm}'):
        write(tmp_path, schedule, deadline)
        assert ["closed_by" in str(each) for each in inspect_folder(tmp_path)] == [True]


def test_inherited_schedules_have_calendars(tmp_path: Path) -> None:
    path = write(tmp_path, '{cron: "0 2 * * *", calendar: target2}')
    path.write_text('jobs: {load: {bash: "true"}}\n')
    (tmp_path / "_defaults.yaml").write_text('schedule: {cron: "0 4 * * *", calendar: target2}\n')
    workflow, diagnostics = Reader(tmp_path).read(path)
    assert diagnostics == []
    assert workflow is not None
    assert workflow.schedule == Schedule(crons=("0 4 * * *",), calendar=TARGET2)


def test_files_without_a_calendar_do_not_import_the_library(tmp_path: Path) -> None:
    """Also where there is a file of calendars: it is read only if a workflow picks one."""
    write(tmp_path, '{cron: "0 2 * * *", after: crm}')
    program = (
        "import sys; from batchy_provider.config.reader import read_folder; "
        f"found = read_folder({str(tmp_path)!r}); assert len(found.workflows) == 2, found; "
        "print(sorted(name for name in sys.modules if name.split('.')[0] == 'holidays'))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
