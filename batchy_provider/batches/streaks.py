# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How often workflows have failed in a row, asked of many at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from batchy_provider.batches.dates import from_unix
from batchy_provider.batches.names import Keys
from batchy_provider.batches.transaction import Command, decoded, own_errors, read

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.batches.transaction import Client

MOST = 100
"""A longer row is told as this long."""
_AT_ONCE = 1000


def failures_in_a_row(client: Client, asked: Collection[tuple[Keys, float | None]]) -> list[int]:
    """
    Return how many live batches each workflow has closed since a moment, `MOST` at most.

    One round trip for each thousand. With the moment of its last success, that is how many have failed since.

    :param asked: the keys of workflows, and the moments in Unix seconds; None for the beginning.
    """
    commands: list[Command] = [
        ("ZRANGEBYSCORE", keys.closed, "-inf" if since is None else f"({since!r}", "+inf", "LIMIT", 0, MOST)
        for keys, since in asked
    ]
    found: list[int] = []
    for start in range(0, len(commands), _AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for command in commands[start : start + _AT_ONCE]:
            pipe.execute_command(*command)
        with own_errors(client):
            replies = decoded(pipe.execute(raise_on_error=False))
        # Another program's key is no row of failures.
        found += [len(reply) if isinstance(reply, list) else 0 for reply in replies]
    return found


def server_time(client: Client, key: str) -> datetime:
    """Return the time of the server that holds a key, naive UTC."""
    ((seconds, micros),) = read(client, key, ("TIME",))
    return from_unix(int(seconds), int(micros))
