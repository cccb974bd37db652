# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Closing: for the whole workflow; twice is once; never what is not open."""

from __future__ import annotations

from typing import Any

import pytest
from state_worlds import FIRST, WORKFLOW, PureStore, World, short, spans, window

from batchy_provider.core.dates import parse_date, unix_seconds
from batchy_provider.exceptions import NotOpenError, UnknownBatchError, UnknownWorkflowError


@pytest.mark.parametrize("result", ["success", "failed"])
def test_all_jobs_of_a_batch_get_its_result_since_they_must_rerun_together(world: World, result: Any) -> None:
    world.jobs = {"extract": {}, "load": {}, "report": {}}
    world.at("2026-01-01T02:00").open()
    batch = world.at("2026-01-01T03:00").close(result, extract="success", load="failed", report="aborted")
    assert batch.status == result
    assert {job["status"] for job in batch.jobs.values()} == {result}
    assert [job["outcome"] for job in batch.jobs.values()] == ["success", "failed", "aborted"]
    assert {short(job["batch_end"]) for job in batch.jobs.values()} == {"2026-01-01T03:00"}


def test_where_a_job_tells_no_outcome_the_result_stands_for_it(world: World) -> None:
    world.jobs = {"extract": {}, "load": {}}
    world.open()
    jobs = world.close("failed", extract="success").jobs
    assert [job["outcome"] for job in jobs.values()] == ["success", "failed"]


def test_closing_changes_nothing_of_the_window_and_the_params(world: World) -> None:
    world.jobs = {"extract": {"region": {"eu": [1, None, "é"]}}}
    opened = world.open().jobs["extract"]
    closed = world.after(hours=1).close().jobs["extract"]
    written = ("status", "batch_end", "outcome")
    assert {k: v for k, v in closed.items() if k not in written} == {
        k: v for k, v in opened.items() if k not in written
    }


@pytest.mark.parametrize("result", ["success", "failed"])
def test_the_live_hash_and_history_say_the_same(world: World, result: Any) -> None:
    world.jobs = {"extract": {}, "load": {}}
    batch = world.open()
    assert world.store.batch(WORKFLOW, batch.batch_id).jobs == batch.jobs
    closed = world.close(result)
    assert world.store.batch(WORKFLOW, batch.batch_id).jobs == closed.jobs
    assert {name: world.live(name) for name in world.jobs} == closed.jobs


@pytest.mark.parametrize("result", ["success", "failed"])
@pytest.mark.parametrize("named", [True, False])
def test_closing_twice_with_the_same_result_changes_nothing(world: World, result: Any, named: bool) -> None:
    batch = world.open()
    first = world.after(hours=1).close(result)
    before = world.state()
    again = world.after(hours=1).close(result, batch if named else None)
    assert again.jobs == first.jobs
    assert world.state() == before


@pytest.mark.parametrize(("result", "other"), [("success", "failed"), ("failed", "success")])
def test_closing_twice_with_another_result_is_an_error(world: World, result: Any, other: Any) -> None:
    batch = world.open()
    world.after(hours=1).close(result)
    before = world.state()
    with pytest.raises(NotOpenError, match=rf"batch {batch.batch_id} is not open: it is {result} since .*set-window"):
        world.close(other, batch)
    assert world.state() == before


def test_closing_again_is_answered_by_history_when_the_window_was_set_since(world: World) -> None:
    batch = world.night("2026-01-01T02:00")
    world.store.set_window(WORKFLOW, "2025-12-01", by="ops")
    before = world.state()
    assert world.close("success", batch).status == "success"
    assert world.state() == before


def test_closing_a_batch_that_is_not_the_open_one_is_an_error_that_names_both(world: World) -> None:
    lost = world.at("2026-01-01T02:00").open("slow")
    held = world.after(hours=1).open("fast", if_open="take_over")
    before = world.state()
    with pytest.raises(NotOpenError) as raised:
        world.close("success", lost)
    assert str(lost.batch_id) in str(raised.value)
    assert str(held.batch_id) in str(raised.value)
    assert "'fast'" in str(raised.value)
    assert world.state() == before


def test_to_fail_a_batch_that_was_taken_over_is_done_already(world: World) -> None:
    lost = world.at("2026-01-01T02:00").open("slow")
    world.after(hours=1).open("fast", if_open="take_over")
    before = world.state()
    assert world.close("failed", lost).status == "failed"
    assert world.state() == before


def test_closing_an_older_batch_as_it_was_closed_is_done_already(world: World) -> None:
    first = world.night("2026-01-01T02:00")
    world.at("2026-01-02T02:00").open("second")
    assert world.close("success", first).batch_id == first.batch_id


