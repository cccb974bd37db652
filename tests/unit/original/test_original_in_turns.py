# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The original server and this package in turns on one Redis, and errors of the original that this package avoids."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from state_worlds import FIRST, WORKFLOW, Original, World, short, spans, window

from batchy_provider.exceptions import NotOpenError


def test_the_original_reads_what_this_package_wrote(world: World, original: Original) -> None:
    world.jobs = {"extract": {"reprocess_hours": 2}, "load": {"trunc_start": True}}
    world.night("2026-01-01T02:00:00")  # microsecond 0: its strptime wants the digits all the same
    world.at("2026-01-02T02:00")
    batch_id = original.open()
    assert short(world.live("extract")["from_date"]) == "2026-01-01T00:00"
    assert short(world.live("load")["from_date"]) == "2026-01-01T00:00"
    assert world.live("load")["batch_id"] == batch_id


def test_this_package_continues_where_the_original_ended(world: World, original: Original) -> None:
    world.jobs = {"extract": {"reprocess_hours": 1}}
    world.night("2026-01-01T02:00")
    world.at("2026-01-02T02:00")
    original.open()
    world.after(hours=1)
    original.close("success")
    batch = world.at("2026-01-03T02:00").open("third")
    assert window(batch) == ("2026-01-02T01:00", "2026-01-03T02:00")
    assert batch.jobs["extract"]["to_date"] == batch.jobs["extract"]["batch_start"]


