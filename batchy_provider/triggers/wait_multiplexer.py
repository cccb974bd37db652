# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Serve all waits of a triggerer on one Redis over one subscription and one connection for questions.

Redis forgets what it publishes, so an event is only a hint that a workflow is worth a look. Each wait is
looked at once it is registered and subscribed, when an event names its workflow, when the subscription was
made again, and every ``[batchy] recheck_seconds`` for writers that publish nothing (the original server).

Airflow has shared trigger streams of its own from 3.3 on. They were measured beside this and are not used:

- they need 3.3, this 3.1;
- for 1,000 waits, theirs took 1.43 s until all were woken, this 0.43 s, each with one subscription;
- a burst of 3,000 messages about other workflows failed all waits, as each has a queue of its own that holds 1,024
  and a wait that overflows it fails; here an event costs a look-up by workflow and wakes only those it names;
- they hand on messages, and know nothing of the look after each reconnection and of the slow recheck, which would
  have to be built on top all the same.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from batchy_provider.exceptions import BatchyError, RedisUnavailableError
from batchy_provider.observability import metrics
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys

if TYPE_CHECKING:
    from batchy_provider.core.waits import Verdict
    from batchy_provider.state.connections import Address
    from batchy_provider.state.protocol import Command
    from batchy_provider.state.wait_queries import Asking

log = logging.getLogger(__name__)

RECHECK_SECONDS = 60.0
_CHECKED_AT_ONCE = 200
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_IDLE_SECONDS = 30.0
_SILENCE_SECONDS = 20.0
"""After how long without a message the subscription is asked whether it still lives, and given up on."""
_STUCK_SECONDS = 60.0
"""After how long a round of questions counts as lost. redis-py has timeouts of its own, but after one of them, in a
triggerer that had no time for it (10,000 triggers started), it waited for ever to get rid of the connection."""
_CLOSE_SECONDS = 5.0
_REPEAT_WARNING_SECONDS = 300.0

_multiplexers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, WaitMultiplexer]] = WeakKeyDictionary()


def multiplexer(conn_id: str, address: Callable[[], Awaitable[Address]]) -> WaitMultiplexer:
    """Return the multiplexer of an Airflow connection in the running event loop.

    :param address: asks for where the connection leads to; called at each new connection, so that a changed
        one is taken up.
    """
    multiplexers = _multiplexers.setdefault(asyncio.get_running_loop(), {})
    if conn_id not in multiplexers:
        multiplexers[conn_id] = WaitMultiplexer(address)
    return multiplexers[conn_id]


@dataclass(eq=False)
class _Waiter:
    """One wait: what it asks, and where its verdicts go, or the error that ends it."""

    workflow: str
    ask: Callable[[Keys], Asking]
    verdicts: asyncio.Queue[Verdict | Exception] = field(default_factory=asyncio.Queue)
    last: Verdict | Exception | None = None
    since: float = field(default_factory=time.monotonic)

    def tell(self, verdict: Verdict | Exception) -> None:
        """Pass a verdict on, unless it waits as it did: a recheck of ten thousand that finds nothing wakes none."""
        if isinstance(verdict, Exception) or verdict.is_over or verdict != self.last:
            self.last = verdict
            self.verdicts.put_nowait(verdict)


@dataclass(eq=False)
class _Look:
    """One look at a workflow, for all waits that ask the same of it.

    :param generator: of questions.
    :param commands: the questions whose answers it waits for.
    """

    generator: Any
    waiters: list[_Waiter] = field(default_factory=list)
    commands: Any = None

    def goes_on(self, answers: list[Any] | None) -> bool:
        """Go on to the next questions, or to the verdict; what goes wrong in it ends its waits alone."""
        try:
            self.commands = self.generator.send(answers)
        except StopIteration as stop:
            self.ends(stop.value)
        except Exception as error:
            self.ends(error)
        else:
            return True
        return False

    def ends(self, verdict: Verdict | Exception) -> None:
        """Give the verdict to all who asked."""
        for waiter in self.waiters:
            waiter.tell(verdict)


