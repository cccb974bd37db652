# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What happens to batches, told to all who watch: one subscription to Redis for a whole process."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchy_provider.batches.names import EVENTS_CHANNEL

if TYPE_CHECKING:
    from batchy_provider.batches.store import BatchStore

log = logging.getLogger(__name__)

Event = dict[str, Any]
Watcher = Callable[[Event], object]

LOST: Event = {"event": "lost"}
"""Redis cannot be reached: what happens meanwhile is not told."""
BACK: Event = {"event": "back"}
"""It can be reached again: whoever watches looks at everything anew."""

_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 2.0


class EventFeed:
    """
    Tells watchers of each event of the channel, and of lost connections.

    A thread listens while anybody watches.

    :param store: returns the state in Redis.
    :param hear: told of each event before all watchers.
    """

    def __init__(self, store: Callable[[], BatchStore], hear: Watcher | None = None) -> None:
        self._store = store
        self._hear = hear
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, watcher: Watcher) -> Iterator[None]:
        """Have a watcher told, from a thread of the feed's, until the context is left."""
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
        is_lost = False
        while not self._is_over():
            try:
                pubsub = self._store().client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                try:
                    pubsub.subscribe(EVENTS_CHANNEL)
                    while not self._is_over():
                        message = pubsub.get_message(timeout=_POLL_SECONDS)
                        if is_lost:
                            is_lost = False
                            self._tell(BACK)
                        if message is not None:
                            self._tell_message(message.get("data"))
                finally:
                    pubsub.close()
            except Exception as error:  # a feed outlives whatever befalls Redis
                if not is_lost:
                    is_lost = True
                    log.warning("events of batches are not heard: %s", error)
                    self._tell(LOST)
                threading.Event().wait(_PAUSE_SECONDS)

    def _is_over(self) -> bool:
        with self._lock:
            if self._watchers:
                return False
            self._thread = None
            return True

    def _tell_message(self, data: Any) -> None:
        try:
            event = json.loads(data)
            known = isinstance(event["workflow"], str)
        except (ValueError, TypeError, KeyError):
            return  # someone else's message on our channel
        if known:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        if self._hear is not None:
            self._hear(event)
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            try:
                watcher(event)
            except Exception:
                log.exception("a watcher of events failed")
