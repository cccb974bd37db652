# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Renew the lease on a batch in a thread, and tell if it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch

_RENEWALS_IN_A_LEASE = 4
_PAUSE_AFTER_ERROR = 1.0


class LeaseRenewal:
    """Renews the lease while the block runs.

    While Redis does not answer, it tries again and again. The lease may run out meanwhile; the batch stays the caller's
    until somebody takes it over.

    :param renew: renews the lease and returns the batch.
    :param seconds: length of the lease.
    :param on_lost: called at most once, in the thread, if somebody has ended the batch as failed or taken it over.
    """

    def __init__(self, renew: Callable[[], Batch], seconds: float, on_lost: Callable[[Batch], None]) -> None:
        self._renew = renew
        self._pause = seconds / _RENEWALS_IN_A_LEASE
        self._on_lost = on_lost
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batchy-lease", daemon=True)

    def __enter__(self) -> LeaseRenewal:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        # Not for ever: the thread may wait for a Redis that is gone.
        self._thread.join(timeout=self._pause)

    def _run(self) -> None:
        pause = self._pause
        while not self._over.wait(pause):
            try:
                batch = self._renew()
            except BatchyError:
                pause = min(self._pause, _PAUSE_AFTER_ERROR)
                continue
            pause = self._pause
            if batch.status == "failed" and not self._over.is_set():
                self._on_lost(batch)
            if batch.status != "open":
                return
