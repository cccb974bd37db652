# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""List the workflows in a Redis with their state, in few round trips."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from redis.exceptions import RedisError

from batchy_provider.core.names import is_workflow_name
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.exceptions import StateError, UnfinishedRenameError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import last_success_command, load_snapshot, present
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.protocol import Command, as_hash, decoded, reply_error
from batchy_provider.state.stored_values import is_workflow
from batchy_provider.state.transaction import own_errors
from batchy_provider.state.warning_changes import readable_warnings
from batchy_provider.state.warning_codec import WARNINGS

AT_ONCE = 1000
"""The state of so many workflows is asked for in one round trip."""
_KEYS_AT_ONCE = 10_000
_MOST_JOBS = 5000
"""A hash with more fields, and nothing of this package's beside it, is another program's; it is not read."""

_META = Keys("").meta
"""How the key of what only this package writes ends."""
_unforeseen = LogThrottle(logging.getLogger(__name__))


def overview(backend: Backend, names: Collection[str] | None = None) -> list[WorkflowState]:
    """Return the readable workflows with their state, sorted by name; see `scan`."""
    return [state for state in scan(backend, names) if isinstance(state, WorkflowState)]


def scan(backend: Backend, names: Collection[str] | None = None) -> list[WorkflowState | UnreadableWorkflow]:
    """Return workflows with their state, sorted by name. An error in one workflow makes only that one unreadable.

    A hash that clearly belongs to another program is no workflow, see `stored_values.is_workflow`. A hash that was
    requested by name and cannot be used is an unreadable workflow.

    Takes two round trips for each thousand workflows, one more if one of them is on hold, and, without `names`, those
    of `candidates`.

    :param names: which; one that is not in Redis is left out. None for all.
    """
    return list(scan_each(backend, names))


def scan_each(backend: Backend, names: Collection[str] | None = None) -> Iterator[WorkflowState | UnreadableWorkflow]:
    """Yield what `scan` returns, a thousand workflows at a time: the first ones before the last ones are read."""
    wanted = sorted(candidates(backend) if names is None else names)
    for looks, now in look_in_parts(backend, wanted):
        yield from [row for look in looks if (row := look.row(now)) is not None]


def look_in_parts(
    backend: Backend, names: Sequence[str], more: Callable[[Keys], Sequence[Command]] = lambda _: ()
) -> Iterator[tuple[list[Look], datetime]]:
    """Yield what `look_at` returns, for a thousand workflows at a time, and the time that `Look.row` takes."""
    for start in range(0, len(names), AT_ONCE):
        looks = look_at(names[start : start + AT_ONCE], backend.cluster, backend.pipelined, more)
        held = next((look.keys.workflow for look in looks if look.state and look.state.hold), None)
        yield looks, datetime.min if held is None else backend.server_time(held)


def look_at(
    names: Iterable[str],
    cluster: bool,
    ask: Callable[[Sequence[Command]], list[Any]],
    more: Callable[[Keys], Sequence[Command]] = lambda _: (),
) -> list[Look]:
    """Read the state of workflows in two round trips.

    :param cluster: as in `Backend`.
    :param ask: sends commands in one packet, and returns their replies; an error is a reply too.
    :param more: returns commands whose replies become `Look.more`.
    """
    looks = [Look(Keys(name, cluster)) for name in names]
    questions = [[*look.questions(), *more(look.keys)] for look in looks]
    replies = ask([command for some in questions for command in some])
    at = 0
    for look, some in zip(looks, questions, strict=True):
        look.take(replies[at : at + 3], replies[at + 3 : at + len(some)])
        at += len(some)
    known = [look for look in looks if look.state is not None]
    scores = ask([last_success_command(look.keys, look.state) for look in known if look.state])
    for look, score in zip(known, scores, strict=True):
        look.succeeded = score
    return looks


