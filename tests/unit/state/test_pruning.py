# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Removal of old batches."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from state_worlds import WORKFLOW
from store_calls import request, succeed

from batchy_provider.core.values import Window
from batchy_provider.exceptions import (
    StateError,
)
from batchy_provider.state.store import Store


def test_pruning_keeps_the_newest(store: Store, client: redis.Redis) -> None:
    ids = [succeed(store, f"run {n}").batch_id for n in range(6)]
    assert store.prune(WORKFLOW, keep=2) == 4
    assert [batch.batch_id for batch in store.history(WORKFLOW)] == [ids[5], ids[4]]
    for gone in ids[:4]:
        assert not client.exists(f"sales-{gone}")
        assert not client.hexists("sales:meta", f"batch:{gone}")
        assert client.zscore("sales:closed", gone) is None
    assert store.prune(WORKFLOW, keep=2) == 0


def test_pruning_keeps_the_live_batch_and_open_ones_however_old(store: Store) -> None:
    live = succeed(store, "first")
    asked = Window(from_date="2026-01-01", to_date="2026-01-02")
    still_open = store.open(WORKFLOW, request("backfill 0", backfill=True, window=asked))
    for n in range(1, 5):
        succeed(store, f"backfill {n}", backfill=True, window=asked)
    assert store.prune(WORKFLOW, keep=1) == 3
    left = {batch.batch_id for batch in store.history(WORKFLOW)}
    assert {live.batch_id, still_open.batch_id} < left


def test_pruning_forgets_no_watermark_no_run_and_nothing_that_is_loaded(store: Store, client: redis.Redis) -> None:
    for n in range(3):
        succeed(store, f"run {n}")
    keys = ("sales:runs", "sales:loaded", "sales")
    before = [client.hgetall(key) for key in keys]
    assert all(before)
    store.prune(WORKFLOW, keep=1)
    assert [client.hgetall(key) for key in keys] == before
    assert store.batch_of_run(WORKFLOW, "run 0") is None


def test_runs_are_forgotten_so_many_days_after_their_batches(store: Store, client: redis.Redis) -> None:
    old = 1_600_000_000
    client.hset("sales:runs", mapping={f"long ago {n}": old + n for n in range(1200)})
    # Old, and still there.
    client.zadd("sales:history", {str(old + 5): old + 5})
    client.hset(f"sales-{old + 5}", "extract", json.dumps({"status": "open"}))
    kept = [succeed(store, f"run {n}").batch_id for n in range(3)]
    store.prune(WORKFLOW, keep=1, keep_days=10)
    runs = {name.decode(): int(batch_id) for name, batch_id in client.hgetall("sales:runs").items()}
    assert runs == {"long ago 5": old + 5, "run 0": kept[0], "run 1": kept[1], "run 2": kept[2]}


def add_batches(client: redis.Redis, number: int) -> None:
    """Write so many old batches that have succeeded, with their runs."""
    pipe = client.pipeline(transaction=False)
    for n in range(1, number + 1):
        pipe.zadd("sales:history", {str(n): n})
        pipe.hset(f"sales-{n}", "extract", '{"status": "success"}')
        pipe.hset("sales:runs", f"run {n}", n)
    pipe.execute()


def test_pruning_takes_any_number(store: Store, client: redis.Redis) -> None:
    add_batches(client, 1200)
    batch = succeed(store, "first")
    assert store.prune(WORKFLOW, keep=1) == 1200
    assert client.zrange("sales:history", 0, -1) == [str(batch.batch_id).encode()]


def test_pruning_looks_at_each_batch_once_in_packets_of_bounded_size(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchy_provider.state import pruning
    from batchy_provider.state.session import Session

    packets: list[int] = []
    ask = Session.ask
    monkeypatch.setattr(Session, "ask", lambda self, *sent: packets.append(len(sent)) or ask(self, *sent))
    sent = []
    monkeypatch.setattr(pruning, "_AT_ONCE", 50)
    for many in (150, 600):
        client.flushall()
        succeed(store, "first")
        add_batches(client, many)
        packets.clear()
        assert store.prune(WORKFLOW, keep=1, keep_days=1) == many
        assert client.hlen("sales:runs") == 1
        assert max(packets) < 110
        sent.append(sum(packets))
    assert sent[1] < 5 * sent[0]


def test_a_pruning_that_is_interrupted_leaves_whole_batches_and_the_next_goes_on(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchy_provider.state import pruning

    add_batches(client, 1200)
    succeed(store, "first")
    really, calls = pruning._prune_some, []

    def interrupted(*given: Any) -> int:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return really(*given)

    monkeypatch.setattr(pruning, "_prune_some", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.prune(WORKFLOW, keep=1)
    left = {int(i) for i in client.zrange("sales:history", 0, -1)}
    assert {n for n in range(1, 1201) if client.exists(f"sales-{n}")} == left & set(range(1, 1201)) != set()
    assert store.prune(WORKFLOW, keep=1) == len(left) - 1


def test_pruning_removes_no_key_of_another_program(store: Store, client: redis.Redis) -> None:
    first = succeed(store, "first")
    succeed(store, "second")
    client.delete(f"sales-{first.batch_id}")
    client.set(f"sales-{first.batch_id}", "another program's")
    with pytest.raises(StateError, match=f"'sales-{first.batch_id}' does not hold what batchy keeps there"):
        store.prune(WORKFLOW, keep=1)
    assert client.get(f"sales-{first.batch_id}") == b"another program's"


def test_nothing_can_be_pruned_to_nothing(store: Store) -> None:
    with pytest.raises(ValueError, match="keep must be at least 1"):
        store.prune(WORKFLOW, keep=0)
