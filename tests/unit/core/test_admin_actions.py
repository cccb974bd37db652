# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What people do between batches: set a window, reset to the file, switch jobs."""

from __future__ import annotations

from typing import Any

import pytest
from state_worlds import FIRST, WORKFLOW, PureStore, World, short, window

from batchy_provider.exceptions import (
    BatchHeldError,
    ConfigError,
    UnknownBatchError,
    UnknownJobError,
    UnknownWorkflowError,
    WindowError,
)


def test_a_switch_publishes_an_event_for_waits_for_that_job(world: World) -> None:
    world.jobs = {"extract": {}, "load": {}}
    world.night("2026-01-01T02:00")
    before = len(world.store.events) if isinstance(world.store, PureStore) else 0
    for _ in range(2):  # the second time nothing is changed, and nothing told
        world.store.disable(WORKFLOW, "load", by="ops")
    world.store.enable(WORKFLOW, "load", by="ops")
    if isinstance(world.store, PureStore):
        assert [event["event"] for event in world.store.events[before:]] == ["switch", "switch"]


# -- set_window -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["2025-06-01", "2025-06-01T00:00:00.000000", "2025-06-01T02:00:00+02:00"])
def test_the_next_window_starts_exactly_where_it_was_set(world: World, start: str) -> None:
    world.jobs = {"extract": {"reprocess_hours": 5}, "load": {}}
    world.night("2026-01-01T02:00")
    world.store.set_window(WORKFLOW, start, by="ops")
    batch = world.at("2026-01-02T02:00").open("second")
    assert window(batch) == window(batch, "load") == ("2025-06-01T00:00", "2026-01-02T02:00")


def test_a_set_window_is_taken_again_until_it_succeeds_and_then_the_watermark_goes_on(world: World) -> None:
    world.night("2026-01-01T02:00")
    world.store.set_window(WORKFLOW, "2025-06-01", by="ops")
    world.night("2026-01-02T02:00", result="failed")
    assert window(world.night("2026-01-03T02:00")) == ("2025-06-01T00:00", "2026-01-03T02:00")
    assert window(world.night("2026-01-04T02:00")) == ("2026-01-03T02:00", "2026-01-04T02:00")


def test_a_window_may_be_set_for_some_jobs(world: World) -> None:
    world.jobs = {"extract": {}, "load": {}}
    world.night("2026-01-01T02:00")
    assert set(world.store.set_window(WORKFLOW, "2025-06-01", jobs=["load"], by="ops")) == {"load"}
    batch = world.at("2026-01-02T02:00").open("second")
    assert window(batch)[0] == "2026-01-01T02:00"
    assert window(batch, "load")[0] == "2025-06-01T00:00"


def test_a_window_may_be_set_forward_to_skip_on_purpose(world: World) -> None:
    world.night("2026-01-01T02:00")
    world.at("2026-01-05T02:00").store.set_window(WORKFLOW, "2026-01-04", by="ops")
    assert window(world.open("second")) == ("2026-01-04T00:00", "2026-01-05T02:00")


def test_what_the_last_batch_was_stays_in_history_when_the_window_is_set(world: World) -> None:
    batch = world.night("2026-01-01T02:00")
    world.store.set_window(WORKFLOW, "2025-06-01", by="ops")
    assert world.store.batch(WORKFLOW, batch.batch_id).jobs == batch.jobs


@pytest.mark.parametrize("start", ["2027-01-01", "soon", None, 5, ""])
def test_a_window_that_cannot_be_sets_nothing(world: World, start: Any) -> None:
    world.night("2026-01-01T02:00")
    before = world.state()
    with pytest.raises(WindowError):
        world.store.set_window(WORKFLOW, start, by="ops")
    assert world.state() == before


def test_no_window_is_set_while_a_batch_is_open(world: World) -> None:
    world.open("tonight")
    before = world.state()
    with pytest.raises(BatchHeldError, match=r"by run .tonight. .*close or fail it first"):
        world.store.set_window(WORKFLOW, "2025-06-01", by="ops")
    assert world.state() == before


def test_no_window_is_set_for_a_job_or_workflow_that_is_not_there(world: World) -> None:
    with pytest.raises(UnknownWorkflowError):
        world.store.set_window(WORKFLOW, "2025-06-01", by="ops")
    world.night("2026-01-01T02:00")
    before = world.state()
    with pytest.raises(UnknownJobError, match="'lode'"):
        world.store.set_window(WORKFLOW, "2025-06-01", jobs=["extract", "lode"], by="ops")
    assert world.state() == before


