# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long jobs took: ``wf:durations``, written by the transaction that closes a batch."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from redis import Redis
from waiting_world import World

from batchy_provider.core.dates import parse_date
from batchy_provider.core.job_durations import MAX_DURATIONS, durations_of_history
from batchy_provider.core.job_state import JobState
from batchy_provider.core.snapshot import StoredBatch
from batchy_provider.core.values import Actor, CloseRequest, Holder, JobDuration, Window, WorkflowConfig
from batchy_provider.state.document_check import read_document
from batchy_provider.state.duration_lists import fill_commands
from batchy_provider.state.importing import ImportRequest, export_state, import_state
from batchy_provider.state.keys import Keys

KEY = "wf:durations"


@pytest.fixture
def world(any_redis_client: Redis) -> World:
    return World(any_redis_client)


@pytest.fixture
def at_rest(redis_client: Redis) -> World:
    """The same, for what differs in no kind of server."""
    return World(redis_client)


def stored(world: World) -> dict[str, list[list[object]]]:
    return {
        job.decode() if isinstance(job, bytes) else job: json.loads(text)
        for job, text in world.client.hgetall(KEY).items()
    }


def test_outside_airflow_each_job_took_as_long_as_the_batch_was_open(world: World) -> None:
    before = world.now()
    batch_id = world.open()
    record = world.store.batch("wf", batch_id).record
    assert record is not None
    world.close(batch_id)
    elapsed = (world.now() - before).total_seconds()
    found = stored(world)
    assert list(found) == ["a", "b"]
    for ((start, seconds, window),) in found.values():
        assert start == record.started
        assert 0 <= seconds <= elapsed
        assert window == pytest.approx(
            (parse_date(record.to_date) - datetime(1776, 7, 4, 23, 59)).total_seconds(), abs=1
        )


def test_what_the_caller_knows_counts_and_no_more(world: World) -> None:
    batch_id = world.open("a", "b", "c")
    request = CloseRequest(result="success", batch_id=batch_id, outcomes={"c": "skipped"}, seconds={"a": 12.5, "c": 3})
    world.store.close("wf", request)
    assert {job: entries[0][1] for job, entries in stored(world).items()} == {"a": 12.5}


def test_only_successful_executions_and_the_latest_60_of_them(at_rest: World) -> None:
    at_rest.batch(result="failed")
    assert not at_rest.client.exists(KEY)
    for number in range(MAX_DURATIONS + 5):
        batch_id = at_rest.open("a")
        at_rest.store.close("wf", CloseRequest(result="success", batch_id=batch_id, seconds={"a": number}))
    entries = stored(at_rest)["a"]
    assert [seconds for _, seconds, _ in entries] == list(range(5, MAX_DURATIONS + 5))
    assert at_rest.store.durations("wf")["a"][-1].seconds == MAX_DURATIONS + 4


def test_closing_again_adds_nothing(at_rest: World) -> None:
    batch_id = at_rest.batch()
    at_rest.close(batch_id)
    assert {len(entries) for entries in stored(at_rest).values()} == {1}


def test_history_batches_are_executions_too_and_jobs_that_are_left_out_are_not(at_rest: World) -> None:
    window = Window(from_date="2026-01-01", to_date="2026-01-03")
    at_rest.close(at_rest.open(disabled=("b",), backfill=True, window=window))
    (only,) = stored(at_rest)["a"]
    assert only[2] == timedelta(days=2).total_seconds()
    assert "b" not in stored(at_rest)


def test_the_original_says_itself_when_it_opened(at_rest: World) -> None:
    at_rest.write(a={"status": "open", "batch_id": 5, "from_date": "2026-01-01", "batch_start": "2026-01-02"})
    at_rest.close()
    ((start, seconds, window),) = stored(at_rest)["a"]
    assert (start, window) == ("2026-01-02T00:00:00.000000", timedelta(days=1).total_seconds())
    assert seconds == pytest.approx((at_rest.now() - datetime(2026, 1, 2)).total_seconds(), abs=60)


def test_what_the_original_opened_and_closed_is_recorded_by_the_next_opening(at_rest: World) -> None:
    at_rest.batch()
    at_rest.client.delete(KEY)
    at_rest.write(
        a={
            "status": "success",
            "batch_id": 2_000_000_000,
            "from_date": "2026-01-01T00:00:00.000000",
            "batch_start": "2026-01-02T03:00:00.000000",
            "batch_end": "2026-01-02T03:10:00.000000",
        }
    )
    at_rest.open()
    assert stored(at_rest) == {"a": [["2026-01-02T03:00:00.000000", 600.0, 97_200]]}


