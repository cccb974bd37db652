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
"""Redis cannot be reached. Events are missed until `BACK`."""
BACK: Event = {"event": "back"}
"""Redis can be reached again. Events may have been missed, so watchers must read everything again."""

SILENCE_SECONDS = 10.0
"""After this time without a message, ping the subscription; after twice this time, give it up."""
_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 2.0


class EventFeed:
    """Call watchers with each event on the channel, and when the connection is lost and back.

    A thread listens while there are watchers. A message that cannot be read is dropped. An error of one watcher is
    logged, and does not affect other watchers.

    :param store: returns the state in Redis.
    :param hear: called with each event before the watchers.
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
        self._is_live = False

    @property
    def is_live(self) -> bool:
        """Whether events arrive now, as far as that is known: a connection that is silent is given up after a while."""
        return self._is_live

    @contextmanager
    def watch(self, watcher: Watcher) -> Iterator[None]:
        """Call a watcher with each event until the context ends. The calls come from the thread of the feed."""
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
                # Subscribe messages are not ignored: after redis-py has reconnected by itself, there is one.
                pubsub = self._store().backend.client.pubsub()  # type: ignore[no-untyped-call]  # redis-py
                try:
                    self._serve(pubsub)
                finally:
                    self._is_live = False
                    pubsub.close()
            except Exception as error:  # any error of Redis is temporary for a feed
                if not self._is_lost:
                    self._is_lost = True
                    log.warning("no events of batches arrive: %s", error)
                    self._pass_on(LOST)
                threading.Event().wait(_PAUSE_SECONDS)

    def _serve(self, pubsub: Any) -> None:
        """Pass on what is published until there are no watchers.

        :raises ConnectionError: the subscription is dead, even if TCP does not notice.
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
                    self._pass_on(BACK)
                is_subscribed = self._is_live = True
            elif message["type"] == "message" and (event := read_event(message["data"])) is not None:
                self._pass_on(event)

    def _is_over(self) -> bool:
        with self._lock:
            if self._watchers:
                return False
            self._thread = None
            return True

    def _pass_on(self, event: Event) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for watcher in (self._hear, *watchers):
            if watcher is None:
                continue
            try:
                watcher(event)
            except Exception:
                log.exception("a watcher of events failed")
