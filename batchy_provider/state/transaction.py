# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make one change as a Redis transaction: WATCH, read, decide, MULTI, write, EXEC, in two round trips.

redis-py's own ``Pipeline`` sends each command after WATCH by itself; on one workflow that is five round
trips where two do. So this module writes to the pool's connection directly, with the same public calls that
the pipeline uses. Kinds of deployment differ in `_node` alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import redis
from redis import exceptions as redis_errors

from batchy_provider.core.dates import from_unix
from batchy_provider.exceptions import ConflictError, RedisUnavailableError, StateError
from batchy_provider.state.server_errors import explained, server_error

if TYPE_CHECKING:
    from redis.cluster import RedisCluster
    from redis.connection import AbstractConnection

    Client: TypeAlias = redis.Redis | RedisCluster

T = TypeVar("T")
Command = tuple[Any, ...]
Clock = Callable[[int, int], datetime]
"""From seconds and microseconds of Unix time to naive UTC."""

CONFLICT_ATTEMPTS = 100
"""How often a change is tried again because another client changed the same keys; with the pauses, about 10 seconds."""
RETRY_SECONDS = 2.0
"""For how long a lost connection is tried again, unless the caller says otherwise."""
_CONFLICT_PAUSE_SECONDS = 0.1
_LOST_PAUSE_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

_LOST = (redis_errors.ConnectionError, redis_errors.TimeoutError)
_OF_CLUSTERS = (redis_errors.AskError, redis_errors.TryAgainError, redis_errors.ClusterCrossSlotError)
_HOPELESS = (redis_errors.AuthenticationError, redis_errors.AuthorizationError)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How many replicas must have a change before it counts as made (``WAIT``), so that a failover does not lose it.

    :param replicas: how many; 0 asks none.
    :param milliseconds: how long to wait for them at each attempt.
    """

    replicas: int = 0
    milliseconds: int = 1000


NO_CONFIRMATION = Confirmation()


class NotReplicatedError(redis_errors.RedisError):
    """The master has made a change, and too few replicas have it yet."""


class Session:
    """One connection between WATCH and EXEC.

    :param confirmation: which replicas must have what is committed.
    :param clock: makes a date of the server's reply to TIME.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        confirmation: Confirmation = NO_CONFIRMATION,
        clock: Clock = from_unix,
    ) -> None:
        self.clock = clock
        self._connection = connection
        self._confirmation = confirmation
        self._unread = 0
        self._watching = False

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands in one packet and return their replies, text decoded.

        :raises StateError: if a key holds another type than the command is for.
        """
        connection = self._connection
        packed = [_packed(commands)]
        self._watching = self._watching or any(command[0] == "WATCH" for command in commands)
        self._unread += len(commands)
        connection.send_packed_command(packed)
        replies = [self._reply() for _ in commands]
        # Raised only now that all are read, or the next request on this connection would get this one's.
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, redis_errors.ResponseError):
                raise reply_error(command, reply)
        return replies

    def _reply(self) -> Any:
        try:
            reply = decoded(self._connection.read_response())
        except redis_errors.ResponseError as error:
            reply = error
        self._unread -= 1
        return reply

    def commit(self, commands: Sequence[Command]) -> bool:
        """Write all in one transaction.

        :returns: False if another client changed a watched key since; then nothing was written.
        :raises NotReplicatedError: if it was written, and too few replicas have it within the time given.
        """
        *_, done = self.ask(("MULTI",), *commands, ("EXEC",))
        self._watching = False
        if done is None:
            return False
        # The types of all keys were seen when they were read, so this is a bug or an exotic server.
        for command, reply in zip(commands, done, strict=True):
            if isinstance(reply, Exception):
                raise reply_error(command, reply)
        if self._confirmation.replicas:
            self._confirm()
        return True

    def _confirm(self) -> None:
        """Wait until replicas have what was committed; an error here must not say that nothing was changed."""
        wanted = self._confirmation
        made = "the change was made at the master"
        try:
            (have,) = self.ask(("WAIT", wanted.replicas, wanted.milliseconds))
        except redis_errors.ResponseError as error:
            raise NotReplicatedError(f"{made}, but it cannot be asked for its replicas: {error}") from error
        if have < wanted.replicas:
            raise NotReplicatedError(
                f"{made}, but {have} of {wanted.replicas} replicas have it within {wanted.milliseconds} ms "
                "(wait_replicas): if the master is lost now, the change may be lost with it"
            )

    def leave(self) -> None:
        """Leave the connection ready for its next user: nothing watched, nothing left to read."""
        try:
            if self._unread == 0 and self._watching:
                self.ask(("UNWATCH",))
        except redis_errors.RedisError:
            self._connection.disconnect()
        if self._unread:
            self._connection.disconnect()


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
            raise RedisUnavailableError(f"Redis at {_address(client)} refused the login: {error}") from error
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


def read(client: Client, key: str, *commands: Command) -> list[Any]:
    """Send commands about one workflow in one packet, with no transaction, and return their replies."""

    def work(session: Session) -> tuple[list[Any], Sequence[Command]]:
        return session.ask(*commands), ()

    return transact(client, (key,), work)


@contextmanager
def own_errors(client: Client) -> Iterator[None]:
    """Translate the client's errors into ours, for requests that no single node can answer.

    :raises RedisUnavailableError: instead of any of redis-py's.
    """
    try:
        yield
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


def reply_error(command: Command, error: Exception) -> Exception:
    """Return what to raise for the reply to a command: our own words if a key holds another type than it should."""
    if "WRONGTYPE" not in str(error):
        return error
    return StateError(
        f"Redis key {command[1]!r} does not hold what batchy keeps there ({command[0]} answered: {error}). Another "
        "program uses this key: give the workflow another name, or Batchy a Redis database of its own"
    )


def _packed(commands: Sequence[Command]) -> bytes:
    """Write commands in the Redis protocol; redis-py's own packer takes three times as long for many short parts."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            text = (word if type(word) is str else str(word)).encode("utf-8", "surrogateescape")
            parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)


def decoded(reply: Any) -> Any:
    """Return a reply with all its bytes as text, whichever the client is set to give."""
    if isinstance(reply, bytes):
        return _text(reply)
    if isinstance(reply, list):
        return [_text(item) if type(item) is bytes else decoded(item) for item in reply]
    if isinstance(reply, dict):
        return {decoded(key): _text(value) if type(value) is bytes else decoded(value) for key, value in reply.items()}
    return reply


def _text(reply: bytes) -> str:
    return reply.decode("utf-8", "surrogateescape")


def as_hash(reply: Any) -> dict[str, str]:
    """Return HGETALL's reply as a dict, whichever protocol the server speaks."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
