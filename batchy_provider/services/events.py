# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Deliver events of batches to many readers, over one Redis subscription for the whole process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchy_provider.state.event_channel import Event, read_event
from batchy_provider.state.keys import EVENTS_CHANNEL

if TYPE_CHECKING:
    from batchy_provider.state.store import Store

log = logging.getLogger(__name__)

__all__ = ["BACK", "LOST", "Event", "EventFeed", "Watcher"]

Watcher = Callable[[Event], object]

LOST: Event = {"event": "lost"}
"""Redis cannot be reached: events are missed until it can."""
BACK: Event = {"event": "back"}
"""It can be reached again, and something may have been missed: who watches looks at everything again."""

SILENCE_SECONDS = 10.0
"""After how long without a message the subscription is asked for a sign of life, and after twice that given up."""
_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 2.0


class EventFeed:
    """
    Tells watchers of each event of the channel, and of lost connections.

    A thread listens while anybody watches. A message that cannot be read is dropped alone, and so is an error of one
    watcher.

    :param store: returns the state in Redis.
    :param hear: called with each event before all watchers.
    :param silence: see `SILENCE_SECONDS`.
    """

    def __init__(
        self, store: Callable[[], Store], hear: Watcher | None = None, *, silence: float = SILENCE_SECONDS
    ) -> None:
        self._store = store
        self._hear = hear
        self._silence = silence
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._thread: threading.Thread | None = None
        self._is_lost = False

    @contextmanager
    def watch(self, watcher: Watcher) -> Iterator[None]:
        """Call a watcher with each event, from the thread of the feed, until the context ends."""
        with self._lock:
            self._watchers.add(watcher)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="batchy-events", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def _listen(self) -> None:
        self._is_lost = False
        while not self._is_over():
            try:
                # Subscriptions are not ignored: redis-py makes a lost connection again by itself, and says so thus.
                pubsub = self._store().backend.client.pubsub()  # type: ignore[no-untyped-call]
                try:
                    self._serve(pubsub)
                finally:
                    pubsub.close()
            except Exception as error:  # a feed outlives whatever befalls Redis
                if not self._is_lost:
                    self._is_lost = True
                    log.warning("events of batches are not heard: %s", error)
                    self._tell(LOST)
                threading.Event().wait(_PAUSE_SECONDS)

    def _serve(self, pubsub: Any) -> None:
        """
        Tell of what is published until nobody watches.

        :raises ConnectionError: the subscription is dead, also where TCP does not notice.
        """
        pubsub.subscribe(EVENTS_CHANNEL)
        is_subscribed = is_asked = False
        heard = time.monotonic()
        while not self._is_over():
            message = pubsub.get_message(timeout=min(_POLL_SECONDS, self._silence))
            now = time.monotonic()
            if message is None:
                if now - heard >= 2 * self._silence:
                    raise ConnectionError(f"the subscription has not answered for {now - heard:.0f} seconds")
                if now - heard >= self._silence and not is_asked:
                    is_asked = True
                    pubsub.ping()
                continue
            heard, is_asked = now, False
            if message["type"] == "subscribe":
                if is_subscribed or self._is_lost:
                    self._is_lost = False
                    self._tell(BACK)
                is_subscribed = True
            elif message["type"] == "message" and (event := read_event(message["data"])) is not None:
                self._tell(event)

    def _is_over(self) -> bool:
        with self._lock:
            if self._watchers:
                return False
            self._thread = None
            return True

    def _tell(self, event: Event) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for watcher in (self._hear, *watchers):
            if watcher is None:
                continue
            try:
                watcher(event)
            except Exception:
                log.exception("a watcher of events failed")