class WaitMultiplexer:
    """The waits of one event loop on one Redis.

    :param address: asks for where Redis is.
    :param recheck_seconds: how often all waits are looked at although nothing was published.
    """

    def __init__(self, address: Callable[[], Awaitable[Address]], recheck_seconds: float = RECHECK_SECONDS) -> None:
        self._address = address
        self.recheck_seconds = recheck_seconds
        self._recheck_at = 0.0
        self._waiters: dict[str, set[_Waiter]] = {}
        self._dirty: dict[_Waiter, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._outage = _Outage()
        self._gauges = metrics.WaitGauges()

    async def watch(self, workflow: str, ask: Callable[[Keys], Asking]) -> AsyncGenerator[Verdict, None]:
        """Yield the verdict at first and whenever it may have changed, until the caller has had enough.

        While Redis cannot be used, that is yielded too, as a verdict that says so.

        :param ask: makes the generator of questions of the workflow's keys, see `state.wait_queries`. Where two are
            equal, such as two `Question`, one look serves both.
        :raises BatchyError: if the stored state cannot be read, which waiting does not mend.
        """
        waiter = _Waiter(workflow, ask)
        self._waiters.setdefault(workflow, set()).add(waiter)
        self._mark([waiter])
        if self._task is None or self._task.done():
            # In a context of its own: Airflow sends what is logged in a trigger's context to that trigger's log.
            self._task = Context().run(asyncio.create_task, self._run(), name="batchy-waits")
        try:
            while True:
                verdict = await waiter.verdicts.get()
                if isinstance(verdict, Exception):
                    raise verdict
                yield verdict
        finally:
            others = self._waiters[workflow]
            others.discard(waiter)
            self._dirty.pop(waiter, None)
            if not others:
                del self._waiters[workflow]

    def _mark(self, waiters: Iterable[_Waiter]) -> None:
        self._dirty.update(dict.fromkeys(waiters))
        if self._dirty:
            self._wake.set()

    def _all(self) -> list[_Waiter]:
        return [waiter for waiters in self._waiters.values() for waiter in waiters]

    def _tell(self) -> None:
        """Tell how many wait, and for how long; those that watch for ever are no waits."""
        from batchy_provider.state.wait_queries import Question

        begun = (
            (name, [each.since for each in each_of if isinstance(each.ask, Question)])
            for name, each_of in self._waiters.items()
        )
        self._gauges.report({name: since for name, since in begun if since})

    # -- the connection ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Hold the connection while there are waits; reconnect when it is lost."""
        # Nothing is awaited between the last look at the waits and the task's end: a wait that comes in then
        # finds either the task running, which will see it, or done, and starts another.
        while self._waiters:
            try:
                await self._serve()
            except Exception as error:
                pause = self._outage.goes_on(error)
                for waiter in self._all():
                    waiter.tell(self._outage.verdict())
                await asyncio.sleep(pause)
        self._tell()

    async def _serve(self) -> None:
        """Subscribe, then look at all waits, then at those that events name, until nobody waits any more."""
        from batchy_provider.state.connections import async_client, async_subscriber

        address = await self._address()
        client = async_client(address, client_name="batchy-waits")
        subscriber = async_subscriber(address, client_name="batchy-events")
        pubsub = subscriber.pubsub()
        listener: asyncio.Task[None] | None = None
        try:
            await asyncio.wait_for(pubsub.subscribe(EVENTS_CHANNEL), timeout=_STUCK_SECONDS)
            if await pubsub.get_message(timeout=_SILENCE_SECONDS) is None:
                raise ConnectionError("it did not confirm the subscription")
            listener = asyncio.create_task(self._listen(pubsub), name="batchy-events")
            listener.add_done_callback(lambda _: self._wake.set())
            self._recheck_at = 0.0
            while await self._something_to_do(listener):
                looking = self._check_some(client, cluster=address.kind == "cluster")
                await asyncio.wait_for(looking, timeout=_STUCK_SECONDS)
                self._outage.is_over()
        finally:
            if listener is not None:
                listener.cancel()
                await asyncio.wait([listener], timeout=_CLOSE_SECONDS)
            for closable in (pubsub, subscriber, client):
                with suppress(Exception):
                    await asyncio.wait_for(closable.aclose(), timeout=_CLOSE_SECONDS)

    async def _listen(self, pubsub: Any) -> None:
        """Mark the waits that events name; fail when the subscription is dead, even if TCP does not notice."""
        asked = False
        while True:
            message = await pubsub.get_message(timeout=_SILENCE_SECONDS)
            if message is None:
                if asked:
                    raise ConnectionError("the subscription does not answer")
                await pubsub.ping()
            asked = message is None
            if message is not None and message["type"] == "subscribe":
                # redis-py has reconnected by itself: events published in between are lost.
                self._mark(self._all())
            elif message is not None and message["type"] == "message":
                self._mark(self._waiters.get(_workflow_of(message["data"]), ()))
                # Messages that are there already are read without a pause: let other tasks run during a burst.
                await asyncio.sleep(0)

    # -- the questions -----------------------------------------------------------------------------------

    async def _something_to_do(self, listener: asyncio.Task[None]) -> bool:
        """Wait until a wait is to be looked at; False when nobody has waited for a while."""
        loop = asyncio.get_running_loop()
        if _was_cancelled():
            raise asyncio.CancelledError
        while True:
            self._wake.clear()
            if listener.done():
                listener.result()
            if loop.time() >= self._recheck_at:
                # By the clock, not after a quiet time: one busy workflow must not delay the recheck of the others.
                self._recheck_at = loop.time() + max(self.recheck_seconds, 0.1)
                self._tell()
                self._mark(self._all())
            if self._dirty:
                return True
            nobody = not self._waiters
            pause = _IDLE_SECONDS if nobody else self._recheck_at - loop.time()
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=pause)
            except asyncio.TimeoutError:
                if nobody and not self._waiters:
                    return False

    async def _check_some(self, client: Any, *, cluster: bool) -> None:
        """Ask for some of the waits that are to be looked at, all their questions in one packet a round."""
        looks: dict[tuple[str, Callable[[Keys], Asking]], _Look] = {}
        for waiter in list(islice(self._dirty, _CHECKED_AT_ONCE)):
            del self._dirty[waiter]
            same = (waiter.workflow, waiter.ask)
            if same not in looks:
                looks[same] = _Look(waiter.ask(Keys(waiter.workflow, cluster)))
            looks[same].waiters.append(waiter)
        asking = [look for look in looks.values() if look.goes_on(None)]
        while asking:
            asking = await _round(client, asking)


