# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The states that a server keeps are those in Redis, whatever happens to Redis, its connections or its clock."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from command_counts import commands
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis_sentinel import SERVICE, sentinel_of
from redis_server import KIND, Server, programs
from thoroughness import scaled

from batchy_provider.core.dates import format_date
from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.state import key_tracker
from batchy_provider.state.connections import open_client
from batchy_provider.state.state_cache import StateCache
from batchy_provider.state.store import Store

NAMES = ["erp", "sales", "shops"]


def write(client: redis.Redis, name: str, **fields: Any) -> None:
    """What the original server writes, which publishes nothing."""
    client.hset(name, "load", json.dumps({"status": "open", "batch_id": 17} | fields))


def is_exact(cache: StateCache, store: Store) -> bool:
    """Whether an answer is that of Redis, to the type and the order of each value."""
    return repr(cache.scan(NAMES)) == repr(store.scan(NAMES))


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    client = open_client(redis_url)
    yield Store(client)
    client.close()


@pytest.fixture
def cache(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateCache]:
    monkeypatch.setattr("batchy_provider.state.state_cache._PAUSE_SECONDS", 0.0)
    made = StateCache(lambda: store)
    yield made
    made.close()


def opened_and_closed(store: Store, name: str) -> None:
    config = WorkflowConfig(name=name, jobs={"load": {}, "extract": {}})
    batch = store.open(name, OpenRequest(config=config, holder=Holder(by="ops")))
    store.close(name, CloseRequest(result="success", batch_id=batch.batch_id))


STEPS: dict[str, Callable[[redis.Redis, redis.Redis, Store, str, int], Any]] = {
    "write": lambda db, _, store, name, number: write(db, name, size=number),
    "write a truth value": lambda db, _, store, name, number: write(db, name, size=bool(number % 2)),
    "write in another order": lambda db, _, store, name, number: db.hset(
        name, "load", json.dumps({"size": number, "batch_id": 17, "status": "open"})
    ),
    "write elsewhere": lambda _, other, store, name, number: write(other, name, size=number),
    "run": lambda db, _, store, name, number: (db.delete(name, f"{name}:meta"), opened_and_closed(store, name)),
    "progress": lambda db, _, store, name, number: db.hset(
        f"{name}:progress", "load", '{"batch_id":17,"progress":0.5}'
    ),
    "delete": lambda db, _, store, name, number: db.delete(name),
    "rename": lambda db, _, store, name, number: db.exists(name) and db.rename(name, NAMES[number % 3]),
    "move": lambda db, _, store, name, number: db.move(name, 1),
    "transaction": lambda db, _, store, name, number: (
        db.pipeline().hset(name, "load", '{"status": "failed", "batch_id": 18}').delete(f"{name}:meta").execute()
    ),
    "script": lambda db, _, store, name, number: db.eval(
        "redis.call('HSET', KEYS[1], 'load', ARGV[1])", 1, name, json.dumps({"status": "new", "size": number})
    ),
    "another type": lambda db, _, store, name, number: (db.delete(f"{name}:meta"), db.set(f"{name}:meta", "text")),
    "swap databases": lambda db, _, store, name, number: db.swapdb(0, 1),
    "flush": lambda db, _, store, name, number: db.flushdb(),
    "flush elsewhere": lambda _, other, store, name, number: other.flushdb(),
    "kill": lambda db, _, store, name, number: kill_tracking(db, number),
    "say what is not so": lambda db, _, store, name, number: db.publish(key_tracker.CHANNEL, name),
}


def kill_tracking(admin: redis.Redis, number: int) -> None:
    ids = [each["id"] for each in admin.client_list() if each["name"] == "batchy-tracking"]
    for each in ids[number % 3 :]:
        admin.client_kill_filter(_id=each)


@settings(max_examples=scaled(60), deadline=None)
@example([("write", 0, 1), ("swap databases", 0, 0)])
@example([("write elsewhere", 1, 1), ("swap databases", 0, 0), ("swap databases", 0, 0)])
@example([("write", 0, 1), ("write a truth value", 0, 1), ("write in another order", 0, 1)])
@given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 2), st.integers(0, 3)), max_size=12))
def test_each_answer_is_what_redis_has(
    store: Store, cache: StateCache, redis_client: redis.Redis, steps: list[tuple[str, int, int]]
) -> None:
    redis_client.flushall()
    assert is_exact(cache, store)
    with redis.Redis(port=redis_client.get_connection_kwargs()["port"], db=1) as other:
        for step, which, number in steps:
            STEPS[step](redis_client, other, store, NAMES[which], number)
            assert is_exact(cache, store)


def test_a_swapped_database_is_read_whole_once(store: Store, cache: StateCache, redis_client: redis.Redis) -> None:
    for name in NAMES:
        write(redis_client, name)
    assert is_exact(cache, store)
    redis_client.swapdb(0, 1)
    assert cache.scan(NAMES) == []
    redis_client.swapdb(0, 1)
    assert is_exact(cache, store)
    cache.scan(NAMES)
    assert "hmget" not in commands(redis_client, lambda: cache.scan(NAMES))


def test_a_workflow_that_changes_often_is_soon_read_alone(store: Store, redis_client: redis.Redis) -> None:
    """A change of the one that is watched may be another database, so it is another one the next time."""
    read = []
    for changed in NAMES:
        cache = StateCache(lambda: store)
        for number in range(4):
            write(redis_client, changed, size=number)
            assert is_exact(cache, store)
        for name in NAMES:
            write(redis_client, name)
        cache.scan(NAMES)
        for number in range(4):
            write(redis_client, changed, size=number)
            read.append(commands(redis_client, partial(cache.scan, NAMES))["hmget"])
        cache.close()
    assert set(read) == {1, len(NAMES)}
    assert read.count(len(NAMES)) <= len(NAMES)


