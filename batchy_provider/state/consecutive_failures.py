# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Count consecutive failures of many workflows at once."""

from __future__ import annotations

from collections.abc import Collection

from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys

MOST = 100
"""A longer series is reported as this long."""
_AT_ONCE = 1000


def consecutive_failures(backend: Backend, asked: Collection[tuple[Keys, float | None]]) -> list[int]:
    """Return how many live batches each workflow has closed since a moment, `MOST` at most.

    With the moment of its last success, that is how many have failed since. Takes one round trip for each
    thousand workflows.

    :param asked: the keys of workflows, and the moments in Unix seconds; None for the beginning.
    """
    commands = [
        ("ZRANGEBYSCORE", keys.closed, "-inf" if since is None else f"({since!r}", "+inf", "LIMIT", 0, MOST)
        for keys, since in asked
    ]
    found: list[int] = []
    for start in range(0, len(commands), _AT_ONCE):
        # A key of another program counts as no failures.
        replies = backend.pipelined(commands[start : start + _AT_ONCE])
        found += [len(reply) if isinstance(reply, list) else 0 for reply in replies]
    return found
