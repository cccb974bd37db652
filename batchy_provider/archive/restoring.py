# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Compare Redis with the archive, and restore what Redis lacks, in one transaction for each workflow.

What Redis has that the archive does not know, or that is newer, is never written over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from batchy_provider.archive.descriptions import what_kept, what_redis_has
from batchy_provider.archive.entries import ArchivedBatch, ArchivedState, Relation, add_runs_and_days, ended, relation
from batchy_provider.core.closing import abort
from batchy_provider.core.dates import format_date, parse_date, unix_seconds
from batchy_provider.core.job_state import as_fields, job_states
from batchy_provider.core.presenters import event
from batchy_provider.core.revision import MAX_TOKENS, Revision
from batchy_provider.core.snapshot import Change, Snapshot
from batchy_provider.core.statuses import overall_status
from batchy_provider.core.values import Actor, PersonalChange
from batchy_provider.exceptions import StateError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.deliveries import offset_command, read_offset
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import read_batches, read_state, write_commands
from batchy_provider.state.stored_values import load_id
from batchy_provider.state.transaction import Command, Session, as_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What the archive has of a workflow.

    :param ids: all batches that it keeps.
    :param batches: those that were read.
    :param changes: what people changed, newest first.
    :param runs: run → batch, of batches that were pruned.
    :param days: day → batch, the same.
    """

    state: ArchivedState | None = None
    ids: Collection[int] = ()
    batches: Mapping[int, ArchivedBatch] = field(default_factory=dict)
    changes: Sequence[dict[str, Any]] = ()
    runs: Mapping[str, int] = field(default_factory=dict)
    days: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How Redis stands to the archive, of one workflow.

    :param relation: of the live states.
    :param redis: what Redis has, for people.
    :param archive: what the archive has, for people.
    :param missing: closed batches of the archive that Redis does not know, or not as closed.
    :param unarchived: closed batches that Redis alone has.
    :param in_the_way: an open batch in Redis that a restored state would be written over.
    """

    workflow: str
    relation: Relation
    redis: str | None = None
    archive: str | None = None
    missing: tuple[int, ...] = ()
    unarchived: tuple[int, ...] = ()
    in_the_way: str | None = None

    @property
    def is_lost(self) -> bool:
        """Tell whether Redis lacks something that the archive has."""
        return bool(self.missing) or self.relation in ("lost", "behind", "conflict")

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was brought back.

    :param state: whether the live state was.
    :param batches: how many batches of the history.
    :param refused: why nothing was, if it could not.
    """

    workflow: str
    was: Relation
    state: bool = False
    batches: int = 0
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """All of a workflow in Redis but the batches themselves."""

    state: Snapshot
    now: datetime
    history: frozenset[int]
    open: frozenset[int]
    runs: dict[str, int]
    days: dict[str, int]
    told: dict[str, str]
    changes: str | None


def standing(backend: Backend, workflow: str, archived: Archived) -> Standing:
    """Compare."""
    keys = backend.keys(workflow)
    look = backend.transact(keys, lambda session: (_look(session, keys, watch=False), ()))
    return _standing(look, archived)


def restore(
    backend: Backend, workflow: str, archived: Archived, *, by: Actor, overwrite: bool = False, why: str | None = None
) -> Restored:
    """Bring back what Redis lacks: its live state if that is lost or older, and what was read of its batches.

    :param overwrite: also where Redis has a state that did not come of the archived one, or has gone on since.
    """
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[Restored, Sequence[Command]]:
        look = _look(session, keys, watch=True)
        found = _standing(look, archived)
        refused = None if overwrite else _refusal(found)
        if refused is not None:
            return Restored(workflow=workflow, was=found.relation, refused=refused), ()
        takes_state = found.relation in ("lost", "behind", "conflict")
        missing = [archived.batches[i] for i in found.missing if i in archived.batches]
        if not takes_state and not missing:
            return Restored(workflow=workflow, was=found.relation), ()
        change, meta = _change(look, archived, missing, takes_state=takes_state)
        change = replace(change, days=_days(session, keys, look, change.days, archived))
        many = f"{len(missing)} batch{'' if len(missing) == 1 else 'es'}"
        what = f"restored {'the state and ' if takes_state else ''}{many} from the archive"
        made = PersonalChange.of(by, format_date(look.now), what, why)
        meta[codec.CHANGES] = _merged(keys, made, look.changes, archived.changes)
        newest = max(change.history, default=0)
        done = Restored(workflow=workflow, was=found.relation, state=takes_state, batches=len(missing))
        return done, [*write_commands(keys, change, meta), *_skip_restored(keys, look.told, newest)]

    return backend.transact(keys, work)


def _look(session: Session, keys: Keys, *, watch: bool) -> _Look:
    state, now = read_state(session, keys, watch=watch)
    commands: list[Command] = [("WATCH", keys.days, keys.offsets)] if watch else []
    commands += [("HGETALL", key) for key in (keys.meta, keys.runs, keys.days, keys.offsets)]
    commands.append(("ZREVRANGE", keys.history, 0, -1))
    *hashes, ids = session.ask(*commands)[watch:]
    meta, runs, days, told = (as_hash(each) for each in hashes)
    records_of = {name.removeprefix("batch:"): text for name, text in meta.items() if name.startswith("batch:")}
    numbered = ((load_id(keys.meta, number), text) for number, text in records_of.items())
    records = [(i, codec.load_record(keys.meta, i, text)) for i, text in numbered]
    still_open = {i for i, record in records if record is not None and record.status == "open"}
    if state.is_open and state.live_id is not None:
        still_open.add(state.live_id)
    return _Look(
        state=state,
        now=now,
        history=frozenset(load_id(keys.history, i) for i in ids),
        open=frozenset(still_open),
        runs={run: load_id(keys.runs, i) for run, i in runs.items()},
        days={day: load_id(keys.days, i) for day, i in days.items()},
        told=told,
        changes=meta.get(codec.CHANGES),
    )


def _standing(look: _Look, archived: Archived) -> Standing:
    state, kept = look.state, archived.state
    found = relation(state, kept)
    takes_state = found in ("lost", "behind", "conflict")
    pruned = max(state.revision.pruned if state.revision else 0, kept.pruned if kept else 0)
    # The open live batch is closed by restoring the state, and by that alone.
    open_ = look.open if takes_state else look.open - {state.live_id}
    known = look.history - open_
    missing = {i for i in (*archived.ids, *_of_state(archived)) if i > pruned and i not in known}
    in_the_way = None
    newest = max((*archived.ids, (kept.batch_id if kept else None) or 0), default=0)
    if takes_state and state.is_open and state.live_id is not None and state.live_id > newest:
        in_the_way = f"batch {state.live_id} is open, by {state.holder}"
    return Standing(
        workflow=state.workflow,
        relation=found,
        redis=what_redis_has(state) if state.jobs else None,
        archive=what_kept(kept) if kept is not None else None,
        missing=tuple(sorted(missing)),
        unarchived=tuple(sorted(i for i in look.history - look.open if i > pruned and i not in archived.ids)),
        in_the_way=in_the_way,
    )


def _refusal(found: Standing) -> str | None:
    if found.relation == "conflict":
        return (
            f"Redis has {found.redis}, which did not come of what the archive has, {found.archive}. To take the "
            f"archive's: `batchy restore {found.workflow} --overwrite`; to keep that of Redis: "
            f"`batchy archive {found.workflow} --overwrite`"
        )
    if found.in_the_way is not None:
        return (
            f"{found.in_the_way}: it was opened on an older state than the archive's. Close or fail it first, or "
            f"`batchy restore {found.workflow} --overwrite`"
        )
    return None


def _of_state(archived: Archived) -> dict[int, ArchivedBatch]:
    """Return the batch that the kept state is of, if it has not come into the archive by itself: closed, or open."""
    kept = archived.state
    if kept is None or kept.batch_id is None or kept.batch_id in archived.ids:
        return {}
    owner = kept.meta.get(codec.OWNER)
    record = owner["record"] if owner is not None and owner["batch_id"] == kept.batch_id else None
    if record is None and kept.closed != kept.batch_id:
        return {}  # the original server's: it lists none of its own
    status = record["status"] if record is not None else overall_status(job_states(kept.live), None)
    if kept.closed != kept.batch_id and status != "open":
        return {}  # its jobs have been set to another window since
    batch = ArchivedBatch(workflow=kept.workflow, batch_id=kept.batch_id, status=status, jobs=kept.live, record=record)
    if status == "open":
        return {batch.batch_id: batch}
    day = record["day"] if record is not None and status == "success" else None
    closed = unix_seconds(parse_date(batch.ended)) if batch.ended else None
    return {batch.batch_id: replace(batch, day=day, closed=closed)}


def _change(
    look: _Look, archived: Archived, missing: Sequence[ArchivedBatch], *, takes_state: bool
) -> tuple[Change, dict[str, Any]]:
    """Return what is to change, and the fields of ``wf:meta`` that the archive holds."""
    state, kept = look.state, archived.state
    change, meta = Change(), dict[str, Any]()
    live = None if kept is None else job_states(kept.live)
    batches = [*missing]
    if takes_state and kept is not None:
        of_state = _of_state(archived)
        batches += of_state.values()
        revision = replace(
            state.revision or Revision(), number=kept.number, tokens=kept.tokens[:MAX_TOKENS], kept=kept.tokens[0]
        )
        revision = replace(revision, pruned=max(revision.pruned, kept.pruned))
        if state.is_open and state.live_id is not None and state.live_id not in {*archived.ids, *of_state}:
            change = abort(state, look.now)
            revision = revision.waiting_for([state.live_id])
        change = change.then(Change(live=live, revision=revision))
        meta |= kept.meta
    meta |= {codec.record_field(batch.batch_id): batch.record for batch in batches if batch.record is not None}
    runs, days = dict(archived.runs), dict(archived.days)
    add_runs_and_days(batches, runs, days)
    restored = Change(
        # The live batch as the same object: then Redis copies it.
        batches={
            each.batch_id: live if live and kept and each.jobs is kept.live else job_states(each.jobs)
            for each in batches
        },
        closed={batch.batch_id: batch.closed for batch in batches if batch.closed is not None},
        history=[batch.batch_id for batch in batches],
        runs={run: i for run, i in runs.items() if i > look.runs.get(run, 0)},
        days=days,
        event=event(state.workflow, kept.batch_id if kept else None, "restore", "live", look.now),
    )
    return change.then(restored), meta


def _days(session: Session, keys: Keys, look: _Look, found: Mapping[str, int], archived: Archived) -> dict[str, int]:
    """Return which days are to be set: of two batches that loaded a day, the one that was closed last counts."""
    asked = {day: i for day, i in found.items() if day in look.days and look.days[day] != i}
    here = {
        each.batch_id: ended(as_fields(each.jobs))
        for each in read_batches(session, keys, sorted({look.days[d] for d in asked}))
    }
    there = {i: batch.ended for i, batch in archived.batches.items()}
    return {day: i for day, i in found.items() if day not in asked or there.get(i, "") > here.get(look.days[day], "")}


def _merged(
    keys: Keys, made: PersonalChange, here: str | None, archived: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    known = codec.dump_changes(codec.load_changes(keys.meta, here))
    more = [each for each in archived if each not in known]
    older = sorted([*known, *more], key=lambda each: str(each.get("at")), reverse=True)
    return [*codec.dump_changes([made]), *older][: codec.MAX_CHANGES]


def _skip_restored(keys: Keys, told: Mapping[str, str], newest: int) -> list[Command]:
    """Move subscriptions that began on an empty Redis past the restored batches, which were closed long ago."""
    found: list[Command] = []
    for name, text in told.items():
        # An offset that cannot be read is left to its subscriber, whose log reports it.
        with suppress(StateError):
            if read_offset(keys, name, text) == 0:
                found.append(offset_command(keys, name, newest))
    return found