@pytest.mark.parametrize("world", ["server", "cluster"], indirect=True)
def test_who_set_a_window_and_why_is_recorded(world: World) -> None:
    world.night("2026-01-01T02:00")
    world.store.set_window(WORKFLOW, "2025-06-01", by="vera", why="source was repaired")
    world.after(hours=1).store.disable(WORKFLOW, "extract", by="tom")
    newest, older = world.store.status(WORKFLOW).changes
    assert (newest.by, newest.what, newest.why) == ("tom", "disabled extract", None)
    assert (older.by, older.why, short(older.at)) == ("vera", "source was repaired", "2026-01-01T03:00")
    assert "2025-06-01" in older.what


# -- load -----------------------------------------------------------------------------------------------------------


def test_load_sets_the_state_back_to_the_configuration(world: World) -> None:
    world.jobs = {"extract": {"region": "eu"}, "old": {}}
    world.night("2026-01-01T02:00")
    world.jobs = {"extract": {"region": "us"}, "load": {}}
    loaded = world.store.load(world.config, by="ops")
    assert loaded == {"extract": {"region": "us", "status": "new"}, "load": {"status": "new"}}
    assert {job: world.live(job) for job in world.state()} == loaded
    assert world.at("2026-01-02T02:00").open("second").jobs["extract"]["from_date"] == FIRST


def test_load_takes_the_state_that_the_original_files_bring(world: World) -> None:
    world.jobs = {"extract": {"status": "success", "batch_start": "2026-01-01T02:00:00.000000", "reprocess_hours": 1}}
    world.store.load(world.config, by="ops")
    assert window(world.at("2026-01-02T02:00").open("first"))[0] == "2026-01-01T01:00"


def test_history_stays_when_a_configuration_is_loaded_and_ids_go_on(world: World) -> None:
    batch = world.night("2026-01-01T02:00")
    world.store.load(world.config, by="ops")
    assert world.store.batch(WORKFLOW, batch.batch_id).jobs == batch.jobs
    assert world.at("2026-01-01T02:00").open("second").batch_id == batch.batch_id + 1


def test_load_twice_is_load_once(world: World) -> None:
    world.jobs = {"extract": {"region": "eu"}}
    first = world.store.load(world.config, by="ops")
    assert world.store.load(world.config, by="ops") == first


def test_a_configuration_that_cannot_be_loaded_leaves_all_as_it_is(world: World) -> None:
    world.night("2026-01-01T02:00")
    before = world.state()
    world.jobs = {}
    with pytest.raises(ConfigError, match="has no job"):
        world.store.load(world.config, by="ops")
    assert world.state() == before


def test_nothing_is_loaded_while_a_run_holds_the_batch(world: World) -> None:
    world.open("tonight")
    before = world.state()
    with pytest.raises(BatchHeldError, match="'tonight'"):
        world.store.load(world.config, by="ops")
    assert world.state() == before


def test_a_batch_that_no_run_holds_ends_when_a_configuration_is_loaded(world: World) -> None:
    batch = world.open(None)
    world.store.load(world.config, by="ops")
    ended = world.store.batch(WORKFLOW, batch.batch_id)
    assert (ended.status, ended.jobs["extract"]["outcome"]) == ("failed", "aborted")


def test_a_run_that_was_cleared_after_a_load_does_not_skip_what_was_reset(world: World) -> None:
    world.night("2026-01-01T02:00", "first")
    world.night("2026-01-02T02:00", "second")
    world.store.load(world.config, by="ops")
    again = world.at("2026-01-03T02:00").open("second")
    assert again.kind == "history"
    world.close("success", again)
    assert world.open("third").jobs["extract"]["from_date"] == FIRST


@pytest.mark.parametrize("world", ["server", "cluster"], indirect=True)
def test_a_run_whose_batch_was_pruned_gets_an_error_with_a_remedy(world: World) -> None:
    world.night("2026-01-01T02:00", "first")
    world.night("2026-01-02T02:00", "second")
    assert world.store.prune(WORKFLOW, keep=1) == 1
    before = world.state()
    with pytest.raises(UnknownBatchError, match=r'pruned.*\{"from_date": "…", "to_date": "…"\}'):
        world.open("first")
    assert world.state() == before
