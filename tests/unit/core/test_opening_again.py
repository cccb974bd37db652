# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a run gets that opens again: its open batch, or, after it was cleared, its own window."""

from __future__ import annotations

from typing import Any

import pytest
from state_worlds import WORKFLOW, PureStore, World, short, window

from batchy_provider.core.values import Holder, OpenRequest, Window
from batchy_provider.exceptions import BatchHeldError, UnknownBatchError
from batchy_provider.state import codec

# -- the same run again ----------------------------------------------------------------------------------------------


def test_a_run_that_opens_again_gets_its_open_batch_unchanged(world: World) -> None:
    first = world.at("2026-01-01T02:00").open("first night")
    before = world.state()
    again = world.after(hours=3).open("first night")
    assert again.reused
    assert again.jobs == first.jobs
    assert world.state() == before


def test_a_request_that_is_repeated_after_a_lost_reply_finds_its_work_done(world: World) -> None:
    wish = OpenRequest(holder=Holder(by="ops"), config=world.config)
    first = world.store.open(WORKFLOW, wish)
    again = world.store.open(WORKFLOW, wish)
    assert again.reused
    assert again.batch_id == first.batch_id


def test_a_one_off_request_that_is_repeated_after_a_lost_reply_opens_one_batch(world: World) -> None:
    asked = Window(from_date="2025-12-01", to_date="2025-12-02")
    wish = OpenRequest(holder=Holder(by="ops"), config=world.config, window=asked)
    first = world.store.open(WORKFLOW, wish)
    again = world.store.open(WORKFLOW, wish)
    assert again.batch_id == first.batch_id


def test_a_backfill_run_that_opens_again_gets_its_open_batch_unchanged(world: World) -> None:
    wish: dict[str, Any] = {"backfill": True, "window": ("2025-12-01", "2025-12-02")}
    first = world.open("backfill__1", **wish)
    again = world.after(minutes=5).open("backfill__1", **wish)
    assert again.reused
    assert again.batch_id == first.batch_id


# -- a cleared run ---------------------------------------------------------------------------------------------------


def test_a_cleared_run_takes_its_own_window_again_with_a_new_id(world: World) -> None:
    world.night("2026-01-01T02:00", "first")
    second = world.night("2026-01-02T02:00", "second")
    again = world.at("2026-01-02T09:00").open("second")
    assert again.batch_id > second.batch_id
    assert again.kind == "live"
    assert window(again) == window(second)
    job = again.jobs["extract"]
    assert job["batch_start"] == job["to_date"], "or what lies between would never be loaded"
    assert again.record is not None
    assert short(again.record.started) == "2026-01-02T09:00"
    assert f"window of batch {second.batch_id} again" in again.record.reason


@pytest.mark.parametrize("result", ["success", "failed"])
def test_after_a_cleared_run_the_next_window_leaves_no_gap(world: World, result: str) -> None:
    world.night("2026-01-01T02:00", "first")
    world.night("2026-01-02T02:00", "second")
    world.night("2026-01-02T09:00", "second", result=result)
    expected = "2026-01-02T02:00" if result == "success" else "2026-01-01T02:00"
    assert window(world.at("2026-01-03T02:00").open("third")) == (expected, "2026-01-03T02:00")


def test_a_cleared_run_is_history_only_when_a_later_batch_has_succeeded(world: World) -> None:
    world.night("2026-01-01T02:00", "first")
    second = world.night("2026-01-02T02:00", "second", result="failed")
    world.night("2026-01-03T02:00", "third")
    before = world.state()
    again = world.at("2026-01-03T09:00").open("second")
    assert again.kind == "history"
    assert window(again) == window(second)
    assert again.record is not None
    assert "a later batch has succeeded since" in again.record.reason
    world.after(hours=1).close("success", again)
    assert world.state() == before
    assert window(world.at("2026-01-04T02:00").open("fourth"))[0] == "2026-01-03T02:00"


def test_a_cleared_run_of_long_ago_is_live_when_nothing_has_succeeded_since(world: World) -> None:
    world.night("2026-01-01T02:00", "first")
    second = world.night("2026-01-02T02:00", "second", result="failed")
    world.night("2026-01-03T02:00", "third", result="failed")
    again = world.at("2026-01-03T09:00").open("second")
    assert again.kind == "live"
    assert window(again) == window(second)
    world.close("success", again)
    assert window(world.at("2026-01-04T02:00").open("fourth")) == ("2026-01-02T02:00", "2026-01-04T02:00")


def test_a_cleared_run_is_history_only_when_earlier_data_is_still_to_be_loaded(world: World) -> None:
    world.night("2026-01-01T02:00", "first")
    world.night("2026-01-02T02:00", "second")
    world.night("2026-01-02T09:00", "first", result="failed")  # history: the second succeeded
    world.store.set_window(WORKFLOW, "2025-12-01", by="ops")
    again = world.at("2026-01-03T09:00").open("second")
    assert again.kind == "history"
    assert again.record is not None
    assert "data from 2025-12-01T00:00:00.000000 UTC is still to be loaded before it" in again.record.reason
    world.close("success", again)
    assert window(world.at("2026-01-04T02:00").open("fourth"))[0] == "2025-12-01T00:00"


def test_a_cleared_run_of_history_stays_history(world: World) -> None:
    world.night("2026-01-01T02:00", "one-off", window=("2025-12-01", "2025-12-05"))
    again = world.at("2026-01-02T02:00").open("one-off")
    assert again.kind == "history"
    assert window(again) == ("2025-12-01T00:00", "2025-12-05T00:00")


