# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fixtures of the tests of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

pytest.register_assert_rewrite("night_machine", "night_openings", "night_holds")


@pytest.fixture
def client(any_redis_url: str) -> Iterator[redis.Redis]:
    with open_client(any_redis_url) as client:
        assert isinstance(client, redis.Redis)
        yield client


@pytest.fixture
def store(client: redis.Redis) -> Store:
    return Store(client)
