# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waits for a workflow whose calendar leaves days out: on them it is not due, live and in backfills.

2026-04-03 is Good Friday, 2026-04-06 Easter Monday.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis import Redis
from waiting_world import WF, World

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Move, Schedule
from batchy_provider.core.values import WorkflowConfig
from batchy_provider.core.window_shape import WindowShape

TARGET = Schedule(crons=("0 2 * * *",), calendar=Calendar(name="target2", holidays=("ECB",)))
MONTH_END = replace(TARGET, on=DayRule(days=Days.NTH, nth=-1))
MOVED = replace(TARGET, crons=("0 2 3 * *",), move=Move.NEXT)


@pytest.fixture
def world(redis_client: Redis) -> World:
    return World(redis_client)


def configure(world: World, schedule: Schedule, window: WindowShape | None = None) -> None:
    world.store.load(WorkflowConfig(name=WF, jobs={"a": {}, "b": {}}, schedule=schedule, window=window), by="test")


@pytest.mark.parametrize("backfill", [False, True])
@pytest.mark.parametrize("day", ["2026-04-03", "2026-04-04", "2026-04-05", "2026-04-06"])
def test_nobody_waits_for_a_holiday_or_a_weekend(world: World, day: str, backfill: bool) -> None:
    configure(world, TARGET)
    world.loads("2026-04-01T02:00", "2026-04-02T02:00")
    assert world.due(f"{day}T04:00", day=day, backfill=backfill).state == "done"


@pytest.mark.parametrize("backfill", [False, True])
def test_the_day_after_the_holidays_needs_all_that_they_left_out(world: World, backfill: bool) -> None:
    configure(world, TARGET)
    world.loads("2026-04-01T02:00", "2026-04-02T02:00")
    tuesday = {"due": "2026-04-07T04:00", "day": "2026-04-07", "backfill": backfill}
    verdict = world.due(**tuesday)
    assert verdict.state == "waiting"
    assert "2026-04-02 02:00 to 2026-04-07 02:00" in verdict.text
    world.loads("2026-04-06T02:00", "2026-04-07T02:00")
    assert world.due(**tuesday).state == "waiting", "the night alone is a part of it"
    world.loads("2026-04-02T02:00", "2026-04-06T02:00")
    assert world.due(**tuesday).state == "done"


def test_a_month_end_is_waited_for_through_the_whole_next_month(world: World) -> None:
    configure(world, MONTH_END)
    world.loads("2026-02-27T02:00", "2026-03-31T02:00")
    assert world.due("2026-04-29T04:00").state == "done", "April's last business day is still to come"
    verdict = world.due("2026-04-30T04:00")
    assert verdict.state == "waiting"
    assert "2026-03-31 02:00 to 2026-04-30 02:00" in verdict.text


def test_a_fire_that_has_moved_is_waited_for_where_it_is(world: World) -> None:
    configure(world, MOVED)
    world.loads("2026-02-03T02:00", "2026-03-03T02:00")
    assert world.due("2026-04-06T04:00").state == "done", "the third was Good Friday"
    assert world.due("2026-04-07T04:00").state == "waiting"


def test_windows_with_a_shape_end_at_the_fires_of_the_calendar(world: World) -> None:
    configure(world, TARGET, WindowShape(until="schedule", align="day"))
    world.loads("2026-04-01", "2026-04-02")
    assert world.due("2026-04-05T04:00").state == "done"
    assert world.due("2026-04-07T04:00").state == "waiting"
    world.loads("2026-04-02", "2026-04-07")
    assert world.due("2026-04-07T04:00").state == "done"
