# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Lists of workflows, batches and progress."""

from __future__ import annotations

import pytest
import redis
from state_worlds import WORKFLOW
from store_calls import request, succeed

from batchy_provider.core.values import Window
from batchy_provider.exceptions import (
    UnknownBatchError,
    UnknownWorkflowError,
)
from batchy_provider.state.store import Store


def test_the_workflows_are_those_of_this_package_and_of_the_original(store: Store, client: redis.Redis) -> None:
    succeed(store, "first")
    client.hset("original", "job", '{"status": "success", "batch_id": 1467149783}')
    client.hset("original-1467149783", "job", '{"status": "success", "batch_id": 1467149783}')
    client.hset("original-1467149783-init", "job", '{"status": "new"}')
    client.set("a string", "x")
    client.hset("theirs", "field", "plain text")
    client.hset("no name of ours", "field", "{}")
    client.hset(b"\xff\xfe", "field", "{}")
    client.hset("celery:task", "field", "{}")
    client.zadd("a-set", {"x": 1})
    assert store.workflows() == ["original", "sales"]


def test_the_overview_has_what_status_has(store: Store) -> None:
    succeed(store, "first")
    store.open(WORKFLOW, request("second"))
    store.disable(WORKFLOW, "extract", by="ops")
    (found,) = store.overview()
    status = store.status(WORKFLOW)
    assert (found.jobs, found.batch, found.holder, found.disabled) == (
        status.jobs,
        status.batch,
        status.holder,
        status.disabled,
    )


def test_an_empty_redis_has_no_workflow(store: Store) -> None:
    assert store.workflows() == []
    assert store.history(WORKFLOW) == []
    assert store.batch_of_run(WORKFLOW, "first") is None
    assert store.progress(WORKFLOW) == {}
    with pytest.raises(UnknownWorkflowError):
        store.status(WORKFLOW)
    with pytest.raises(UnknownBatchError, match="there is no batch 17; it may have been pruned"):
        store.batch(WORKFLOW, 17)


def test_history_is_newest_first_and_in_pages(store: Store) -> None:
    ids = [succeed(store, f"run {n}").batch_id for n in range(5)]
    backfill = store.open(
        WORKFLOW, request("backfill", backfill=True, window=Window(from_date="2026-01-01", to_date="2026-01-02"))
    )
    found = store.history(WORKFLOW)
    assert [batch.batch_id for batch in found] == [backfill.batch_id, *reversed(ids)]
    assert [batch.kind for batch in found] == ["history", *["live"] * 5]
    assert [batch.batch_id for batch in store.history(WORKFLOW, limit=2, offset=1)] == [ids[4], ids[3]]
    assert store.history(WORKFLOW, offset=6) == []


def test_progress_is_the_latest_of_each_job(store: Store) -> None:
    store.set_progress(WORKFLOW, "extract", {"batch_id": 1, "progress": 0.1, "message": "é"})
    store.set_progress(WORKFLOW, "extract", {"batch_id": 1, "progress": 0.2, "message": "34/68 files"})
    store.set_progress(WORKFLOW, "load", {"batch_id": 1, "progress": 0})
    assert store.progress(WORKFLOW)["extract"] == {"batch_id": 1, "progress": 0.2, "message": "34/68 files"}
    assert set(store.progress(WORKFLOW)) == {"extract", "load"}