async def _round(client: Any, asking: list[_Look]) -> list[_Look]:
    """Send the questions, give the replies to those that asked, and return who has more questions."""
    from batchy_provider.state.protocol import decoded, reply_error

    # What many ask for, such as the time, is asked for once.
    replies: dict[Command, Any] = {command: None for look in asking for command in look.commands}
    pipe = client.pipeline(transaction=False)
    for command in replies:
        pipe.execute_command(*command)
    for command, reply in zip(replies, await pipe.execute(raise_on_error=False), strict=True):
        wrong = isinstance(reply, Exception)
        replies[command] = _refused(command, reply_error(command, reply)) if wrong else decoded(reply)
    left = []
    for look in asking:
        answers = [replies[command] for command in look.commands]
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if errors:
            look.ends(errors[0])
        elif look.goes_on(answers):
            left.append(look)
    return left


def _refused(command: Command, error: Exception) -> Exception:
    """Return an error that ends one wait; raise one that says that Redis is not ready for any."""
    from redis.exceptions import NoPermissionError

    if isinstance(error, BatchyError):
        return error
    if isinstance(error, NoPermissionError):
        return RedisUnavailableError(
            f"Redis does not let this login use {command[0]} on {command[1:2]}: {error}. Allow it in the user's ACL"
        )
    raise error


def _was_cancelled() -> bool:
    """Tell whether this task is to end; redis-py keeps that to itself if it happens while it connects."""
    cancelling = getattr(asyncio.current_task(), "cancelling", None)  # since Python 3.11
    return bool(cancelling and cancelling())


def _workflow_of(data: Any) -> str:
    """Return the workflow that an event names; none if it is not one of ours."""
    from batchy_provider.state.event_channel import read_event

    event = read_event(data)
    return "" if event is None else str(event["workflow"])


class _Outage:
    """A time in which Redis cannot be used: how long to pause, and what to say, once and then rarely."""

    def __init__(self) -> None:
        self._attempts = 0
        self._since = 0.0
        self._said_at = 0.0
        self._text = ""

    def goes_on(self, error: Exception) -> float:
        """Note one more failure; returns the seconds to pause."""
        from batchy_provider.state.server_errors import explained

        now = asyncio.get_running_loop().time()
        pause = _BACKOFF_SECONDS[min(self._attempts, len(_BACKOFF_SECONDS) - 1)]
        pause *= random.uniform(0.5, 1)  # noqa: S311  # nosec B311  # jitter
        if not self._attempts:
            self._since = now
            metrics.emit(metrics.REDIS_LOST, 1)
        self._text = f"Redis cannot be used ({explained(error) or type(error).__name__}); trying again until it can"
        if not self._attempts or now - self._said_at >= _REPEAT_WARNING_SECONDS:
            log.warning("Waits for batches: %s", self._text)
            self._said_at = now
        self._attempts += 1
        return pause

    def verdict(self) -> Verdict:
        """Return the verdict that waits get during the outage."""
        from batchy_provider.core.vocabulary import VerdictCode
        from batchy_provider.core.waits import Verdict

        return Verdict(state="waiting", code=VerdictCode.REDIS_UNAVAILABLE, text=self._text)

    def is_over(self) -> None:
        """Note that Redis has answered."""
        if self._attempts:
            seconds = asyncio.get_running_loop().time() - self._since
            log.info("Waits for batches: Redis answers again, after %.1f s", seconds)
            self._attempts = 0
