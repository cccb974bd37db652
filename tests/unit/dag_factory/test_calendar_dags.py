# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Schedules with a calendar, or with a time and other workflows: the timetable of the DAG, and what Airflow stores."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_versions import cron_of, deserialized, next_run_of, serialized

from batchy_provider.compat import schedule_of_timetable
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Move, Schedule
from batchy_provider.dag_factory import build_dags
from batchy_provider.timetables import CalendarTimetable

JOB = "jobs: {a: {operator: airflow.providers.standard.operators.empty.EmptyOperator}}"
CALENDARS = "target2: {holidays: ECB}\nshop: {weekend: [sun], holidays: DE-BY, add: [2026-12-31]}\n"
TARGET = Calendar(name="target2", holidays=("ECB",))


@pytest.fixture
def build(tmp_path: Path) -> Any:
    (tmp_path / "_calendars.yaml").write_text(CALENDARS)

    def build(schedule: str, **keys: str) -> DAG:
        more = "".join(f"{key}: {value}\n" for key, value in keys.items())
        (tmp_path / "sales.yaml").write_text(f"schedule: {schedule}\ntimezone: Europe/Berlin\n{more}{JOB}")
        dags, diagnostics = build_dags(tmp_path)
        assert diagnostics == []
        return dags["sales"]

    return build


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{cron: "0 2 * * *", calendar: target2}', {}),
        (
            '{cron: "0 2 * * *", calendar: target2, on: business_days}',
            {"on": DayRule(days=Days.BUSINESS_DAYS)},
        ),
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: -1}}', {"on": DayRule(days=Days.NTH, nth=-1)}),
        ('{cron: ["0 2 28 * *", "@monthly"], calendar: target2, move: next}', {"move": Move.NEXT}),
    ],
)
def test_a_calendar_gives_the_dag_its_own_timetable(build: Any, written: str, expected: dict[str, Any]) -> None:
    crons = ("0 2 28 * *", "0 0 1 * *") if "28" in written else ("0 2 * * *",)
    schedule = Schedule(crons=crons, timezone="Europe/Berlin", calendar=TARGET, **expected)
    dag = build(written)
    assert dag.timetable == CalendarTimetable.of(schedule)
    assert deserialized(json.loads(json.dumps(serialized(dag)))).timetable == CalendarTimetable.of(schedule)


@pytest.mark.parametrize(
    ("plain", "mapping"), [("'0 2 * * *'", "{cron: '0 2 * * *'}"), ("'@daily'", "{cron: '@daily'}")]
)
def test_without_a_calendar_airflows_own_timetable_stays(build: Any, plain: str, mapping: str) -> None:
    """So nothing changes for such files, and their DAGs get no new version."""
    before, after = build(plain), build(mapping)
    assert cron_of(before.timetable) == cron_of(after.timetable)
    assert type(before.timetable).__name__ == "CronTriggerTimetable"
    assert json.dumps(serialized(before)["dag"]["timetable"]) == json.dumps(serialized(after)["dag"]["timetable"])


def test_a_changed_calendar_changes_what_is_stored_and_another_calendar_does_not(build: Any, tmp_path: Path) -> None:
    written = '{cron: "0 2 * * *", calendar: shop}'
    first = json.dumps(serialized(build(written)))
    assert json.dumps(serialized(build(written))) == first
    (tmp_path / "_calendars.yaml").write_text(CALENDARS.replace("ECB", "NYSE"))
    assert json.dumps(serialized(build(written))) == first
    (tmp_path / "_calendars.yaml").write_text(CALENDARS.replace("2026-12-31", "2026-12-30"))
    assert json.dumps(serialized(build(written))) != first


@pytest.mark.parametrize("calendar", ["", ", calendar: target2"])
def test_a_time_or_the_success_of_other_workflows(build: Any, calendar: str) -> None:
    dag = build(f'{{cron: "0 6 * * *"{calendar}, after: [crm, erp]}}')
    assert type(dag.timetable).__name__ == "AssetOrTimeSchedule"
    expected = Schedule(crons=("0 6 * * *",), timezone="Europe/Berlin", calendar=TARGET if calendar else None)
    assert schedule_of_timetable(dag.timetable) == expected
    assert [asset.uri.rstrip("/") for asset in dag.timetable.asset_condition.objects] == [
        "batchy://crm",
        "batchy://erp",
    ]
    stored = deserialized(json.loads(json.dumps(serialized(dag))))
    assert schedule_of_timetable(stored.timetable) == expected
    assert stored.timetable.summary.startswith("Asset or 0 6 * * *")


def test_any_of_several_workflows_or_a_time(build: Any) -> None:
    dag = build('{cron: "0 6 * * *", after: [crm, erp], any: true}')
    assert type(dag.timetable.asset_condition).__name__ == "AssetAny"


def test_start_date_and_end_date_bound_a_backfill_and_the_holidays_are_left_out(build: Any) -> None:
    dag = build(
        '{cron: "0 2 * * *", calendar: target2}', start_date="2026-04-01", end_date="2026-04-08", catchup="true"
    )
    stored = deserialized(json.loads(json.dumps(serialized(dag))))
    latest = datetime(2026, 4, 30, tzinfo=timezone.utc)
    runs = [info.run_after.date() for info in stored.iter_dagrun_infos_between(None, latest)]
    assert runs[:4] == [date(2026, 4, day) for day in (1, 2, 7, 8)]
    info, dates = next_run_of(stored, None), []
    while info is not None:
        dates.append(info.run_after.in_timezone("Europe/Berlin").date())
        info = next_run_of(stored, info)
    assert dates == [date(2026, 4, day) for day in (1, 2, 7)], "two in the morning of the 8th is after the end date"
