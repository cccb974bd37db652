# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A Redis that cannot be used, or a name that cannot be: the error says why, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import store_calls
from state_worlds import WORKFLOW
from store_calls import CHANGES, QUESTIONS, request

from batchy_provider.exceptions import (
    InvalidNameError,
    RedisUnavailableError,
)
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store


@pytest.mark.parametrize("ask", [*CHANGES, *QUESTIONS])
def test_a_name_that_cannot_be_asks_nothing_of_redis(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    names = ["", "a b", "a:b", "sales-17", "sales-17-init", "é", "a/b", "{a}", "x" * 201, "a\n", None, 5]
    for name in names:
        monkeypatch.setattr(store_calls, "WORKFLOW", name)
        with pytest.raises(InvalidNameError):
            (CHANGES | QUESTIONS)[ask](Store(redis_client))
    assert redis_client.dbsize() == 0


@pytest.mark.parametrize("ask", [*CHANGES, *QUESTIONS, "workflows"])
def test_a_missing_redis_is_an_error_with_its_address(ask: str, unused_url: str) -> None:
    asking = (CHANGES | QUESTIONS | {"workflows": lambda store: store.workflows()})[ask]
    store = Store(open_client(unused_url), retry_seconds=0.2)
    with pytest.raises(RedisUnavailableError, match=unused_url.removeprefix("redis://")):
        asking(store)


@pytest.fixture
def unused_url() -> str:
    from batchy_provider.local.ports import free_port

    return f"redis://127.0.0.1:{free_port()}"


def test_a_refused_login_is_an_error_without_retries(own_server: Any) -> None:
    own_server.client().config_set("requirepass", "secret")
    for url in (own_server.url, own_server.url.replace("redis://", "redis://:wrong@")):
        with pytest.raises(RedisUnavailableError, match=r"username-password|uthenticat") as raised:
            Store(open_client(url)).workflows()
        assert "wrong" not in str(raised.value)
    with pytest.raises(RedisUnavailableError):
        Store(open_client(own_server.url)).open(WORKFLOW, request())


def test_a_user_without_write_permission_is_an_error(own_server: Any) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@all", "-hset")
    store = Store(open_client(own_server.url.replace("redis://", "redis://reader:pw@")))
    with pytest.raises(RedisUnavailableError, match=r"Nothing was changed"):
        store.open(WORKFLOW, request())
    with own_server.client() as client:
        assert client.dbsize() == 0


def test_a_full_redis_is_an_error_and_nothing_changes(own_server: Any) -> None:
    store = Store(open_client(own_server.url))
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(RedisUnavailableError, match=r"maxmemory.*Nothing was changed"):
            store.open(WORKFLOW, request())
        assert client.dbsize() == 0
