# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""All waits of a triggerer on one Redis: one subscription, one connection for questions, however many waits.

Redis forgets what it publishes, so an event is only a hint that a workflow is worth a look. Each wait is
looked at once it is registered and subscribed, when an event names its workflow, when the connection was
made anew, and every ``[batchy] recheck_seconds`` for writers that publish nothing (the original server).
Airflow's own shared trigger streams (3.3) were measured beside it: they need a later Airflow and let a burst
of foreign messages fail every wait, so they are not used.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from batchy_provider.batches.names import EVENTS_CHANNEL, Keys
from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    from batchy_provider.batches.connect import Address
    from batchy_provider.batches.waiting import Asking, Verdict

log = logging.getLogger(__name__)

RECHECK_SECONDS = 60.0
_CHECKED_AT_ONCE = 200
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_IDLE_SECONDS = 30.0
_POLL_SECONDS = 5.0

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Hub]] = WeakKeyDictionary()


def hub(conn_id: str, address: Callable[[], Awaitable[Address]]) -> Hub:
    """Return the hub of an Airflow connection in the running event loop.

    :param address: asks for where the connection leads to; called at each new connection, so that a changed
        one is taken up.
    """
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    if conn_id not in hubs:
        hubs[conn_id] = Hub(address)
    return hubs[conn_id]


@dataclass(eq=False)
class _Waiter:
    """One wait: what it asks, and where its verdicts go."""

    workflow: str
    ask: Callable[[Keys], Asking]
    verdicts: asyncio.Queue[Verdict | BatchyError] = field(default_factory=asyncio.Queue)


class Hub:
    """The waits of one event loop on one Redis.

    :param address: asks for where Redis is.
    :param recheck_seconds: how often all waits are looked at although nothing was published.
    """

    def __init__(self, address: Callable[[], Awaitable[Address]], recheck_seconds: float = RECHECK_SECONDS) -> None:
        self._address = address
        self.recheck_seconds = recheck_seconds
        self._waiters: dict[str, set[_Waiter]] = {}
        self._dirty: dict[_Waiter, None] = {}
        self._something_to_do = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def watch(self, workflow: str, ask: Callable[[Keys], Asking]) -> AsyncIterator[Verdict]:
        """Yield the verdict at first and whenever it may have changed, until the caller has had enough.

        :param ask: makes the generator of questions of the workflow's keys, see `batches.waiting`.
        :raises BatchyError: if the stored state cannot be read, which waiting does not mend.
        """
        waiter = _Waiter(workflow, ask)
        self._waiters.setdefault(workflow, set()).add(waiter)
        self._mark(waiter)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="batchy-hub")
        try:
            while True:
                verdict = await waiter.verdicts.get()
                if isinstance(verdict, BatchyError):
                    raise verdict
                yield verdict
        finally:
            others = self._waiters[workflow]
            others.discard(waiter)
            self._dirty.pop(waiter, None)
            if not others:
                del self._waiters[workflow]

    def _mark(self, *waiters: _Waiter) -> None:
        self._dirty.update(dict.fromkeys(waiters))
        self._something_to_do.set()

    def _mark_all(self) -> None:
        self._mark(*(waiter for waiters in self._waiters.values() for waiter in waiters))

    async def _run(self) -> None:
        """Keep the connection as long as somebody waits; make it anew when it is lost."""
        attempt = 0
        while self._waiters:
            try:
                async for _ in self._connected():
                    attempt = 0
            except Exception as error:
                pause = _BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)] * random.uniform(0.5, 1)  # noqa: S311
                attempt += 1
                log.warning("Waits for batches: Redis cannot be used (%s); trying again in %.1f s", error, pause)
                await asyncio.sleep(pause)

    async def _connected(self) -> AsyncIterator[None]:
        """Subscribe, then look at all waits, then look at those that events name; yields after each look."""
        from batchy_provider.batches.connect import async_client, async_subscriber

        address = await self._address()
        client = async_client(address, client_name="batchy-waits")
        subscriber = async_subscriber(address, client_name="batchy-events")
        pubsub = subscriber.pubsub(ignore_subscribe_messages=True)
        listener: asyncio.Task[None] | None = None
        try:
            await pubsub.subscribe(EVENTS_CHANNEL)
            listener = asyncio.create_task(self._listen(pubsub), name="batchy-events")
            self._mark_all()
            while await self._next_work(listener):
                await self._check_some(client, cluster=address.kind == "cluster")
                yield
        finally:
            if listener is not None:
                listener.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await listener
            for closable in (pubsub, subscriber, client):
                with suppress(Exception):
                    await closable.aclose()

    async def _next_work(self, listener: asyncio.Task[None]) -> bool:
        """Wait until a wait is to be looked at; False when nobody has waited for a while."""
        if not self._dirty:
            self._something_to_do.clear()
            ready = asyncio.create_task(self._something_to_do.wait())
            pause = self.recheck_seconds if self._waiters else _IDLE_SECONDS
            try:
                await asyncio.wait({ready, listener}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ready.cancel()
            if listener.done():
                listener.result()
                raise ConnectionError("the subscription ended")
            if not self._dirty:
                self._mark_all()
        return bool(self._waiters)

    async def _listen(self, pubsub: Any) -> None:
        while True:
            message = await pubsub.get_message(timeout=_POLL_SECONDS)
            if message is None:
                continue
            try:
                workflow = json.loads(message["data"])["workflow"]
            except (ValueError, TypeError, KeyError):
                continue
            self._mark(*self._waiters.get(workflow, ()))

    async def _check_some(self, client: Any, *, cluster: bool) -> None:
        """Ask for some of the waits that are to be looked at, all their questions in one packet a round."""
        some = list(self._dirty)[:_CHECKED_AT_ONCE]
        for waiter in some:
            del self._dirty[waiter]
        asking = {}
        for waiter in some:
            generator = waiter.ask(Keys(waiter.workflow, cluster))
            asking[waiter] = (generator, next(generator))
        try:
            while asking:
                asking = await self._round(client, asking)
        except Exception:
            self._dirty.update(dict.fromkeys(asking))
            raise

    async def _round(self, client: Any, asking: dict[_Waiter, Any]) -> dict[_Waiter, Any]:
        from batchy_provider.batches.transaction import decoded, reply_error

        pipe = client.pipeline(transaction=False)
        for _, commands in asking.values():
            for command in commands:
                pipe.execute_command(*command)
        replies = iter(await pipe.execute(raise_on_error=False))
        left = {}
        for waiter, (generator, commands) in asking.items():
            try:
                answers = []
                for command in commands:
                    reply = next(replies)
                    if isinstance(reply, Exception):
                        raise reply_error(command, reply)
                    answers.append(decoded(reply))
            except BatchyError as error:
                waiter.verdicts.put_nowait(error)
                continue
            try:
                left[waiter] = (generator, generator.send(answers))
            except StopIteration as stop:
                waiter.verdicts.put_nowait(stop.value)
            except BatchyError as error:
                waiter.verdicts.put_nowait(error)
        return left
