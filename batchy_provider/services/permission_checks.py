# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check whether the Redis user has each permission that this package needs. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoPermissionError, ResponseError

from batchy_provider.services.server_checks import Finding
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.server_errors import explained

if TYPE_CHECKING:
    from batchy_provider.state.protocol import Command
    from batchy_provider.state.store import Store

_ANSWER_SECONDS = 5


def needed_commands(keys: Keys) -> tuple[list[Command], list[Command]]:
    """Return each command that this package uses: those to send at once, and those to queue in a transaction."""
    live, some = keys.live, keys.history
    outside: list[Command] = [("PING",), ("TIME",), ("INFO", "server"), ("SCAN", 0), ("WATCH", live), ("UNWATCH",)]
    queued: list[Command] = [
        ("HGET", live, "f"),
        ("HMGET", live, "f"),
        ("HGETALL", live),
        ("HLEN", live),
        ("HSET", live, "f", "v"),
        ("HDEL", live, "f"),
        ("DEL", live),
        ("EVAL", "return 1", 1, live),
        ("COPY", live, keys.batch(1), "REPLACE"),
        ("ZADD", some, 1, 1),
        ("ZREM", some, 1),
        ("ZCARD", some),
        ("ZSCORE", some, 1),
        ("ZRANGEBYSCORE", some, 0, 1),
        ("ZREVRANGE", some, 0, 0),
        ("ZREVRANGEBYSCORE", some, 1, 0),
        ("PUBLISH", EVENTS_CHANNEL, "{}"),
    ]
    return outside, queued


def check_permissions(store: Store) -> Iterator[Finding]:
    """Yield the commands that the server refuses this user."""
    missing: dict[str, None] = {}
    for keys, node in _a_workflow_on_each_node(store):
        for refused in _refused(node, keys, waits=bool(store.backend.confirmation.replicas)):
            missing[refused] = None
    if not missing:
        yield Finding("rights", "ok", "all that are needed")
        return
    for text in missing:
        yield Finding("rights", "bad", text)


def _a_workflow_on_each_node(store: Store) -> Iterator[tuple[Keys, redis.Redis]]:
    client = store.backend.client
    if isinstance(client, redis.Redis):
        yield Keys("batchy-doctor", store.backend.cluster), client
        return
    left = {node.name for node in client.get_primaries()}
    for number in range(10_000):
        keys = Keys(f"batchy-doctor.{number}", cluster=True)
        node = client.get_node_from_key(keys.live)
        if node is not None and node.name in left:
            left.discard(node.name)
            yield keys, client.get_redis_connection(node)
        if not left:
            return


def _refused(node: redis.Redis, keys: Keys, *, waits: bool) -> Iterator[str]:
    """Yield what the server refuses, without changing anything.

    The server checks permissions when it queues a command. EXEC is never sent, so the queue is dropped with the
    connection.
    """
    outside, queued = needed_commands(keys)
    if waits:
        queued.append(("WAIT", 0, 1))
    pool = node.connection_pool
    connection = pool.get_connection()
    try:
        for command in (*outside, ("MULTI",), *queued):
            yield from _send(connection, command)
    finally:
        connection.disconnect()
        pool.release(connection)
    with node.pubsub() as listener:
        try:
            listener.subscribe(EVENTS_CHANNEL)
            listener.get_message(timeout=_ANSWER_SECONDS)
        except ResponseError as error:
            yield _refusal("SUBSCRIBE", error)


def _send(connection: Any, command: Command) -> Iterator[str]:
    connection.send_command(*command)
    try:
        connection.read_response()
    except ResponseError as error:
        yield _refusal(command[0], error)


def _refusal(command: str, error: ResponseError) -> str:
    # An error of the server itself has the same text for each command, so it is reported once.
    return f"{command} is refused: {error}" if isinstance(error, NoPermissionError) else explained(error)
