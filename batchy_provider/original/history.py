# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Take over the original server's history: add batches that only their own hashes contain to the lists.

Reads the names of all keys once, and each batch of a workflow. Nothing of the original's is removed, doing it again
changes nothing, and both may go on working meanwhile.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from batchy_provider.core.dates import format_date, from_unix
from batchy_provider.core.foreign_batches import Gap, Spans, adopt_history, days_of, gaps, loaded_spans, why_no_batch
from batchy_provider.core.names import is_workflow_name
from batchy_provider.core.presenters import unknown_workflow
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.values import Actor, PersonalChange
from batchy_provider.exceptions import StateError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import read_state, write_commands
from batchy_provider.state.stored_values import load_id
from batchy_provider.state.transaction import Command, Session, as_hash, decoded, own_errors

ORIGINAL = "the original Batchy server"
_KEYS_AT_ONCE = 10_000
_BATCHES_AT_ONCE = 200
_HISTORY = re.compile(r"(?P<workflow>.+)-(?P<number>[0-9]{1,18})(?P<init>-init)?", re.ASCII | re.DOTALL)


@dataclass(slots=True)
class Found:
    """What the names of keys tell of a workflow's past.

    :param batches: ids of ``wf-<id>``.
    :param loads: Unix seconds of ``wf-<seconds>-init``: the original's ``load_cfg``.
    """

    batches: set[int] = field(default_factory=set)
    loads: set[int] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Adoption:
    """What was done with a workflow's past, or would be.

    :param adopted: batches that are listed now and were not.
    :param ended: batches that had been left open, and count as failed now.
    :param loads: when the original loaded its configuration; kept among the changes.
    :param gaps: data that no success has loaded.
    :param passed_over: key → why it is no batch.
    """

    workflow: str
    adopted: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)


def find_past(backend: Backend, workflow: str | None = None) -> dict[str, Found]:
    """Return workflow → what its keys tell of its past; looks at the name of every key of the Redis.

    :param workflow: only this one's; None for all that look like one.
    """
    pattern = "*-[0-9]*" if workflow is None else f"{backend.keys(workflow).live}-[0-9]*"
    found: defaultdict[str, Found] = defaultdict(Found)
    with own_errors(backend.client):
        for key in backend.client.scan_iter(match=pattern, count=_KEYS_AT_ONCE, _type="HASH"):
            match = _HISTORY.fullmatch(decoded(key))
            if match is None:
                continue
            name, number = match["workflow"], int(match["number"])
            if backend.cluster:
                if not (name.startswith("{") and name.endswith("}")):
                    continue
                name = name[1:-1]
            if is_workflow_name(name) and workflow in (None, name):
                (found[name].loads if match["init"] else found[name].batches).add(number)
    return dict(found)


def adopt(backend: Backend, workflow: str, past: Found, *, by: Actor | None, dry_run: bool = False) -> Adoption:
    """Bring a workflow's past into the lists that histories, waits and days are read from.

    :param past: what `find_past` found of it.
    :param by: who asks for it; kept among the changes.
    :param dry_run: only say what would be done.
    :raises UnknownWorkflowError: if Redis does not know the workflow.
    """
    keys = backend.keys(workflow)
    (listed,) = backend.ask(workflow, ("ZRANGE", keys.history, 0, -1))
    ids = sorted(past.batches | {load_id(keys.history, each) for each in listed})
    adoption = Adoption(workflow=workflow)
    loaded: Spans = defaultdict(list)
    for start in range(0, max(len(ids), 1), _BATCHES_AT_ONCE):
        end = start + _BATCHES_AT_ONCE
        part = _Part(keys, ids[start:end], ids[end : end + 1], dry_run=dry_run)
        state = backend.transact(keys, part.work)
        adoption.adopted += part.adopted
        adoption.ended += part.ended
        adoption.passed_over |= part.passed_over
        for job, spans in part.loaded.items():
            loaded[job] += spans
    adoption.gaps = gaps(state, loaded)
    _note(backend, keys, adoption, past.loads, by, dry_run)
    return adoption


