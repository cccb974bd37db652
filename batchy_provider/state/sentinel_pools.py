# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Connection pools for Sentinel that also close their connections to the Sentinels. redis-py leaves those open."""

from __future__ import annotations

from typing import Any

from redis.asyncio.sentinel import SentinelConnectionPool as AsyncPool
from redis.sentinel import SentinelConnectionPool as SyncPool


class SentinelPool(SyncPool):
    """Closes all that it opened when its client is closed."""

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Close the connections to the server, then those to the Sentinels."""
        super().disconnect(*args, **kwargs)
        for sentinel in self.sentinel_manager.sentinels:
            sentinel.close()


class AsyncSentinelPool(AsyncPool):
    """The asyncio twin of `SentinelPool`."""

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Close the connections to the server, then those to the Sentinels."""
        await super().disconnect(*args, **kwargs)
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()