def test_a_person_who_closes_the_batch_of_a_run_says_nothing_about_its_jobs(at_rest: World) -> None:
    batch_id = at_rest.open(holder=Holder(dag_id="wf", run_id="r1"))
    at_rest.store.close("wf", CloseRequest(result="success", batch_id=batch_id, by="ops"))
    assert not at_rest.client.exists(KEY)


def test_load_and_pruning_keep_it_and_what_cannot_be_read_is_left_out(at_rest: World) -> None:
    for _ in range(3):
        at_rest.batch(holder=Holder(by="test"))
    at_rest.store.load(WorkflowConfig(name="wf", jobs={"a": {}, "b": {}}), by="test")
    at_rest.store.prune("wf", keep=1)
    assert {len(entries) for entries in stored(at_rest).values()} == {3}
    at_rest.client.hset(KEY, "a", '[["soon", 1, 2]]')
    assert list(at_rest.store.durations("wf")) == ["b"]


@pytest.mark.parametrize("text", ["[]", "soon", '{"a": 1}', '[["2026-01-01", 1, 2], '])
def test_a_list_of_another_form_is_replaced(world: World, text: str) -> None:
    batch_id = world.open("a")
    world.client.hset(KEY, "a", text)
    world.store.close("wf", CloseRequest(result="success", batch_id=batch_id, seconds={"a": 1.25}))
    ((_, seconds, _),) = stored(world)["a"]
    assert seconds == 1.25


def test_another_programs_key_does_not_stop_a_closing(world: World) -> None:
    batch_id = world.open("a")
    world.client.set(KEY, "mine")
    world.close(batch_id)
    assert world.store.batch("wf", batch_id).status == "success"
    assert world.client.get(KEY) == b"mine"


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e12])
def test_lengths_that_no_clock_shows_leave_the_list_in_order(at_rest: World, seconds: float) -> None:
    for took in (1.0, seconds, 2.0):
        batch_id = at_rest.open("a")
        at_rest.store.close("wf", CloseRequest(result="success", batch_id=batch_id, seconds={"a": took}))
    assert len(at_rest.store.durations("wf")["a"]) == 3


def test_an_older_state_brings_the_durations_of_its_history(at_rest: World) -> None:
    for _ in range(3):
        at_rest.batch()
    before = stored(at_rest)
    at_rest.client.delete(KEY, "wf:loaded")
    at_rest.client.hdel("wf:meta", "ledger")
    at_rest.open()
    after = stored(at_rest)
    assert {job: [entry[0] for entry in some] for job, some in after.items()} == {
        job: [entry[0] for entry in some] for job, some in before.items()
    }


def test_filling_adds_the_batches_that_a_list_lacks(at_rest: World) -> None:
    store, keys = at_rest.store, Keys("wf")
    past = [JobDuration(datetime(2026, 1, day), float(day), 1.0) for day in range(1, 5)]

    def fill(*wanted: JobDuration) -> list[float]:
        store.backend.transact(keys, lambda session: (None, fill_commands(session, keys, {"a": wanted})))
        return [each.seconds for each in store.durations("wf")["a"]]

    assert fill(past[3], past[1]) == [2, 4]
    assert fill(past[0], replace(past[1], seconds=9.0), past[2]) == [1, 2, 3, 4]


def test_history_and_records_give_the_same_durations() -> None:
    def batch(batch_id: int, **more: object) -> StoredBatch:
        job = {"batch_id": batch_id, "status": "success", "outcome": "success", "from_date": "2026-01-01"}
        job |= {"batch_start": "2026-01-02T03:00:00", "batch_end": f"2026-01-02T03:0{batch_id}:00", **more}
        return StoredBatch(batch_id, {"a": JobState(job)}, None)

    some = [batch(2), batch(1), batch(3, status="failed"), batch(4, batch_end=None), batch(5, batch_start="soon")]
    assert [each.seconds for each in durations_of_history(some)["a"]] == [120.0, 60.0]
    assert [each.seconds for each in durations_of_history(some, {2: {"a": 7.5}})["a"]] == [7.5, 60.0]


def test_import_and_restore_keep_the_lists(at_rest: World) -> None:
    for _ in range(2):
        at_rest.batch()
    before = at_rest.store.durations("wf")
    (wanted,) = read_document(
        {
            "format": "batchy export",
            "version": 1,
            "workflows": [export_state(at_rest.store.backend, "wf", history=True)],
        }
    )
    at_rest.client.flushall()
    import_state(at_rest.store.backend, ImportRequest(workflow=wanted, by=Actor("ops")))
    assert at_rest.store.durations("wf") == before
    at_rest.client.flushall()
    import_state(at_rest.store.backend, ImportRequest(workflow=replace(wanted, durations={}), by=Actor("ops")))
    again = at_rest.store.durations("wf")
    assert {job: [each.start for each in some] for job, some in again.items()} == {
        job: [each.start for each in some] for job, some in before.items()
    }