class _Part:
    """Some batches, in one transaction.

    :param ids: in order.
    :param following: the one after these, if there is one: what was left open ended when that was opened.
    """

    def __init__(self, keys: Keys, ids: Sequence[int], following: Sequence[int], *, dry_run: bool) -> None:
        self._keys = keys
        self._ids = ids
        self._following = following
        self._dry_run = dry_run
        self._reset()

    def _reset(self) -> None:
        self.adopted: list[int] = []
        self.ended: list[int] = []
        self.passed_over: dict[str, str] = {}
        self.loaded: Spans = {}

    def work(self, session: Session) -> tuple[Snapshot, Sequence[Command]]:
        """Read, decide, and return the state with what is to be written."""
        self._reset()
        keys = self._keys
        state, now = read_state(session, keys)
        if not state.jobs:
            raise unknown_workflow(keys.workflow)
        if not self._ids:
            return state, ()
        batches = self._read(session, self._ids)
        following = next(iter(self._read(session, self._following)), None)
        wanted = days_of(state, batches)
        listed, *days = session.ask(
            ("ZRANGEBYSCORE", keys.history, self._ids[0], self._ids[-1]), *(("HGET", keys.days, day) for day in wanted)
        )
        known = {
            day: load_id(keys.days, batch_id)
            for day, batch_id in zip(wanted, days, strict=True)
            if batch_id is not None
        }
        change = adopt_history(state, batches, following, frozenset(map(int, listed)), known, now)
        for batch in batches:
            for job, spans in loaded_spans(batch).items():
                self.loaded.setdefault(job, []).extend(spans)
        self.adopted, self.ended = list(change.history), sorted(change.batches)
        return state, () if self._dry_run else write_commands(keys, change)

    def _read(self, session: Session, ids: Sequence[int]) -> list[StoredBatch]:
        if not ids:
            return []
        keys = self._keys
        hashes = [("HGETALL", keys.batch(batch_id)) for batch_id in ids]
        records = ("HMGET", keys.meta, *(codec.record_field(batch_id) for batch_id in ids))
        *stored, kept = session.ask(("WATCH", *map(keys.batch, ids)), *hashes, records)[1:]
        batches = []
        for batch_id, fields, record in zip(ids, stored, kept, strict=True):
            key = keys.batch(batch_id)
            if not fields:
                continue  # pruned
            try:
                jobs = codec.load_jobs(key, as_hash(fields))
                batch = StoredBatch(batch_id, jobs, codec.load_record(keys.meta, batch_id, record))
                why = why_no_batch(batch)
            except StateError as error:
                why = str(error)
            if why is None:
                batches.append(batch)
            else:
                self.passed_over[key] = why
        return batches


def _note(
    backend: Backend, keys: Keys, adoption: Adoption, loads: Collection[int], by: Actor | None, dry_run: bool
) -> None:
    """Keep among the changes that the past was adopted, and when the original had loaded its configuration."""

    def work(session: Session) -> tuple[None, Sequence[Command]]:
        _, (seconds, micros), text = session.ask(("WATCH", keys.meta), ("TIME",), ("HGET", keys.meta, codec.CHANGES))
        changes = codec.load_changes(keys.meta, text)
        seen = {(change.at, change.by) for change in changes}
        dates = sorted(format_date(from_unix(load)) for load in loads)
        adoption.loads = [at for at in dates if (at, ORIGINAL) not in seen]
        made = [PersonalChange(at=at, by=ORIGINAL, what="loaded the configuration") for at in adoption.loads]
        if by is not None and (adoption.adopted or adoption.ended):
            done = (
                f"adopted the original's batches: {len(adoption.adopted)}; ended those left open: {len(adoption.ended)}"
            )
            made.append(PersonalChange.of(by, format_date(from_unix(int(seconds), int(micros))), done, None))
        if dry_run or not made:
            return None, ()
        changes = sorted([*changes, *made], key=lambda change: change.at, reverse=True)
        return None, [("HSET", keys.meta, codec.CHANGES, codec.dump(codec.dump_changes(changes)))]

    backend.transact(keys, work)
