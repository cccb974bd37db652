# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Opening: the batch, and the second table of the design: who opens, and what that run gets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from state_worlds import FIRST, WORKFLOW, World, short, window

from batchy_provider.core.values import Holder, OpenRequest, Window, WorkflowConfig, run_key
from batchy_provider.core.vocabulary import Reason
from batchy_provider.exceptions import BatchHeldError, ConfigError, UnknownWorkflowError, WindowError

# -- the batch ----------------------------------------------------------------------------------------------------


def test_a_workflow_that_redis_does_not_know_is_created_from_its_configuration(world: World) -> None:
    world.jobs = {"extract": {"region": "eu"}, "load": {}}
    batch = world.open()
    assert list(batch.jobs) == ["extract", "load"]
    assert {job["batch_id"] for job in batch.jobs.values()} == {batch.batch_id}
    assert world.live("extract")["region"] == "eu"


def test_a_workflow_that_nobody_knows_is_not_opened(world: World) -> None:
    with pytest.raises(UnknownWorkflowError, match="'sales' is not in Redis; load its configuration"):
        world.open(known=False)
    assert world.state() == {}


def test_a_configuration_without_jobs_opens_nothing(world: World) -> None:
    world.jobs = {}
    with pytest.raises(UnknownWorkflowError):
        world.open()


def test_a_first_window_that_would_begin_in_the_future_is_refused(world: World) -> None:
    world.jobs = {"extract": {}, "load": {"initial_date": "2026-11-23T00:00:00"}}
    with pytest.raises(WindowError, match=r"job 'load': initial_date 2026-11-23T00:00:00.000000 lies in the future"):
        world.at("2026-11-22T18:39:48").open()
    assert world.state() == {}
    batch = world.at("2026-11-23T01:00:00").open()
    assert window(batch, "load") == ("2026-11-23T00:00", "2026-11-23T01:00")


def test_the_id_is_the_second_of_opening(world: World) -> None:
    assert world.at("2026-11-22T18:39:48.987654").open().batch_id == 1795372788


def test_batches_opened_in_one_second_get_ids_of_their_own(world: World) -> None:
    world.at("2026-11-22T18:39:48.1")
    ids = [world.open(f"run {n}", if_open="take_over").batch_id for n in range(5)]
    assert ids == list(range(1795372788, 1795372793))


def test_the_batch_tells_who_opened_it_and_why_it_has_this_window(world: World) -> None:
    world.at("2026-01-01T02:00")
    record = world.open("scheduled__2026-01-01", why="nightly").record
    assert record is not None
    assert (record.kind, record.run, record.reason, record.why) == (
        "live",
        "scheduled__2026-01-01",
        "next window",
        "nightly",
    )
    assert short(record.started) == "2026-01-01T02:00"


def test_a_code_says_beside_the_sentence_why_a_batch_has_its_window(world: World) -> None:
    def code(run: str, **request: Any) -> tuple[str | None, bool]:
        record = world.open(run, **request).record
        assert record is not None
        return record.reason_code, record.taken_over

    day = ("2025-12-01", "2025-12-02")
    assert code("first") == (Reason.NEXT_WINDOW, False)
    assert code("second", if_open="take_over") == (Reason.NEXT_WINDOW, True)
    world.close("failed")
    assert code("second") == (Reason.RERUN, False)
    world.close("success")
    assert code("backfill", backfill=True, window=day) == (Reason.BACKFILL, False)
    assert code("one-off", window=day) == (Reason.ONE_OFF, False)
    assert code("moves", window=day, move_watermark=True) == (Reason.REQUESTED, False)


def test_params_that_changed_in_the_configuration_are_taken_and_the_state_is_kept(world: World) -> None:
    world.jobs = {"extract": {"region": "eu", "old": 1}}
    world.night("2026-01-01T02:00")
    world.jobs = {"extract": {"region": "us", "new": [None]}}
    job = world.at("2026-01-02T02:00").open("second night").jobs["extract"]
    assert (job["region"], job["new"]) == ("us", [None])
    assert "old" not in job
    assert short(job["from_date"]) == "2026-01-01T02:00"


def test_settings_that_changed_in_the_configuration_count_for_the_next_window(world: World) -> None:
    world.night("2026-01-01T02:00")
    world.jobs = {"extract": {"reprocess_hours": 1}}
    assert window(world.at("2026-01-02T02:00").open("second night"))[0] == "2026-01-01T01:00"


def test_state_in_the_configuration_does_not_overrule_redis(world: World) -> None:
    world.night("2026-01-01T02:00")
    world.jobs = {"extract": {"status": "new", "from_date": "2020-01-01T00:00:00", "batch_id": 7}}
    assert window(world.at("2026-01-02T02:00").open("second night"))[0] == "2026-01-01T02:00"


