# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A job that is switched off is skipped; its window does not move, and is caught up when it is on again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from state_worlds import WORKFLOW, World, window

from batchy_provider.exceptions import ConfigError, UnknownJobError, UnknownWorkflowError

Switch = Callable[[World, bool], None]


def at_run_time(world: World, on: bool) -> None:
    (world.store.enable if on else world.store.disable)(WORKFLOW, "load", by="ops")


def in_the_file(world: World, on: bool) -> None:
    world.off_in_file = frozenset() if on else frozenset({"load"})


@pytest.fixture(params=[at_run_time, in_the_file], ids=lambda how: how.__name__)
def switch(request: pytest.FixtureRequest) -> Switch:
    switch: Switch = request.param
    return switch


@pytest.fixture
def two_jobs(world: World) -> World:
    world.jobs = {"extract": {}, "load": {"reprocess_hours": 1}}
    world.night("2026-01-01T02:00")
    return world


@pytest.mark.parametrize("result", ["success", "failed"])
def test_its_window_does_not_move_while_it_is_off_and_is_caught_up(
    two_jobs: World, switch: Switch, result: str
) -> None:
    world = two_jobs
    switch(world, False)
    before = world.live("load")
    for night in ("2026-01-02T02:00", "2026-01-03T02:00"):
        batch = world.night(night, result=result)
        assert batch.record is not None
        assert batch.record.left_out == ("load",) or batch.record.left_out == ["load"]
        kept = {k: v for k, v in world.live("load").items() if k not in ("batch_id", "outcome")}
        assert kept == {k: v for k, v in before.items() if k not in ("batch_id", "outcome")}
        assert world.live("load")["outcome"] == "skipped"
        assert batch.status == result
    switch(world, True)
    batch = world.at("2026-01-04T02:00").open("on again")
    assert window(batch, "load") == ("2026-01-01T01:00", "2026-01-04T02:00")
    assert window(batch, "extract")[0] == ("2026-01-03T02:00" if result == "success" else "2026-01-01T02:00")


def test_off_before_it_was_ever_loaded_it_starts_at_the_beginning_when_on(world: World) -> None:
    world.jobs = {"extract": {}, "load": {"initial_date": "2025-01-01"}}
    world.off_in_file = frozenset({"load"})
    world.night("2026-01-01T02:00")
    world.off_in_file = frozenset()
    assert window(world.at("2026-01-02T02:00").open("on"), "load") == ("2025-01-01T00:00", "2026-01-02T02:00")


def test_the_window_of_the_batch_is_that_of_the_jobs_that_take_part(two_jobs: World, switch: Switch) -> None:
    switch(two_jobs, False)
    batch = two_jobs.at("2026-01-02T02:00").open("second")
    assert (batch.from_date, batch.to_date) == ("2026-01-01T02:00:00.000000", "2026-01-02T02:00:00.000000")


def test_all_jobs_of_the_live_hash_stand_in_one_batch_also_those_left_out(two_jobs: World, switch: Switch) -> None:
    switch(two_jobs, False)
    batch = two_jobs.night("2026-01-02T02:00")
    assert {two_jobs.live(job)["batch_id"] for job in two_jobs.jobs} == {batch.batch_id}


def test_off_during_the_batch_it_is_skipped_and_its_window_waits(two_jobs: World) -> None:
    world = two_jobs
    batch = world.at("2026-01-02T02:00").open("second")
    assert not world.store.skip_job(WORKFLOW, batch.batch_id, "load")
    at_run_time(world, False)
    assert world.store.skip_job(WORKFLOW, batch.batch_id, "load")
    assert world.live("load")["outcome"] == "skipped"
    assert world.after(hours=1).close("success", batch).status == "success"
    at_run_time(world, True)
    batch = world.at("2026-01-03T02:00").open("third")
    assert window(batch, "load") == ("2026-01-01T01:00", "2026-01-03T02:00"), "the overlap is taken off once"
    assert window(batch, "extract") == ("2026-01-02T02:00", "2026-01-03T02:00")


def test_skipping_a_job_twice_is_skipping_it_once(two_jobs: World) -> None:
    batch = two_jobs.at("2026-01-02T02:00").open("second")
    at_run_time(two_jobs, False)
    assert two_jobs.store.skip_job(WORKFLOW, batch.batch_id, "load")
    before = two_jobs.state()
    assert two_jobs.after(minutes=1).store.skip_job(WORKFLOW, batch.batch_id, "load")
    assert two_jobs.state() == before


def test_skipped_in_a_batch_it_stays_out_of_it_when_switched_on_meanwhile(two_jobs: World) -> None:
    batch = two_jobs.at("2026-01-02T02:00").open("second")
    at_run_time(two_jobs, False)
    two_jobs.store.skip_job(WORKFLOW, batch.batch_id, "load")
    at_run_time(two_jobs, True)
    assert two_jobs.store.skip_job(WORKFLOW, batch.batch_id, "load"), "what was skipped once is no part of the batch"


def test_left_out_at_open_it_stays_out_when_switched_on_meanwhile(two_jobs: World, switch: Switch) -> None:
    switch(two_jobs, False)
    batch = two_jobs.at("2026-01-02T02:00").open("second")
    switch(two_jobs, True)
    assert two_jobs.store.skip_job(WORKFLOW, batch.batch_id, "load")
    two_jobs.close("success", batch)
    assert window(two_jobs.at("2026-01-03T02:00").open("third"), "load")[0] == "2026-01-01T01:00"