def test_a_batch_that_never_was_is_not_closed(world: World) -> None:
    world.open()
    before = world.state()
    with pytest.raises(UnknownBatchError, match="there is no batch 17; the latest is"):
        world.close("success", 17)
    assert world.state() == before


def test_a_workflow_that_does_not_exist_is_not_closed(world: World) -> None:
    for batch in (None, 17):
        with pytest.raises(UnknownWorkflowError, match="'sales' is not in Redis"):
            world.close("success", batch)
    assert world.state() == {}


def test_what_was_never_opened_is_not_closed(world: World) -> None:
    world.store.load(world.config, by="ops")
    before = world.state()
    with pytest.raises(NotOpenError, match="no batch was ever opened"):
        world.close("success")
    assert world.state() == before


@pytest.mark.parametrize("result", ["success", "failed"])
def test_a_batch_of_history_closes_in_history_only(world: World, result: Any) -> None:
    world.night("2026-01-10T02:00")
    before, closed = world.state(), world.store.raw_closed()
    batch = world.open("reload", window=("2025-12-01", "2025-12-05"))
    assert world.after(hours=1).close(result, batch, extract="skipped").kind == "history"
    stored = world.store.batch(WORKFLOW, batch.batch_id)
    assert stored.status == result
    assert stored.jobs["extract"]["outcome"] == "skipped"
    assert world.state() == before
    assert world.store.raw_closed() == closed, "a wait asks for live batches"


def test_a_batch_of_history_is_closed_once(world: World) -> None:
    world.night("2026-01-10T02:00")
    batch = world.open("reload", window=("2025-12-01", "2025-12-05"))
    first = world.close("success", batch)
    assert world.after(hours=1).close("success", batch).jobs == first.jobs
    with pytest.raises(NotOpenError):
        world.close("failed", batch)


def test_without_an_id_it_is_the_live_batch_that_closes(world: World) -> None:
    live = world.open("tonight")
    world.open("backfill__1", backfill=True, window=("2025-12-01", "2025-12-02"))
    assert world.close("success").batch_id == live.batch_id


def test_closed_live_batches_are_listed_by_when_they_ended(world: World) -> None:
    first = world.night("2026-01-01T02:00")
    second = world.night("2026-01-02T02:00", result="failed")
    assert world.store.raw_closed() == {
        first.batch_id: unix_seconds(parse_date("2026-01-01T03:00")),
        second.batch_id: unix_seconds(parse_date("2026-01-02T03:00")),
    }


def test_only_a_success_enters_the_ledger(world: World) -> None:
    world.night("2026-01-01T02:00", result="failed")
    assert world.store.ledger() == {}
    world.night("2026-01-02T02:00")
    assert spans(world.store.ledger()) == [(FIRST[:16], "2026-01-02T02:00")]


def test_nights_that_touch_are_one_interval_and_one_loaded_for_history_is_another(world: World) -> None:
    world.night("2026-01-01T02:00", window=("2026-01-01", "2026-01-01T02:00"), move_watermark=True)
    world.night("2026-01-02T02:00")
    world.night("2026-01-02T09:00")
    world.night("2026-01-02T12:00", result="failed")
    old = world.open("old", backfill=True, window=("2025-12-01", "2025-12-02"))
    assert spans(world.store.ledger()) == [("2026-01-01T00:00", "2026-01-02T09:00")]
    world.close("success", old)
    assert spans(world.store.ledger()) == [
        ("2025-12-01T00:00", "2025-12-02T00:00"),
        ("2026-01-01T00:00", "2026-01-02T09:00"),
    ]


def test_a_batch_whose_jobs_all_skipped_themselves_is_a_success_and_moves_the_watermark(world: World) -> None:
    world.at("2026-01-01T02:00").open()
    assert world.close("success", extract="skipped").status == "success"
    assert world.store.status(WORKFLOW).batch.status == "success"
    assert window(world.at("2026-01-02T02:00").open("second"))[0] == "2026-01-01T02:00"


@pytest.mark.parametrize("world", ["plain data"], indirect=True)
def test_each_change_publishes_one_event(world: World) -> None:
    assert isinstance(world.store, PureStore)
    batch = world.at("2026-01-01T02:00").open("first")
    world.open("first")
    world.close("success")
    world.close("success", batch)
    one_off = world.open("one-off", window=("2025-12-01", "2025-12-02"))
    world.close("failed", one_off)
    told = [(e["event"], e["kind"], e["batch_id"]) for e in world.store.events]
    assert told == [
        ("open", "live", batch.batch_id),
        ("success", "live", batch.batch_id),
        ("open", "history", one_off.batch_id),
        ("failed", "history", one_off.batch_id),
    ]
    assert {e["workflow"] for e in world.store.events} == {WORKFLOW}