def test_a_batch_start_of_the_original_on_the_full_second_is_read(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00")
    original_start = world.at("2026-01-02T02:00").clock.now.isoformat()
    original.open()
    assert world.live()["batch_start"] == original_start == "2026-01-02T02:00:00"
    original.close("success")
    assert window(world.at("2026-01-03T02:00").open("third"))[0] == "2026-01-02T02:00"


def test_the_status_failure_of_the_original_reads_as_failed(world: World, original: Original) -> None:
    world.store.raw_write("extract", '{"status": "new"}', None)
    world.at("2026-01-02T02:00")
    original.open()
    original.close("failure")
    assert world.store.status(WORKFLOW).batch.status == "failed"
    assert window(world.at("2026-01-03T02:00").open(None, known=False)) == (short(FIRST), "2026-01-03T02:00")


def test_a_batch_of_the_original_shows_its_own_window(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00")
    world.at("2026-01-02T02:00")
    original.open()
    batch = world.store.status(WORKFLOW).batch
    assert batch is not None
    assert batch.to_date == "2026-01-02T02:00:00", "not the to_date that our last batch left standing"


def test_an_open_batch_of_the_original_is_taken_over_with_its_window(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00")
    world.at("2026-01-02T02:00")
    left = original.open()
    batch = world.at("2026-01-03T02:00").open("third")
    assert window(batch) == ("2026-01-01T02:00", "2026-01-03T02:00")
    assert batch.warning is not None
    assert "original" in batch.warning
    ended = world.store.batch(WORKFLOW, left)
    assert ended.status == "failed"
    assert ended.jobs["extract"]["outcome"] == "aborted"


def test_our_batch_does_not_stay_open_after_the_original_opened_the_next_one(world: World, original: Original) -> None:
    left = world.at("2026-01-01T02:00").open("killed")
    world.at("2026-01-02T02:00")
    original.open()
    original.close("success")
    assert world.store.batch(WORKFLOW, left.batch_id).status == "open"
    world.at("2026-01-03T02:00").open("third")
    ended = world.store.batch(WORKFLOW, left.batch_id)
    assert (ended.status, ended.jobs["extract"]["outcome"]) == ("failed", "aborted")
    assert left.batch_id in world.store.raw_closed()


def test_our_batch_that_the_original_closed_before_its_next_one_gets_its_day(world: World, original: Original) -> None:
    ours = world.at("2026-01-01T02:00").open("first")
    original.close("success")
    world.at("2026-01-02T02:00")
    original.open()
    world.at("2026-01-03T02:00").open("third")
    assert world.store.batch(WORKFLOW, ours.batch_id).status == "success"
    assert spans(world.store.ledger()) == [(FIRST[:16], "2026-01-01T02:00")]


def test_our_batch_that_the_original_closed_is_closed(world: World, original: Original) -> None:
    batch = world.at("2026-01-02T02:00").open("first")
    original.close("success")
    assert world.close("success", batch).status == "success"
    with pytest.raises(NotOpenError):
        world.close("failed", batch)
    assert window(world.at("2026-01-03T02:00").open("second")) == ("2026-01-02T02:00", "2026-01-03T02:00")


def test_the_next_change_adds_the_batch_of_the_original_to_the_lists_and_days(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00")
    world.at("2026-01-02T02:00")
    batch_id = original.open()
    original.close("success")
    world.at("2026-01-03T02:00").open("third")
    assert spans(world.store.ledger()) == [(FIRST[:16], "2026-01-02T02:00")]
    assert batch_id in world.store.raw_closed()


def test_set_window_and_load_record_the_batch_of_the_original_first(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00")
    world.at("2026-01-02T02:00")
    first = original.open()
    original.close("success")
    world.store.set_window(WORKFLOW, "2026-01-01", by="ops")
    assert first in world.store.raw_closed()
    world.at("2026-01-03T02:00")
    second = original.open()
    original.close("success")
    world.store.load(world.config, by="ops")
    assert second in world.store.raw_closed()
    assert world.open("again").batch_id > second


def test_ids_continue_after_those_of_the_original(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00")
    world.at("2026-01-02T02:00")
    batch_id = original.open()
    assert world.open("same second").batch_id == batch_id + 1


def test_a_workflow_that_the_original_loaded_starts_from_the_beginning(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00")
    original.load({"extract": {"region": "eu"}})
    batch = world.at("2026-01-02T02:00").open(None, known=False)
    assert batch.jobs["extract"]["from_date"] == FIRST
    assert batch.jobs["extract"]["region"] == "eu"


def test_jobs_that_a_killed_original_left_in_two_batches_open_in_one(world: World, original: Original) -> None:
    world.jobs = {"extract": {}, "load": {}}
    world.night("2026-01-01T02:00")
    world.at("2026-01-02T02:00")
    original.open()
    original.close("success", only="extract")  # killed before load
    batch = world.at("2026-01-03T02:00").open("third")
    assert window(batch, "extract") == ("2026-01-02T02:00", "2026-01-03T02:00")
    assert window(batch, "load") == ("2026-01-01T02:00", "2026-01-03T02:00")
    assert {job["batch_id"] for job in batch.jobs.values()} == {batch.batch_id}


@pytest.mark.parametrize(("half", "whole"), [("success", "failed"), ("failure", "success")])
def test_a_batch_that_a_killed_original_closed_in_part_can_be_closed(
    world: World, original: Original, half: str, whole: Any
) -> None:
    world.jobs = {"extract": {}, "load": {}}
    batch = world.at("2026-01-02T02:00").open("first")
    original.close(half, only="extract")
    assert world.close(whole, batch).status == whole
    assert {world.live(job)["status"] for job in world.jobs} == {whole}
    assert world.close(whole, batch).status == whole
    start = "2026-01-02T02:00" if whole == "success" else short(FIRST)
    batch = world.at("2026-01-03T02:00").open("second")
    assert [window(batch, job)[0] for job in world.jobs] == [start, start], "jobs re-run the same window together"


def test_a_cleared_run_does_not_move_the_watermark_of_the_original_back(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00", "first", result="failed")
    world.at("2026-01-02T02:00")
    original.open()
    original.close("success")
    again = world.at("2026-01-02T09:00").open("first")
    assert again.kind == "history"
    world.close("success", again)
    assert window(world.at("2026-01-03T02:00").open("third"))[0] == "2026-01-02T02:00"


def test_a_run_that_is_cleared_two_batches_later_does_not_move_it_back_either(world: World, original: Original) -> None:
    world.night("2026-01-01T02:00", "first")
    second = world.night("2026-01-02T02:00", "second")
    for night, status in (("2026-01-03T02:00:00.5", "success"), ("2026-01-04T02:00:00.5", "failure")):
        world.at(night)
        original.open()
        original.close(status)
    world.night("2026-01-05T02:00", "fifth", result="failed")
    again = world.at("2026-01-05T09:00").open("second")
    assert (again.kind, window(again)) == ("history", window(second))


# -- errors of the original that this package avoids ------------------------------------------------------------------


def test_after_a_failure_the_failed_window_is_not_lost(world: World) -> None:
    world.night("2026-01-01T02:00")
    world.night("2026-01-02T02:00", result="failed")
    assert window(world.at("2026-01-03T02:00").open("third"))[0] == "2026-01-01T02:00", "the original: now"


def test_opening_on_the_full_second_does_not_make_later_openings_fail(world: World) -> None:
    for night in range(1, 4):
        batch = world.night(f"2026-01-0{night}T02:00:00.000000")
        written = batch.jobs["extract"]["batch_start"]
        assert datetime.strptime(written, "%Y-%m-%dT%H:%M:%S.%f"), "as the original reads it"


def test_params_that_are_not_ascii_do_not_make_opening_fail(world: World) -> None:
    world.jobs = {"extract": {"city": "Genève", "Straße": "日本 🚀", "lone": "\ud800"}}
    job = world.open().jobs["extract"]
    assert (job["city"], job["Straße"], job["lone"]) == ("Genève", "日本 🚀", "\ud800")
    assert world.live()["city"] == "Genève"


def test_a_new_job_starts_at_the_beginning_and_not_where_the_one_before_it_does(world: World) -> None:
    world.jobs = {"a": {"initial_date": "2026-01-01"}, "b": {}}
    batch = world.at("2026-01-02T00:00").open()
    assert window(batch, "a")[0] == "2026-01-01T00:00"
    assert batch.jobs["b"]["from_date"] == FIRST