def test_a_job_new_to_redis_may_bring_its_state_as_the_original_files_do(world: World) -> None:
    world.jobs = {"extract": {"status": "success", "batch_start": "2026-01-01T02:00:00.000000"}}
    assert window(world.at("2026-01-02T02:00").open())[0] == "2026-01-01T02:00"


def test_a_job_new_in_the_configuration_starts_as_new(world: World) -> None:
    world.night("2026-01-01T02:00")
    world.jobs = {"extract": {}, "load": {"initial_date": "2025-12-01"}}
    batch = world.at("2026-01-02T02:00").open("second night")
    assert window(batch, "load") == ("2025-12-01T00:00", "2026-01-02T02:00")
    assert window(batch, "extract") == ("2026-01-01T02:00", "2026-01-02T02:00")


def test_a_job_gone_from_the_configuration_leaves_the_live_hash_and_stays_in_history(world: World) -> None:
    world.jobs = {"extract": {}, "load": {}}
    first = world.night("2026-01-01T02:00")
    world.jobs = {"load": {}}
    second = world.night("2026-01-02T02:00")
    assert set(world.state()) == {"load"} == set(second.jobs)
    assert set(world.store.batch(WORKFLOW, first.batch_id).jobs) == {"extract", "load"}


def test_without_a_configuration_redis_says_what_the_jobs_are(world: World) -> None:
    world.jobs = {"extract": {"region": "eu", "reprocess_hours": 1}, "load": {}}
    world.timezone = "Europe/Paris"
    world.night("2026-01-01T02:00")
    batch = world.at("2026-01-02T02:00").open(None, known=False)
    assert batch.jobs["extract"]["region"] == "eu"
    assert window(batch)[0] == "2026-01-01T01:00"


def test_the_timezone_is_remembered_for_those_who_come_without_configuration(world: World) -> None:
    world.jobs = {"extract": {"trunc_start": True}}
    world.timezone = "Asia/Tokyo"
    world.night("2026-01-01T02:00")
    assert window(world.at("2026-01-02T02:00").open(None, known=False))[0] == "2025-12-31T15:00"


def test_the_jobs_are_shown_in_the_order_of_the_configuration(world: World) -> None:
    world.jobs = {"zeta": {}, "alpha": {}, "mid": {}}
    world.night("2026-01-01T02:00")
    world.jobs = {"mid": {}, "zeta": {}, "beta": {}, "alpha": {}}
    world.night("2026-01-02T02:00")
    assert list(world.store.status(WORKFLOW).jobs) == ["mid", "zeta", "beta", "alpha"]


def test_what_the_last_batch_left_is_wiped_from_the_new_one(world: World) -> None:
    world.open("first night")
    world.close("success", extract="skipped")
    world.at("2026-01-02T02:00").open("second night")
    assert world.live()["batch_end"] is None
    assert "outcome" not in world.live()


def test_an_unreadable_setting_opens_nothing(world: World) -> None:
    world.night("2026-01-01T02:00")
    before = world.state()
    world.jobs = {"extract": {"reprocess_hours": "two"}}
    with pytest.raises(ConfigError, match="reprocess_hours"):
        world.open("second night")
    world.jobs, world.timezone = {"extract": {}}, "Mars/Olympus"
    with pytest.raises(WindowError, match="Mars/Olympus"):
        world.open("second night")
    assert world.state() == before


def test_a_run_is_told_from_one_of_another_dag_by_its_key() -> None:
    assert run_key("sales", "sales", "manual__1") == "manual__1"
    assert run_key("sales", "nightly", "manual__1") == "nightly/manual__1"


# -- the same run again -------------------------------------------------------------------------------------------


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


# -- another run holds it -----------------------------------------------------------------------------------------


def test_a_batch_that_another_run_holds_is_not_opened_and_the_holder_is_named(world: World) -> None:
    held = world.at("2026-01-01T02:00").open("first night")
    before = world.state()
    with pytest.raises(BatchHeldError) as raised:
        world.after(hours=1).open("second night")
    text = str(raised.value)
    assert str(held.batch_id) in text
    assert "open since 2026-01-01T02:00:00.000000 UTC, by run 'first night' of DAG 'sales'" in text
    assert "take_over" in text
    assert raised.value.holder.run_id == "first night"
    assert raised.value.batch_id == held.batch_id
    assert world.state() == before


def test_take_over_ends_the_other_batch_and_takes_its_window_up_to_now(world: World) -> None:
    world.night("2026-01-01T02:00")
    held = world.at("2026-01-02T02:00").open("second night")
    batch = world.at("2026-01-03T02:00").open("third night", if_open="take_over")
    assert window(batch) == ("2026-01-01T02:00", "2026-01-03T02:00")
    assert batch.warning is not None
    assert f"batch {held.batch_id} is open since 2026-01-02T02:00:00.000000 UTC, by run 'second night'" in batch.warning
    ended = world.store.batch(WORKFLOW, held.batch_id)
    assert ended.status == "failed"
    assert ended.jobs["extract"]["outcome"] == "aborted"
    assert ended.record is not None
    assert ended.record.status == "failed"
    assert held.batch_id in world.store.raw_closed()


