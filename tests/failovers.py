# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What can happen to the master of ``deploy/redis-sentinel.sh``."""

from __future__ import annotations

import time

from deployed import Deployed


def master(sentinel: Deployed) -> str:
    """Which server the Sentinels say is the master."""
    _, port = sentinel.ask("sentinel-1", "sentinel", "get-master-addr-by-name", "mymaster").split()
    return next(f"redis-{n}" for n in (1, 2, 3) if sentinel.port(f"redis-{n}") == int(port))


def until_other_than(sentinel: Deployed, old: str) -> None:
    deadline = time.monotonic() + 60
    while master(sentinel) == old:
        assert time.monotonic() < deadline, "no failover came about"
        time.sleep(0.1)


def graceful(sentinel: Deployed) -> None:
    old = master(sentinel)
    deadline = time.monotonic() + 60
    while "OK" not in sentinel.ask("sentinel-1", "sentinel", "failover", "mymaster"):
        assert time.monotonic() < deadline
        time.sleep(0.3)  # NOGOODSLAVE, or the failover before is still going on
    until_other_than(sentinel, old)


def killed_and_not_waited_for(sentinel: Deployed) -> None:
    """The close comes while there is no master at all."""
    sentinel.kill(master(sentinel))
