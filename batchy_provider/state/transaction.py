# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make one change as a Redis transaction: WATCH, read, decide, MULTI, write, EXEC, in two round trips.

A lost connection, or a server that takes no changes now, is tried again within a retry budget. Kinds of deployment
differ in `_node` alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import redis
from redis import exceptions as redis_errors

from batchy_provider.core.dates import from_unix
from batchy_provider.exceptions import ConflictError, RedisUnavailableError
from batchy_provider.state.protocol import Command
from batchy_provider.state.server_errors import explained, server_error
from batchy_provider.state.session import NO_CONFIRMATION, Clock, Confirmation, NotReplicatedError, Session

if TYPE_CHECKING:
    from redis.cluster import RedisCluster

    Client: TypeAlias = redis.Redis | RedisCluster

T = TypeVar("T")

CONFLICT_ATTEMPTS = 100
"""How often a change is tried again because another client changed the same keys; with the pauses, about 10 seconds."""
RETRY_SECONDS = 2.0
"""For how long a lost connection is tried again, unless the caller says otherwise."""
_CONFLICT_PAUSE_SECONDS = 0.1
_LOST_PAUSE_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

_LOST = (redis_errors.ConnectionError, redis_errors.TimeoutError)
_OF_CLUSTERS = (redis_errors.AskError, redis_errors.TryAgainError, redis_errors.ClusterCrossSlotError)
_HOPELESS = (redis_errors.AuthenticationError, redis_errors.AuthorizationError)


def transact(
    client: Client,
    keys: Sequence[str],
    work: Callable[[Session], tuple[T, Sequence[Command]]],
    *,
    retry_seconds: float = RETRY_SECONDS,
    confirmation: Confirmation = NO_CONFIRMATION,
    clock: Clock = from_unix,
) -> T:
    """Do one change as a whole, or not at all.

    :param keys: the keys to watch; all in one hash slot.
    :param work: reads with the session and returns its answer and the commands to write; called again at every
        attempt, so it must decide by what it reads alone. Its writes must be such that doing them again after
        a lost reply changes nothing more.
    :param retry_seconds: for how long a lost connection, or a server that takes no changes now, is tried again.
    :param confirmation: which replicas must have the change.
    :param clock: makes a date of the server's reply to TIME; tests give their own.
    :raises ConflictError: if another client changed the keys at every attempt.
    :raises RedisUnavailableError: if Redis could not be reached, also not when tried again.
    """
    conflicts = 0
    budget = _RetryBudget(client, keys, retry_seconds)
    while True:
        try:
            done, result = _attempt(client, keys, work, confirmation, clock)
        except _HOPELESS as error:
            raise RedisUnavailableError(f"Redis at {_address(client)} refused the login: {explained(error)}") from error
        except redis_errors.RedisError as error:
            if isinstance(client, redis.Redis) and isinstance(error, _OF_CLUSTERS):
                raise RedisUnavailableError(
                    f"Redis at {_address(client)} is a node of a Redis Cluster ({error}): connect with "
                    'redis+cluster://, or "cluster": true in the connection. Nothing was changed'
                ) from error
            if not _may_pass(error):
                raise RedisUnavailableError(
                    f"Redis at {_address(client)} refused a request about {keys[0]!r}: {explained(error)}. "
                    "Nothing was changed"
                ) from error
            budget.spend(error)
            # Nobody else will say that a lost master's replica has taken over, or that a slot has moved.
            _find_nodes(client)
            continue
        if done:
            return result
        conflicts += 1
        if conflicts >= CONFLICT_ATTEMPTS:
            raise ConflictError(
                f"other clients changed {keys[0]!r} in Redis at each of {conflicts} attempts; this change was not "
                "made. Try again"
            )
        most = min(_CONFLICT_PAUSE_SECONDS, 0.001 * 2**conflicts)
        time.sleep(random.uniform(0, most))  # noqa: S311  # nosec B311  # jitter


@contextmanager
def own_errors(client: Client) -> Iterator[None]:
    """Translate errors of redis-py into errors of this package, for requests that no single node can answer.

    :raises RedisUnavailableError: instead of each error of redis-py.
    """
    try:
        yield
    except _HOPELESS as error:
        raise RedisUnavailableError(f"Redis at {_address(client)} refused the login: {explained(error)}") from error
    except redis_errors.RedisError as error:
        raise RedisUnavailableError(f"Redis at {_address(client)} cannot be used: {explained(error)}") from error


def _may_pass(error: Exception) -> bool:
    """Tell whether the same request may be answered otherwise in some seconds."""
    if isinstance(error, (*_LOST, *_OF_CLUSTERS, NotReplicatedError)):
        return True
    known = server_error(error)
    return known is not None and known.passes


def _attempt(
    client: Client,
    keys: Sequence[str],
    work: Callable[[Session], tuple[T, Sequence[Command]]],
    confirmation: Confirmation,
    clock: Clock,
) -> tuple[bool, T]:
    pool = _node(client, keys[0]).connection_pool
    connection = pool.get_connection()
    session = Session(connection, confirmation, clock)
    try:
        result, writes = work(session)
        return (session.commit(writes) if writes else True), result
    finally:
        session.leave()
        pool.release(connection)


class _RetryBudget:
    """Retry budget for lost connections within one change."""

    def __init__(self, client: Client, keys: Sequence[str], retry_seconds: float) -> None:
        self._client = client
        self._keys = keys
        self._deadline = time.monotonic() + retry_seconds
        self._count = 0

    def spend(self, error: Exception) -> None:
        """Pause before the next attempt, or say that there will be none."""
        pause = _LOST_PAUSE_SECONDS[min(self._count, len(_LOST_PAUSE_SECONDS) - 1)]
        pause *= random.uniform(0.5, 1)  # noqa: S311  # nosec B311  # jitter
        self._count += 1
        if time.monotonic() + pause > self._deadline:
            raise RedisUnavailableError(
                f"Redis at {_address(self._client)} cannot be used: {explained(error)}. Tried {self._count} times on "
                f"{self._keys[0]!r}; if the last reply was lost, the change may have been made, and making it again is "
                "safe"
            ) from error
        time.sleep(pause)


def _node(client: Client, key: str) -> redis.Redis:
    if isinstance(client, redis.Redis):
        return client
    try:
        node = client.get_node_from_key(key)
    except redis_errors.SlotNotCoveredError:
        node = None
    if node is None:
        raise redis_errors.ClusterDownError(f"no node serves the slot of {key!r}")
    return client.get_redis_connection(node)


def _find_nodes(client: Client) -> None:
    """Ask a cluster again which node serves what; while it does not know, the known nodes stay."""
    if isinstance(client, redis.Redis):
        return
    # redis-py's error for a cluster is no subclass of its other errors.
    with suppress(redis_errors.RedisError, redis_errors.RedisClusterException):
        client.nodes_manager.initialize()


def _address(client: Client) -> str:
    if not isinstance(client, redis.Redis):
        return ", ".join(sorted(node.name for node in client.get_nodes())) or "an unknown cluster"
    options = client.connection_pool.connection_kwargs
    return options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def address_of(client: Client) -> str:
    """Name a server, or the service of Sentinels, and its database, or the nodes of a cluster, for people."""
    if not isinstance(client, redis.Redis):
        return _address(client)
    pool = client.connection_pool
    service = getattr(pool, "service_name", None)
    return f"{service or _address(client)}/{pool.connection_kwargs.get('db') or 0}"
