# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Share one multiplexer between all triggers of an event loop that use the same Airflow connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from batchy_provider.services.wait_multiplexer import WaitMultiplexer

_multiplexers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, WaitMultiplexer]] = WeakKeyDictionary()


def multiplexer(redis_conn_id: str | None) -> WaitMultiplexer:
    """Return the multiplexer of an Airflow connection in the running event loop.

    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``. It is read again at each reconnection.
    """
    from airflow.configuration import conf

    from batchy_provider.hooks.batchy import BatchyHook
    from batchy_provider.observability import metrics
    from batchy_provider.services.wait_multiplexer import RECHECK_SECONDS, WaitMultiplexer

    hook = BatchyHook(redis_conn_id)
    multiplexers = _multiplexers.setdefault(asyncio.get_running_loop(), {})
    if hook.redis_conn_id not in multiplexers:
        multiplexers[hook.redis_conn_id] = WaitMultiplexer(
            hook.get_address_async,
            on_outage=lambda: metrics.emit(metrics.REDIS_LOST, 1),
            on_waits=metrics.WaitGauges().report,
        )
    found = multiplexers[hook.redis_conn_id]
    found.recheck_seconds = conf.getfloat("batchy", "recheck_seconds", fallback=RECHECK_SECONDS)
    return found