def test_a_holder_that_is_gone_is_taken_over_with_a_warning(world: World) -> None:
    held = world.at("2026-01-01T02:00").open("killed")
    batch = world.at("2026-01-02T02:00").open("second night", gone=held.batch_id)
    assert window(batch) == (short(FIRST), "2026-01-02T02:00")
    assert batch.warning is not None
    assert "'killed'" in batch.warning


def test_to_know_one_holder_gone_is_not_to_know_the_next_one_gone(world: World) -> None:
    held = world.at("2026-01-01T02:00").open("killed")
    world.after(hours=1).open("faster", gone=held.batch_id)
    with pytest.raises(BatchHeldError, match="'faster'"):
        world.after(hours=1).open("slower", gone=held.batch_id)


def test_a_batch_that_no_run_holds_is_taken_over(world: World) -> None:
    world.at("2026-01-01T02:00").open(None)
    batch = world.at("2026-01-02T02:00").open("second night")
    assert window(batch) == (short(FIRST), "2026-01-02T02:00")
    assert batch.warning is not None
    assert "ops" in batch.warning


def test_a_run_that_lost_its_batch_to_another_is_held_off(world: World) -> None:
    world.at("2026-01-01T02:00").open("slow")
    world.after(hours=1).open("fast", if_open="take_over")
    with pytest.raises(BatchHeldError, match="'fast'"):
        world.after(hours=1).open("slow")


# -- a cleared run ------------------------------------------------------------------------------------------------


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


# -- a backfill ---------------------------------------------------------------------------------------------------


def test_a_backfill_takes_exactly_its_interval_and_never_touches_the_live_state(world: World) -> None:
    world.jobs = {"extract": {"reprocess_hours": 5, "trunc_start": True}}
    world.night("2026-01-10T02:00")
    before = world.state()
    batch = world.open("backfill__2", backfill=True, window=("2026-01-02T02:00", "2026-01-03T02:00"))
    assert (batch.kind, window(batch)) == ("history", ("2026-01-02T02:00", "2026-01-03T02:00"))
    world.close("success", batch)
    assert world.state() == before
    assert world.store.batch(WORKFLOW, batch.batch_id).status == "success"


def test_many_backfills_run_at_once_beside_an_open_batch(world: World) -> None:
    live = world.at("2026-01-10T02:00").open("tonight")
    batches = [
        world.open(f"backfill__{d}", backfill=True, window=(f"2026-01-0{d}", f"2026-01-0{d + 1}")) for d in range(1, 6)
    ]
    assert len({live.batch_id, *(b.batch_id for b in batches)}) == 6
    for batch in reversed(batches):
        world.close("success", batch)
    world.close("success", live)
    days = world.store.raw_days()
    assert [days[f"2026-01-0{d + 1}"] for d in range(1, 6)] == [b.batch_id for b in batches]


def test_a_backfill_of_a_workflow_that_never_ran_leaves_the_live_state_empty(world: World) -> None:
    batch = world.open("backfill__1", backfill=True, window=("2026-01-01", "2026-01-02"))
    world.close("success", batch)
    assert world.state() == {}
    assert world.open("first").jobs["extract"]["from_date"] == FIRST


def test_a_backfill_that_is_cleared_takes_the_same_interval_again(world: World) -> None:
    wish: dict[str, Any] = {"backfill": True, "window": ("2026-01-01", "2026-01-02")}
    first = world.open("backfill__1", **wish)
    world.close("success", first)
    again = world.after(days=1).open("backfill__1", **wish)
    assert again.batch_id != first.batch_id
    assert (again.kind, window(again)) == ("history", window(first))


# -- a window that is asked for -----------------------------------------------------------------------------------


def test_a_window_asked_for_is_loaded_once_and_moves_nothing(world: World) -> None:
    world.night("2026-01-10T02:00")
    before = world.state()
    batch = world.open("reload", window=("2025-12-01", "2025-12-05"))
    assert (batch.kind, window(batch)) == ("history", ("2025-12-01T00:00", "2025-12-05T00:00"))
    world.close("success", batch)
    assert world.state() == before


def test_a_window_asked_for_may_end_now_or_start_where_the_next_one_would(world: World) -> None:
    world.night("2026-01-10T02:00")
    world.at("2026-01-11T02:00")
    assert window(world.open("a", window=("2026-01-01", None))) == ("2026-01-01T00:00", "2026-01-11T02:00")
    assert window(world.open("b", window=(None, "2026-01-11"))) == ("2026-01-10T02:00", "2026-01-11T00:00")


