# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What an opened batch holds: its id, its jobs with their params, its record, its day."""

from __future__ import annotations

import json
from typing import Any

import pytest
from state_worlds import WORKFLOW, World, short, window

from batchy_provider.core.values import Holder, OpenRequest, WorkflowConfig, run_key
from batchy_provider.core.vocabulary import Reason
from batchy_provider.exceptions import ConfigError, UnknownWorkflowError, WindowError

# -- the batch -------------------------------------------------------------------------------------------------------


def test_a_workflow_that_redis_does_not_know_is_created_from_its_configuration(world: World) -> None:
    world.jobs = {"extract": {"region": "eu"}, "load": {}}
    batch = world.open()
    assert list(batch.jobs) == ["extract", "load"]
    assert {job["batch_id"] for job in batch.jobs.values()} == {batch.batch_id}
    assert world.live("extract")["region"] == "eu"


def test_an_unknown_workflow_is_not_opened(world: World) -> None:
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


def test_changed_params_of_the_configuration_count_and_the_state_stays(world: World) -> None:
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


def test_the_key_of_a_run_differs_from_that_of_another_dag() -> None:
    assert run_key("sales", "sales", "manual__1") == "manual__1"
    assert run_key("sales", "nightly", "manual__1") == "nightly/manual__1"


# -- days, runs, events ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timezone", "day"), [("UTC", "2026-01-09"), ("Asia/Tokyo", "2026-01-10"), ("America/New_York", "2026-01-09")]
)
def test_the_day_of_a_batch_is_that_of_its_windows_end_where_the_workflow_lives(
    world: World, timezone: str, day: str
) -> None:
    world.timezone = timezone
    batch = world.night("2026-01-09T20:00")
    assert batch.record is not None
    assert batch.record.day == day


def test_the_day_may_be_given(world: World) -> None:
    batch = world.night("2026-01-09T00:30", day="2026-01-08")
    assert batch.record is not None
    assert batch.record.day == "2026-01-08"


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
