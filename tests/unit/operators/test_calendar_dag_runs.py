# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Runs of DAGs with a calendar timetable, or that a time or another workflow starts: schedule, due time and window."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow_runs import Airflow, close_in, night, open_in
from redis import Redis

from batchy_provider.compat import asset_or_time_schedule
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Schedule
from batchy_provider.core.snapshot import StoredConfig
from batchy_provider.operators import next_slice
from batchy_provider.operators.next_slice import CONF_SLICE
from batchy_provider.state import codec
from batchy_provider.state.keys import Keys
from batchy_provider.state.store import Store
from batchy_provider.timetables import CalendarTimetable

BANK = Calendar(name="bank", add=frozenset({date(2026, 4, 3), date(2026, 4, 6)}))
BUSINESS_DAYS = Schedule(
    crons=("0 2 * * *",), timezone="Europe/Berlin", calendar=BANK, on=DayRule(days=Days.BUSINESS_DAYS)
)
KEYS = Keys("wf")
NIGHTLY = CalendarTimetable.of(BUSINESS_DAYS)
JOBS = {"extract": {"initial_date": "2026-03-01T00:00:00"}}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.fixture
def store(redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    return Store(redis_client)


def stored_config(client: Redis) -> StoredConfig:
    stored: Any = client.hget(KEYS.meta, codec.CONFIG)
    return codec.load_config(KEYS.meta, stored.decode())


def or_after(timetable: Any, workflow: str) -> Any:
    return asset_or_time_schedule()(timetable=timetable, assets=[Asset(f"batchy://{workflow}")])


@pytest.mark.parametrize("schedule", [NIGHTLY, or_after(NIGHTLY, "crm")], ids=["calendar", "calendar or asset"])
def test_a_backfill_loads_from_fire_to_fire(store: Store, schedule: Any) -> None:
    dag, airflow = night(schedule, jobs=JOBS), Airflow()
    fires = ["2026-04-01T00:00", "2026-04-02T00:00", "2026-04-07T00:00", "2026-04-08T00:00"]
    windows = []
    for fire in fires[1:]:
        run: dict[str, Any] = {"run_type": "backfill", "logical_date": at(fire), "run_after": at("2026-04-20")}
        run |= {"data_interval_start": at(fire), "data_interval_end": at(fire)}
        opened = open_in(dag, airflow, fire, **run)
        close_in(dag, airflow, fire, **run)
        windows.append((opened["from_date"][:16], opened["to_date"][:16]))
    # The run after the holidays loads what they left out: no gap, no overlap.
    assert windows == list(pairwise(fires))


def test_redis_learns_the_schedule_of_the_timetable(store: Store, redis_client: Redis) -> None:
    dag, airflow = night(NIGHTLY, jobs=JOBS, timezone="Europe/Berlin"), Airflow()
    open_in(dag, airflow)
    assert stored_config(redis_client).schedule == BUSINESS_DAYS


def test_the_timezone_of_the_timetable_may_be_another_than_that_of_the_windows(
    store: Store, redis_client: Redis
) -> None:
    dag, airflow = night(NIGHTLY, jobs=JOBS, timezone="America/New_York"), Airflow()
    open_in(dag, airflow)
    config = stored_config(redis_client)
    assert (config.timezone, config.schedule.timezone) == ("America/New_York", "Europe/Berlin")


@pytest.mark.parametrize(
    ("run_type", "end"),
    [
        ("asset_triggered", "2026-04-04T09:30"),  # the moment of the other workflow's success
        ("manual", "2026-04-02T00:00"),  # when the schedule has fired last, before the holidays
        ("scheduled", "2026-04-02T00:00"),
    ],
)
def test_a_run_is_due_when_its_upstream_succeeds_and_a_persons_run_at_the_last_fire(
    store: Store, run_type: str, end: str
) -> None:
    dag = night(or_after(NIGHTLY, "crm"), jobs=JOBS, window={"until": "schedule"})
    due = at("2026-04-02T00:00") if run_type == "scheduled" else at("2026-04-04T09:30")
    assert open_in(dag, Airflow(), run_type=run_type, run_after=due)["to_date"][:16] == end


def test_the_slices_after_a_run_that_an_upstream_started_go_up_to_the_same_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}
    monkeypatch.setattr(next_slice, "start_run", lambda dag_id, run_id, conf: started.update({run_id: conf}) is None)
    dag, airflow = night(or_after(NIGHTLY, "crm"), jobs=JOBS, window={"until": "schedule", "max": "20d"}), Airflow()
    run: dict[str, Any] = {"run_type": "asset_triggered", "run_after": at("2026-04-04T09:30")}
    open_in(dag, airflow, "first", **run)
    close_in(dag, airflow, "first", **run)
    ((run_id, conf),) = started.items()
    assert conf[CONF_SLICE]["event"] is True
    later = {"run_type": "manual", "conf": conf, "run_after": at("2026-04-04T11:00") + timedelta(days=2)}
    assert open_in(dag, airflow, run_id, **later)["to_date"][:16] == "2026-04-04T09:30"
