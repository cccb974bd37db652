# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Restore a workflow in Redis from the archive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archived import WORKFLOW, Site, windows

from batchy_provider.core.values import Actor, Window
from batchy_provider.exceptions import (
    UnknownWorkflowError,
)
from batchy_provider.state import deliveries
from batchy_provider.state.store import Store

OPS = Actor("ops", "cli")


def test_a_restore_into_an_empty_redis_restores_everything(site: Site) -> None:
    for number in range(3):
        site.night(run=f"night {number}")
    site.night("failed", run="night 3")
    site.night(run="b", window=Window(from_date="2026-01-01", to_date="2026-01-02"), backfill=True, day="2026-01-01")
    before, expected = site.dump(), windows(site.opened("next"))
    site.client.flushall()
    done = site.service.restore(WORKFLOW, actor=OPS, why="the disk was gone")
    assert (done.was, done.state, done.batches) == ("lost", True, 5)
    assert site.dump() == before
    again = site.service.restore(WORKFLOW, actor=OPS)
    assert (again.state, again.batches) == (False, 0)
    assert {name: start for name, (start, _) in windows(site.opened("next")).items()} == {
        name: start for name, (start, _) in expected.items()
    }


def test_a_cleared_run_gets_its_own_window_after_a_restore(site: Site) -> None:
    site.night(run="first")
    second = site.night(run="second")
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    again = site.opened("second")
    assert windows(again) == windows(second)
    assert again.record.reason.startswith(f"window of batch {second.batch_id} again")


def test_the_state_can_be_restored_first_and_the_history_later(site: Site) -> None:
    for _ in range(3):
        site.night()
    site.client.flushall()
    first = site.service.restore(WORKFLOW, actor=OPS, history=False)
    assert (first.state, first.batches) == (True, 0)
    site.night()
    assert len(site.service.compare(WORKFLOW).missing) == 3
    assert site.service.restore(WORKFLOW, actor=OPS).batches == 3
    assert site.store.count(WORKFLOW) == 4


def test_pruned_batches_are_not_restored_but_their_runs_and_what_they_loaded_are(site: Site) -> None:
    for number in range(4):
        site.night(run=f"night {number}")
    runs, loaded = site.client.hgetall("sales:runs"), site.client.hgetall("sales:loaded")
    site.store.prune(WORKFLOW, keep=2)
    assert site.service.compare(WORKFLOW).missing == (), "what was pruned is not lost"
    assert site.service.prune(WORKFLOW) == 2
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    assert site.store.count(WORKFLOW) == 2
    assert site.client.hgetall("sales:runs") == runs
    assert loaded
    assert site.client.hgetall("sales:loaded") == loaded


def test_an_open_batch_in_the_archived_state_can_be_closed_after_a_restore(site: Site) -> None:
    site.night()
    batch = site.opened("running")
    site.store.disable(WORKFLOW, "load", by="ops")
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    assert site.store.batch_of_run(WORKFLOW, "running").batch_id == batch.batch_id
    assert site.closed(batch).status == "success"


def test_a_subscription_does_not_deliver_restored_batches(site: Site) -> None:
    site.night()
    site.client.flushall()
    subscription = deliveries.Subscription(workflow=WORKFLOW, outside_only=False)
    assert deliveries.lease(Store(site.client).backend, subscription, "trigger") == []
    site.service.restore(WORKFLOW, actor=OPS)
    assert deliveries.lease(Store(site.client).backend, subscription, "trigger") == []
    batch = site.night()
    assert [each.batch_id for each in deliveries.lease(Store(site.client).backend, subscription, "trigger")] == [
        batch.batch_id
    ]


def test_a_restore_publishes_an_event_that_wakes_waits(site: Site) -> None:
    site.night()
    site.client.flushall()
    with site.client.pubsub() as heard:
        heard.subscribe("batchy:events")
        heard.get_message(timeout=5)
        site.service.restore(WORKFLOW, actor=OPS)
        message = heard.get_message(timeout=5)
    assert message is not None
    assert json.loads(message["data"])["event"] == "restore"


def test_a_workflow_in_neither_redis_nor_the_archive_is_an_error(site: Site) -> None:
    with pytest.raises(UnknownWorkflowError, match="in neither Redis nor the archive"):
        site.service.compare("salse")


def test_a_restore_works_on_a_cluster(cluster_url: str, tmp_path: Path) -> None:
    from batchy_provider.state.connections import open_client

    with open_client(cluster_url) as client:
        site = Site(client, tmp_path)
        batch = site.night()
        for node in client.get_primaries():
            client.flushall(target_nodes=node)
        assert site.service.restore(WORKFLOW, actor=OPS).batches == 1
        assert windows(site.opened())["extract"][0] == batch.record.to_date
