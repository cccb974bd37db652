# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waits with scope ``due`` on workflows whose windows have a shape: they load less than up to their due time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from redis import Redis
from waiting_world import WF, World

from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import WorkflowConfig
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.window_shape import WindowShape

NIGHTLY = "0 2 * * *"
DUE = "2026-11-12T04:00"


@pytest.fixture
def world(any_redis_client: Redis) -> World:
    return World(any_redis_client)


@pytest.fixture
def at_rest(redis_client: Redis) -> World:
    """The same, for what differs in no kind of server."""
    return World(redis_client)


def configure(world: World, *crons: str, name: str = WF, **shape: object) -> None:
    window = WindowShape(**shape) if shape else None
    schedule = Schedule(crons=crons)
    world.store.load(WorkflowConfig(name=name, jobs={"a": {}, "b": {}}, schedule=schedule, window=window), by="test")


@pytest.mark.parametrize(
    ("cron", "shape", "loaded"),
    [
        (NIGHTLY, {"until": "schedule"}, ("2026-11-11T02:00", "2026-11-12T02:00")),
        (NIGHTLY, {"delay": timedelta(minutes=15)}, ("2026-11-11T01:45", "2026-11-12T01:45")),
        (NIGHTLY, {"align": "day"}, ("2026-11-11", "2026-11-12")),
        (NIGHTLY, {"align": "day", "delay": timedelta(hours=3)}, ("2026-11-10", "2026-11-11")),
        # The hourly runs of a day all end at its midnight.
        ("0 * * * *", {"align": "day"}, ("2026-11-11", "2026-11-12")),
        # 2026-11-09 is a Monday.
        (NIGHTLY, {"align": "week"}, ("2026-11-02", "2026-11-09")),
        (NIGHTLY, {"align": "0 12 * * *"}, ("2026-11-10T12:00", "2026-11-11T12:00")),
        (NIGHTLY, {"max": timedelta(days=1)}, ("2026-11-11T02:00", "2026-11-12T02:00")),
    ],
)
def test_the_interval_is_what_the_run_of_that_due_time_loads(
    at_rest: World, cron: str, shape: dict[str, object], loaded: tuple[str, str]
) -> None:
    configure(at_rest, cron, **shape)
    verdict = at_rest.due(DUE)
    assert (verdict.state, verdict.code) == ("waiting", VerdictCode.DUE_NOT_LOADED)
    at_rest.loads(*loaded)
    verdict = at_rest.due(DUE)
    assert (verdict.state, verdict.code) == ("done", VerdictCode.DUE_LOADED)
    assert tuple(each.isoformat(timespec="minutes") for each in verdict.intervals[0].wanted) == tuple(
        each if "T" in each else f"{each}T00:00" for each in loaded
    )


def test_a_workflow_up_to_others_is_waited_for_as_far_as_these_are_due(world: World) -> None:
    """A chain of three: `wf` loads what `crm` has loaded, and `crm` what `extract` has."""
    configure(world, "0 23 * * *", name="extract")
    configure(world, "0 1 * * *", name="crm", until="workflows", workflows=("extract",))
    configure(world, NIGHTLY, until="workflows", workflows=("crm", "extract"))
    world.loads("2026-11-10T23:00", "2026-11-11T22:59")
    assert world.due(DUE).state == "waiting"
    world.loads("2026-11-11T22:59", "2026-11-11T23:00")
    verdict = world.due(DUE)
    assert (verdict.state, verdict.code) == ("done", VerdictCode.DUE_LOADED)
    assert verdict.intervals[0].wanted.end.isoformat() == "2026-11-11T23:00:00"


@pytest.mark.parametrize("source", ["unknown", "without_schedule"])
def test_where_a_source_has_no_known_schedule_the_day_counts(at_rest: World, source: str) -> None:
    configure(at_rest, name="without_schedule")
    configure(at_rest, NIGHTLY, until="workflows", workflows=(source,))
    verdict = at_rest.due(DUE)
    assert (verdict.state, verdict.code) == ("waiting", VerdictCode.DAY_NOT_LOADED)
    assert "2026-11-12 00:00 to 2026-11-13 00:00 UTC, the data of 2026-11-12, since no schedule" in verdict.text
    at_rest.loads("2026-11-11T01:00", "2026-11-12T01:00")
    assert at_rest.due(DUE).code is VerdictCode.DAY_LOADED


def test_workflows_that_load_what_each_other_has_loaded_end_in_no_loop(at_rest: World) -> None:
    configure(at_rest, NIGHTLY, name="crm", until="workflows", workflows=(WF,))
    configure(at_rest, NIGHTLY, until="workflows", workflows=("crm",))
    assert at_rest.due(DUE).code is VerdictCode.DAY_NOT_LOADED


def test_a_backfill_needs_no_more_than_live_windows_load(at_rest: World) -> None:
    configure(at_rest, NIGHTLY, delay=timedelta(minutes=15))
    at_rest.loads("2026-11-01", "2026-11-12T01:45")
    assert at_rest.due(DUE, backfill=True).state == "done"
    assert at_rest.due("2026-11-13T04:00", backfill=True).state == "waiting"
