# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Restore a workflow in Redis from the archive, in one transaction.

A restore adds what Redis lacks. It overwrites a state in Redis only if that state is older than the archived one, or
if a person asks for it. It never overwrites a closed batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from batchy_provider.archive.archive_contents import ArchiveContents
from batchy_provider.archive.archived_batch import ArchivedBatch, add_runs_and_days
from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.archive.comparison import Comparison, Relation, compare_scan
from batchy_provider.archive.redis_scan import RedisScan, scan_redis
from batchy_provider.core.closing import abort
from batchy_provider.core.dates import format_date
from batchy_provider.core.job_durations import durations_of_history
from batchy_provider.core.ledger import Entry, Withdrawn, entries_of
from batchy_provider.core.ledger_history import ledger_of_history, still_loaded
from batchy_provider.core.presenters import event
from batchy_provider.core.revision import MAX_TOKENS, Revision
from batchy_provider.core.snapshot import Change, StoredBatch
from batchy_provider.core.values import Actor, JobDuration, PersonalChange
from batchy_provider.exceptions import StateError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.deliveries import offset_command, read_offset
from batchy_provider.state.duration_lists import fill_commands
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import read_batches, write_commands
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore has brought back.

    :param was: how Redis compared with the archive before.
    :param state: whether the live state was restored.
    :param batches: how many batches were restored.
    :param refused: why nothing was restored, for people; None if the restore was not refused.
    """

    workflow: str
    was: Relation
    state: bool = False
    batches: int = 0
    refused: str | None = None


def restore(
    backend: Backend,
    workflow: str,
    contents: ArchiveContents,
    *,
    by: Actor,
    overwrite: bool = False,
    why: str | None = None,
) -> Restored:
    """Restore what Redis lacks: the live state if Redis has none or an older one, and the batches that were read.

    :param contents: what the archive has. Batches that were not read are not restored.
    :param overwrite: also replace a state in Redis that is in conflict with the archived one, or an open batch.
    """
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[Restored, Sequence[Command]]:
        scan = scan_redis(session, keys, watch=True)
        comparison = compare_scan(scan, contents)
        refused = None if overwrite else _refusal(comparison)
        if refused is not None:
            return Restored(workflow=workflow, was=comparison.relation, refused=refused), ()
        state = contents.state if comparison.state_is_lost else None
        missing = [contents.batches[i] for i in comparison.missing if i in contents.batches]
        if state is None and not missing:
            return Restored(workflow=workflow, was=comparison.relation), ()
        unarchived = read_batches(session, keys, comparison.unarchived)
        change, meta = _change(scan, contents, state, missing, unarchived)
        entry = PersonalChange.of(by, format_date(scan.now), _what(state is not None, len(missing)), why)
        meta[codec.CHANGES] = _merged_audit(keys, scan.audit, contents.audit, entry)
        commands = [
            *write_commands(keys, scan.state, change, meta),
            *fill_commands(session, keys, _durations(contents, unarchived)),
            *_skip_restored(keys, scan.offsets, newest=max(change.history, default=0)),
        ]
        done = Restored(workflow=workflow, was=comparison.relation, state=state is not None, batches=len(missing))
        return done, commands

    return backend.transact(keys, work)


def _what(state: bool, batches: int) -> str:
    many = f"{batches} batch{'' if batches == 1 else 'es'}"
    return f"restored {'the state and ' if state else ''}{many} from the archive"


def _refusal(comparison: Comparison) -> str | None:
    """Say why only a person may decide, and how; None if the restore overwrites nothing that is newer."""
    name = comparison.workflow
    if comparison.relation == "conflict":
        return (
            f"Redis has {comparison.redis}, which did not come from the archived state, {comparison.archive}. "
            f"To use the archived state: `batchy restore {name} --overwrite`. "
            f"To use the state in Redis: `batchy archive {name} --overwrite`"
        )
    if comparison.in_the_way is not None:
        return (
            f"{comparison.in_the_way}. It was opened on a state that is older than the archived one. "
            f"Close or fail it first, or use `batchy restore {name} --overwrite`"
        )
    return None


def _change(
    scan: RedisScan,
    contents: ArchiveContents,
    restored: ArchivedState | None,
    missing: Sequence[ArchivedBatch],
    unarchived: Sequence[StoredBatch],
) -> tuple[Change, dict[str, Any]]:
    """Return the change that restores a workflow, and the fields of ``wf:meta`` to write with it.

    :param restored: the archived state, if it is to be restored.
    :param missing: batches to restore.
    :param unarchived: the closed batches that only Redis has.
    """
    change, meta, batches = Change(), dict[str, Any](), [*missing]
    if restored is not None:
        of_state = contents.batch_of_state()
        if of_state is not None:
            batches.append(of_state)
        change = _state_change(scan, restored, {*contents.ids, *(batch.batch_id for batch in batches)})
        meta |= restored.meta
    meta |= {codec.record_field(batch.batch_id): batch.record for batch in batches if batch.record is not None}
    runs, days = dict(contents.runs), dict(contents.days)
    add_runs_and_days(batches, runs, days)
    live_id = contents.state.batch_id if contents.state is not None else None
    listed = {batch.batch_id: batch.listed for batch in (*contents.batches.values(), *batches)}

    def is_newer(batch_id: int, other: int) -> bool:
        return listed.get(batch_id, batch_id) > listed.get(other, other)

    history = Change(
        batches={batch.batch_id: batch.jobs for batch in batches},
        closed={batch.batch_id: batch.closed for batch in batches if batch.closed is not None},
        history=[batch.batch_id for batch in batches],
        runs={run: i for run, i in runs.items() if is_newer(i, scan.runs.get(run, 0))},
        entries=_entries(scan, contents, restored, batches, unarchived),
        event=event(scan.state.workflow, live_id, "restore", "live", scan.now),
    )
    return change.then(history), meta


def _state_change(scan: RedisScan, restored: ArchivedState, archived_ids: set[int]) -> Change:
    """Return the change that replaces the live state in Redis by the archived one.

    :param archived_ids: ids of all batches that the archive knows.
    """
    state, change = scan.state, Change()
    known = state.revision or Revision()
    revision = replace(
        known,
        number=restored.number,
        tokens=restored.tokens[:MAX_TOKENS],
        kept=restored.tokens[0],
        pruned=max(known.pruned, restored.pruned),
    )
    if state.is_open and state.live_id is not None and state.live_id not in archived_ids:
        change = abort(state, scan.now)
        revision = revision.waiting_for([state.live_id])
    return change.then(Change(live=restored.live, revision=revision))


def _entries(
    scan: RedisScan,
    contents: ArchiveContents,
    restored: ArchivedState | None,
    batches: Sequence[ArchivedBatch],
    unarchived: Sequence[StoredBatch],
) -> list[Entry]:
    """Return what the ledger gains and loses.

    The archived state brings its own ledger. The batches that only Redis knows, and those that were archived later than
    the state, come in by their windows.
    """
    if restored is None:
        return [*still_loaded(scan.state, [batch.stored for batch in batches])]
    state, ledger = restored.snapshot, restored.ledger
    if ledger is None:
        ledger = ledger_of_history(state, [batch.stored for batch in contents.batches.values()], contents.days)
    later = [batch.stored for batch in batches if batch.batch_end > restored.at]
    return [Withdrawn(), *entries_of(ledger), *still_loaded(state, [*later, *unarchived])]


def _durations(contents: ArchiveContents, unarchived: Sequence[StoredBatch]) -> dict[str, list[JobDuration]]:
    """Return how long jobs took in all batches that the archive and Redis have, as far as they were read."""
    archived = contents.batches.values()
    seconds = {batch.batch_id: batch.seconds for batch in archived if batch.seconds is not None}
    return durations_of_history([*(batch.stored for batch in archived), *unarchived], seconds)


def _merged_audit(
    keys: Keys, in_redis: str | None, archived: Sequence[dict[str, Any]], entry: PersonalChange
) -> list[dict[str, Any]]:
    """Return the audit entries of Redis and of the archive, newest first, with the entry of this restore.

    :param in_redis: the audit entries in Redis, as JSON text.
    """
    known = codec.dump_changes(codec.load_changes(keys.meta, in_redis))
    more = [each for each in archived if each not in known]
    older = sorted([*known, *more], key=lambda each: str(each.get("at")), reverse=True)
    return [*codec.dump_changes([entry]), *older][: codec.MAX_CHANGES]


def _skip_restored(keys: Keys, offsets: Mapping[str, str], *, newest: int) -> list[Command]:
    """Return commands that move subscriptions past the restored batches.

    A subscription that began on the empty Redis would otherwise deliver batches that closed long ago.

    :param newest: id of the newest restored batch.
    """
    commands: list[Command] = []
    for name, text in offsets.items():
        # The subscriber itself reports an offset that it cannot read.
        with suppress(StateError):
            if read_offset(keys, name, text) == 0:
                commands.append(offset_command(keys, name, newest))
    return commands
