# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""State that a release without a ledger has written, from a dump of a real one, is taken over with the first change.

The dump has three nights of which one failed, two backfills, a batch that is open, and all but three batches pruned.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis
from state_worlds import WORKFLOW, Clock, RealStore, spans

from batchy_provider.core.dates import parse_date
from batchy_provider.core.values import CloseRequest
from batchy_provider.core.waits import Wait

DUMP = json.loads((Path(__file__).parent / "state_of_0_1_0.json").read_text())
PRUNED_AND_KEPT = ("2026-10-31T23:00", "2026-11-04T02:00")
"""The days of the pruned nights, in Berlin, and the window of the night that is still there."""
BACKFILLS = [("2026-10-01T00:00", "2026-10-02T00:00"), ("2026-10-05T00:00", "2026-10-06T00:00")]


@pytest.fixture
def store(any_redis_client: redis.Redis) -> RealStore:
    for key, found in DUMP.items():
        if "hash" in found:
            any_redis_client.hset(key, mapping=found["hash"])
        else:
            any_redis_client.zadd(key, found["zset"])
    clock = Clock()
    clock.now = parse_date("2026-11-05T03:00")
    return RealStore(any_redis_client, clock=clock.read)


def close(store: RealStore) -> None:
    store.close(WORKFLOW, CloseRequest(result="success"))


def test_the_first_change_writes_the_ledger_and_removes_the_days(store: RealStore) -> None:
    store.disable(WORKFLOW, "load", by="ops")
    for job in ("extract", "load"):
        assert spans(store.ledger(), job) == [*BACKFILLS, PRUNED_AND_KEPT]
    assert not store.backend.client.exists(f"{WORKFLOW}:days")


def test_closing_the_batch_that_was_open_adds_its_window(store: RealStore) -> None:
    close(store)
    assert spans(store.ledger())[-1] == (PRUNED_AND_KEPT[0], "2026-11-05T02:00")
    assert not store.backend.client.exists(f"{WORKFLOW}:days")


def test_questions_change_nothing_and_know_the_same(store: RealStore) -> None:
    before = sorted(store.backend.client.scan_iter())
    for day in ("2026-10-02", "2026-10-06", "2026-11-01", "2026-11-02"):
        wait = Wait(workflow=WORKFLOW, backfill=True, day=day, timezone="Europe/Berlin")
        if day.startswith("2026-11"):
            assert store.check(wait).state == "done", day
    assert store.check(Wait(workflow=WORKFLOW, backfill=True, day="2026-10-20")).state == "waiting"
    assert store.status(WORKFLOW).batch is not None
    assert sorted(store.backend.client.scan_iter()) == before


def test_pruning_first_loses_nothing_of_it(store: RealStore) -> None:
    assert store.prune(WORKFLOW, keep=1) > 0
    assert spans(store.ledger()) == [*BACKFILLS, PRUNED_AND_KEPT]


def test_what_an_earlier_release_closes_beside_this_one_is_taken_over_too(store: RealStore) -> None:
    close(store)
    batch = json.dumps(
        {"batch_id": 1793800000, "status": "success", "from_date": "2026-09-01", "batch_start": "2026-09-02"}
    )
    store.backend.client.hset(f"{WORKFLOW}-1793800000", "extract", batch)
    store.backend.client.hset(f"{WORKFLOW}:days", "2026-09-02", 1793800000)
    store.disable(WORKFLOW, "load", by="ops")
    assert spans(store.ledger())[0] == ("2026-09-01T00:00", "2026-09-02T00:00")
    assert not store.backend.client.exists(f"{WORKFLOW}:days")


def test_a_batch_of_the_past_that_cannot_be_read_stops_nothing_and_counts_as_not_loaded(store: RealStore) -> None:
    store.backend.client.hset(f"{WORKFLOW}-1793757600", "extract", "{")
    close(store)
    assert spans(store.ledger()) == [
        *BACKFILLS,
        ("2026-10-31T23:00", "2026-11-02T23:00"),
        ("2026-11-04T00:00", "2026-11-05T02:00"),
    ]