def test_with_move_watermark_the_window_asked_for_is_live(world: World) -> None:
    world.night("2026-01-10T02:00")
    batch = world.at("2026-01-11T02:00").open("again", window=("2026-01-01", "2026-01-05"), move_watermark=True)
    assert (batch.kind, window(batch)) == ("live", ("2026-01-01T00:00", "2026-01-05T00:00"))
    world.close("success", batch)
    assert window(world.open("next")) == ("2026-01-05T00:00", "2026-01-11T02:00")


def test_with_move_watermark_a_failed_window_is_taken_again(world: World) -> None:
    world.night("2026-01-10T02:00")
    batch = world.at("2026-01-11T02:00").open("again", window=("2026-01-01", "2026-01-05"), move_watermark=True)
    world.close("failed", batch)
    assert window(world.at("2026-01-12T02:00").open("next")) == ("2026-01-01T00:00", "2026-01-12T02:00")


def test_with_move_watermark_the_batch_of_another_run_is_not_taken(world: World) -> None:
    world.open("tonight")
    with pytest.raises(BatchHeldError):
        world.open("again", window=("2026-01-01", "2026-01-05"), move_watermark=True)


@pytest.mark.parametrize(
    ("asked", "moving", "message"),
    [
        (("2026-01-05", "2026-01-01"), False, "give from_date and to_date .* in order"),
        (("2026-01-05", "2026-01-01"), True, "give from_date and to_date .* in order"),
        (("2026-01-01", "2027-01-01"), True, "lies in the future"),
        (("yesterday", None), False, "'yesterday' is not a date"),
        ((17, None), False, "17 is not a date"),
        ((None, "2026-01-01"), False, "in order"),
        (("now", None), False, "'now' is not a date"),
        (("0001-01-01T00:00:00+14:00", None), False, "is not a date"),
    ],
)
def test_a_window_that_cannot_be_opens_nothing(world: World, asked: Any, moving: bool, message: str) -> None:
    world.night("2026-01-10T02:00")
    before = world.state()
    with pytest.raises(WindowError, match=message):
        world.at("2026-01-11T02:00").open("wrong", window=asked, move_watermark=moving)
    assert world.state() == before


def test_one_job_whose_window_would_be_backwards_is_named(world: World) -> None:
    world.night("2026-01-10T02:00")
    with pytest.raises(WindowError, match="sales, job 'extract': the window would start at 2026-01-10T02"):
        world.open("wrong", window=(None, "2026-01-09"))


# -- days, runs, events -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timezone", "day"), [("UTC", "2026-01-09"), ("Asia/Tokyo", "2026-01-10"), ("America/New_York", "2026-01-09")]
)
def test_the_day_of_a_batch_is_that_of_its_windows_end_where_the_workflow_lives(
    world: World, timezone: str, day: str
) -> None:
    world.timezone = timezone
    batch = world.night("2026-01-09T20:00")
    assert world.store.raw_days() == {day: batch.batch_id}


def test_the_day_may_be_given(world: World) -> None:
    batch = world.night("2026-01-09T00:30", day="2026-01-08")
    assert world.store.raw_days() == {"2026-01-08": batch.batch_id}


@pytest.mark.parametrize("world", ["server", "cluster"], indirect=True)
def test_a_run_is_found_by_its_last_batch(world: World) -> None:
    first = world.night("2026-01-01T02:00", "first")
    again = world.night("2026-01-01T09:00", "first")
    assert first.batch_id != again.batch_id
    found = world.store.batch_of_run(WORKFLOW, "first")
    assert found is not None
    assert found.batch_id == again.batch_id
    assert world.store.batch_of_run(WORKFLOW, "second") is None


def test_a_workflow_opened_by_another_dag_knows_that_dags_runs(world: World) -> None:
    holder = Holder(dag_id="nightly", run_id="manual__1")
    batch = world.store.open(WORKFLOW, OpenRequest(holder=holder, config=world.config))
    assert batch.record is not None
    assert batch.record.run == "nightly/manual__1"


def test_the_state_is_readable_json_for_the_original(world: World) -> None:
    world.jobs = {"extract": {"greeting": "grüß Gott ☃", "big": 2**70}}
    world.open()
    text = world.state()["extract"]
    assert text.isascii()
    assert json.loads(text)["greeting"] == "grüß Gott ☃"
    assert json.loads(text)["big"] == 2**70


def test_a_configuration_of_another_name_does_not_matter_to_the_rules(world: World) -> None:
    config = WorkflowConfig(name="other", jobs={"extract": {}})
    assert world.store.open(WORKFLOW, OpenRequest(config=config)).workflow == WORKFLOW
