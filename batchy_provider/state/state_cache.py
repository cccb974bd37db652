# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Keep the state of workflows in a long-running process, and read from Redis only what has changed since."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import redis

from batchy_provider import collector
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.state.key_tracker import KeyTracker
from batchy_provider.state.keys import Keys
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.scan import AT_ONCE, look_at

if TYPE_CHECKING:
    from batchy_provider.state.protocol import Command
    from batchy_provider.state.session import Clock
    from batchy_provider.state.store import Store

RECHECK_SECONDS = 300.0
"""What was read longer ago is read again, a little with each answer: a server may forget to tell of a change."""
_RECHECKED_AT_ONCE = 50
_WATCHED_AT_ONCE = 100
_MANY = 100
"""From so many workflows on, a reading keeps the collector from the older objects."""
_PAUSE_SECONDS = 5.0
"""How long to read everything after the connections were lost, before they are made again."""
_REFUSED_SECONDS = 60.0
"""The same after the server has refused to track keys."""
_TOLD_SECONDS = 1.0
"""How long the server's time is known without asking again: a clock may be set meanwhile."""

_log = LogThrottle(logging.getLogger(__name__))


@dataclass(slots=True)
class _Known:
    """What was read of one workflow.

    :param row: None if Redis has no workflow of that name.
    :param read_at: when, by the clock of this process.
    :param version: a number of its own for each reading.
    :param released: the row without its hold, once that has ended by itself.
    """

    row: WorkflowState | UnreadableWorkflow | None
    read_at: float
    version: int
    released: WorkflowState | None = None

    def is_same(self, row: WorkflowState | UnreadableWorkflow | None) -> bool:
        """Tell whether another reading gave exactly the same."""
        # `==` alone takes 1 for true and for 1.0, and ignores the order of jobs and params.
        return self.row == row and repr(self.row) == repr(row)


