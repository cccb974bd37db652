# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Cache the names of the workflows in Redis, so that not each request scans all keys."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from batchy_provider.core.names import is_workflow_name

if TYPE_CHECKING:
    from batchy_provider.state.store import Store

REFRESH_SECONDS = 30.0


class WorkflowNames:
    """The names of all hashes in Redis that may be workflows.

    The layout of the original has no list of workflows, and a Redis with long histories has hundreds of
    thousands of keys: the whole look is made once, then again in the background when it is older than
    `refresh` seconds. A name that comes to be in between is put in by `add`.

    :param store: returns the state in Redis.
    :param refresh: seconds.
    """

    def __init__(self, store: Callable[[], Store], *, refresh: float = REFRESH_SECONDS) -> None:
        self._store = store
        self._refresh = refresh
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._names: set[str] = set()
        self._added: set[str] = set()
        self._looked: float | None = None

    def all(self) -> set[str]:
        """Return the names as they are known."""
        if self._looked is None:
            with self._looking:
                if self._looked is None:
                    self._look()
        elif time.monotonic() - self._looked > self._refresh and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look_again, name="batchy-workflow-names", daemon=True).start()
        with self._lock:
            return set(self._names)

    def seen(self) -> set[str]:
        """Return the names that were found so far; Redis is not asked."""
        with self._lock:
            return set(self._names)

    def add(self, name: str) -> None:
        """Take in a workflow that has come to be; a text that can be no name of one is left out."""
        if is_workflow_name(name):
            with self._lock:
                self._names.add(name)
                self._added.add(name)

    def expire(self) -> None:
        """Have Redis looked at again at the next question, since what came to be may not have been told."""
        with self._lock:
            if self._looked is not None:
                self._looked = -math.inf

    def _look_again(self) -> None:
        try:
            # Whatever is wrong: the next question asks Redis itself, and tells.
            with contextlib.suppress(Exception):
                self._look()
        finally:
            self._looking.release()

    def _look(self) -> None:
        with self._lock:
            self._added = set()
        began = time.monotonic()
        found = self._store().candidates()
        with self._lock:
            # What came to be while Redis was looked at may have been missed by that look.
            self._names = found | self._added
            self._looked = began
