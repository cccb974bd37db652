# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Hold one connection from WATCH to EXEC: ask, commit, and wait until replicas have the change.

redis-py's own ``Pipeline`` sends each command after WATCH by itself; on one workflow that is five round trips where two
do. So this module writes to the pool's connection directly, with the same public calls that the pipeline uses.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from redis import exceptions as redis_errors

from batchy_provider.core.dates import from_unix
from batchy_provider.state.protocol import Command, decoded, packed, reply_error

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

T = TypeVar("T")
Clock = Callable[[int, int], datetime]
"""From seconds and microseconds of Unix time to naive UTC."""


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
        replies: list[Any] = decoded(self._send(commands))
        return replies

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one packet and return their replies as they are."""
        connection = self._connection
        for command in commands:
            if command[0] == "WATCH":
                self._watching = True
        self._unread += len(commands)
        connection.send_packed_command([packed(commands)])
        replies: list[Any] = []
        error: Exception | None = None
        for command in commands:
            try:
                replies.append(connection.read_response())
            except redis_errors.ResponseError as reply:
                error = error or reply_error(command, reply)
            self._unread -= 1
        if error is not None:
            # Raised only now that all are read, or the next request on this connection would get this one's.
            raise error
        return replies

    def follow(self, asking: Generator[Sequence[Command], Sequence[Any], T]) -> T:
        """Send what a generator asks for until it returns, and return its answer."""
        try:
            commands = next(asking)
            while True:
                commands = asking.send(self.ask(*commands))
        except StopIteration as stop:
            answer: T = stop.value
            return answer

    def commit(self, commands: Sequence[Command]) -> bool:
        """Write all in one transaction.

        :returns: False if another client changed a watched key since; then nothing was written.
        :raises NotReplicatedError: if it was written, and too few replicas have it within the time given.
        """
        *_, done = self.ask(("MULTI",), *commands, ("EXEC",))
        self._watching = False
        if done is None:
            return False
        # Reading has already checked the type of each key, so this is a bug, or an unusual server.
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
