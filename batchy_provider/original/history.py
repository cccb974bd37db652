# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Adopt the history of the original Batchy server: ``batchy adopt``.

The original writes a hash ``wf-<id>`` for each batch, and no list of batches, days or closing times. An adoption finds
these hashes by the names of the keys, and adds the batches to the lists that history, waits and days are read from. It
removes nothing, a second call changes nothing, and both systems may continue to run meanwhile.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from batchy_provider.core.dates import format_date, from_unix
from batchy_provider.core.foreign_batches import adopt_history, why_no_batch
from batchy_provider.core.job_durations import durations_of_history
from batchy_provider.core.ledger import Entry, JobGap, posted
from batchy_provider.core.missing_data import gaps_of
from batchy_provider.core.names import is_workflow_name
from batchy_provider.core.presenters import unknown_workflow
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.values import Actor, PersonalChange
from batchy_provider.exceptions import StateError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.duration_lists import fill_commands
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import read_state, write_commands
from batchy_provider.state.protocol import Command, as_hash, decoded
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import load_id
from batchy_provider.state.transaction import own_errors

ORIGINAL = "the original Batchy server"
"""Who made the audit entries of the original's configuration loads."""
_KEYS_PER_SCAN = 10_000
_CHUNK = 200
"""How many batches one transaction adopts."""
_BATCH_KEY = re.compile(r"(?P<workflow>.+)-(?P<number>[0-9]{1,18})(?P<init>-init)?", re.ASCII | re.DOTALL)


@dataclass(slots=True)
class OriginalKeys:
    """The keys that the original server may have written for one workflow, found by their names.

    :param batches: ids of the batches: ``wf-<id>``.
    :param loads: when the original loaded its configuration, Unix seconds: ``wf-<seconds>-init``.
    """

    batches: set[int] = field(default_factory=set)
    loads: set[int] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Adoption:
    """What an adoption changed, or what a dry run would change.

    :param adopted: ids of batches that were added to the history.
    :param ended: ids of batches that the original left open, and that count as failed now.
    :param loads: when the original loaded its configuration, ISO 8601 UTC; each becomes an audit entry.
    :param gaps: windows that no successful batch has loaded.
    :param passed_over: key → why it is not a batch, for people.
    """

    workflow: str
    adopted: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    gaps: list[JobGap] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)


def find_original_keys(backend: Backend, workflow: str | None = None) -> dict[str, OriginalKeys]:
    """Return workflow → keys of the original. Read the name of every key in the Redis.

    :param workflow: only find the keys of this workflow; None for all keys that look like those of a workflow.
    """
    pattern = "*-[0-9]*" if workflow is None else f"{backend.keys(workflow).live}-[0-9]*"
    found: defaultdict[str, OriginalKeys] = defaultdict(OriginalKeys)
    with own_errors(backend.client):
        for key in backend.client.scan_iter(match=pattern, count=_KEYS_PER_SCAN, _type="HASH"):
            match = _BATCH_KEY.fullmatch(decoded(key))
            if match is None:
                continue
            name, number = match["workflow"], int(match["number"])
            if backend.cluster:  # there the name is a hash tag
                if not (name.startswith("{") and name.endswith("}")):
                    continue
                name = name[1:-1]
            if is_workflow_name(name) and workflow in (None, name):
                (found[name].loads if match["init"] else found[name].batches).add(number)
    return dict(found)


def keys_of_original(backend: Backend, workflow: str) -> list[str]:
    """Return what stands after the name in the keys that the original may have written. Read the name of every key."""
    found = find_original_keys(backend, workflow).get(workflow, OriginalKeys())
    return [*(f"-{each}" for each in sorted(found.batches)), *(f"-{each}-init" for each in sorted(found.loads))]


