# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the lists of batches of many workflows: which batches there are, and roughly when each was opened."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError

from batchy_provider.core.batch_search import BatchSearch, Place
from batchy_provider.core.dates import unix_seconds
from batchy_provider.exceptions import BatchyError
from batchy_provider.state.backend import Backend
from batchy_provider.state.history_ids import load_listed
from batchy_provider.state.keys import Keys
from batchy_provider.state.protocol import Command, reply_error

_COMMANDS_AT_ONCE = 1000
_SLACK = timedelta(hours=1)
"""How far the id of a batch may lie from the moment of its opening: many may open in one second, or clocks differ."""
_LONG = timedelta(days=2)
"""Batches of backfills that were opened so long before the searched time, and still ran in it, are found."""


@dataclass(frozen=True, slots=True)
class ListedBatch:
    """A batch in the list of its workflow.

    :param latest: it was opened at this moment at the latest, Unix seconds.
    """

    latest: float
    keys: Keys
    batch_id: int


class BatchLists:
    """The lists of batches of some workflows, as far as a search needs them.

    :param below: only batches below this place.
    :param unreadable: gets the names of workflows whose list cannot be read.
    """

    def __init__(
        self,
        backend: Backend,
        workflows: Collection[str],
        search: BatchSearch,
        below: Place | None,
        unreadable: set[str],
    ) -> None:
        self._backend = backend
        self._search = search
        self._below = below
        self._unreadable = unreadable
        self._keys = self._with_job([Keys(name, backend.cluster) for name in sorted(workflows)])
        self._lows = self._lowest(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _with_job(self, keys: Sequence[Keys]) -> Sequence[Keys]:
        """Return the workflows that have, or had, the job that is searched."""
        job = self._search.job
        if job is None:
            return keys
        commands: list[Command] = [
            ("HEXISTS", key, job) for each in keys for key in (each.live, each.loaded, each.durations)
        ]
        known = self._replies(commands)
        return [each for at, each in enumerate(keys) if any(reply == 1 for reply in known[3 * at : 3 * at + 3])]

    def newest(self, most: int | None) -> tuple[list[ListedBatch], float]:
        """Return batches, and until when those were opened that are left out, in Unix seconds.

        :param most: read so many of the newest of each workflow; None for all.
        """
        highest = min((each for each in (self._search.end, self._below and self._below.started) if each), default=None)
        high = "+inf" if highest is None else f"({unix_seconds(highest + _SLACK)!r}"
        limit = () if most is None else ("LIMIT", 0, most)
        commands: list[Command] = [
            ("ZREVRANGEBYSCORE", each.history, high, low, "WITHSCORES", *limit)
            for each, low in zip(self._keys, self._lows, strict=True)
        ]
        found: list[ListedBatch] = []
        unread = -math.inf
        for each, reply in zip(self._keys, self._replies(commands), strict=True):
            latest = math.inf
            listed = self._listed(each, reply)
            for batch_id, score in listed:
                if score == batch_id:
                    latest = score + 1
                # Else it is history only, and listed behind the live batch that was the newest then.
                if self._search.may_be(batch_id):
                    found.append(ListedBatch(latest, each, batch_id))
            if len(listed) == most:
                unread = max(unread, latest)
        return found, unread

    def _lowest(self, keys: Sequence[Keys]) -> Sequence[str]:
        """Return the lowest score of each list that can match.

        Live batches of a workflow follow each other. So the newest one before the searched time is the last that may
        have run in it. History batches since then are listed behind it.
        """
        start = self._search.start
        if start is None:
            return ["-inf"] * len(keys)
        before = f"({unix_seconds(start)!r}"
        commands: list[Command] = [
            ("ZREVRANGEBYSCORE", each.history, before, "-inf", "WITHSCORES", "LIMIT", 0, 1) for each in keys
        ]
        long_before = math.floor(unix_seconds(max(start, datetime.min + _LONG) - _LONG))
        lows: list[str] = []
        for each, reply in zip(keys, self._replies(commands), strict=True):
            listed = self._listed(each, reply)
            lows.append(str(min([long_before, *(math.floor(score) for _, score in listed)])))
        return lows

    def _listed(self, keys: Keys, reply: Any) -> list[tuple[int, float]]:
        try:
            if isinstance(reply, Exception):
                raise reply_error(("ZREVRANGEBYSCORE", keys.history), reply)
            return load_listed(keys.history, reply)
        except (BatchyError, RedisError):
            self._unreadable.add(keys.workflow)
            return []

    def _replies(self, commands: Sequence[Command]) -> list[Any]:
        return replies_to(self._backend, commands)


def replies_to(backend: Backend, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to many commands about many workflows, an error among them is a reply too."""
    found: list[Any] = []
    for start in range(0, len(commands), _COMMANDS_AT_ONCE):
        found += backend.pipelined(commands[start : start + _COMMANDS_AT_ONCE])
    return found
