# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make waits for the success of workflows, and ask Redis about them: once, from a loop, or from an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.services.wait_requests import make_wait
from batchy_provider.services.waiter import NoAnswerError, Waiter
from batchy_provider.state.event_channel import read_event
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.wait_queries import ask

if TYPE_CHECKING:
    from batchy_provider.services.events import EventFeed
    from batchy_provider.state.store import Store

_EVENT_POLL_SECONDS = 5.0


class WaitService:
    """Make waits, and ask about them.

    :param store: returns the state in Redis.
    :param events: returns the feed of events that wakes `answer`.
    """

    def __init__(self, *, store: Callable[[], Store], events: Callable[[], EventFeed]) -> None:
        self._store = store
        self._events = events

    def make(self, workflow: str, **request: Any) -> Wait:
        """Return the wait that a caller asked for, with its day settled.

        :param request: as `make_wait` takes it.
        """
        return make_wait(self._store(), workflow, **request)

    def source(self, make: Callable[[], Sequence[Wait]]) -> RedisVerdicts:
        """Return a source of verdicts for `waiter.drive`.

        :param make: returns the waits; called until it succeeds, then never again, so that a wait that crosses
            midnight keeps its day.
        """
        return RedisVerdicts(self._store(), make)

    async def answer(
        self, wait: Wait, *, timeout: float, recheck: float, is_unwanted: Callable[[], Awaitable[bool]]
    ) -> Verdict:
        """Return the verdict as soon as the wait is over, or when its time is up. Occupies no thread in between.

        :param timeout: seconds; 0 to ask once.
        :param recheck: seconds until the next question if no event comes.
        :param is_unwanted: returns whether nobody wants the answer any more.
        """
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake(event: dict[str, object]) -> None:
            if event.get("workflow") in (wait.workflow, None):
                loop.call_soon_threadsafe(woken.set)

        waiter = Waiter([wait.workflow], began=time.monotonic(), timeout=timeout, recheck=recheck)
        with self._events().watch(wake):
            while True:
                woken.clear()
                verdict = await asyncio.to_thread(lambda: ask(self._store().backend, wait))
                waiter.take(wait.workflow, verdict)
                pause = waiter.pause(time.monotonic())
                if waiter.is_over or not pause or await is_unwanted():
                    return verdict
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(woken.wait(), pause)


class RedisVerdicts:
    """Ask Redis about waits, again when an event names one of the workflows.

    :param make: see `WaitService.source`.
    """

    def __init__(self, store: Store, make: Callable[[], Sequence[Wait]]) -> None:
        self._store = store
        self._make = make
        self._waits: Sequence[Wait] = ()
        self._events: Any = None

    def ask(self, seconds: float) -> list[tuple[str, Verdict]]:
        """Wait up to some seconds for an event, then return the verdict on each workflow.

        :raises NoAnswerError: Redis does not answer now.
        """
        try:
            self._waits = self._waits or self._make()
            if self._events is None:
                # Before the first question, so that no event between the two is missed.
                self._events = self._store.backend.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]  # redis-py
                self._events.subscribe(EVENTS_CHANNEL)
            elif seconds:
                self._sleep({wait.workflow for wait in self._waits}, seconds)
            return [(wait.workflow, ask(self._store.backend, wait)) for wait in self._waits]
        except (RedisUnavailableError, RedisError) as error:
            self.close()
            raise NoAnswerError(str(error)) from error

    def close(self) -> None:
        """End the subscription."""
        events, self._events = self._events, None
        if events is not None:
            events.close()

    def _sleep(self, workflows: Collection[str], seconds: float) -> None:
        """Sleep until an event names one of the workflows, at most for some seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = self._events.get_message(timeout=min(left, _EVENT_POLL_SECONDS))
            if message is not None:
                event = read_event(message.get("data"))
                if event is not None and event["workflow"] in workflows:
                    return


def ask_once(store: Store, waits: Collection[Wait], waiter: Waiter) -> Iterator[tuple[Wait, Verdict]]:
    """Ask about each wait once; yield each verdict that says something new."""
    for wait in waits:
        verdict = ask(store.backend, wait)
        if waiter.take(wait.workflow, verdict):
            yield wait, verdict
