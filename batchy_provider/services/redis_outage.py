# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Track outages of Redis while waits run: growing pauses, few warnings."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.waits import Verdict
from batchy_provider.state.server_errors import explained

log = logging.getLogger(__name__)

_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_REPEAT_WARNING_SECONDS = 300.0


class RedisOutage:
    """Track an outage: how long to pause, and when to log a warning, first at once and then rarely.

    :param on_begin: called once when an outage begins.
    """

    def __init__(self, on_begin: Callable[[], object]) -> None:
        self._on_begin = on_begin
        self._attempts = 0
        self._began = 0.0
        self._warned = 0.0
        self._text = ""

    def add_failure(self, error: Exception) -> float:
        """Count one more failed attempt.

        :returns: the seconds to pause before the next attempt.
        """
        now = asyncio.get_running_loop().time()
        pause = _BACKOFF_SECONDS[min(self._attempts, len(_BACKOFF_SECONDS) - 1)]
        pause *= random.uniform(0.5, 1)  # noqa: S311  # nosec B311  # jitter
        if not self._attempts:
            self._began = now
            self._on_begin()
        self._text = f"Redis cannot be used ({explained(error) or type(error).__name__}); trying again until it can"
        if not self._attempts or now - self._warned >= _REPEAT_WARNING_SECONDS:
            log.warning("Waits for batches: %s", self._text)
            self._warned = now
        self._attempts += 1
        return pause

    def verdict(self) -> Verdict:
        """Return the verdict that waits get during the outage."""
        return Verdict(state="waiting", code=VerdictCode.REDIS_UNAVAILABLE, text=self._text)

    def end(self) -> None:
        """Note that Redis has answered."""
        if self._attempts:
            seconds = asyncio.get_running_loop().time() - self._began
            log.info("Waits for batches: Redis answers again, after %.1f s", seconds)
            self._attempts = 0
