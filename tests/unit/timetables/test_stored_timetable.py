# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow stores of a DAG with a calendar: little, the same each time, and enough to schedule by."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest
from airflow.exceptions import AirflowTimetableInvalid
from airflow.sdk import DAG, Asset
from airflow_versions import core_timetable, deserialized, serialized
from asked_by_airflow import aware, naive

from batchy_provider.compat import asset_or_time_schedule, schedule_of_timetable
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Move, Schedule
from batchy_provider.timetables import CalendarTimetable

TARGET = Calendar(name="target2", holidays=("ECB",), add=frozenset({date(2026, 12, 31), date(2026, 12, 30)}))
SCHEDULE = Schedule(
    crons=("0 2 * * *",), timezone="Europe/Berlin", calendar=TARGET, on=DayRule(days=Days.BUSINESS_DAYS)
)


def dag_of(schedule: Schedule, **arguments: Any) -> DAG:
    start = datetime(2026, 1, 1)
    return DAG("wf", schedule=CalendarTimetable.of(schedule), start_date=aware(start), **arguments)


def stored(dag: Any) -> dict[str, Any]:
    return serialized(dag)


def read(data: dict[str, Any]) -> Any:
    return deserialized(json.loads(json.dumps(data)))


def test_a_stored_dag_comes_back_with_its_schedule() -> None:
    dag = read(stored(dag_of(SCHEDULE)))
    assert isinstance(dag.timetable, CalendarTimetable)
    assert dag.timetable == CalendarTimetable.of(SCHEDULE)
    assert schedule_of_timetable(dag.timetable) == SCHEDULE


def test_what_is_stored_is_small_and_has_no_dates_of_the_library() -> None:
    timetable = stored(dag_of(SCHEDULE))["dag"]["timetable"]
    assert timetable == {
        "__type": "batchy_provider.timetables.calendar.CalendarTimetable",
        "__var": {
            "crons": ["0 2 * * *"],
            "timezone": "Europe/Berlin",
            "calendar": {"name": "target2", "holidays": ["ECB"], "add": ["2026-12-30", "2026-12-31"]},
            "on": "business_days",
        },
    }


def test_only_a_change_makes_a_new_version() -> None:
    """Airflow makes a new version of a DAG if what it stores differs in a byte."""
    first, again = (json.dumps(stored(dag_of(replace(SCHEDULE)))) for _ in range(2))
    assert first == again
    assert json.dumps(stored(read(stored(dag_of(SCHEDULE))))["dag"]["timetable"]) in first
    changed = replace(SCHEDULE, calendar=replace(TARGET, remove=frozenset({date(2026, 12, 25)})))
    assert json.dumps(stored(dag_of(changed))) != first
    assert json.dumps(stored(dag_of(replace(SCHEDULE, move=Move.NEXT)))) != first


@pytest.mark.slow
def test_its_bytes_do_not_depend_on_the_process() -> None:
    """Sets have another order in each process."""
    program = (
        "import json; from datetime import date; from batchy_provider.core.calendars import Calendar; "
        "from batchy_provider.core.schedules import Schedule; "
        "from batchy_provider.timetables import CalendarTimetable; "
        "days = frozenset(date(2026, month, 1) for month in range(1, 13)); "
        "calendar = Calendar(name='x', weekend=frozenset({6, 5, 4}), add=days, remove=days); "
        "print(json.dumps(CalendarTimetable.of(Schedule(crons=('0 2 * * *',), calendar=calendar)).serialize()))"
    )
    forms = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    }
    assert len(forms) == 1


def test_a_later_version_of_this_package_is_named_as_the_cause() -> None:
    data = stored(dag_of(SCHEDULE))
    data["dag"]["timetable"]["__var"]["calendar"]["moons"] = 2
    with pytest.raises(AirflowTimetableInvalid) as caught:
        CalendarTimetable.deserialize(data["dag"]["timetable"]["__var"])
    text = str(caught.value)
    assert "the stored schedule of this DAG has a calendar with 'moons'" in text
    assert "Install the same version of batchy_provider" in text


