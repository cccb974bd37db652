# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Many commands in one packet: lost connections, errors among the replies, and what an interrupted reading leaves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from faulty_proxy import Fault, FaultyProxy, Way, boundaries

from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.local.ports import free_port
from batchy_provider.state import packets
from batchy_provider.state.backend import Backend
from batchy_provider.state.connections import open_client
from batchy_provider.state.protocol import decoded

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


def test_a_connection_is_used_again_also_after_an_error_among_the_replies(backend: Backend) -> None:
    first = backend.pipelined([("CLIENT", "ID")])
    assert backend.pipelined([("CLIENT", "ID")]) == first
    (error,) = backend.pipelined([("HGETALL", "key0")])
    assert isinstance(error, redis.ResponseError)
    assert backend.pipelined([("CLIENT", "ID")]) == first


class ScriptedServer:
    """A server that gives each GET the reply that a function returns for its key."""

    def __init__(self, reply: Callable[[int], bytes]) -> None:
        self._reply = reply
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        others = {b"HELLO": b"%1\r\n+proto\r\n:3\r\n"}
        with suppress(OSError), connection, connection.makefile("rb") as stream:  # the client may leave
            while header := stream.readline():
                words = [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(header[1:]))]
                is_get = words[0] == b"GET"
                connection.sendall(self._reply(int(words[1])) if is_get else others.get(words[0], b"+OK\r\n"))

    def close(self) -> None:
        self._socket.close()


ERRORS = [
    "ERR no",
    "WRONGTYPE no",
    "NOPERM no",
    "MOVED 1 127.0.0.1:1",
    "READONLY no",
    "NOSCRIPT no",
    "OOM no",
    "BUSY no",
]
REPLIES = {
    2: [
        *(f"-{error}\r\n".encode() for error in ERRORS),
        *(b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*-1\r\n", b"$0\r\n\r\n", b"*0\r\n", b"$2\r\n\xff\xfe\r\n"),
        *(b"*2\r\n$1\r\na\r\n$-1\r\n", b"*2\r\n*1\r\n:3\r\n$1\r\nb\r\n", b"*2\r\n-ERR inner\r\n:1\r\n"),
    ],
    3: [
        *(b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(123456789012345678901234567890\r\n"),
        *(b"%1\r\n$1\r\na\r\n:1\r\n", b"~1\r\n$1\r\na\r\n", b">2\r\n+message\r\n+news\r\n+OK\r\n"),
    ],
}
"""Replies by the version of the protocol that has them."""


@pytest.mark.parametrize("protocol", [2, 3])
def test_replies_are_those_of_a_pipeline(protocol: int) -> None:
    replies = [*REPLIES[2], *(REPLIES[3] if protocol == 3 else [])]
    server = ScriptedServer(replies.__getitem__)
    commands = [("GET", number) for number in range(len(replies))]
    with redis.Redis(port=server.port, protocol=protocol) as client:
        pipe = client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        wanted = [decoded(reply) for reply in pipe.execute(raise_on_error=False)]
        found = Backend(client).pipelined(commands)
        assert _shown(found) == _shown(wanted)
        assert sum(isinstance(reply, redis.ResponseError) for reply in found) >= len(ERRORS)
        assert _shown(Backend(client).pipelined(commands[-1:])) == _shown(wanted[-1:])
    server.close()


def _shown(replies: list[Any]) -> list[str]:
    # An inner error is an object of its own in each reading.
    return [f"{type(reply).__name__} {reply!r} {reply}" for reply in replies]


@pytest.mark.parametrize("error", ["LOADING no", "NOAUTH no", "WRONGPASS no"])
def test_an_error_that_ends_a_connection_leaves_no_replies(error: str) -> None:
    is_good = threading.Event()
    server = ScriptedServer(
        lambda number: f"-{error}\r\n".encode() if number == 1 and not is_good.is_set() else b":%d\r\n" % number
    )
    with open_client(f"redis://127.0.0.1:{server.port}") as client:
        backend = Backend(client)
        with pytest.raises(RedisUnavailableError):
            backend.pipelined([("GET", number) for number in range(4)])
        is_good.set()
        assert backend.pipelined([("GET", 7), ("GET", 1)]) == [7, 1]
    server.close()


def test_a_reply_that_comes_too_late_answers_nothing_else() -> None:
    tries, late = count(), threading.Event()

    def reply(number: int) -> bytes:
        if number == 1 and next(tries) == 0:
            assert late.wait(30)
        return b":%d\r\n" % number

    server = ScriptedServer(reply)
    with redis.Redis(port=server.port, socket_timeout=0.5) as client:
        assert Backend(client).pipelined([("GET", 0), ("GET", 1), ("GET", 2)]) == [0, 1, 2]
        late.set()
        assert Backend(client).pipelined([("GET", 3), ("GET", 4)]) == [3, 4]
    assert next(tries) == 2
    server.close()
