# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One Redis, and how every read and write reaches it: keys, retries, and the confirmation by replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import redis
from redis.cluster import RedisCluster

from batchy_provider.core.dates import format_date, from_unix
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys, keys_of
from batchy_provider.state.packets import ask_server
from batchy_provider.state.protocol import Command, decoded
from batchy_provider.state.session import NO_CONFIRMATION, Clock, Confirmation, Session
from batchy_provider.state.transaction import RETRY_SECONDS, address_of, own_errors, transact

if TYPE_CHECKING:
    from batchy_provider.state.transaction import Client

T = TypeVar("T")


class Backend:
    """Read and change the state in one Redis.

    Every change goes through `transact`, so no change can forget the replicas that must confirm it.
    Safe to share between threads as far as the client is; it holds no state of its own.

    :param client: a ``redis.Redis`` (standalone or by Sentinel) or ``redis.cluster.RedisCluster``.
    :param cluster: give all keys of a workflow one hash tag; by default, if the client is a cluster's.
    :param retry_seconds: for how long a lost connection is tried again before an error.
    :param confirmation: which replicas must have a change before it counts as made.
    :param clock: makes a date of the server's reply to TIME; tests give their own.
    """

    def __init__(
        self,
        client: Client,
        *,
        cluster: bool | None = None,
        retry_seconds: float = RETRY_SECONDS,
        confirmation: Confirmation = NO_CONFIRMATION,
        clock: Clock = from_unix,
    ) -> None:
        self.client = client
        self.cluster = isinstance(client, RedisCluster) if cluster is None else cluster
        self.retry_seconds = retry_seconds
        self.confirmation = confirmation
        self.clock = clock

    @property
    def address(self) -> str:
        """The server and database, the service of Sentinels, or the nodes of a cluster, for people."""
        return address_of(self.client)

    def keys(self, workflow: str) -> Keys:
        """Return the keys of a workflow.

        :raises InvalidNameError: if the name is not valid.
        """
        return keys_of(workflow, self.cluster)

    def ask(self, workflow: str, *commands: Command, retry_seconds: float | None = None) -> list[Any]:
        """Send commands about one workflow in one packet, without a transaction, and return their replies.

        :param retry_seconds: if other than the backend's.
        """

        def work(session: Session) -> tuple[list[Any], Sequence[Command]]:
            return session.ask(*commands), ()

        return self.transact(self.keys(workflow), work, retry_seconds=retry_seconds)

    def pipelined(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands about many workflows in one packet per server, and return their replies.

        :returns: replies in the order of the commands; an error is a reply too.
        """
        client = self.client
        if not commands:
            return []
        with own_errors(client):
            if isinstance(client, redis.Redis):
                return ask_server(client, commands)
            pipe = client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return [decoded(reply) for reply in pipe.execute(raise_on_error=False)]

    def server_time(self, workflow: str | None = None) -> datetime:
        """Return the time of the server that holds a workflow, or of any server, naive UTC."""
        key = EVENTS_CHANNEL if workflow is None else self.keys(workflow).live
        ((seconds, micros),) = transact(
            self.client, (key,), lambda session: (session.ask(("TIME",)), ()), retry_seconds=self.retry_seconds
        )
        return self.clock(int(seconds), int(micros))

    def transact(
        self,
        keys: Keys,
        work: Callable[[Session], tuple[T, Sequence[Command]]],
        *,
        retry_seconds: float | None = None,
    ) -> T:
        """Do one piece of work on a workflow completely, or not at all; see `transaction.transact`.

        :param retry_seconds: if other than the backend's.
        """
        was_tried = False

        def confirmed(session: Session) -> tuple[T, Sequence[Command]]:
            nonlocal was_tried
            result, writes = work(session)
            if writes:
                was_tried = True
            elif was_tried and self.confirmation.replicas:
                # An earlier attempt made the change, but too few replicas got it.
                ((seconds, micros),) = session.ask(("TIME",))
                writes = self.touch(keys, session.clock(int(seconds), int(micros)))
            return result, writes

        return transact(
            self.client,
            (keys.live,),
            confirmed,
            retry_seconds=self.retry_seconds if retry_seconds is None else retry_seconds,
            confirmation=self.confirmation,
            clock=self.clock,
        )

    def touch(self, keys: Keys, now: datetime) -> Sequence[Command]:
        """Return what to write if nothing is left to change, so that the store can wait for replicas.

        WAIT counts the replicas that have what its own connection has written.
        """
        return (("HSET", keys.meta, "confirmed", format_date(now)),) if self.confirmation.replicas else ()