class Look:
    """One workflow of a scan: what is asked of it, and what came back.

    :param replies: to its questions.
    :param more: replies to what else was asked.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.state: Snapshot | None = None
        self.succeeded: Any = None
        self.replies: Sequence[Any] = ()
        self.more: Sequence[Any] = ()
        self._progress: dict[str, str] = {}
        self._warnings: str | None = None
        self._error: Exception | None = None

    def questions(self) -> list[Command]:
        """Return the commands whose replies `take` takes."""
        keys = self.keys
        return [("HGETALL", keys.live), ("HMGET", keys.meta, *codec.META_FIELDS, WARNINGS), ("HGETALL", keys.progress)]

    def take(self, replies: Sequence[Any], more: Sequence[Any] = ()) -> None:
        """Take the replies to the questions; an error among them is one of this workflow."""
        self.replies, self.more = replies, more
        try:
            for command, reply in zip(self.questions(), replies, strict=True):
                if isinstance(reply, Exception):
                    raise reply_error(command, reply)
            live, meta, progress = replies
            live, self._progress = as_hash(live), as_hash(progress)
            *meta, self._warnings = meta
            if live and is_workflow(live, meta):
                self.state = load_snapshot(self.keys, live, meta, None)
        except Exception as error:
            self._error = error

    def row(self, now: datetime) -> WorkflowState | UnreadableWorkflow | None:
        """Return the workflow; None if Redis has none of that name.

        :param now: the server's time, naive UTC; any moment if it is not on hold.
        """
        name = self.keys.workflow
        try:
            if self._error is not None:
                raise self._error
            if self.state is None:
                return None
            if isinstance(self.succeeded, Exception):
                raise reply_error(last_success_command(self.keys, self.state), self.succeeded)
            found = present(self.keys, self.state, self._progress, self.succeeded, now)
            return replace(found, warnings=readable_warnings(self.keys, self._warnings)) if self._warnings else found
        except (StateError, UnfinishedRenameError, RedisError) as error:
            return UnreadableWorkflow(name, str(error))
        except Exception as error:  # an error in one workflow must not hide another
            _unforeseen.warning(name, "%s: its state cannot be read", name, exc_info=error)
            return UnreadableWorkflow(name, f"its state in Redis cannot be read: {type(error).__name__}: {error}")


def candidates(backend: Backend) -> set[str]:
    """Return the names of all hashes that may be workflows, and of workflows that have batches of the history only.

    Looks at every key of the Redis.
    """
    with own_errors(backend.client):
        names, described = _candidates(backend)
    found = _with_batches(backend, sorted(described - names))
    wanted = sorted(names)
    for start in range(0, len(wanted), AT_ONCE):
        part = wanted[start : start + AT_ONCE]
        asked = [Keys(name, backend.cluster) for name in part]
        sizes = backend.pipelined([("HLEN", keys.live) for keys in asked])
        big = [keys for keys, size in zip(asked, sizes, strict=True) if isinstance(size, int) and size > _MOST_JOBS]
        # EXISTS answers 0 for a key that is not there, an error for a login that may not know.
        ours = backend.pipelined([("EXISTS", keys.meta) for keys in big])
        found |= {*part} - {keys.workflow for keys, there in zip(big, ours, strict=True) if there == 0}
    return found


def history_only(backend: Backend) -> set[str]:
    """Return the workflows that have batches, but no live state: backfills or fills alone have opened some.

    Looks at every key of the Redis.
    """
    with own_errors(backend.client):
        names, described = _candidates(backend)
    return _with_batches(backend, sorted(described - names))


def _with_batches(backend: Backend, names: Sequence[str]) -> set[str]:
    """Return which of some workflows `history_only` returns."""
    found: set[str] = set()
    for start in range(0, len(names), AT_ONCE):
        part = [Keys(name, backend.cluster) for name in names[start : start + AT_ONCE]]
        there = backend.pipelined([("EXISTS", key) for keys in part for key in (keys.live, keys.history)])
        found |= {keys.workflow for at, keys in enumerate(part) if there[2 * at : 2 * at + 2] == [0, 1]}
    return found


def _candidates(backend: Backend) -> tuple[set[str], set[str]]:
    """Return the names of all hashes, and of all that have a hash like that of `Keys.meta`."""
    names: set[str] = set()
    described: set[str] = set()
    for key in backend.client.scan_iter(count=_KEYS_AT_ONCE, _type="HASH"):
        name = decoded(key)
        live = name.removesuffix(_META)
        into = names if live == name else described
        if backend.cluster:
            if not (live.startswith("{") and live.endswith("}")):
                continue
            live = live[1:-1]
        if is_workflow_name(live):
            into.add(live)
    return names, described