def test_without_the_plugin_airflow_names_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow import plugins_manager

    data = stored(dag_of(SCHEDULE))
    if hasattr(plugins_manager, "get_timetables_plugins"):
        monkeypatch.setattr(plugins_manager, "get_timetables_plugins", dict)
    else:  # Airflow 3.1
        monkeypatch.setattr(plugins_manager, "timetable_classes", {})
    with pytest.raises(ValueError, match=r"'batchy_provider.timetables.calendar.CalendarTimetable' is not registered"):
        read(data).timetable  # noqa: B018  # read when it is asked for


def test_the_plugin_registers_it_without_importing_it() -> None:
    program = (
        "import sys; from batchy_provider.plugin.batchy import BatchyPlugin; "
        "assert 'batchy_provider.timetables' not in sys.modules; "
        "print(BatchyPlugin().timetables, BatchyPlugin.timetables)"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout.count("batchy_provider.timetables.calendar.CalendarTimetable") == 2


def shown(schedule: Schedule) -> tuple[str, str]:
    """Summary and description, as Airflow shows them."""
    timetable = CalendarTimetable.deserialize(CalendarTimetable.of(schedule).serialize())
    return timetable.summary, timetable.description


def test_airflow_shows_it_in_words() -> None:
    assert shown(SCHEDULE) == ("0 2 * * *, business days of target2", "At 02:00: business days of target2")
    month_end = replace(SCHEDULE, crons=("0 2 * * *", "0 14 * * *"), on=DayRule(days=Days.NTH, nth=-1))
    last = "last business day of the month of target2"
    assert shown(month_end) == (f"0 2 * * * | 0 14 * * *, {last}", f"At 02:00; At 14:00: {last}")
    moved = replace(SCHEDULE, crons=("0 2 28 * *",), on=None, move=Move.NEXT)
    assert shown(moved)[0] == "0 2 28 * *, business days of target2, moved to the next one"
    for nth, word in ((1, "1st"), (2, "2nd"), (11, "11th"), (-2, "2nd last"), (23, "23rd")):
        text = shown(replace(month_end, on=DayRule(days=Days.NTH, nth=nth)))[0]
        assert f", {word} business day of the month of target2" in text


def test_many_crons_fit_into_airflows_database() -> None:
    crons = tuple(f"{minute} {hour} * * mon,tue" for minute in range(0, 60, 5) for hour in range(6))
    assert len(shown(replace(SCHEDULE, crons=crons))[1]) <= 1000


def test_a_time_or_an_asset_combine() -> None:
    combined = asset_or_time_schedule()(timetable=CalendarTimetable.of(SCHEDULE), assets=[Asset("batchy://crm")])
    dag = DAG("wf", schedule=combined, start_date=aware("2026-01-01"))
    assert schedule_of_timetable(dag.timetable) == SCHEDULE
    found = read(stored(dag))
    assert schedule_of_timetable(found.timetable) == SCHEDULE
    assert found.timetable.summary == "Asset or 0 2 * * *, business days of target2"
    runs = [naive(run.run_after) for run in found.iter_dagrun_infos_between(aware("2026-04-01"), aware("2026-04-08"))]
    assert runs == list(SCHEDULE.fires(datetime(2026, 4, 1), datetime(2026, 4, 8, 0, 1)))


def test_a_backfill_over_a_holiday_has_the_runs_of_the_schedule() -> None:
    dag = read(stored(dag_of(SCHEDULE, catchup=False)))
    runs = [naive(run.run_after) for run in dag.iter_dagrun_infos_between(aware("2026-04-01"), aware("2026-04-08"))]
    # From Good Friday, the 3rd, to Easter Monday, the 6th, the banks are closed.
    assert runs == [datetime(2026, 4, day) for day in (1, 2, 7, 8)]


def test_airflow_of_a_task_asks_the_same_schedule() -> None:
    assert schedule_of_timetable(core_timetable(dag_of(SCHEDULE))) == SCHEDULE
