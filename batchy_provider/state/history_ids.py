# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find a free id for a batch that is history only.

The original server opens a batch under the current second, and does not look whether a batch has that id. So history
batches take ids of earlier seconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.state.keys import Keys
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import load_id, load_number

_FIRST, _MOST = 16, 4096
_TRIED_AT_ONCE = 8


def load_listed(key: str, reply: Any) -> list[tuple[int, float]]:
    """Read batch ids with their scores, as the list of batches has them.

    :param key: its name, for the error.
    :param reply: to a command WITHSCORES: a flat list, or one of pairs.
    :raises StateError: if a member is no batch id, or a score no number.
    """
    pairs = reply if reply and isinstance(reply[0], (list, tuple)) else zip(reply[::2], reply[1::2], strict=True)
    return [(load_id(key, member), load_number(key, score)) for member, score in pairs]


def newest_free_id(session: Session, keys: Keys, state: Snapshot, now: datetime) -> int:
    """Return the newest id before the current second that no batch has, and watch its key.

    The list of batches lacks those of the original, so the key of the batch itself is checked too.

    :param now: the Redis server's time, naive UTC.
    """
    high, width = int(unix_seconds(now)) - 1, _FIRST
    while high > 0:
        low = max(1, high - width + 1)
        ids = range(high, low - 1, -1)
        listed = session.ask(*(("ZSCORE", keys.history, each) for each in ids))
        free = [each for each, score in zip(ids, listed, strict=True) if score is None and each != state.live_id]
        for start in range(0, len(free), _TRIED_AT_ONCE):
            some = free[start : start + _TRIED_AT_ONCE]
            checks: list[Command] = [("HLEN", keys.batch(each)) for each in some]
            _, *sizes = session.ask(("WATCH", *map(keys.batch, some)), *checks)
            for each, size in zip(some, sizes, strict=True):
                if not int(size):
                    return each
        high, width = low - 1, min(_MOST, 4 * width)
    raise AssertionError("there are more batches than seconds")
