# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The states that a server keeps are as new as those that are read now, also if messages are lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from command_counts import commands
from redis import Redis
from redis_sentinel import started_sentinel
from redis_server import Server
from state_worlds import WORKFLOW
from store_calls import CHANGES, succeed

from batchy_provider.core.dates import format_date
from batchy_provider.core.values import Actor, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.state.connections import open_client
from batchy_provider.state.key_tracker import CHANNEL
from batchy_provider.state.state_cache import StateCache
from batchy_provider.state.store import Store

NAMES = [f"wf_{number}" for number in range(30)]
QUESTION = {"time": 1, "multi": 1, "exec": 1, "watch": 1, "ping": 1}
"""What each answer asks."""


def until(is_so: Callable[[], Any]) -> bool:
    end = time.monotonic() + 60
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(is_so())


def open_one(store: Store, name: str) -> int:
    config = WorkflowConfig(name=name, jobs={"extract": {}, "load": {}})
    return store.open(name, OpenRequest(config=config, holder=Holder(by="ops"))).batch_id


@pytest.fixture
def store(redis_url: str) -> Store:
    """Thirty workflows, each with an open batch."""
    store = Store(open_client(redis_url))
    for name in NAMES:
        open_one(store, name)
    return store


@pytest.fixture
def cache(redis_url: str) -> Iterator[StateCache]:
    made = StateCache(lambda: Store(open_client(redis_url)))
    yield made
    made.close()


def tracking(admin: Redis) -> list[str]:
    """The ids of the connections of caches: the one that reads, and the one that listens."""
    return [each["id"] for each in admin.client_list() if each["name"] == "batchy-tracking"]


def test_nothing_is_read_again_while_nothing_changes(store: Store, cache: StateCache, redis_client: Redis) -> None:
    first = cache.scan(NAMES)
    assert first == store.scan(NAMES)
    again: list[Any] = []
    assert commands(redis_client, lambda: again.extend(cache.scan(NAMES))) == QUESTION
    assert all(one is other for one, other in zip(again, first, strict=True))
    assert [each.workflow for each in cache.scan(["wf_7", "unknown", "wf_3"])] == ["wf_3", "wf_7"]


def test_after_one_change_one_workflow_is_read(store: Store, cache: StateCache, redis_client: Redis) -> None:
    before = cache.scan(NAMES)
    store.disable("wf_7", "load", by="ops")
    after: list[Any] = []
    asked = commands(redis_client, lambda: after.extend(cache.scan(NAMES)))
    assert asked == {**QUESTION, "hgetall": 2, "hmget": 1, "zscore": 1}
    assert [one.workflow for one, other in zip(after, before, strict=True) if one is not other] == ["wf_7"]
    assert after == store.scan(NAMES)


@pytest.mark.parametrize("change", [*CHANGES, "load", "remove", "progress", "success"])
def test_each_change_is_seen_at_once(redis_url: str, cache: StateCache, change: str) -> None:
    store = Store(open_client(redis_url))
    config = WorkflowConfig(name=WORKFLOW, jobs={"extract": {}})
    more: dict[str, Callable[[Store], Any]] = {
        "load": lambda store: store.load(config, by="ops"),
        "remove": lambda store: store.backend.client.delete(WORKFLOW),
        "progress": lambda store: store.set_progress(WORKFLOW, "extract", {"batch_id": 1, "progress": 0.5}),
        "success": lambda store: succeed(store, "third"),
    }
    succeed(store, "first")
    if change in ("close", "skip_job"):
        CHANGES["open"](store)
    assert cache.scan([WORKFLOW]) == store.scan([WORKFLOW])
    ({**CHANGES, **more}[change])(store)
    assert cache.scan([WORKFLOW]) == store.scan([WORKFLOW])


def test_a_program_that_publishes_no_event_is_noticed(cache: StateCache, redis_client: Redis) -> None:
    assert cache.scan(["sales"]) == []
    for status in ("new", "open", "failed"):
        redis_client.hset("sales", "load", f'{{"status": "{status}", "batch_id": 17}}')
        (state,) = cache.scan(["sales"])
        assert isinstance(state, WorkflowState)
        assert state.jobs["load"]["status"] == status
    redis_client.flushall()
    assert cache.scan(["sales"]) == []


@pytest.mark.parametrize("which", [0, 1], ids=["the first connection", "the second connection"])
def test_what_happens_without_a_connection_is_read_afterwards(
    store: Store, cache: StateCache, redis_client: Redis, which: int
) -> None:
    cache.scan(NAMES)
    redis_client.client_kill_filter(_id=tracking(redis_client)[which])
    store.disable("wf_7", "load", by="ops")
    assert cache.scan(NAMES) == store.scan(NAMES)
    store.disable("wf_8", "load", by="ops")
    assert cache.scan(NAMES) == store.scan(NAMES)


