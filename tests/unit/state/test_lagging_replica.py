# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A replica that lags: what a failover loses, and that ``wait_replicas`` loses nothing and makes nothing twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis_server import KIND, Server, programs

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import ConfigError, RedisUnavailableError
from batchy_provider.state import connections
from batchy_provider.state.store import Store

CONFIG = WorkflowConfig(name="sales", jobs={"load": {}})


class Pair:
    """A master, and a replica that can be cut off: then it has nothing of what is done meanwhile."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        program = programs()[KIND]
        for name in ("master", "replica"):
            (folder / name).mkdir()
        self.master = Server(program, folder / "master", more={"repl-diskless-sync-delay": 0})
        self.master.start()
        stack.callback(self.master.kill)
        self.replica = Server(program, folder / "replica", more={"replicaof": f"127.0.0.1 {self.master.port}"})
        self.replica.start()
        stack.callback(self.replica.kill)
        deadline = time.monotonic() + 30
        with self.replica.client() as client:
            while client.info("replication")["master_link_status"] != "up":
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def cut_off(self) -> None:
        with self.replica.client() as client:
            client.replicaof("127.0.0.1", "1")

    def rejoin(self) -> None:
        with self.replica.client() as client:
            client.replicaof("127.0.0.1", str(self.master.port))

    def store(self, *, waits: bool, retry_seconds: float = 60) -> Store:
        more = "?wait_replicas=1&wait_replicas_ms=300" if waits else ""
        address = connections.parse_url(self.master.url + more)
        return connections.store(address, connections.client(address), retry_seconds=retry_seconds)

    def fail_over(self) -> Store:
        """Lose the master; what the replica has got by then counts from now on."""
        self.master.kill()
        with self.replica.client() as client:
            client.replicaof("NO", "ONE")
        return Store(connections.open_client(self.replica.url))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(tmp_path, stack)


def opens(store: Store, run: str) -> Any:
    holder = Holder(dag_id="sales", run_id=run)
    return store.open("sales", OpenRequest(holder=holder, config=CONFIG, if_open="take_over"))


def test_without_waiting_a_lost_close_is_a_window_that_is_loaded_once_more(pair: Pair) -> None:
    """The limit that the documentation tells of: if this changes, it is to be told otherwise."""
    store = pair.store(waits=False)
    first = opens(store, "first")
    store.backend.client.wait(1, 10_000)
    pair.cut_off()
    assert store.close("sales", CloseRequest(result="success", batch_id=first.batch_id)).status == "success"
    after = pair.fail_over()
    again = opens(after, "second")
    assert again.warning
    assert again.from_date == first.from_date


def test_a_close_that_waited_is_not_lost(pair: Pair) -> None:
    store = pair.store(waits=True)
    first = opens(store, "first")
    pair.cut_off()
    threading.Timer(1, pair.rejoin).start()
    assert store.close("sales", CloseRequest(result="success", batch_id=first.batch_id)).status == "success"
    after = pair.fail_over()
    second = opens(after, "second")
    assert not second.warning
    assert second.from_date == first.to_date


def test_a_change_on_too_few_replicas_is_an_error_and_safe_to_repeat(pair: Pair) -> None:
    hasty = pair.store(waits=True, retry_seconds=0.5)
    pair.cut_off()
    with pytest.raises(RedisUnavailableError, match=r"made at the master, but 0 of 1 replicas have it within 300 ms"):
        opens(hasty, "first")
    pair.rejoin()
    batch = opens(pair.store(waits=True), "first")
    assert batch.reused
    assert [b.batch_id for b in hasty.history("sales")] == [batch.batch_id]
    assert pair.fail_over().status("sales").batch.batch_id == batch.batch_id


def test_one_who_asks_again_is_not_answered_before_a_replica_has_what_was_done(pair: Pair) -> None:
    """The second asker writes nothing of its own, and WAIT alone would have it wait for nothing."""
    hasty = pair.store(waits=True, retry_seconds=0.5)
    pair.cut_off()
    for _ in range(2):
        with pytest.raises(RedisUnavailableError, match="0 of 1 replicas"):
            opens(hasty, "first")


def test_every_change_waits_for_the_replica_whoever_makes_it(pair: Pair, tmp_path: Path) -> None:
    """Closed as many a thing may be: pruned, adopted, restored, marked as archived, claimed by a watch."""
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.archive.redis_source import record_archived
    from batchy_provider.core.values import Actor
    from batchy_provider.original.history import adopt, find_original_keys
    from batchy_provider.services.archive import ArchiveService
    from batchy_provider.state import deliveries

    store, hasty = pair.store(waits=True), pair.store(waits=True, retry_seconds=0.5)
    for run in ("first", "second"):
        opens(store, run)
        store.close("sales", CloseRequest(result="success"))
    archive = ArchiveService(hasty, ArchiveFiles(str(tmp_path / "results")))
    ArchiveService(store, ArchiveFiles(str(tmp_path / "results"))).write("sales")
    lost = store.batch_ids("sales", limit=2)[1]
    store.backend.client.delete(f"sales-{lost}")
    store.backend.client.zrem("sales:history", lost)
    store.backend.client.hset(
        "sales-1500000000", "load", '{"status": "success", "batch_id": 1500000000, "batch_start": "2017-07-14"}'
    )
    store.backend.client.wait(1, 10_000)
    pair.cut_off()
    by = Actor("ops")
    changes = {
        "restore": lambda: archive.restore("sales", actor=by),
        "adopt": lambda: adopt(hasty.backend, "sales", find_original_keys(hasty.backend, "sales")["sales"], by=by),
        "mark": lambda: record_archived(hasty.backend, "sales", None, written=[]),
        "lease": lambda: deliveries.lease(hasty.backend, deliveries.Subscription(workflow="sales"), "me"),
        "acknowledge": lambda: deliveries.acknowledge(hasty.backend, deliveries.Subscription(workflow="sales"), [lost]),
        "prune": lambda: hasty.prune("sales", keep=1),
    }
    for change in changes.values():
        with pytest.raises(RedisUnavailableError, match="0 of 1 replicas"):
            change()
    pair.rejoin()
    assert store.prune("sales", keep=1) == 0


def test_an_admin_action_that_waits_is_recorded_once(pair: Pair) -> None:
    store = pair.store(waits=True)
    opens(store, "first")
    store.close("sales", CloseRequest(result="success"))
    pair.cut_off()
    threading.Timer(1, pair.rejoin).start()
    store.set_window("sales", "2026-01-01", by="ops")
    assert [change.what for change in store.status("sales").changes] == [
        "set the next window of all jobs to start at 2026-01-01"
    ]


def test_a_rewinding_whose_reply_is_lost_is_not_made_after_the_batch_that_took_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made again, it would have the window loaded twice: a run takes it between the two attempts."""
    store = pair.store(waits=True)
    other = pair.store(waits=False)
    opens(store, "first")
    store.close("sales", CloseRequest(result="success"))
    pair.cut_off()

    def meanwhile(seconds: float) -> None:
        if other.status("sales").changes and other.count("sales") == 1:
            batch = opens(other, "second")
            assert batch.from_date == "2026-01-01T00:00:00.000000"
            other.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
            pair.rejoin()

    # Not longer than that: whatever else sleeps would do the same.
    with monkeypatch.context() as patched:
        patched.setattr("batchy_provider.state.transaction.time.sleep", meanwhile)
        store.set_window("sales", "2026-01-01", by="ops")
    assert other.count("sales") == 2
    assert opens(other, "third").from_date == other.history("sales")[1].to_date


def test_a_wait_that_cannot_end_before_the_timeout_is_refused() -> None:
    address = connections.parse_url("redis://h?wait_replicas=1&wait_replicas_ms=20000")
    with pytest.raises(ConfigError, match="less than socket_timeout, 10 seconds"):
        connections.store(address, connections.client(address))
