# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The sensor with scope ``due``, and re-runs of an earlier day: deferred, poking or rescheduled."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sensor_runs import closed, context, deferred, opened, sensor, waits

from batchy_provider.core.dates import format_date
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import Holder, Window, WorkflowConfig
from batchy_provider.core.waits import Wait
from batchy_provider.state.store import Store

WEEKLY = WorkflowConfig(name="wf", jobs={"a": {}, "b": {}}, schedule=Schedule(crons=("0 6 * * 1",)))
THURSDAY = datetime(2026, 11, 12, 4, tzinfo=timezone.utc)


def weekly(store: Store, end: str) -> int:
    start = datetime.fromisoformat(end) - timedelta(days=7)
    return closed(store, config=WEEKLY, backfill=True, window=Window(from_date=start, to_date=end))


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_weekly_upstream(store: Store, mode: dict[str, Any], run_type: str) -> None:
    store.load(WEEKLY, by="test")
    run = context(
        run_type=run_type,
        run_after=THURSDAY if run_type == "scheduled" else None,
        data_interval_start=THURSDAY - timedelta(days=1),
        data_interval_end=THURSDAY,
        logical_date=THURSDAY,
    )
    weekly(store, "2026-11-02T06:00")
    assert waits(sensor(**mode, scope="due"), run)
    batch_id = weekly(store, "2026-11-09T06:00")
    assert sensor(**mode, scope="due").execute(run) == str(batch_id)


def test_the_wait_that_is_handed_over_has_the_due_time_of_the_run(store: Store) -> None:
    trigger, _ = deferred(sensor(scope="due", timezone="Europe/Paris"), context(run_after=THURSDAY))
    expected = Wait(
        workflow="wf", scope="due", due="2026-11-12T04:00:00.000000", day="2026-11-12", timezone="Europe/Paris"
    )
    assert Wait(**trigger.wait) == expected
    assert trigger.wait == asdict(expected)


def test_the_log_says_which_interval_is_waited_for_and_how_much_of_it_is_loaded(
    store: Store, mode: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    store.load(WEEKLY, by="test")
    window = Window(from_date="2026-11-02T06:00", to_date="2026-11-08T06:00")
    closed(store, config=WEEKLY, backfill=True, window=window)
    assert waits(sensor(**mode, scope="due"), context(run_after=THURSDAY))
    said = capsys.readouterr().out
    assert "wf: waiting until every enabled job has loaded all that was due at 2026-11-12T04:00:00.000000 UTC" in said
    assert (
        "wf: waits for 2026-11-02 06:00 to 2026-11-09 06:00 UTC; jobs a, b: loaded until 2026-11-08 06:00, 1d missing"
    ) in said
    weekly(store, "2026-11-09T06:00")
    assert not waits(sensor(**mode, scope="due"), context(run_after=THURSDAY))
    assert "has loaded all that was due, 2026-11-02 06:00 to 2026-11-09 06:00 UTC; waited " in capsys.readouterr().out


def test_a_run_of_yesterday_that_is_cleared_after_midnight_does_not_end_the_wait(
    store: Store, mode: dict[str, Any]
) -> None:
    now = datetime.now(timezone.utc)
    yesterday = {"holder": Holder(dag_id="wf", run_id="yesterday"), "due": format_date(now - timedelta(days=1))}
    closed(store, "failed", **yesterday)
    cleared = closed(store, **yesterday)
    assert waits(sensor(**mode), context(run_after=now))
    assert sensor(**mode).execute(context(run_after=now - timedelta(days=1))) == str(cleared)
    tonight = {"holder": Holder(dag_id="wf", run_id="tonight"), "due": format_date(now)}
    batch_id = closed(store, **tonight)
    opened(store)
    assert sensor(**mode).execute(context(run_after=now)) == str(batch_id)