def test_a_cleared_run_is_held_off_while_another_holds_the_batch(world: World) -> None:
    world.night("2026-01-01T02:00", "first", result="failed")
    world.at("2026-01-02T02:00").open("second")
    with pytest.raises(BatchHeldError, match="'second'"):
        world.after(hours=1).open("first")


def test_a_cleared_run_takes_the_window_it_had_not_the_one_set_since(world: World) -> None:
    first = world.night("2026-01-10T02:00", "first")
    world.at("2026-01-12T00:00").store.set_window(WORKFLOW, "2026-01-11", by="ops")
    again = world.at("2026-01-13T02:00").open("first")
    assert window(again) == window(first)
    assert again.kind == "history", "the watermark was set to the 11th on purpose"
    world.close("success", again)
    assert window(world.open("second"))[0] == "2026-01-11T00:00"


def test_a_cleared_run_never_takes_one_job_back_behind_where_it_was_set(world: World) -> None:
    world.jobs = {"extract": {}, "load": {}}
    world.night("2026-01-10T02:00", "first")
    world.at("2026-01-12T00:00").store.set_window(WORKFLOW, "2026-01-11", jobs=["load"], by="ops")
    world.night("2026-01-13T02:00", "first")
    batch = world.at("2026-01-14T02:00").open("second")
    assert window(batch, "load")[0] == "2026-01-11T00:00"
    assert window(batch, "extract")[0] == "2026-01-10T02:00"


def test_a_cleared_run_after_a_rewind_is_live_again(world: World) -> None:
    world.night("2026-01-01T02:00", "first")
    world.night("2026-01-02T02:00", "second")
    world.store.set_window(WORKFLOW, "2026-01-01T02:00", by="ops")
    again = world.at("2026-01-03T09:00").open("second")
    assert again.kind == "live"
    assert window(again) == ("2026-01-01T02:00", "2026-01-02T02:00")


def test_a_job_new_since_the_cleared_run_does_not_get_a_window_before_its_initial_date(world: World) -> None:
    world.night("2026-01-01T02:00", "first", result="failed")
    world.jobs = {"extract": {}, "load": {"initial_date": "2026-02-01"}}
    world.night("2026-01-15T02:00", "first")
    assert window(world.at("2026-03-01T02:00").open("second"), "load") == ("2026-02-01T00:00", "2026-03-01T02:00")


def test_a_job_new_since_the_cleared_run_catches_up_to_its_end(world: World) -> None:
    world.night("2026-01-01T02:00", "first", result="failed")
    world.jobs = {"extract": {}, "load": {"initial_date": "2025-12-01"}}
    again = world.night("2026-01-01T09:00", "first")
    assert window(again, "load") == ("2025-12-01T00:00", "2026-01-01T02:00")


def test_a_cleared_run_whose_jobs_are_all_gone_is_history_only(world: World) -> None:
    world.jobs = {"old": {}}
    world.night("2026-01-01T02:00", "first")
    world.jobs = {"extract": {}}
    world.night("2026-01-05T02:00", "second")
    before = world.state()
    again = world.at("2026-01-06T02:00").open("first")
    assert again.kind == "history"
    world.close("success", again)
    assert world.state() == before
    assert window(world.open("third"))[0] == "2026-01-05T02:00"


def test_with_the_clock_set_back_a_cleared_run_does_not_take_the_watermark_back(world: World) -> None:
    world.jobs = {"extract": {"reprocess_hours": 4}}
    early = world.night("2026-01-09T23:00", "early", result="failed")
    world.night("2026-01-10T02:00", "first")
    world.night("2026-01-08T02:00", "second")  # the clock was set back; this window is empty
    world.night("2026-01-08T03:00", "third", result="failed")
    again = world.at("2026-01-11T02:00").open("early")
    assert window(again) == window(early)
    assert again.kind == "history"


def test_after_several_clears_the_watermark_stands_where_it_stood(world: World) -> None:
    for day in (1, 2, 3, 4):
        world.night(f"2026-01-0{day}T02:00", f"run {day}")
    for day in (2, 1, 3):
        assert world.night(f"2026-01-05T0{day}:00", f"run {day}").kind == "history"
    assert window(world.at("2026-01-06T02:00").open("run 6")) == ("2026-01-04T02:00", "2026-01-06T02:00")


def prune(world: World, batch_id: int) -> None:
    """Remove one batch of the history."""
    if isinstance(world.store, PureStore):
        del world.store.batches[batch_id], world.store.meta[codec.record_field(batch_id)]
        world.store.ids.remove(batch_id)
        return
    client, keys = world.store.backend.client, world.store.backend.keys(WORKFLOW)
    client.delete(keys.batch(batch_id))
    client.zrem(keys.history, batch_id)
    client.hdel(keys.meta, codec.record_field(batch_id))


def test_a_run_whose_batch_was_pruned_never_takes_the_window_of_the_batch_that_has_got_its_id(world: World) -> None:
    world.night("2026-01-02T02:00")
    days = [("2025-06-01", "2025-06-02"), ("2025-06-02", "2025-06-03")]
    first = world.at("2026-01-03T12:00").open("first", window=days[0])
    world.close("success", first)
    prune(world, first.batch_id)
    second = world.open("second", window=days[1])
    assert second.batch_id == first.batch_id, "the id is free again"
    world.close("success", second)
    with pytest.raises(UnknownBatchError, match="which has been pruned"):
        world.open("first", window=days[0])
    assert window(world.open("second", window=days[1])) == ("2025-06-02T00:00", "2025-06-03T00:00")