def test_off_after_it_has_run_it_is_part_of_the_batch(two_jobs: World) -> None:
    batch = two_jobs.at("2026-01-02T02:00").open("second")
    at_run_time(two_jobs, False)
    two_jobs.close("success", batch)
    at_run_time(two_jobs, True)
    assert window(two_jobs.at("2026-01-03T02:00").open("third"), "load")[0] == "2026-01-02T01:00"


def test_in_a_backfill_it_is_skipped_too(two_jobs: World) -> None:
    batch = two_jobs.open("backfill__1", backfill=True, window=("2025-12-01", "2025-12-02"))
    before = two_jobs.state()
    at_run_time(two_jobs, False)
    assert two_jobs.store.skip_job(WORKFLOW, batch.batch_id, "load")
    assert not two_jobs.store.skip_job(WORKFLOW, batch.batch_id, "extract")
    assert two_jobs.state() == before
    assert two_jobs.close("success", batch).jobs["load"]["outcome"] == "skipped"


def test_with_every_job_off_a_batch_opens_and_closes_and_moves_nothing(two_jobs: World, switch: Switch) -> None:
    world = two_jobs
    switch(world, False)
    world.store.disable(WORKFLOW, "extract", by="ops")
    batch = world.at("2026-01-02T02:00").open("second")
    assert batch.status == "open"
    assert world.store.status(WORKFLOW).batch.status == "open"
    assert world.close("success", batch).status == "success"
    switch(world, True)
    world.store.enable(WORKFLOW, "extract", by="ops")
    batch = world.at("2026-01-03T02:00").open("third")
    assert (window(batch)[0], window(batch, "load")[0]) == ("2026-01-01T02:00", "2026-01-01T01:00")


def test_a_cleared_run_takes_a_job_along_that_was_off_then_and_is_on_now(two_jobs: World, switch: Switch) -> None:
    world = two_jobs
    switch(world, False)
    world.night("2026-01-02T02:00", "second", result="failed")
    switch(world, True)
    again = world.at("2026-01-02T09:00").open("second")
    assert again.kind == "live"
    assert window(again, "load") == ("2026-01-01T01:00", "2026-01-02T02:00")
    world.close("success", again)
    assert window(world.at("2026-01-03T02:00").open("third"), "load")[0] == "2026-01-02T01:00"


def test_a_cleared_run_leaves_out_a_job_that_is_off_now(two_jobs: World, switch: Switch) -> None:
    world = two_jobs
    world.night("2026-01-02T02:00", "second", result="failed")
    switch(world, False)
    world.night("2026-01-02T09:00", "second")
    switch(world, True)
    assert window(world.at("2026-01-03T02:00").open("third"), "load")[0] == "2026-01-01T01:00"


def test_a_job_of_a_dead_batch_keeps_its_window_when_it_is_off_at_take_over(two_jobs: World, switch: Switch) -> None:
    world = two_jobs
    dead = world.at("2026-01-02T02:00").open("second")
    switch(world, False)
    world.at("2026-01-03T02:00")
    batch = world.open("third", gone=dead.batch_id)
    assert world.live("load")["status"] == "failed", "nothing says open that is no part of the open batch"
    world.close("success", batch)
    switch(world, True)
    assert window(world.at("2026-01-04T02:00").open("fourth"), "load")[0] == "2026-01-01T01:00"


def test_switching_tells_all_that_are_off(world: World) -> None:
    world.jobs = {"extract": {}, "load": {}, "report": {}}
    world.off_in_file = frozenset({"report"})
    world.night("2026-01-01T02:00")
    assert world.store.disable(WORKFLOW, "extract", by="ops") == {"extract", "report"}
    assert world.store.disable(WORKFLOW, "extract", by="ops") == {"extract", "report"}
    assert world.store.status(WORKFLOW).disabled == {"extract", "report"}
    assert world.store.enable(WORKFLOW, "extract", by="ops") == {"report"}


def test_a_job_that_its_file_switches_off_is_switched_on_there(two_jobs: World) -> None:
    two_jobs.off_in_file = frozenset({"load"})
    two_jobs.night("2026-01-02T02:00")
    with pytest.raises(ConfigError, match="set `enabled: true` there"):
        two_jobs.store.enable(WORKFLOW, "load", by="ops")


def test_a_job_or_workflow_that_is_not_there_cannot_be_switched(two_jobs: World) -> None:
    with pytest.raises(UnknownJobError, match="there is no job 'lode'; its jobs are extract, load"):
        two_jobs.store.disable(WORKFLOW, "lode", by="ops")


def test_a_workflow_that_is_not_there_cannot_be_switched(world: World) -> None:
    with pytest.raises(UnknownWorkflowError):
        world.store.disable(WORKFLOW, "load", by="ops")


def test_skipping_asks_nothing_of_a_batch_that_is_not_there(two_jobs: World) -> None:
    assert not two_jobs.store.skip_job(WORKFLOW, 17, "load")
    batch = two_jobs.at("2026-01-02T02:00").open("second")
    assert not two_jobs.store.skip_job(WORKFLOW, batch.batch_id, "no such job")
