# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Learn from Redis which keys have changed since they were read, by its client-side caching (``CLIENT TRACKING``).

Redis remembers which keys one connection has read, and tells a second connection when any program changes one of
them: also programs that publish no event, such as the original server, and also a flush. Redis names each key once
after each reading, so what waits to be received is bounded, however long nobody asks.

One change is not among these: ``SWAPDB`` puts another database in the place of this one. It counts as a change of each
key that a connection watches (``WATCH``), if one of the two databases has this key. So the reader watches one, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from redis import exceptions as redis_errors

from batchy_provider.core.dates import from_unix
from batchy_provider.state.packets import read_replies
from batchy_provider.state.protocol import Command, decoded, packed

if TYPE_CHECKING:
    import redis
    from redis.connection import AbstractConnection

    from batchy_provider.state.session import Clock

CHANNEL = "__redis__:invalidate"
"""Where Redis tells connections of the older protocol which keys have changed."""
TIMEOUT_SECONDS = 3.0
"""Shorter than that of other connections: a server that does not learn what has changed reads everything."""
_CLIENT_NAME = "batchy-tracking"


class Changes(NamedTuple):
    """What has changed up to a moment.

    :param keys: the keys that have changed; None: any key may have changed, for example after a flush.
    :param now: the server's time, naive UTC.
    """

    keys: set[str] | None
    now: datetime


class KeyTracker:
    """Two connections to one server: one reads keys, the other one learns which of these have changed.

    Not safe to share between threads. After any error, close it and make another: changes in between are lost.

    :param client: of a standalone server, or of the master that Sentinel names. Its pool gives no connections.
    :param clock: as in `Backend`.
    :raises redis.RedisError: if the server cannot be reached, or refuses this user to track keys.
    """

    def __init__(self, client: redis.Redis, clock: Clock = from_unix) -> None:
        self._process = os.getpid()
        self._clock = clock
        self._pool = client.connection_pool
        self._reader = _connection(client)
        self._listener = _connection(client)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        both = (self._listener, self._reader)
        for connection in both:
            connection.connect()
        # In a failover, the second connection may lead to another server, where the same id is another client.
        first, second = (_server_of(connection) for connection in both)
        if first != second:
            raise redis_errors.ConnectionError("the connections lead to two servers")
        number = _call(self._listener, "CLIENT", "ID")
        _call(self._listener, "SUBSCRIBE", CHANNEL)
        if (answer := _call(self._listener, "PING")) != ["pong", ""]:
            # Something between us and the server answers for it, so this reply does not follow earlier messages.
            raise redis_errors.ResponseError(f"it answers {answer!r} to the PING of a subscriber")
        _call(self._reader, "CLIENT", "TRACKING", "ON", "REDIRECT", number)

    def changes(self, watched: Sequence[str]) -> Changes:
        """Return the keys that were read and have changed since: all changes whose reply was sent before this call.

        The server sends in order: what it has sent before the reply to PING is read before that reply. The reader is
        asked, too: if its connection is lost, nothing more arrives.

        :param watched: keys, of which one is in this database, so that the next call knows of a swapped database. If
            one of them changes, any key may have changed.
        """
        self._must_be_of_this_process()
        self._must_be_the_master()
        _send(self._reader, [("TIME",), ("MULTI",), ("EXEC",), *([("WATCH", *watched)] if watched else [])])
        _send(self._listener, [("PING",)])
        seconds, micros = _answer(self._reader)
        _answer(self._reader)
        is_known = _answer(self._reader) is not None
        if watched:
            _answer(self._reader)
        keys: set[str] = set()
        while (message := _answer(self._listener))[0] != "pong":
            if message[0] != "message":
                continue
            if message[2] is None:
                is_known = False
            else:
                keys.update(message[2])
        return Changes(keys if is_known else None, self._clock(int(seconds), int(micros)))

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands that read, in one packet. The server tracks the keys that they name from now on.

        :returns: replies in the order of the commands; an error is a reply too.
        """
        self._must_be_of_this_process()
        if not commands:
            return []
        _send(self._reader, commands)
        return read_replies(self._reader, len(commands))

    def _must_be_of_this_process(self) -> None:
        if self._process != os.getpid():
            raise redis_errors.ConnectionError("a fork must not use the connections of its parent")

    def _must_be_the_master(self) -> None:
        """Follow other connections of this process, which have asked Sentinel and got another master."""
        address = getattr(self._pool, "master_address", None)
        if address not in (None, (getattr(self._reader, "host", None), getattr(self._reader, "port", None))):
            raise redis_errors.ConnectionError("Sentinel has named another master")

    def close(self) -> None:
        """Close both connections; the server forgets what was read."""
        if self._process != os.getpid():
            return
        for connection in (self._reader, self._listener):
            with suppress(Exception):
                connection.disconnect()


def _connection(client: redis.Redis) -> AbstractConnection:
    """Return a connection like those of a client's pool, which neither reconnects nor checks itself."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    pool = client.connection_pool
    # These belong to the pool, and need the newer protocol.
    of_pool = ("maint_notifications", "oss_cluster_maint_notifications")
    given = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith(of_pool)}
    timeouts = {
        name: min(given.get(name) or TIMEOUT_SECONDS, TIMEOUT_SECONDS)
        for name in ("socket_timeout", "socket_connect_timeout")
    }
    own = {"protocol": 2, "retry": Retry(NoBackoff(), 0), "health_check_interval": 0, "client_name": _CLIENT_NAME}
    made: AbstractConnection = pool.connection_class(**{**given, **timeouts, **own})
    return made


def _server_of(connection: AbstractConnection) -> str:
    text = str(_call(connection, "INFO", "server"))
    return next((line for line in text.splitlines() if line.startswith("run_id:")), "")


def _call(connection: AbstractConnection, *command: Any) -> Any:
    _send(connection, [command])
    return _answer(connection)


def _send(connection: AbstractConnection, commands: Sequence[Command]) -> None:
    # A health check of redis-py would connect again, unnoticed, and nothing would be tracked any more.
    connection.send_packed_command([packed(commands)], check_health=False)


def _answer(connection: AbstractConnection) -> Any:
    return decoded(connection.read_response())
