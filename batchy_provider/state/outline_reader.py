# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the batches of many workflows that were open within a span of time, in few round trips."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchy_provider.core.batch_outline import BatchOutline, outline
from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.snapshot import StoredBatch
from batchy_provider.exceptions import BatchyError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.history_ids import load_listed
from batchy_provider.state.keys import Keys
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.stored_values import load_id, load_score

MOST_OF_ALL = 20_000
"""How many batches one reading takes at most, of all workflows together."""
MOST_OF_ONE = 1000
"""How many batches of one workflow it takes at most."""
_LEAST_OF_ONE = 20
_MOST_WHOLE = 30
"""Of a workflow with more batches, the jobs of a batch that has succeeded are not read."""
_EARLIER = 5
"""So many batches that were opened before the span may still have been open within it."""
_AT_ONCE = 1000
_MOST_KNOWN = 100_000
_UNREADABLE = "%s: its history cannot be read: %s"
_damaged = LogThrottle(logging.getLogger(__name__))

Ask = Callable[[Sequence[tuple[str, Command]]], list[Any]]
"""Sends commands, each with the workflow that it is about, and returns their replies; an error is a reply too."""


def most_of_one(workflows: int) -> int:
    """Return how many batches of each workflow one reading takes at most.

    :param workflows: how many workflows are read.
    """
    return max(_LEAST_OF_ONE, min(MOST_OF_ONE, MOST_OF_ALL // max(1, workflows)))


@dataclass(frozen=True, slots=True)
class BatchesInSpan:
    """The batches of one workflow that were open within a span of time.

    :param batches: oldest first.
    :param left_out: how many earlier ones of the span were not read.
    """

    batches: Sequence[BatchOutline] = ()
    left_out: int = 0


@dataclass(slots=True)
class _Found:
    """What one reading has found out of a workflow so far.

    :param ids: the batches that may have been open within the span, oldest first.
    :param closed: batch id → when it was closed, of those that the list of closed live batches has.
    :param records: batch id → its record, as it is stored.
    """

    keys: Keys
    ids: list[int] = field(default_factory=list)
    left_out: int = 0
    closed: dict[int, datetime] = field(default_factory=dict)
    records: dict[int, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Known:
    """A closed batch. It is the same as before if its record and the moment at which it was closed are the same.

    Its id alone does not tell: a state that was restored or imported again may have the same batch, with another end.
    """

    record: str | None
    closed: datetime | None
    with_jobs: bool
    outline: BatchOutline

    @property
    def is_kept(self) -> bool:
        """Whether another reading can tell that it is the same: no list says when batches of others were closed."""
        return self.outline.ended is not None and self.record is not None and self.closed is not None


class OutlineReader:
    """Read the batches of many workflows in a span of time. Live batches that were closed are read from Redis once.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], _Known] = {}

    def read(
        self,
        backend: Backend,
        names: Collection[str],
        since: datetime,
        until: datetime,
        *,
        most: int | None = None,
        ask: Ask | None = None,
    ) -> dict[str, BatchesInSpan]:
        """Return workflow → its batches that were open at some moment of a span.

        Takes three round trips for each thousand workflows, and one more for each thousand batches that are new.
        A value in Redis that cannot be read leaves out its batch, with a line in the log.

        :param since: naive UTC, inclusive.
        :param until: naive UTC, exclusive.
        :param most: how many batches of each workflow; None: see `most_of_one`.
        :param ask: asks which batches there are, and for their records; None: the backend does.
        """
        most = most_of_one(len(names)) if most is None else most
        ask = ask or (lambda asked: backend.pipelined([command for _, command in asked]))
        found: dict[str, BatchesInSpan] = {}
        wanted = sorted(names)
        for start in range(0, len(wanted), _AT_ONCE):
            part = [Keys(name, backend.cluster) for name in wanted[start : start + _AT_ONCE]]
            listed = self._listed(ask, part, since, until, most)
            self._read_records(ask, listed)
            found |= self._outlines(backend, listed, since, until)
        return found

    # -- which batches ---------------------------------------------------------------------------------------

    def _listed(self, ask: Ask, part: Sequence[Keys], since: datetime, until: datetime, most: int) -> list[_Found]:
        first, last = repr(unix_seconds(since)), f"({unix_seconds(until)!r}"
        commands: list[Command] = []
        for keys in part:
            commands += [
                ("ZREVRANGEBYSCORE", keys.history, last, first, "LIMIT", 0, most),
                ("ZREVRANGEBYSCORE", keys.history, f"({first}", "-inf", "LIMIT", 0, _EARLIER),
                ("ZCOUNT", keys.history, first, last),
                ("ZREVRANGEBYSCORE", keys.closed, last, first, "WITHSCORES", "LIMIT", 0, most + _EARLIER),
            ]
        replies = ask([(part[at // 4].workflow, command) for at, command in enumerate(commands)])
        found = []
        for at, keys in enumerate(part):
            try:
                found.append(_candidates(keys, replies[at * 4 : at * 4 + 4], unix_seconds(since)))
            except BatchyError as error:
                _damaged.warning(keys.workflow, _UNREADABLE, keys.workflow, error)
        return found

    def _read_records(self, ask: Ask, listed: Sequence[_Found]) -> None:
        asked = [each for each in listed if each.ids]
        commands: list[tuple[str, Command]] = []
        for each in asked:
            fields = (codec.record_field(batch) for batch in each.ids)
            commands.append((each.keys.workflow, ("HMGET", each.keys.meta, *fields)))
            commands.append((each.keys.workflow, ("ZMSCORE", each.keys.closed, *each.ids)))
        replies = ask(commands)
        for each, records, scores in zip(asked, replies[::2], replies[1::2], strict=True):
            # A key of another program counts as one without records.
            each.records = dict(zip(each.ids, _list_or_nones(records, each.ids), strict=True))
            closed = zip(each.ids, _list_or_nones(scores, each.ids), strict=True)
            try:
                each.closed = {i: load_score(each.keys.closed, score) for i, score in closed if score is not None}
            except BatchyError as error:
                each.ids = []
                _damaged.warning(each.keys.workflow, _UNREADABLE, each.keys.workflow, error)

    # -- what they are ---------------------------------------------------------------------------------------

    def _outlines(
        self, backend: Backend, listed: Sequence[_Found], since: datetime, until: datetime
    ) -> dict[str, BatchesInSpan]:
        with self._lock:
            known = {
                (each.keys.workflow, batch): entry
                for each in listed
                for batch in each.ids
                if (entry := self._known.get((each.keys.workflow, batch))) is not None
                and entry.record == each.records[batch]
                and entry.closed == each.closed.get(batch)
                and (entry.with_jobs or len(each.ids) > _MOST_WHOLE)
            }
        unknown = {
            (each.keys.workflow, batch): each
            for each in listed
            for batch in each.ids
            if (each.keys.workflow, batch) not in known
        }
        new = self._new(backend, unknown)
        with self._lock:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            self._known |= {key: entry for key, entry in new.items() if entry.is_kept}
        known |= new
        return {
            each.keys.workflow: BatchesInSpan(
                [
                    entry.outline
                    for batch in each.ids
                    if (entry := known.get((each.keys.workflow, batch))) is not None
                    and _is_within(entry.outline, since, until)
                ],
                each.left_out,
            )
            for each in listed
        }

    def _new(self, backend: Backend, unknown: Mapping[tuple[str, int], _Found]) -> dict[tuple[str, int], _Known]:
        stored = {key: batch for key, found in unknown.items() if (batch := _stored(found, key[1], {})) is not None}
        whole = [key for key, batch in stored.items() if not _is_enough(unknown[key], batch)]
        hashes: dict[tuple[str, int], Any] = {}
        for start in range(0, len(whole), _AT_ONCE):
            asked = whole[start : start + _AT_ONCE]
            replies = backend.pipelined([("HGETALL", unknown[key].keys.batch(key[1])) for key in asked])
            hashes |= zip(asked, replies, strict=True)
        new: dict[tuple[str, int], _Known] = {}
        for key, brief in stored.items():
            found, batch = unknown[key], brief
            if key in hashes:
                again = _stored(found, key[1], hashes[key])
                if again is None or not again.jobs:  # it was removed, or it cannot be read
                    continue
                batch = again
            try:
                entry = outline(batch, found.closed.get(key[1]))
            except BatchyError as error:
                _warn(found.keys, key[1], error)
                continue
            new[key] = _Known(found.records[key[1]], found.closed.get(key[1]), key in hashes, entry)
        return new


def _candidates(keys: Keys, replies: Sequence[Any], since: float) -> _Found:
    within, before, count, closed = (reply if not isinstance(reply, Exception) else [] for reply in replies)
    opened = [load_id(keys.history, each) for each in (*within, *before)]
    ends = load_listed(keys.closed, closed) if closed else []
    # Those that were closed within the span may have been opened long before it.
    long_open = [batch for batch, _ in ends if batch < since or not within]
    ids = sorted({*opened, *long_open})
    return _Found(
        keys=keys,
        ids=ids,
        left_out=max(0, (count or 0) - len(within)),
    )


def _list_or_nones(reply: Any, ids: Sequence[int]) -> Sequence[Any]:
    return reply if isinstance(reply, list) else [None] * len(ids)


def _stored(found: _Found, batch: int, jobs: Any) -> StoredBatch | None:
    keys = found.keys
    try:
        if isinstance(jobs, Exception):
            return None
        record = codec.load_record(keys.meta, batch, found.records[batch])
        return StoredBatch(batch, codec.load_jobs(keys.batch(batch), as_hash(jobs)), record)
    except BatchyError as error:
        _warn(keys, batch, error)
        return None


def _is_enough(found: _Found, brief: StoredBatch) -> bool:
    """Tell whether the record alone says enough: of one success among many."""
    is_success = brief.record is not None and brief.record.status == "success"
    return is_success and len(found.ids) > _MOST_WHOLE and brief.batch_id in found.closed


def _is_within(batch: BatchOutline, since: datetime, until: datetime) -> bool:
    if batch.started is None or batch.started >= until:
        return False
    return batch.ended is None or batch.ended >= since


def _warn(keys: Keys, batch: int, error: BatchyError) -> None:
    _damaged.warning(f"{keys.workflow} {batch}", "%s: batch %s is left out: %s", keys.workflow, batch, error)
