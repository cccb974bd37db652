# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Remove a workflow from Redis: every key of it, on one server and on a cluster, also after a lost reply."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis
from killed_process import DoomedConnection, Fuse, Killed
from store_calls import request, succeed

from batchy_provider.core.lazy import calculated_once
from batchy_provider.core.values import Holder, OpenRequest
from batchy_provider.exceptions import BatchHeldError, RedisUnavailableError
from batchy_provider.state.connections import open_client
from batchy_provider.state.event_channel import read_event
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.removal import removable, remove_state
from batchy_provider.state.session import Confirmation
from batchy_provider.state.store import Store


@pytest.fixture(params=["server", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    client = open_client(request.getfixturevalue("redis_url" if request.param == "server" else "cluster_url"))
    yield Store(client)
    client.close()


def keys(store: Store) -> set[str]:
    return {key.decode() for key in store.backend.client.scan_iter(count=1000)}


def test_every_key_of_a_workflow_is_listed() -> None:
    """A new kind of key must be in `Keys.all`: or a removed or renamed workflow would leave it behind."""
    found = Keys("sales")
    named = {name for name, each in vars(Keys).items() if isinstance(each, (property, calculated_once))}
    texts = {value for name in named if isinstance(value := getattr(found, name), str)}
    assert texts == set(found.all)
    assert set(found.sorted_sets) < set(found.all)
    assert {key.partition(":")[0] for key in found.all} == {"sales"}


def test_all_keys_are_removed_and_those_of_others_stay(store: Store) -> None:
    for run in ("one", "two"):
        succeed(store, run)
    name = succeed(store, "three").workflow
    store.set_progress(name, "extract", {"progress": 0.5})
    store.disable(name, "extract", by="bob")
    store.open(f"{name}.b", OpenRequest(holder=Holder(by="bob"), config=request().config))
    others = {key for key in keys(store) if Keys(f"{name}.b", store.backend.cluster).live in key}
    mine = keys(store) - others
    assert removable(store.backend, name).keys == len(mine)
    done = remove_state(store.backend, name)
    assert (done.keys, len(done.batch_ids)) == (len(mine), 3)
    assert keys(store) == others
    assert remove_state(store.backend, name).keys == 0


def test_an_open_batch_is_a_refusal(store: Store) -> None:
    batch = store.open("sales", request("one"))
    before = keys(store)
    for call in (removable, remove_state):
        with pytest.raises(BatchHeldError, match=f"batch {batch.batch_id} is open"):
            call(store.backend, "sales")
    assert keys(store) == before


def test_those_who_wait_are_told(redis_client: redis.Redis) -> None:
    store = Store(redis_client)
    workflow = succeed(store, "one").workflow
    with redis_client.pubsub() as channel:
        channel.subscribe(EVENTS_CHANNEL)
        while channel.get_message(timeout=10)["type"] != "subscribe":
            pass
        remove_state(store.backend, workflow)
        found = read_event(channel.get_message(timeout=10)["data"])
    assert found is not None
    assert (found["workflow"], found["event"]) == (workflow, "remove")


def test_a_process_that_is_killed_leaves_everything_or_nothing(redis_url: str, redis_client: redis.Redis) -> None:
    store = Store(redis_client)
    pool = redis.ConnectionPool.from_url(redis_url, connection_class=DoomedConnection, client_name="doomed")
    doomed = Store(redis.Redis(connection_pool=pool), retry_seconds=0)
    seen = set()
    for kind, step in (("sent", 83), ("read", 1)):
        for count in range(0, 20_000, step):
            workflow = succeed(store, f"run {kind} {count}").workflow
            before = keys(store)
            DoomedConnection.fuse = Fuse(kind, count)
            try:
                remove_state(doomed.backend, workflow)
                over = True
            except Killed:
                over = False
            finally:
                DoomedConnection.fuse = None
                pool.disconnect()
            while b"doomed" in redis_client.execute_command("CLIENT", "LIST", parse=False):
                time.sleep(0.0005)  # the server has not read all that was sent
            assert keys(store) in (before, set())
            seen.add(bool(keys(store)))
            redis_client.flushall()
            if over:
                break
    assert seen == {True, False}


def test_replicas_that_are_missing_bring_no_key_back(redis_client: redis.Redis) -> None:
    """The removal is made at the master; the command says that too few replicas have it."""
    workflow = succeed(Store(redis_client), "one").workflow
    store = Store(redis_client, confirmation=Confirmation(replicas=1, milliseconds=1), retry_seconds=0.5)
    with pytest.raises(RedisUnavailableError, match="wait_replicas"):
        remove_state(store.backend, workflow)
    assert keys(store) == set()
