# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Many commands in one packet: lost connections, errors among the replies, and what an interrupted reading leaves."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis
from faulty_proxy import Fault, FaultyProxy, Way, boundaries

from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.local.ports import free_port
from batchy_provider.state import packets
from batchy_provider.state.backend import Backend
from batchy_provider.state.connections import open_client

COMMANDS = [("GET", f"key{number}") for number in range(5)]
VALUES = ["zero", "", "two\0", "tëxt", None]


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(urlsplit(redis_url).port or 0)
    yield proxy
    proxy.close()


@pytest.fixture
def backend(proxy: FaultyProxy, redis_client: redis.Redis) -> Iterator[Backend]:
    """A backend with the database of the test, through the faulty network."""
    for number, value in enumerate(VALUES):
        if value is not None:
            redis_client.set(f"key{number}", value)
    database = redis_client.connection_pool.connection_kwargs.get("db") or 0
    with open_client(f"redis://127.0.0.1:{proxy.port}/{database}") as client:
        yield Backend(client)


@pytest.mark.parametrize("way", ["request", "reply"])
def test_a_lost_connection_is_made_again_once(backend: Backend, proxy: FaultyProxy, way: Way) -> None:
    assert backend.pipelined(COMMANDS) == VALUES
    proxy.watch()
    assert backend.pipelined(COMMANDS) == VALUES
    places = boundaries(way, proxy.seen[way])
    assert len(places) > 2
    for place in places:
        proxy.watch(Fault(way, place))
        assert backend.pipelined(COMMANDS) == VALUES, place
        proxy.watch()
        assert backend.pipelined([("GET", "key3")]) == ["tëxt"], place


def test_a_server_that_is_gone() -> None:
    with open_client(f"redis://127.0.0.1:{free_port()}") as client, pytest.raises(RedisUnavailableError, match="used"):
        Backend(client).pipelined(COMMANDS)


def test_an_error_is_a_reply_too(backend: Backend) -> None:
    first, error, last = backend.pipelined([("GET", "key0"), ("HGETALL", "key0"), ("GET", "key2")])
    assert (first, last) == ("zero", "two\0")
    assert isinstance(error, redis.ResponseError)
    assert "WRONGTYPE" in str(error)


def test_an_interrupted_reading_leaves_no_replies(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next request on that connection would get the replies to this one."""
    with monkeypatch.context() as patched:

        def interrupted(reply: object) -> object:
            raise KeyboardInterrupt

        patched.setattr(packets, "decoded", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backend.pipelined(COMMANDS)
    assert backend.pipelined([("GET", "key3")]) == ["tëxt"]
    assert backend.ask("sales", ("GET", "key3")) == ["tëxt"]


def test_a_word_that_is_no_text(backend: Backend) -> None:
    """The original server, or another program, may have written bytes that are no UTF-8."""
    assert backend.pipelined([("SET", "key0", "a\udcffb"), ("GET", "key0"), ("STRLEN", "key0")]) == [
        "OK",
        "a\udcffb",
        3,
    ]


def test_nothing_is_asked_without_commands(proxy: FaultyProxy, backend: Backend) -> None:
    proxy.watch()
    assert backend.pipelined([]) == []
    assert proxy.seen["request"] == b""