def test_the_connections_are_made_again(
    store: Store, cache: StateCache, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchy_provider.state.state_cache._PAUSE_SECONDS", 0.0)
    cache.scan(NAMES)
    for number in tracking(redis_client):
        redis_client.client_kill_filter(_id=number)
    for _ in range(2):
        cache.scan(NAMES)
    assert commands(redis_client, lambda: cache.scan(NAMES)) == QUESTION


def test_a_server_that_starts_again_with_other_data_is_read_whole(own_server: Server) -> None:
    store = Store(open_client(own_server.url))
    open_one(store, "sales")
    cache = StateCache(lambda: store)
    assert [each.workflow for each in cache.scan(["sales", "shops"])] == ["sales"]
    own_server.kill()
    own_server.start()
    open_one(store, "shops")
    assert [each.workflow for each in cache.scan(["sales", "shops"])] == ["shops"]
    cache.close()


def test_a_hold_ends_by_itself(cache: StateCache, store: Store, redis_client: Redis) -> None:
    now = store.backend.server_time()
    store.hold("wf_1", by=Actor("ops"), why="migration", until=format_date(now + timedelta(seconds=1)))
    (held,) = cache.scan(["wf_1"])
    assert isinstance(held, WorkflowState)
    assert held.hold is not None

    def is_over() -> bool:
        (state,) = cache.scan(["wf_1"])
        return isinstance(state, WorkflowState) and state.hold is None

    assert until(is_over)
    assert commands(redis_client, lambda: cache.scan(["wf_1"])) == QUESTION


def test_what_cannot_be_read_is_read_each_time(store: Store, cache: StateCache, redis_client: Redis) -> None:
    redis_client.set("wf_2:progress", "of another program")
    assert cache.scan(NAMES) == store.scan(NAMES)
    assert isinstance(cache.scan(["wf_2"])[0], UnreadableWorkflow)
    assert commands(redis_client, lambda: cache.scan(NAMES))["hmget"] == 1
    redis_client.delete("wf_2:progress")
    assert cache.scan(NAMES) == store.scan(NAMES)


def test_it_looks_again_in_case_a_server_forgets_to_tell(redis_url: str, store: Store, redis_client: Redis) -> None:
    cache = StateCache(lambda: Store(open_client(redis_url)), recheck_seconds=0.0)
    cache.scan(NAMES)
    assert commands(redis_client, lambda: cache.scan(NAMES))["hmget"] == len(NAMES)
    cache.close()


@pytest.mark.parametrize("refused", ["-client|tracking", "resetchannels"])
def test_a_user_who_may_not_track_gets_the_same_answers(own_server: Server, refused: str) -> None:
    """The answers are read whole each time, as in releases before."""
    admin = own_server.client()
    admin.execute_command("ACL", "SETUSER", "plain", "on", ">of-this-test", "~*", "+@all", "&*", *refused.split())
    own = Store(open_client(own_server.url.replace("://", "://plain:of-this-test@")))
    open_one(Store(open_client(own_server.url)), "sales")
    cache = StateCache(lambda: own)
    assert [each.workflow for each in cache.scan(["sales"])] == ["sales"]
    admin.hset("sales", "load", '{"status": "failed", "batch_id": 17}')
    assert cache.scan(["sales"]) == own.scan(["sales"])
    assert tracking(admin) == []
    cache.close()


def test_many_threads_get_what_was_changed_before_they_asked(store: Store, cache: StateCache) -> None:
    def change_and_ask(name: str) -> bool:
        store.disable(name, "load", by="ops")
        (state,) = [each for each in cache.scan(NAMES) if each.workflow == name]
        return isinstance(state, WorkflowState) and "load" in state.disabled

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(change_and_ask, NAMES))


def test_closing_gives_the_connections_back(store: Store, cache: StateCache, redis_client: Redis) -> None:
    cache.scan(NAMES)
    assert len(tracking(redis_client)) == 2
    assert redis_client.pubsub_numsub(CHANNEL)[0][1] == 1
    cache.close()
    assert until(lambda: not tracking(redis_client))
    assert cache.scan(NAMES) == store.scan(NAMES)


@pytest.mark.slow
def test_after_a_failover_the_new_master_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchy_provider.state.state_cache._PAUSE_SECONDS", 0.0)
    with started_sentinel(tmp_path) as servers:
        store = Store(open_client(servers.url))
        open_one(store, "sales")
        assert servers.replica_has_all()
        cache = StateCache(lambda: store)
        assert cache.scan(["sales"]) == store.scan(["sales"])
        old = servers.master_port()
        with Redis(port=old) as admin:
            assert len(tracking(admin)) == 2
        servers.master.kill()
        assert until(lambda: servers.master_port() != old)
        store.disable("sales", "load", by="ops")
        (state,) = cache.scan(["sales"])
        assert isinstance(state, WorkflowState)
        assert state.disabled == {"load"}
        with Redis(port=servers.master_port()) as admin:
            assert until(lambda: cache.scan(["sales"]) == store.scan(["sales"]) and len(tracking(admin)) == 2)
        cache.close()
