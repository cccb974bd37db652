# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is different on a real Redis Cluster; the rules run there with all others (see the fixture ``world``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster
from redis_cluster import Cluster

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

NAMES = [f"workflow{n}" for n in range(12)]


@pytest.fixture
def store(cluster_url: str) -> Iterator[Store]:
    client = open_client(cluster_url)
    assert isinstance(client, RedisCluster)
    yield Store(client)
    client.close()


def open_all(store: Store) -> None:
    for name in NAMES:
        config = WorkflowConfig(name=name, jobs={"extract": {}, "load": {}})
        store.open(name, OpenRequest(holder=Holder(dag_id=name, run_id="first"), config=config))


def test_all_keys_of_a_workflow_share_a_slot_and_workflows_are_spread(store: Store, cluster: Cluster) -> None:
    open_all(store)
    assert all(key.startswith("{workflow") for key in cluster.all_keys())
    nodes = [{key.decode() for key in node.scan_iter()} for node in cluster.nodes]
    for name in NAMES:
        assert sum(any(key.startswith(f"{{{name}}}") for key in keys) for keys in nodes) == 1
    assert all(nodes), "every node has some"


def test_the_workflows_of_all_nodes_are_listed(store: Store) -> None:
    open_all(store)
    assert store.workflows() == sorted(NAMES)


def test_keys_without_a_hash_tag_are_not_ours(store: Store) -> None:
    store.backend.client.hset("plain", "job", "{}")
    store.backend.client.hset("{tag}rest", "job", "{}")
    assert store.workflows() == []


def test_a_cycle_with_history_and_pruning(store: Store) -> None:
    for run in ("first", "second", "third"):
        holder = Holder(dag_id="sales", run_id=run)
        store.open("sales", OpenRequest(holder=holder, config=WorkflowConfig(name="sales", jobs={"extract": {}})))
        store.close("sales", CloseRequest(result="success"))
    assert [batch.status for batch in store.history("sales")] == ["success"] * 3
    assert store.prune("sales", keep=1) == 2
    store.set_progress("sales", "extract", {"progress": 1})
    assert store.progress("sales") == {"extract": {"progress": 1}}


def test_what_one_node_publishes_every_node_tells(store: Store, cluster: Cluster) -> None:
    listeners = [node.pubsub(ignore_subscribe_messages=True) for node in cluster.nodes]
    for listener in listeners:
        listener.subscribe("batchy:events")
        listener.get_message(timeout=5)
    open_all(store)
    for listener in listeners:
        heard = []
        while message := listener.get_message(timeout=0.5):
            heard.append(json.loads(message["data"])["workflow"])
        # Nodes pass messages on with a delay: a slow machine still brings those of the test before.
        assert sorted(name for name in heard if name in NAMES) == sorted(NAMES)
        listener.close()


def test_a_slot_that_has_moved_is_followed(store: Store, cluster: Cluster) -> None:
    open_all(store)
    client: Any = store.backend.client
    name = NAMES[0]
    slot = client.keyslot(f"{{{name}}}")
    ids = [node.execute_command("CLUSTER", "MYID").decode() for node in cluster.nodes]
    here = next(i for i, node in enumerate(cluster.nodes) if node.keys(f"{{{name}}}*"))
    there = (here + 1) % len(ids)
    source, target = cluster.nodes[here], cluster.nodes[there]
    target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
    source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
    keys = source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
    port = target.connection_pool.connection_kwargs["port"]
    source.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[there])
    store.close(name, CloseRequest(result="success"))
    assert store.status(name).batch.status == "success"


def test_a_node_that_is_reached_as_a_single_server_says_how_to_connect(cluster: Cluster) -> None:
    cluster.empty()
    request = OpenRequest(config=WorkflowConfig(name="sales", jobs={"extract": {}}))
    for node in cluster.nodes:
        port = node.connection_pool.connection_kwargs["port"]
        with redis.Redis(port=port) as client, pytest.raises(RedisUnavailableError, match=r"redis\+cluster://"):
            Store(client).open("sales", request)
    assert not cluster.all_keys(), "without the hash tag, nothing is written anywhere"


def test_a_cluster_that_is_away_is_said_to_be_away() -> None:
    with pytest.raises(RedisUnavailableError, match=r"Redis Cluster at 127.0.0.1:1,127.0.0.1:2 cannot be used"):
        open_client("redis+cluster://127.0.0.1:1,127.0.0.1:2")
