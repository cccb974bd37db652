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
    """Cache the names of all hashes in Redis that may be workflows.

    The layout of the original has no list of workflows, and a Redis with long histories has hundreds of thousands of
    keys. So Redis is scanned once, and again in the background when the scan is older than `refresh` seconds. `add`
    and `remove` change the names between two scans.

    :param store: returns the state in Redis.
    :param refresh: seconds between two scans.
    """

    def __init__(self, store: Callable[[], Store], *, refresh: float = REFRESH_SECONDS) -> None:
        self._store = store
        self._refresh = refresh
        self._lock = threading.Lock()
        self._scanning = threading.Lock()
        self._names: set[str] = set()
        self._added: set[str] = set()
        self._removed: set[str] = set()
        self._scanned: float | None = None
        self._expired = 0

    def all(self) -> set[str]:
        """Return all names. The first call scans Redis."""
        scanned = self._scanned
        if scanned is None:
            with self._scanning:
                if self._scanned is None:
                    self._scan()
        elif time.monotonic() - scanned > self._refresh and self._scanning.acquire(blocking=False):
            threading.Thread(target=self._scan_again, name="batchy-workflow-names", daemon=True).start()
        with self._lock:
            return set(self._names)

    def seen(self) -> set[str]:
        """Return the names that are known so far, without asking Redis."""
        with self._lock:
            return set(self._names)

    def add(self, name: str) -> None:
        """Add a new workflow. A text that is not a name of a workflow is ignored."""
        if is_workflow_name(name):
            with self._lock:
                self._names.add(name)
                self._added.add(name)
                self._removed.discard(name)

    def remove(self, name: str) -> None:
        """Remove a workflow that is not in Redis any more."""
        with self._lock:
            self._names.discard(name)
            self._added.discard(name)
            self._removed.add(name)

    def renew(self) -> None:
        """Scan Redis in the background at the next call: some name may be gone."""
        with self._lock:
            if self._scanned is not None:
                self._scanned = -math.inf

    def expire(self) -> None:
        """Scan Redis before the next answer, since events about new workflows may have been missed."""
        with self._lock:
            self._scanned = None
            self._expired += 1

    def _scan_again(self) -> None:
        try:
            # The next call scans again, and raises the error.
            with contextlib.suppress(Exception):
                self._scan()
        finally:
            self._scanning.release()

    def _scan(self) -> None:
        with self._lock:
            self._added, self._removed = set(), set()
            expired = self._expired
        began = time.monotonic()
        found = self._store().candidates()
        with self._lock:
            # The scan may have missed names that were added while it ran, and have met some that were removed since.
            self._names = found - self._removed | self._added
            if self._expired == expired:  # otherwise it may have been too early
                self._scanned = began
