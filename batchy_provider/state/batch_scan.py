# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the batches of many workflows that match a search, newest first, in few round trips.

The lists of batches are read first, which say roughly when each batch was opened. Records are read from the newest on,
in larger and larger parts, until the page is full. Jobs are read only where they decide, and for the page.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.exceptions import RedisError

from batchy_provider.core.batch_search import BatchSearch, Place
from batchy_provider.core.dates import from_unix, parse_date, unix_seconds
from batchy_provider.core.presenters import stored_batch
from batchy_provider.core.snapshot import StoredBatch
from batchy_provider.core.values import Batch
from batchy_provider.core.vocabulary import Kind, Status
from batchy_provider.exceptions import BatchyError, WindowError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.batch_lists import BatchLists, ListedBatch, replies_to
from batchy_provider.state.keys import Keys
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.protocol import Command, as_hash, reply_error
from batchy_provider.state.stored_values import check_jobs

_FIRST_PART, _MOST_PART = 1000, 20_000
_FEW, _GROWTH = 4, 10

_unforeseen = LogThrottle(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBatches:
    """The newest batches that match a search.

    :param batches: newest first.
    :param places: the place of each of them.
    :param below: older ones match, too, below this place; None if there are none.
    :param unreadable: the workflows with batches that cannot be read: they may be missing here.
    """

    batches: Sequence[Batch]
    places: Sequence[Place]
    below: Place | None
    unreadable: Sequence[str]


@dataclass(slots=True)
class _Candidate:
    """A batch that may match, as far as its record tells.

    :param jobs_decide: its jobs must be read.
    """

    entry: ListedBatch
    place: Place
    record: str | None
    jobs_decide: bool
    batch: Batch | None = None


def search_batches(
    backend: Backend, workflows: Collection[str], search: BatchSearch, *, limit: int, below: Place | None = None
) -> FoundBatches:
    """Return the newest batches of some workflows that match a search.

    An error in one workflow hides no other one.

    :param limit: the most batches.
    :param below: only batches below this place.
    """
    return _Scan(backend, search, limit, below).run(workflows)


class _Scan:
    def __init__(self, backend: Backend, search: BatchSearch, limit: int, below: Place | None) -> None:
        self._backend = backend
        self._search = search
        self._limit = limit
        self._below = below
        self._unreadable: set[str] = set()

    def run(self, workflows: Collection[str]) -> FoundBatches:
        lists = BatchLists(self._backend, workflows, self._search, self._below, self._unreadable)
        # Of many workflows the newest few batches of each fill a page, and their whole lists are long.
        most = None if self._search.is_rare else max(_FEW, 4 * self._limit // max(1, len(lists)))
        while True:
            found, is_whole = self._page(*lists.newest(most))
            if is_whole:
                break
            most = None if most is None or most >= _FEW * _GROWTH else most * _GROWTH
        page = found[: self._limit]
        self._read_jobs([each for each in page if each.batch is None])
        return FoundBatches(
            batches=[each.batch for each in page if each.batch is not None],
            places=[each.place for each in page if each.batch is not None],
            below=page[-1].place if len(found) > self._limit else None,
            unreadable=sorted(self._unreadable),
        )

    def _page(self, entries: list[ListedBatch], unread: float) -> tuple[list[_Candidate], bool]:
        """Return the matching batches, newest first, and whether the page is complete.

        :param unread: batches that are not in `entries` were opened at this moment at the latest, Unix seconds.
        """
        entries.sort(key=lambda entry: entry.latest, reverse=True)
        found: list[_Candidate] = []
        at, size = 0, _FIRST_PART
        while at < len(entries):
            if self._is_full(found, entries[at].latest):
                break
            found += self._matching(entries[at : at + size])
            found.sort(key=lambda each: each.place, reverse=True)
            at, size = at + size, min(2 * size, _MOST_PART)
        return found, unread == -math.inf or self._is_full(found, unread)

    def _is_full(self, found: Sequence[_Candidate], latest: float) -> bool:
        """Tell whether the page is full, and no batch that was opened at a moment or before belongs on it."""
        return len(found) > self._limit and unix_seconds(found[self._limit].place.started) > latest

    def _matching(self, entries: Sequence[ListedBatch]) -> list[_Candidate]:
        by_workflow: dict[Keys, list[ListedBatch]] = {}
        for entry in entries:
            by_workflow.setdefault(entry.keys, []).append(entry)
        commands: list[Command] = [
            ("HMGET", keys.meta, *(codec.record_field(each.batch_id) for each in some))
            for keys, some in by_workflow.items()
        ]
        found: list[_Candidate] = []
        for (keys, some), reply in zip(by_workflow.items(), replies_to(self._backend, commands), strict=True):
            if isinstance(reply, Exception):
                self._unreadable.add(keys.workflow)
                continue
            likely = [
                (entry, text)
                for entry, text in zip(some, reply, strict=True)
                if text is None or self._search.may_match_record(entry.batch_id, keys.workflow, text)
            ]
            for (entry, text), record in zip(likely, _parsed([text for _, text in likely]), strict=True):
                candidate = self._candidate(entry, text, record)
                if candidate is not None:
                    found.append(candidate)
        self._read_jobs([each for each in found if each.jobs_decide])
        return [each for each in found if not each.jobs_decide or self._matches(each)]

    def _candidate(self, entry: ListedBatch, text: str | None, record: Any) -> _Candidate | None:
        """Return a batch that may match by its record; None for one that does not, or is on an earlier page."""
        started = from_unix(entry.batch_id)
        status: Status | None = None
        run, acknowledged = None, False
        kind: Kind = "live"
        if text is not None:
            try:
                started = _earlier(parse_date(record["started"]), entry.latest)
                status = None if record["status"] == "open" else record["status"]
                run, kind = record.get("run"), record["kind"]
                acknowledged = any(note.get("ack") for note in record.get("notes", ()))
            except (KeyError, TypeError, AttributeError, WindowError):
                self._unreadable.add(entry.keys.workflow)
                return None
        place = Place(started, entry.batch_id, entry.keys.workflow)
        if self._below is not None and place >= self._below:
            return None
        if not self._search.may_match(place, status=status, kind=kind, run=run, is_acknowledged=acknowledged):
            return None
        return _Candidate(entry, place, text, self._search.needs_jobs(place, status))

    def _matches(self, candidate: _Candidate) -> bool:
        return candidate.batch is not None and self._search.matches(candidate.batch)

    def _read_jobs(self, candidates: Sequence[_Candidate]) -> None:
        commands: list[Command] = [("HGETALL", each.entry.keys.batch(each.entry.batch_id)) for each in candidates]
        for each, reply in zip(candidates, replies_to(self._backend, commands), strict=True):
            keys, batch_id = each.entry.keys, each.entry.batch_id
            try:
                if isinstance(reply, Exception):
                    raise reply_error(("HGETALL", keys.batch(batch_id)), reply)
                jobs = codec.load_jobs(keys.batch(batch_id), as_hash(reply))
                check_jobs(keys.batch(batch_id), jobs)
                stored = StoredBatch(batch_id, jobs, codec.load_record(keys.meta, batch_id, each.record))
                if jobs:  # else it was removed meanwhile
                    each.batch = stored_batch(keys.workflow, stored)
            except (BatchyError, RedisError):
                self._unreadable.add(keys.workflow)
            except Exception as error:  # an error in one workflow must not hide another
                _unforeseen.warning(keys.workflow, "%s: its batches cannot be read", keys.workflow, exc_info=error)
                self._unreadable.add(keys.workflow)


def _parsed(texts: Sequence[str | None]) -> list[Any]:
    """Return the JSON of records; None where there is none, or it cannot be read."""
    known = [text for text in texts if text is not None]
    try:
        # One call for all takes half the time. Single calls only find the wrong one.
        found: list[Any] = json.loads("[" + ",".join(known) + "]")
    except (ValueError, RecursionError):
        found = []
    if len(found) != len(known):
        found = [_parsed_one(text) for text in known]
    rest = iter(found)
    return [None if text is None else next(rest) for text in texts]


def _parsed_one(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _earlier(started: datetime, latest: float) -> datetime:
    """Return when a batch was opened; its record never puts it above what its place in the list says."""
    return started if unix_seconds(started) <= latest else from_unix(int(latest))