def adopt(
    backend: Backend, workflow: str, keys_found: OriginalKeys, *, by: Actor | None, dry_run: bool = False
) -> Adoption:
    """Add the batches of the original to the history of a workflow, with their closing times and what they loaded.

    :param keys_found: what `find_original_keys` returned for the workflow.
    :param by: who asks for it; named in the audit entry. None writes no entry.
    :param dry_run: change nothing, only return what would change.
    :raises UnknownWorkflowError: if Redis does not know the workflow.
    """
    keys = backend.keys(workflow)
    (listed,) = backend.ask(workflow, ("ZRANGE", keys.history, 0, -1))
    ids = sorted(keys_found.batches | {load_id(keys.history, each) for each in listed})
    adoption = Adoption(workflow=workflow)
    entries: list[Entry] = []
    # Also without batches one chunk is made: it reads the state, and raises the error for an unknown workflow.
    for start in range(0, max(len(ids), 1), _CHUNK):
        end = start + _CHUNK
        chunk = _Chunk(keys, ids[start:end], ids[end : end + 1], dry_run=dry_run)
        state = backend.transact(keys, chunk.work)
        adoption.adopted += chunk.adopted
        adoption.ended += chunk.ended
        adoption.passed_over |= chunk.passed_over
        entries += chunk.entries
    adoption.gaps = gaps_of(replace(state, ledger=posted(state.ledger, entries)))
    _add_audit_entries(backend, keys, adoption, keys_found.loads, by, dry_run)
    return adoption


class _Chunk:
    """Adopt some batches in one transaction, and hold what was found.

    :param ids: ids of the batches, in order.
    :param following: the next id, if there is one. A batch that was left open ended when the next one was opened.
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
        self.entries: list[Entry] = []

    def work(self, session: Session) -> tuple[Snapshot, Sequence[Command]]:
        """Read the batches, decide, and return the state and the commands that write the change."""
        self._reset()  # a transaction that is tried again calls this again
        keys = self._keys
        state, now = read_state(session, keys)
        if not state.jobs:
            raise unknown_workflow(keys.workflow)
        if not self._ids:
            return state, ()
        batches = self._read(session, self._ids)
        following = next(iter(self._read(session, self._following)), None)
        scores = session.ask(*(("ZSCORE", keys.history, each) for each in self._ids))
        listed = frozenset(each for each, score in zip(self._ids, scores, strict=True) if score is not None)
        change = adopt_history(state, batches, following, listed, now)
        self.entries = list(change.entries)
        self.adopted, self.ended = list(change.history), sorted(change.batches)
        if self._dry_run:
            return state, ()
        past = durations_of_history(batches)
        return state, [*write_commands(keys, state, change), *fill_commands(session, keys, past)]

    def _read(self, session: Session, ids: Sequence[int]) -> list[StoredBatch]:
        """Return the batches among some hashes. Add the other hashes to `passed_over`."""
        if not ids:
            return []
        keys = self._keys
        hashes = [("HGETALL", keys.batch(batch_id)) for batch_id in ids]
        record_fields = ("HMGET", keys.meta, *(codec.record_field(batch_id) for batch_id in ids))
        *stored, records = session.ask(("WATCH", *map(keys.batch, ids)), *hashes, record_fields)[1:]
        batches = []
        for batch_id, fields, record in zip(ids, stored, records, strict=True):
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


def _add_audit_entries(
    backend: Backend, keys: Keys, adoption: Adoption, loads: Collection[int], by: Actor | None, dry_run: bool
) -> None:
    """Add audit entries: one for the adoption, and one for each time the original loaded its configuration.

    Set `adoption.loads` to the loads that had no entry yet.

    :param loads: Unix seconds.
    """

    def work(session: Session) -> tuple[None, Sequence[Command]]:
        _, (seconds, micros), text = session.ask(("WATCH", keys.meta), ("TIME",), ("HGET", keys.meta, codec.CHANGES))
        entries = codec.load_changes(keys.meta, text)
        known = {(entry.at, entry.by) for entry in entries}
        dates = sorted(format_date(from_unix(load)) for load in loads)
        adoption.loads = [at for at in dates if (at, ORIGINAL) not in known]
        new = [PersonalChange(at=at, by=ORIGINAL, what="loaded the configuration") for at in adoption.loads]
        if by is not None and (adoption.adopted or adoption.ended):
            what = (
                f"adopted the original's batches: {len(adoption.adopted)}; ended those left open: {len(adoption.ended)}"
            )
            new.append(PersonalChange.of(by, format_date(from_unix(int(seconds), int(micros))), what, None))
        if dry_run or not new:
            return None, ()
        entries = sorted([*entries, *new], key=lambda entry: entry.at, reverse=True)
        return None, [("HSET", keys.meta, codec.CHANGES, codec.dump(codec.dump_changes(entries)))]

    backend.transact(keys, work)
