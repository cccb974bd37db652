# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Servers that are there and refuse: full, without a disk, without replicas, busy, a replica. Nothing is half done."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import exceptions as redis_errors

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.services.wait_requests import make_wait
from batchy_provider.state.connections import open_client
from batchy_provider.state.server_errors import server_error
from batchy_provider.state.store import Store
from batchy_provider.state.wait_queries import ask

CONFIG = WorkflowConfig(name="sales", jobs={"extract": {}, "load": {}})


@pytest.fixture
def admin(own_server: Any) -> Iterator[redis.Redis]:
    with own_server.client() as client:
        yield client


def run_opens(store: Store, run: str = "tonight") -> Any:
    return store.open("sales", OpenRequest(holder=Holder(dag_id="sales", run_id=run), config=CONFIG))


def statuses(store: Store) -> list[str]:
    return [batch.status for batch in store.history("sales")]


@contextlib.contextmanager
def after(seconds: float, mend: Callable[[], Any]) -> Iterator[None]:
    timer = threading.Timer(seconds, mend)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_full_server_refuses_to_open_and_close_and_goes_on_when_there_is_room(
    own_server: Any, admin: redis.Redis
) -> None:
    store = Store(open_client(own_server.url))
    wait = make_wait(store, "sales")
    admin.config_set("maxmemory", 1)
    with pytest.raises(RedisUnavailableError, match=r"memory is full.*batchy prune.*Nothing was changed"):
        run_opens(store)
    assert admin.dbsize() == 0
    admin.config_set("maxmemory", 0)
    batch = run_opens(store)
    admin.config_set("maxmemory", 1)
    for result in ("success", "failed"):
        with pytest.raises(RedisUnavailableError, match="memory is full"):
            store.close("sales", CloseRequest(result=result, batch_id=batch.batch_id))
    assert store.status("sales").batch.status == "open"
    assert ask(store.backend, wait).state == "waiting"
    assert statuses(store) == ["open"]
    admin.config_set("maxmemory", 0)
    store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
    assert ask(store.backend, wait).state == "done"


def test_room_is_made_by_pruning_on_a_full_server(own_server: Any, admin: redis.Redis) -> None:
    store = Store(open_client(own_server.url))
    for night in range(5):
        run_opens(store, f"night {night}")
        store.close("sales", CloseRequest(result="success"))
    admin.config_set("maxmemory", 1)
    assert store.prune("sales", keep=1) == 4
    assert statuses(store) == ["success"]


def test_a_server_that_cannot_save_refuses_and_goes_on_when_it_can(
    own_server: Any, admin: redis.Redis, tmp_path: Path
) -> None:
    admin.config_set("save", "3600 1")
    # As root, no right to write can be taken from it; a folder in the place of its file does.
    (tmp_path / "dump.rdb").mkdir()

    def saved(as_it_should: str) -> None:
        deadline = time.monotonic() + 30
        admin.bgsave()
        while admin.info("persistence")["rdb_last_bgsave_status"] != as_it_should:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    saved("err")
    store = Store(open_client(own_server.url))
    with pytest.raises(RedisUnavailableError, match=r"cannot save its data to disk.*Nothing was changed"):
        run_opens(store)
    assert store.workflows() == []
    (tmp_path / "dump.rdb").rmdir()
    saved("ok")
    assert run_opens(store).status == "open"


def test_too_few_replicas_are_an_error_after_a_wait(own_server: Any, admin: redis.Redis) -> None:
    admin.config_set("min-replicas-to-write", 1)
    with pytest.raises(RedisUnavailableError, match="min-replicas-to-write"):
        run_opens(Store(open_client(own_server.url), retry_seconds=0.3))
    assert admin.dbsize() == 0
    with after(0.5, lambda: admin.config_set("min-replicas-to-write", 0)):
        assert run_opens(Store(open_client(own_server.url), retry_seconds=60)).status == "open"


def test_a_server_that_is_busy_with_a_script_is_waited_for(own_server: Any, admin: redis.Redis) -> None:
    admin.config_set("busy-reply-threshold", 20)
    endless = own_server.client()

    def busy() -> None:
        with contextlib.suppress(redis.RedisError):
            endless.eval("while true do end", 0)

    thread = threading.Thread(target=busy)
    thread.start()
    with pytest.raises(redis.ResponseError, match="BUSY") as answered:  # noqa: PT012 - by one of the pings
        for _ in range(1000):
            admin.ping()
            time.sleep(0.02)
    assert server_error(answered.value).passes
    with after(0.5, admin.script_kill):
        assert run_opens(Store(open_client(own_server.url), retry_seconds=60)).status == "open"
    thread.join()
    endless.close()


@pytest.mark.parametrize(
    ("stale", "said"), [("yes", "it is a replica and takes no changes"), ("no", "lost its master")]
)
def test_a_replica_is_named_as_one_after_a_wait(own_server: Any, admin: redis.Redis, stale: str, said: str) -> None:
    admin.config_set("replica-serve-stale-data", stale)
    admin.replicaof("127.0.0.1", "1")
    with pytest.raises(RedisUnavailableError, match=said) as told:
        run_opens(Store(open_client(own_server.url), retry_seconds=0.3))
    assert "Cluster" not in str(told.value)
    with after(0.5, lambda: admin.replicaof("NO", "ONE")):
        assert run_opens(Store(open_client(own_server.url), retry_seconds=60)).status == "open"


def test_a_server_that_hangs_is_asked_again_and_opens_once(own_server: Any, admin: redis.Redis) -> None:
    store = Store(open_client(f"{own_server.url}?socket_timeout=0.2"), retry_seconds=60)
    run_opens(store, "before")
    store.close("sales", CloseRequest(result="success"))
    own_server.freeze()
    with after(1, own_server.thaw):
        batch = run_opens(store)
    assert statuses(store) == ["open", "success"]
    assert store.status("sales").batch.batch_id == batch.batch_id


def test_an_exec_that_is_refused_is_known_by_its_reason() -> None:
    """Between MULTI and EXEC, a master may become a replica; it is no other case than before MULTI."""
    text = "Transaction discarded because of: READONLY You can't write against a read only replica."
    assert server_error(redis_errors.ExecAbortError(text)).passes
    text = "Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'."
    assert not server_error(redis_errors.ExecAbortError(text)).passes
    assert server_error(redis_errors.ExecAbortError("Transaction discarded because of previous errors.")) is None