def test_changes_in_the_order_of_names_are_read_alone(
    store: Store, cache: StateCache, redis_client: redis.Redis
) -> None:
    names = [f"wf_{number:02}" for number in range(30)]
    for name in names:
        write(redis_client, name)
    cache.scan(names)
    read = []
    for name in names:
        write(redis_client, name, status="failed")
        read.append(commands(redis_client, lambda: cache.scan(names))["hmget"])
    assert read.count(1) > 25


def test_rights_that_are_taken_away_and_given_back(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchy_provider.state.state_cache._REFUSED_SECONDS", 0.0)
    admin = own_server.client()
    admin.execute_command("ACL", "SETUSER", "plain", "on", ">of-this-test", "~*", "+@all", "&*")
    store = Store(open_client(own_server.url.replace("://", "://plain:of-this-test@")))
    cache = StateCache(lambda: store)
    for right in ("watch", "exec", "time", "subscribe"):
        for sign in "-+":
            admin.execute_command("ACL", "SETUSER", "plain", sign + right)
            for status in ("failed", "open"):
                write(admin, "sales", status=status, right=right, sign=sign)
                (found,) = cache.scan(["sales"])
                assert isinstance(found, WorkflowState)
                assert found.jobs["load"]["status"] == status
                assert found.jobs["load"]["right"] == right
                assert found.jobs["load"]["sign"] == sign
    assert "hmget" not in commands(admin, lambda: cache.scan(["sales"]))
    cache.close()


def test_a_clock_that_is_set_back_brings_a_hold_back(store: Store) -> None:
    opened_and_closed(store, "sales")
    now = store.backend.server_time()
    store.hold("sales", by=Actor("ops"), why="migration", until=format_date(now + timedelta(hours=1)))
    moment = now
    other = Store(store.backend.client, clock=lambda seconds, micros: moment)
    cache = StateCache(lambda: other)
    for hours, is_held in ((0, True), (2, False), (0, True), (2, False)):
        moment = now + timedelta(hours=hours)
        ((state,), (again,)) = (cache.scan(["sales"]) for _ in range(2))
        assert isinstance(state, WorkflowState)
        assert (state.hold is not None) is is_held
        assert again is state
    cache.close()


def test_a_fork_reads_over_connections_of_its_own(store: Store, cache: StateCache, redis_client: redis.Redis) -> None:
    write(redis_client, "sales")
    assert is_exact(cache, store)
    with redis.Redis.from_pool(redis.ConnectionPool(**redis_client.get_connection_kwargs())) as own:
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                write(own, "shops")
                os._exit(0 if all(is_exact(cache, store) for _ in range(3)) else 1)
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert "hmget" in commands(redis_client, lambda: cache.scan(NAMES))
    assert is_exact(cache, store)


def test_when_sentinel_names_another_master_its_state_is_read(
    own_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old master still answers, as one does that Sentinel cannot reach any more."""
    monkeypatch.setattr("batchy_provider.state.state_cache._PAUSE_SECONDS", 0.0)
    (tmp_path / "other").mkdir()
    new_server = Server(programs()[KIND], tmp_path / "other")
    new_server.start()
    write(own_server.client(), "sales", status="open")
    write(new_server.client(), "sales", status="failed")
    with sentinel_of(tmp_path, own_server.port) as url:
        store = Store(open_client(url))
        cache = StateCache(lambda: store)
        assert is_exact(cache, store)
        with redis.Redis(port=int(url.rpartition(":")[2].partition("/")[0])) as sentinel:
            sentinel.sentinel_remove(SERVICE)
            sentinel.sentinel_monitor(SERVICE, "127.0.0.1", new_server.port, 1)
        store.backend.client.close()  # the next request makes a new connection, so it asks Sentinel
        assert [state.jobs["load"]["status"] for state in store.overview()] == ["failed"]
        assert is_exact(cache, store)
        cache.close()
    new_server.stop()


@contextmanager
def answering_pings(server: int) -> Iterator[int]:
    """A proxy that shortens the answer to the PING of a subscriber to that of other clients."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data.replace(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", b"+PONG\r\n"))
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                to = socket.create_connection(("127.0.0.1", server))
                for ends in ((client, to), (to, client)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def test_a_proxy_that_answers_for_the_server_is_not_relied_on(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers do not follow what the server has sent before. Nobody waits for those that do not come."""
    monkeypatch.setattr("batchy_provider.state.state_cache._PAUSE_SECONDS", 0.0)
    with answering_pings(int(redis_client.get_connection_kwargs()["port"])) as port:
        store = Store(open_client(f"redis://127.0.0.1:{port}/0"))
        cache = StateCache(lambda: store)
        for status in ("open", "failed", "new"):
            write(redis_client, "sales", status=status)
            assert is_exact(cache, store)
        assert "subscribe" not in commands(redis_client, lambda: cache.scan(NAMES))
        cache.close()


def test_a_key_that_is_evicted_is_noticed(own_server: Server) -> None:
    store = Store(open_client(own_server.url))
    admin = own_server.client()
    for name in NAMES:
        write(admin, name)
    cache = StateCache(lambda: store)
    assert is_exact(cache, store)
    admin.config_set("maxmemory-policy", "allkeys-random")
    admin.config_set("maxmemory", 1)  # less than an empty server needs, so it evicts all keys
    for _ in range(100):
        if not admin.exists(*NAMES):
            break
    admin.config_set("maxmemory", 0)
    assert not admin.exists(*NAMES)
    assert cache.scan(NAMES) == []
    cache.close()
