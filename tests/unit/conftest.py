# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Worlds on plain data, on each server there is and on a cluster; a cluster of the tests' own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis_cluster import Cluster, started_cluster
from state_worlds import Clock, Original, PureStore, RealStore, World


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three masters, each with a third of the slots."""
    with started_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster_url(cluster: Cluster) -> str:
    """URL of an empty Redis Cluster."""
    cluster.empty()
    return cluster.url


@pytest.fixture
def clock() -> Clock:
    """A clock that the test sets, instead of the server's."""
    return Clock()


@pytest.fixture(params=["plain data", "server", "cluster"])
def world(request: pytest.FixtureRequest, clock: Clock) -> Iterator[World]:
    """A workflow: as the rules alone have it, in Redis, and in a Redis Cluster."""
    if request.param == "plain data":
        yield World(PureStore(clock), clock)
        return
    from batchy_provider.state.connections import open_client

    url = request.getfixturevalue("redis_url" if request.param == "server" else "cluster_url")
    client = open_client(url)
    yield World(RealStore(client, clock=clock.read), clock)
    client.close()


@pytest.fixture
def original(world: World) -> Original:
    """The original server, on the same Redis."""
    return Original(world)


@pytest.fixture
def everything(redis_client: Any) -> Any:
    """A function that returns all that is in Redis, to compare before with after."""

    def dump() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in sorted(redis_client.scan_iter(count=1000)):
            kind = redis_client.type(key).decode()
            read = {
                "hash": redis_client.hgetall,
                "zset": lambda k: redis_client.zrange(k, 0, -1, withscores=True),
                "string": redis_client.get,
                "list": lambda k: redis_client.lrange(k, 0, -1),
                "set": redis_client.smembers,
            }[kind]
            found[key.decode("utf-8", "replace")] = read(key)
        return found

    return dump


def pytest_make_parametrize_id(val: object) -> str | None:
    """Show data in a test's name as a person would write it."""
    return json.dumps(val, default=str)[:60] if isinstance(val, (dict, list)) else None