class StateCache:
    """Return the state of many workflows, as new as if it were read from Redis now.

    Each answer first asks Redis which of the keys have changed that were read before; see `KeyTracker`. So it does not
    matter which program has changed something, and whether it has published an event. What has not changed is the same
    object in each answer. After a lost connection, a failover, a flush or ``SWAPDB``, everything is read again.

    In a cluster, and where the server does not let this user track keys, each answer is read from Redis.

    Safe to share between threads.

    :param store: returns the state in Redis.
    :param recheck_seconds: see `RECHECK_SECONDS`.
    """

    def __init__(self, store: Callable[[], Store], *, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self._store = store
        self._recheck_seconds = recheck_seconds
        self._lock = threading.Lock()
        self._tracker: KeyTracker | None = None
        self._not_before = float("-inf")
        self._known: dict[str, _Known] = {}  # what was read longest ago is first
        self._workflow_of: dict[str, str] = {}
        self._unreadable: set[str] = set()
        self._versions = count(1)
        self._watched: str | None = None
        self._is_watching = False
        self._told: tuple[datetime, float] | None = None

    def scan(self, names: Collection[str]) -> list[WorkflowState | UnreadableWorkflow]:
        """Return workflows with their state, sorted by name, and those that cannot be read; see `scan.scan`.

        Takes one round trip, and two more if something has changed.

        :param names: which; one that is not in Redis is left out.
        """
        store = self._store()
        with self._lock:
            if (now := self._now(store, names)) is not None:
                return [row for name in sorted(names) if (row := self._row(name, now)) is not None]
        return store.scan(names)

    def versions(self, names: Collection[str]) -> Mapping[str, int] | None:
        """Return workflow → a number that is another one after each change of what `scan` or `ask` have read of it.

        So what was read by `ask` after one call is still true if the next call returns the same number. It may be
        another one without a change, too.

        :returns: None where nothing is kept.
        """
        store = self._store()
        with self._lock:
            if self._now(store, names) is None:
                return None
            return {name: self._known[name].version for name in names}

    def server_time(self) -> datetime | None:
        """Return the server's time, naive UTC, without asking for it; None if `scan` has not just been told of it."""
        if self._told is None:
            return None
        then, at = self._told
        passed = time.monotonic() - at
        return then + timedelta(seconds=passed) if passed < _TOLD_SECONDS else None

    def ask(self, asked: Sequence[tuple[str, Command]]) -> list[Any]:
        """Send commands that read, and count changes of the keys that they read as changes of their workflows.

        :param asked: the workflow and the command; its first argument is the key, and the only one.
        :returns: replies in the order of the commands; an error is a reply too.
        """
        commands = [command for _, command in asked]
        with self._lock:
            if self._tracker is not None:
                try:
                    replies = self._tracker.ask(commands)
                except (redis.RedisError, OSError):
                    self._forget(_PAUSE_SECONDS)
                except BaseException:
                    self._forget(0)  # replies may be left on the connections
                    raise
                else:
                    self._workflow_of |= {str(command[1]): name for name, command in asked}
                    return replies
        return self._store().backend.pipelined(commands)

    def _now(self, store: Store, names: Collection[str]) -> datetime | None:
        """Make what is known of some workflows as new as Redis.

        :returns: the server's time; None if everything must be read elsewhere.
        """
        client = store.backend.client
        if not names or not isinstance(client, redis.Redis):
            return None
        try:
            tracker = self._tracker or self._begin(client, store.backend.clock)
            if tracker is None:
                return None
            now = self._refresh(tracker, store.backend.cluster, names)
            self._told = now, time.monotonic()
            return now
        except (redis.exceptions.NoPermissionError, redis.exceptions.ExecAbortError) as error:
            self._refused(error)
            return None
        except (redis.RedisError, OSError):
            # The same request now reads everything, with the retries and the errors of all other requests.
            self._forget(_PAUSE_SECONDS)
            return None
        except BaseException:
            self._forget(0)  # replies may be left on the connections
            raise

    def _begin(self, client: redis.Redis, clock: Clock) -> KeyTracker | None:
        if time.monotonic() < self._not_before:
            return None
        try:
            self._tracker = KeyTracker(client, clock)
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            raise
        except Exception as error:  # of the server, or of a client that makes its connections in another way
            self._refused(error)
        return self._tracker

    def _refused(self, error: Exception) -> None:
        self._forget(_REFUSED_SECONDS)
        _log.warning("refused", "Redis does not tell which keys change, so each list reads all of them: %s", error)

    def _refresh(self, tracker: KeyTracker, cluster: bool, names: Collection[str]) -> datetime:
        """Read what is not known, and what has changed.

        :returns: the server's time.
        """
        before = self._watched
        now = self._refresh_once(tracker, cluster, names)
        # A change of any workflow that was watched would mean to read everything: watch only the new one, from now on.
        return now if self._watched == before else self._refresh_once(tracker, cluster, names)

    def _refresh_once(self, tracker: KeyTracker, cluster: bool, names: Collection[str]) -> datetime:
        watched = sorted(names)[:_WATCHED_AT_ONCE] if self._watched is None else [self._watched]
        changes = tracker.changes([Keys(name, cluster).live for name in watched])
        if is_unclear := changes.keys is None or not self._is_watching:
            old = set(self._known)
        else:
            # Redis tells of a key once after each reading. So not all batches that ever were are kept here.
            old = {self._workflow_of.pop(key) for key in changes.keys if key in self._workflow_of}
        old |= {name for name in names if name not in self._known}
        # An error of the server, such as while it loads its data, passes without a change of the keys.
        old |= self._unreadable
        long_ago = time.monotonic() - self._recheck_seconds
        for name in islice(self._known, _RECHECKED_AT_ONCE):
            if self._known[name].read_at > long_ago:
                break
            old.add(name)
        wanted = sorted(old)
        # All that is read stays. For a few workflows, putting everything else aside does not pay.
        with collector.only_new() if len(wanted) >= _MANY else nullcontext():
            for start in range(0, len(wanted), AT_ONCE):
                self._read(tracker, cluster, wanted[start : start + AT_ONCE])
        # Redis does not tell of a swapped database if it has none of these. Then the next answer reads everything.
        self._is_watching = any(isinstance(self._known[name].row, WorkflowState) for name in watched)
        if is_unclear or not self._is_watching:
            self._watched = self._next_to_watch()
        return changes.now

    def _next_to_watch(self) -> str | None:
        """Return another workflow that Redis has, so that in the end one is watched that seldom changes.

        The order is not that of their names, in which many programs go through all workflows.
        """
        there = sorted(_scattered(name) for name, known in self._known.items() if isinstance(known.row, WorkflowState))
        last = (-1, "") if self._watched is None else _scattered(self._watched)
        return next((name for number, name in there if (number, name) > last), there[0][1] if there else None)

    def _read(self, tracker: KeyTracker, cluster: bool, names: Iterable[str]) -> None:
        read_at = time.monotonic()
        for look in look_at(names, cluster, tracker.ask):
            keys, row = look.keys, look.row(datetime.min)
            name = keys.workflow
            version, old = next(self._versions), self._known.pop(name, None)
            if old is not None and old.is_same(row):
                # Nothing that others make of it needs to be made again.
                self._known[name] = replace(old, read_at=read_at, version=version)
            else:
                self._known[name] = _Known(row, read_at, version)
            self._workflow_of |= dict.fromkeys((keys.live, keys.meta, keys.progress, keys.closed), name)
            if isinstance(row, UnreadableWorkflow):
                self._unreadable.add(name)
            else:
                self._unreadable.discard(name)

    def _row(self, name: str, now: datetime) -> WorkflowState | UnreadableWorkflow | None:
        known = self._known[name]
        row = known.row
        if not isinstance(row, WorkflowState) or row.hold is None or not row.hold.is_over(now):
            return row
        if known.released is None:
            known.released = replace(row, hold=None)
        return known.released

    def _forget(self, pause: float) -> None:
        tracker, self._tracker = self._tracker, None
        self._known.clear()
        self._workflow_of.clear()
        self._unreadable.clear()
        self._watched, self._is_watching, self._told = None, False, None
        self._not_before = time.monotonic() + pause
        if tracker is not None:
            tracker.close()

    def close(self) -> None:
        """Close the connections, and forget everything."""
        with self._lock:
            self._forget(0)


def _scattered(name: str) -> tuple[int, str]:
    return zlib.crc32(name.encode(errors="surrogateescape")), name
