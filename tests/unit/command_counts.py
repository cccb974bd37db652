# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which commands a Redis server gets while something is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from redis import Redis


def commands(admin: Redis, act: Callable[[], object]) -> Counter[str]:
    """What the server was asked while something was done."""
    admin.config_resetstat()
    act()
    stats = admin.info("commandstats")
    found = Counter({name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()})
    return Counter({name: calls for name, calls in found.items() if not name.startswith(("config", "info"))})
